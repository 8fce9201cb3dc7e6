"""Linear: a matrix product with a learned weight, laid out in memory for a model that writes one token at a time."""

from torch import nn


class Linear(nn.Linear):
    """`nn.Linear` without a bias: x Wᵀ, (..., n_in) → (..., n_out), with the weight W (n_out, n_in).

    Only the order of the weight in memory is another: all that is multiplied by one input number lies together, n_out
    floats, and not all that makes one output number, n_in floats. W has the same shape and values and loads as ever;
    safetensors wants `.contiguous()` first. For one token the product reads every weight once and waits for memory, and
    a processor reads in this order faster. Batches of a training are as fast either way.
    """

    def __init__(self, n_in: int, n_out: int):
        super().__init__(n_in, n_out, bias=False)
        self.weight = nn.Parameter(self.weight.detach().T.contiguous().T)
