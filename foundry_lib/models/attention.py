"""Causal self-attention with grouped queries (GQA): each token mixes its value with those before it."""

import torch
import torch.nn.functional as F
from torch import nn

from ..config import ModelConfig
from ..shape import Shape
from .linear import Linear
from .rope import apply_rotary_emb


def causal_mask(n_queries: int, n_keys: int, device=None) -> Shape("T S"):
    """True where a query may attend. The queries stand at the last n_queries positions.
    >>> causal_mask(2, 2).tolist()
    [[True, False], [True, True]]
    """
    return torch.ones(n_queries, n_keys, dtype=torch.bool, device=device).tril(n_keys - n_queries)


def causal_attention(
    q: Shape("B H T d"), k: Shape("B K S d"), v: Shape("B K S d")
) -> (Shape("B H T d"), Shape("B H T S")):
    """softmax(q kᵀ / √d) v, where a query attends to its own position and those before it.

    The queries are the last T of the S positions. Returns the mixed values, and the weights,
    whose rows sum to 1.
    Source: Vaswani et al. 2017, equation 1; grouped queries: Ainslie et al. 2023.
    """
    group = q.shape[1] // k.shape[1]  # query heads per kv head: head h uses kv head h // group
    k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)  # (B, H, S, d)
    scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5  # (B, H, T, S)
    scores = scores.masked_fill(~causal_mask(q.shape[2], k.shape[2], q.device), -torch.inf)
    weights = scores.softmax(dim=-1)
    return weights @ v, weights


def fused_causal_attention(q: Shape("B H T d"), k: Shape("B K S d"), v: Shape("B K S d")) -> Shape("B H T d"):
    """`causal_attention` on PyTorch's fused kernel: same shapes, same result, no weights, less time and memory."""
    n_queries, n_keys = q.shape[2], k.shape[2]
    if n_queries == 1 and q.device.type != "cpu":  # the query heads of a group pass as the queries of its one kv head
        grouped = q.reshape(q.shape[0], k.shape[1], -1, q.shape[3])  # 42 us on an H200, where enable_gqa took 160
        return F.scaled_dot_product_attention(grouped, k, v).reshape(q.shape)
    if q.device.type == "mps":  # enable_gqa has aborted the process there (pytorch#149132), so we repeat the heads
        group = q.shape[1] // k.shape[1]
        k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
    # the kernel's own mask puts the first query at key 0; after tokens of a cache the first query stands further on
    mask = causal_mask(n_queries, n_keys, q.device) if 1 < n_queries < n_keys else None
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, is_causal=1 < n_queries == n_keys, enable_gqa=q.shape[1] != k.shape[1]
    )


class CausalSelfAttention(nn.Module):
    """Project to queries, keys and values, rotate by position, attend, project back.

    H query heads share K key/value heads; K = H is ordinary multi-head attention, K = 1 multi-query attention.
    Your own functions can stand for `rotary` (called as `apply_rotary_emb`) and `attend` (as `fused_causal_attention`).
    """

    def __init__(self, config: ModelConfig, layer: int = 0, rotary=apply_rotary_emb, attend=fused_causal_attention):
        super().__init__()
        self.rotary, self.attend = rotary, attend
        self.n_heads, self.n_kv_heads, self.head_dim = config.n_heads, config.n_kv_heads, config.head_dim
        self.layer = layer  # which tensors of a cache are ours
        kv_dim = config.n_kv_heads * config.head_dim
        self.wq = Linear(config.dim, config.dim)
        self.wk = Linear(config.dim, kv_dim)
        self.wv = Linear(config.dim, kv_dim)
        self.wo = Linear(config.dim, config.dim)

    def forward(self, x: Shape("B T D"), freqs_cis: Shape("2 T d/2"), cache=None) -> Shape("B T D"):
        """freqs_cis: the rows of `rope_table` at x's positions. cache: a KVCache, or None."""
        B, T, D = x.shape
        q = self.wq(x).view(B, T, self.n_heads, self.head_dim).transpose(1, 2)  # (B, H, T, d)
        k = self.wk(x).view(B, T, self.n_kv_heads, self.head_dim).transpose(1, 2)  # (B, K, T, d)
        v = self.wv(x).view(B, T, self.n_kv_heads, self.head_dim).transpose(1, 2)
        q, k = self.rotary(q, k, freqs_cis)
        if cache is not None:
            k, v = cache.store(self.layer, k, v)  # (B, K, S, d), S = tokens read before + T
        out = self.attend(q, k, v)  # (B, H, T, d)
        return self.wo(out.transpose(1, 2).reshape(B, T, D))
