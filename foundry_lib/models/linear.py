"""Linear: a matrix product with a learned weight, stored for a model that writes one token at a time."""

import torch
from torch import nn


class Linear(nn.Linear):
    """`nn.Linear` without a bias: x Wᵀ, (..., n_in) → (..., n_out), with the weight W (n_out, n_in).

    The weight is stored column by column: the n_out floats that multiply one input are neighbours in memory. A model
    that writes one token spends its time on reading weights, and a processor reads them faster in this order. In all
    else it is an `nn.Linear`. To save the weight with safetensors, call `.contiguous()` first.
    """

    def __init__(self, n_in: int, n_out: int):
        super().__init__(n_in, n_out, bias=False)
        self.weight = nn.Parameter(self.weight.detach().T.contiguous().T)


@torch.no_grad()
def draw_weight(linear: nn.Linear, std: float, generator: torch.Generator):
    """Fill a weight with normal numbers of mean 0, row by row: the numbers do not depend on the order in memory."""
    rows = torch.empty_like(linear.weight, memory_format=torch.contiguous_format)
    linear.weight.copy_(rows.normal_(0, std, generator=generator))
