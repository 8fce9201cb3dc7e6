"""RMSNorm: divide each token's vector by its root mean square, then scale each channel."""

import torch
from torch import nn

from ..shape import Shape


def rms_norm(x: Shape("... D"), weight: Shape("D"), eps: float = 1e-5) -> Shape("... D"):
    """x / sqrt(mean(x²) + eps) · weight, over the last axis.

    The result has the wider dtype of the two. The mean is taken in at least 32 bits: in float16
    the square of 256 already overflows, and bfloat16 keeps fewer than three digits of a sum.
    Source: Zhang & Sennrich 2019, equation 4; `eps`, inside the root, is Llama's.
    >>> rms_norm(torch.tensor([3.0, 4.0]), torch.ones(2), eps=0)  # the root of (9 + 16) / 2 is 3.54
    tensor([0.8485, 1.1314])
    """
    wide = x.float() if x.dtype.itemsize < 4 else x
    scale = torch.rsqrt(wide.pow(2).mean(dim=-1, keepdim=True) + eps)  # (..., 1)
    return weight * (wide * scale).type_as(x)


class RMSNorm(nn.Module):
    """Root-mean-square normalisation with one learned weight per channel and no bias."""

    def __init__(self, dim: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Shape("... D")) -> Shape("... D"):
        return rms_norm(x, self.weight, self.eps)
