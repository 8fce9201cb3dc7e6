"""Parts for the variants of the model that `ablations` trains. Each takes a part out or puts another in its place.

Each is a plug of MiniLLM: MiniLLM(config, norm=no_norm), MiniLLM(config, block=PostNormBlock).
"""

import torch
import torch.nn.functional as F
from torch import nn

from ..config import ModelConfig
from ..models.attention import CausalSelfAttention
from ..models.linear import Linear
from ..models.model import Block
from ..models.norm import RMSNorm
from ..models.rope import apply_rotary_emb
from ..shape import Shape

# ---- A part taken out


class Nothing(nn.Module):
    """A part that adds nothing to the residual stream. It can stand for the attention or the feed-forward part."""

    def __init__(self, config: ModelConfig, layer: int = 0):
        super().__init__()

    def forward(self, x, *rest):
        return torch.zeros_like(x)


def no_norm(dim: int, eps: float) -> nn.Module:
    return nn.Identity()


def no_rotation(head_dim: int, max_seq_len: int, theta: float) -> Shape("2 T d/2"):
    """The table of a model without RoPE: cosine 1 and sine 0 rotate by nothing at every position."""
    half = max_seq_len, head_dim // 2
    return torch.stack((torch.ones(half), torch.zeros(half)))


# ---- Norm


class PostNormBlock(Block):
    """Each part reads the residual stream itself, and the norm follows the addition.

    Source: Vaswani et al. 2017, section 3.1. The model's last norm then follows another norm.
    """

    def forward(self, x: Shape("B T D"), freqs_cis: Shape("2 T d/2"), cache=None) -> Shape("B T D"):
        h = self.attention_norm(x + self.attention(x, freqs_cis, cache))
        return self.ffn_norm(h + self.feed_forward(h))


class QKNorm(nn.Module):
    """Normalise each query and key, then rotate them: it stands for `apply_rotary_emb`.

    Source: Henry et al. 2020, "Query-key normalization"; with RMSNorm and a weight per channel: Qwen3.
    """

    def __init__(self, head_dim: int, eps: float):
        super().__init__()
        self.q_norm, self.k_norm = RMSNorm(head_dim, eps), RMSNorm(head_dim, eps)

    def forward(self, q: Shape("B H T d"), k: Shape("B K T d"), freqs_cis: Shape("2 T d/2")):
        return apply_rotary_emb(self.q_norm(q), self.k_norm(k), freqs_cis)


def qk_norm_attention(config: ModelConfig, layer: int) -> CausalSelfAttention:
    return CausalSelfAttention(config, layer, rotary=QKNorm(config.head_dim, config.norm_eps))


# ---- Positions


def sinusoids(max_seq_len: int, dim: int) -> Shape("T D"):
    """Sine and cosine of t / 10000^(2i/D) in channels 2i and 2i + 1, for each position t.

    Source: Vaswani et al. 2017, section 3.5.

    >>> sinusoids(2, 2)  # sin 0, cos 0; sin 1, cos 1
    tensor([[0.0000, 1.0000],
            [0.8415, 0.5403]])
    """
    speed = 10000.0 ** (-torch.arange(0, dim, 2) / dim)  # (D/2,) radians per position
    angle = torch.outer(torch.arange(max_seq_len, dtype=torch.float32), speed)  # (T, D/2)
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(1)


class AddedPositions(Block):
    """The first layer adds a vector for each position to the token embeddings. A subclass sets `table`."""

    table: Shape("T D")

    def __init__(self, config: ModelConfig, layer: int = 0, **parts):
        super().__init__(config, layer, **parts)
        self.first = layer == 0

    def forward(self, x: Shape("B T D"), freqs_cis: Shape("2 T d/2"), cache=None) -> Shape("B T D"):
        if self.first:
            start = 0 if cache is None else cache.length
            x = x + self.table[start : start + x.shape[1]]
        return super().forward(x, freqs_cis, cache)


class LearnedPositions(AddedPositions):
    """A learned vector for each position, drawn at first with the embedding's standard deviation, as in GPT-2.

    Source: Radford et al. 2019. The optimizer decays it as it decays a matrix.
    """

    def __init__(self, config: ModelConfig, layer: int = 0, **parts):
        super().__init__(config, layer, **parts)
        if self.first:
            table = torch.randn(config.max_seq_len, config.dim) * (config.embedding_std or config.dim**-0.5)
            self.table = nn.Parameter(table)


class SinusoidalPositions(AddedPositions):
    """`sinusoids`, times the embedding's standard deviation.

    In Vaswani et al. the embeddings that the sinusoids are added to have a standard deviation of 1. The factor keeps
    this proportion.
    """

    def __init__(self, config: ModelConfig, layer: int = 0, **parts):
        super().__init__(config, layer, **parts)
        table = sinusoids(config.max_seq_len, config.dim) * (config.embedding_std or config.dim**-0.5)
        self.register_buffer("table", table, persistent=False)


# ---- Feed-forward


class PlainMLP(nn.Module):
    """down(activation(up(x))): two matrices, as many parameters as the three of SwiGLU, so 3/2 as wide inside."""

    def __init__(self, config: ModelConfig, activation):
        super().__init__()
        self.activation = activation
        self.w_up = Linear(config.dim, config.hidden_dim * 3 // 2)
        self.w_down = Linear(config.hidden_dim * 3 // 2, config.dim)

    def forward(self, x: Shape("B T D")) -> Shape("B T D"):
        return self.w_down(self.activation(self.w_up(x)))


def relu_squared(x):
    """max(0, x)². Source: So et al. 2021, "Primer".

    >>> relu_squared(torch.tensor([-2.0, 3.0]))
    tensor([0., 9.])
    """
    return F.relu(x).square()


def relu_squared_mlp(config: ModelConfig) -> PlainMLP:
    return PlainMLP(config, relu_squared)


def gelu_mlp(config: ModelConfig) -> PlainMLP:
    """Source: Hendrycks & Gimpel 2016, "Gaussian error linear units"."""
    return PlainMLP(config, F.gelu)
