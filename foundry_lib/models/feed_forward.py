"""SwiGLU: the feed-forward part, in which one projection opens and closes the gate of another."""

import torch.nn.functional as F
from torch import nn

from ..config import ModelConfig
from ..shape import Shape
from .linear import Linear


class MLP(nn.Module):
    """down(silu(gate(x)) · up(x)), without biases, F wide inside.

    Llama calls the three matrices w1 (gate), w3 (up) and w2 (down).
    Source: Shazeer 2020, "GLU variants", equation 6.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.w_gate = Linear(config.dim, config.hidden_dim)
        self.w_up = Linear(config.dim, config.hidden_dim)
        self.w_down = Linear(config.hidden_dim, config.dim)

    def forward(self, x: Shape("B T D")) -> Shape("B T D"):
        return self.w_down(F.silu(self.w_gate(x)) * self.w_up(x))
