"""Wrong answers that a student would write, and right answers in an unusual form, for the checks of the exercises.

The first set helped to make the checks what they are. The second and the third were written after that; on their first
run 80 and 72 in 100 were told their cause, 2 of 154 a wrong one, and none passed.
CAUSES says what each wrong answer is told: the name of a known mistake, words of another message that tells the cause,
or None where it gets only the first wrong index.
"""

import codecs
import math
from collections import Counter

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

WRONG, RIGHT = [], []  # (the name of an exercise, an answer)


def wrong(exercise):
    return lambda work: WRONG.append((exercise, work)) or work


def right(exercise):
    return lambda work: RIGHT.append((exercise, work)) or work


def widened(x):
    return x.to(torch.promote_types(x.dtype, torch.float32))


class Parts(nn.Module):
    def __init__(self, config, layer=0, norm=None, attention=None, feed_forward=None):
        super().__init__()
        self.attention_norm = norm(config.dim, config.norm_eps)
        self.attention = attention(config, layer)
        self.ffn_norm = norm(config.dim, config.norm_eps)
        self.feed_forward = feed_forward(config)


class Cache:
    def __init__(self, config, batch_size=1, device="cpu", dtype=None):
        shape = (batch_size, config.n_kv_heads, config.max_seq_len, config.head_dim)
        self.k = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.n_layers)]
        self.v = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.n_layers)]
        self.length = 0

    def store(self, layer, k, v):
        end = self.length + k.shape[2]
        self.k[layer][:, :, self.length : end] = k
        self.v[layer][:, :, self.length : end] = v
        return self.k[layer][:, :, :end], self.v[layer][:, :, :end]

    def advance(self, n_new):
        self.length += n_new

    def reset(self):
        self.length = 0


# ==== The first set

# ---- 01


@wrong("rms_norm")
def norm_without_keepdim(x, weight, eps):
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return (wide / (wide.pow(2).mean(-1) + eps).sqrt()).to(x.dtype) * weight


@wrong("rms_norm")
def norm_over_axis_one(x, weight, eps):
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return (wide / (wide.pow(2).mean(1, keepdim=True) + eps).sqrt()).to(x.dtype) * weight


@wrong("rms_norm")
def norm_over_axis_zero(x, weight, eps):
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return (wide * torch.rsqrt(wide.pow(2).mean(dim=0, keepdim=True) + eps)).to(x.dtype) * weight


@wrong("rms_norm")
def norm_casts_after_the_weight(x, weight, eps):
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return (wide / (wide.pow(2).mean(-1, keepdim=True) + eps).sqrt() * weight).to(x.dtype)


@wrong("rms_norm")
def norm_eps_outside_in_own_precision(x, weight, eps):
    return weight * x / (torch.sqrt(torch.mean(x**2, dim=-1, keepdim=True)) + eps)


@wrong("rms_norm")
def norm_weight_before(x, weight, eps):
    x = x * weight
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return (wide / (wide.pow(2).mean(-1, keepdim=True) + eps).sqrt()).to(x.dtype)


@wrong("rms_norm")
def norm_weight_added(x, weight, eps):
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return (wide / (wide.pow(2).mean(-1, keepdim=True) + eps).sqrt()).to(x.dtype) + weight


@wrong("rms_norm")
def norm_eps_of_its_own(x, weight, eps):
    return F.rms_norm(x, (x.shape[-1],), weight, 1e-6)


@right("rms_norm")
def norm_by_einsum(x, weight, eps):
    w = x.to(torch.promote_types(x.dtype, torch.float32))
    size = torch.einsum("...d,...d->...", w, w) / w.size(-1)
    return torch.multiply((w * (size + eps)[..., None].pow(-0.5)).type(x.dtype), weight)


@right("rms_norm")
def norm_by_length(x, weight, eps):
    w = x.double()
    return weight * (w / torch.sqrt(torch.linalg.vector_norm(w, dim=-1, keepdim=True) ** 2 / len(weight) + eps)).to(x)


# ---- 02


@wrong("rope_table")
def table_with_base_ten_thousand(head_dim, max_seq_len, theta=10000.0):
    speed = 1.0 / 10000 ** (torch.arange(0, head_dim, 2).float() / head_dim)
    angle = torch.outer(torch.arange(max_seq_len).float(), speed)
    return torch.stack((angle.cos(), angle.sin()))


@wrong("rope_table")
def table_of_complex_numbers(head_dim, max_seq_len, theta):
    speed = theta ** (-torch.arange(0, head_dim, 2) / head_dim)
    angle = torch.outer(torch.arange(max_seq_len), speed)
    return torch.polar(torch.ones_like(angle), angle)


@wrong("rope_table")
def table_concatenated(head_dim, max_seq_len, theta):
    speed = theta ** (-torch.arange(0, head_dim, 2) / head_dim)
    angle = torch.outer(torch.arange(max_seq_len), speed)
    return torch.cat((angle.cos(), angle.sin()), dim=-1)


@wrong("rope_table")
def table_in_64_bits(head_dim, max_seq_len, theta):
    speed = theta ** (-torch.arange(0, head_dim, 2).double() / head_dim)
    angle = torch.outer(torch.arange(max_seq_len).double(), speed)
    return torch.stack((angle.cos(), angle.sin()))


@wrong("rotate")
def turns_the_second_half_only(x, table):
    cos, sin = table
    a, b = x.chunk(2, -1)
    return torch.cat((a, a * sin + b * cos), -1)


@wrong("rotate")
def both_signs_plus(x, table):
    cos, sin = table
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos + b * sin, a * sin + b * cos), -1)


@wrong("rotate")
def overwrites_the_first_half(x, table):
    cos, sin = table
    a, b = x.chunk(2, -1)
    a = a * cos - b * sin
    b = a * sin + b * cos
    return torch.cat((a, b), -1)


@wrong("rotate")
def table_on_the_heads(x, table):
    cos, sin = table[:, None]
    a, b = x.transpose(1, 2).chunk(2, -1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), -1).transpose(1, 2)


@right("rotate")
def rotates_by_complex_numbers(x, table):
    a, b = x.chunk(2, -1)
    z = torch.complex(a, b) * torch.complex(*table)
    return torch.cat((z.real, z.imag), -1).to(x.dtype)


@wrong("rotary")
def same_angle_at_every_position(xq, xk, freqs_cis):
    cos, sin = freqs_cis[:, :1]

    def turn(x):
        a, b = x.chunk(2, -1)
        return torch.cat((a * cos - b * sin, a * sin + b * cos), -1)

    return turn(xq), turn(xk)


@wrong("rotary")
def only_queries_returned(xq, xk, freqs_cis):
    cos, sin = freqs_cis
    a, b = xq.chunk(2, -1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), -1)


# ---- 03


@wrong("attention")
def mask_times_minus_infinity(q, k, v):
    T = q.shape[2]
    hidden = torch.triu(torch.ones(T, T), 1) * -torch.inf
    weights = (q @ k.mT / q.shape[-1] ** 0.5 + hidden).softmax(-1)
    return weights @ v, weights


@wrong("attention")
def root_of_the_heads(q, k, v):
    T = q.shape[2]
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[1])
    weights = scores.masked_fill(torch.ones(T, T).tril() == 0, -torch.inf).softmax(-1)
    return weights @ v, weights


@wrong("attention")
def keys_transposed_fully(q, k, v):
    T = q.shape[2]
    scores = q @ k.transpose(1, 2) / q.shape[-1] ** 0.5
    weights = scores.masked_fill(~torch.ones(T, T, dtype=torch.bool).tril(), -torch.inf).softmax(-1)
    return weights @ v, weights


@wrong("attention")
def mixed_values_only(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


@wrong("attention")
def strict_triangle(q, k, v):
    T = q.shape[2]
    hidden = torch.ones(T, T, dtype=torch.bool).triu()
    weights = (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(hidden, -1e9).softmax(-1)
    return weights @ v, weights


@wrong("gqa")
def gqa_square_mask(q, k, v):
    k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], 1) for x in (k, v))
    T = q.shape[2]
    scores = q @ k.mT / q.shape[-1] ** 0.5
    return scores.masked_fill(~torch.ones(T, T, dtype=torch.bool).tril(), -torch.inf).softmax(-1) @ v


@wrong("gqa")
def gqa_repeat_on_positions(q, k, v):
    k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], 2) for x in (k, v))
    scores = q @ k.mT / q.shape[-1] ** 0.5
    T, S = scores.shape[-2:]
    return scores.masked_fill(~torch.ones(T, S, dtype=torch.bool).tril(S - T), -torch.inf).softmax(-1) @ v


@wrong("gqa")
def gqa_not_scaled(q, k, v):
    k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], 1) for x in (k, v))
    scores = q @ k.mT
    T, S = scores.shape[-2:]
    return scores.masked_fill(~torch.ones(T, S, dtype=torch.bool).tril(S - T), -torch.inf).softmax(-1) @ v


@right("gqa")
def gqa_by_grouping_the_queries(q, k, v):
    B, H, T, d = q.shape
    K, S = k.shape[1:3]
    scores = torch.einsum("bkgtd,bksd->bkgts", q.view(B, K, H // K, T, d), k) / math.sqrt(d)
    positions = torch.arange(S - T, S, device=q.device)[:, None]
    scores = torch.where(torch.arange(S, device=q.device) > positions, -math.inf, scores)
    return torch.einsum("bkgts,bksd->bkgtd", scores.softmax(-1), v).reshape(B, H, T, d)


@right("gqa")
def gqa_of_torch(q, k, v):
    T, S = q.shape[2], k.shape[2]
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=torch.ones(T, S, dtype=torch.bool).tril(S - T), enable_gqa=True
    )


@right("attention")
def attention_with_a_float_mask(q, k, v):
    T = q.size(-2)
    mask = torch.full((T, T), float("-inf"), dtype=q.dtype).triu(1)
    weights = F.softmax(torch.einsum("bhtd,bhsd->bhts", q, k) * q.size(-1) ** -0.5 + mask, dim=3)
    return torch.einsum("bhts,bhsd->bhtd", weights, v), weights


@wrong("cache_bytes")
def cache_without_values(n_layers, n_kv_heads, head_dim, n_tokens, bytes_per_number):
    return n_layers * n_kv_heads * head_dim * n_tokens * bytes_per_number


@wrong("cache_bytes")
def cache_in_mebibytes(n_layers, n_kv_heads, head_dim, n_tokens, bytes_per_number):
    return 2 * n_layers * n_kv_heads * head_dim * n_tokens * bytes_per_number / 2**20


# ---- 04


@wrong("silu")
def silu_by_exp_ratio(x):
    return x * (x.exp() / (x.exp() + 1))


@wrong("silu")
def silu_with_a_masked_loop(x):
    return torch.where(x > 0, x / (1 + torch.exp(x)), x * torch.exp(x) / (1 + torch.exp(x)))


@wrong("silu")
def silu_of_the_quick_gelu(x):
    return x * torch.sigmoid(1.702 * x)


@wrong("swiglu")
def gate_weights_twice(x, w_gate, w_up, w_down):
    return (F.silu(x @ w_gate.T) * (x @ w_gate.T)) @ w_down.T


@wrong("swiglu")
def weights_viewed(x, w_gate, w_up, w_down):
    D, F_ = w_down.shape
    return (F.silu(x @ w_gate.reshape(D, F_)) * (x @ w_up.reshape(D, F_))) @ w_down.reshape(F_, D)


@right("swiglu")
def swiglu_with_one_product(x, w_gate, w_up, w_down):
    gate, up = torch.einsum("...d,kfd->k...f", x, torch.stack((w_gate, w_up)))
    return torch.tensordot(gate * gate.sigmoid() * up, w_down, dims=([-1], [1]))


@wrong("plain_mlp")
class PlainAsWideAsSwiGLU(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.w_up = nn.Linear(config.dim, config.hidden_dim, bias=False)
        self.w_down = nn.Linear(config.hidden_dim, config.dim, bias=False)

    def forward(self, x):
        return self.w_down(F.relu(self.w_up(x)) ** 2)


class PlainParts(nn.Module):
    """The right width; a subclass has the forward pass."""

    def __init__(self, config):
        super().__init__()
        width = int(1.5 * config.hidden_dim)
        self.w_up = nn.Linear(config.dim, width, bias=False)
        self.w_down = nn.Linear(width, config.dim, bias=False)


@wrong("plain_mlp")
class PlainWithRelu(PlainParts):
    def forward(self, x):
        return self.w_down(torch.relu(self.w_up(x)))


@wrong("plain_mlp")
class PlainSquaresFirst(PlainParts):
    def forward(self, x):
        return self.w_down(torch.relu(self.w_up(x).square()))


@wrong("plain_mlp")
class PlainReluAtTheEnd(PlainParts):
    def forward(self, x):
        return F.relu(self.w_down(self.w_up(x))) ** 2


@wrong("plain_mlp")
class PlainTimesTwo(PlainParts):
    def forward(self, x):
        return self.w_down(F.relu(self.w_up(x)) * 2)


@wrong("plain_mlp")
class PlainForgetsToComeBack(PlainParts):
    def forward(self, x):
        return F.relu(self.w_up(x)) ** 2


@wrong("plain_mlp")
class PlainWithBiases(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.w_up = nn.Linear(config.dim, 3 * config.hidden_dim // 2)
        self.w_down = nn.Linear(3 * config.hidden_dim // 2, config.dim)

    def forward(self, x):
        return self.w_down(F.relu(self.w_up(x)) ** 2)


@wrong("plain_mlp")
class PlainWithOtherNames(nn.Module):
    def __init__(self, config):
        super().__init__()
        width = 3 * config.hidden_dim // 2
        self.layers = nn.Sequential(nn.Linear(config.dim, width, bias=False), nn.ReLU())
        self.out = nn.Linear(width, config.dim, bias=False)

    def forward(self, x):
        return self.out(self.layers(x) ** 2)


@wrong("plain_mlp")
class PlainFloatWidth(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.w_up = nn.Linear(config.dim, config.hidden_dim * 3 / 2, bias=False)
        self.w_down = nn.Linear(config.hidden_dim * 3 / 2, config.dim, bias=False)

    def forward(self, x):
        return self.w_down(F.relu(self.w_up(x)) ** 2)


@wrong("plain_mlp")
class PlainWidthOfTheDims(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.w_up = nn.Linear(config.dim, 4 * config.dim, bias=False)
        self.w_down = nn.Linear(4 * config.dim, config.dim, bias=False)

    def forward(self, x):
        return self.w_down(F.relu(self.w_up(x)) ** 2)


@right("plain_mlp")
class PlainByClamp(PlainParts):
    def forward(self, x):
        hidden = self.w_up(x).clamp_min(0)
        return torch.einsum("...f,df->...d", hidden * hidden, self.w_down.weight)


@wrong("selectivity")
def selectivity_in_percent(gate, chosen):
    return 100 * (gate[chosen][:, None] > gate[~chosen]).float().mean().item()


@right("selectivity")
def selectivity_by_sorting(gate, chosen):
    others = gate[~chosen].sort().values
    below = torch.searchsorted(others, gate[chosen], side="left")
    return below.double().mean() / len(others)


# ---- 05


@wrong("block")
class PostNorm(Parts):
    def forward(self, x, freqs_cis, cache=None):
        x = self.attention_norm(x + self.attention(x, freqs_cis, cache))
        return self.ffn_norm(x + self.feed_forward(x))


@wrong("block")
class SecondResidualFromTheInput(Parts):
    def forward(self, x, freqs_cis, cache=None):
        h = x + self.attention(self.attention_norm(x), freqs_cis, cache)
        return x + self.feed_forward(self.ffn_norm(h))


@wrong("block")
class ResidualOfTheNormed(Parts):
    def forward(self, x, freqs_cis, cache=None):
        x = self.attention_norm(x)
        x = x + self.attention(x, freqs_cis, cache)
        x = self.ffn_norm(x)
        return x + self.feed_forward(x)


@wrong("logit_lens")
def lens_norm_at_the_end_only(model, idx):
    x = model.tok_embeddings(idx)
    guesses = [model.output(x)]
    for i, layer in enumerate(model.layers):
        x = layer(x, model.freqs_cis[:, : idx.shape[1]])
        last = i == len(model.layers) - 1
        guesses.append(model.output(model.norm(x) if last else x))
    return torch.stack(guesses)


@wrong("logit_lens")
def lens_of_log_probabilities(model, idx):
    x = model.tok_embeddings(idx)
    guesses = [model.output(model.norm(x))]
    for layer in model.layers:
        x = layer(x, model.freqs_cis[:, : idx.shape[1]])
        guesses.append(model.output(model.norm(x)))
    return torch.stack(guesses).log_softmax(-1)


@wrong("logit_lens")
def lens_stacked_behind(model, idx):
    x = model.tok_embeddings(idx)
    guesses = [model.output(model.norm(x))]
    for layer in model.layers:
        x = layer(x, model.freqs_cis[:, : idx.shape[1]])
        guesses.append(model.output(model.norm(x)))
    return torch.stack(guesses, dim=1)


@wrong("logit_lens")
def lens_with_the_whole_table(model, idx):
    x = model.tok_embeddings(idx)
    guesses = [model.output(model.norm(x))]
    for layer in model.layers:
        x = layer(x, model.freqs_cis)
        guesses.append(model.output(model.norm(x)))
    return torch.stack(guesses)


@right("logit_lens")
def lens_by_the_walk(model, idx):
    table = model.freqs_cis[:, : idx.shape[1]]
    x = model.tok_embeddings(idx)
    guesses = [model.output(model.norm(x))]
    for layer in model.layers:
        x = x + layer.attention(layer.attention_norm(x), table)
        x = x + layer.feed_forward(layer.ffn_norm(x))
        guesses.append(model.output(model.norm(x)))
    return torch.stack(guesses)


@wrong("count_parameters")
def count_without_norms(vocab_size, dim, n_layers, n_heads, n_kv_heads, hidden_dim, tied):
    head = dim // n_heads
    layer = 2 * dim * dim + 2 * dim * n_kv_heads * head + 3 * dim * hidden_dim
    return vocab_size * dim * (1 if tied else 2) + n_layers * layer


@wrong("count_parameters")
def count_of_two_norms_in_all(vocab_size, dim, n_layers, n_heads, n_kv_heads, hidden_dim, tied):
    head = dim // n_heads
    layer = 2 * dim * dim + 2 * dim * n_kv_heads * head + 3 * dim * hidden_dim + dim
    return vocab_size * dim * (1 if tied else 2) + n_layers * layer + dim


# ---- 06


@wrong("most_common_pair")
def pair_without_order(ids):
    return Counter(tuple(sorted(p)) for p in zip(ids, ids[1:], strict=False)).most_common(1)[0][0]


@wrong("most_common_pair")
def pair_with_its_count(ids):
    return Counter(zip(ids, ids[1:], strict=False)).most_common(1)[0]


@wrong("most_common_pair")
def pairs_in_steps_of_two(ids):
    return Counter(zip(ids[::2], ids[1::2], strict=False)).most_common(1)[0][0]


@wrong("merge")
def merge_from_the_right(ids, pair, new):
    out, i = [], len(ids) - 1
    while i >= 0:
        if i > 0 and (ids[i - 1], ids[i]) == tuple(pair):
            out.append(new)
            i -= 2
        else:
            out.append(ids[i])
            i -= 1
    return out[::-1]


@wrong("merge")
def merge_loses_the_last(ids, pair, new):
    out, i = [], 0
    while i < len(ids) - 1:
        if (ids[i], ids[i + 1]) == tuple(pair):
            out.append(new)
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return out


@wrong("merge")
def merge_in_place(ids, pair, new):
    i = 0
    while i < len(ids) - 1:
        if (ids[i], ids[i + 1]) == tuple(pair):
            ids[i : i + 2] = [new]
        i += 1
    return ids


@right("merge")
def merge_by_recursion(ids, pair, new):
    if len(ids) < 2:
        return list(ids)
    if tuple(ids[:2]) == tuple(pair):
        return [new, *merge_by_recursion(ids[2:], pair, new)]
    return [ids[0], *merge_by_recursion(ids[1:], pair, new)]


@wrong("encode")
def encode_by_a_dictionary(ids, merges):
    table, out = dict(merges), list(ids)
    i = 0
    while i < len(out) - 1:
        if (out[i], out[i + 1]) in table:
            out[i : i + 2] = [table[out[i], out[i + 1]]]
            i = max(0, i - 1)
        else:
            i += 1
    return out


@wrong("encode")
def encode_returns_in_the_loop(ids, merges):
    for (a, b), new in merges:
        out, i = [], 0
        while i < len(ids):
            hit = i + 1 < len(ids) and ids[i] == a and ids[i + 1] == b
            out.append(new if hit else ids[i])
            i += 1 + hit
        return out


@wrong("encode")
def encode_never_assigns(ids, merges):
    result = ids
    for pair, new in merges:
        result, i = [], 0
        while i < len(ids):
            hit = tuple(ids[i : i + 2]) == pair
            result.append(new if hit else ids[i])
            i += 2 if hit else 1
    return result


@wrong("encode")
def encode_backwards(ids, merges):
    out = list(ids)
    for pair, new in merges[::-1]:
        for i in range(len(out) - 1, 0, -1):
            if (out[i - 1], out[i]) == pair:
                out[i - 1 : i + 1] = [new]
    return out


@wrong("encode")
def encode_index_error(ids, merges):
    for (a, b), new in merges:
        out, i = [], 0
        while i < len(ids):
            if ids[i] == a and ids[i + 1] == b:
                out.append(new)
                i += 2
            else:
                out.append(ids[i])
                i += 1
        ids = out
    return ids


@right("encode")
def encode_by_rank(ids, merges):
    rank = {pair: i for i, (pair, _) in enumerate(merges)}
    out = list(ids)
    while len(out) > 1:
        best = min(range(len(out) - 1), key=lambda i: rank.get((out[i], out[i + 1]), math.inf))
        if (out[best], out[best + 1]) not in rank:
            break
        out[best : best + 2] = [merges[rank[out[best], out[best + 1]]][1]]
    return out


@wrong("byte_fallback")
def bytes_with_append(text, char_ids):
    out = []
    for c in text:
        out.append(char_ids[c] if c in char_ids else list(c.encode()))
    return out


@wrong("byte_fallback")
def bytes_by_ord(text, char_ids):
    return [char_ids[c] if c in char_ids else ord(c) for c in text]


@wrong("byte_fallback")
def bytes_by_try(text, char_ids):
    try:
        return [char_ids[c] for c in text]
    except KeyError:
        return list(text.encode("utf-8"))


@wrong("byte_fallback")
def bytes_in_latin(text, char_ids):
    out = []
    for c in text:
        out += [char_ids[c]] if c in char_ids else c.encode("latin-1")
    return out


@right("byte_fallback")
def bytes_by_a_generator(text, char_ids):
    return [i for c in text for i in ([char_ids[c]] if char_ids.get(c) is not None else bytes(c, "utf8"))]


@wrong("decode")
def decode_one_by_one(ids, vocabulary):
    text = ""
    for i in ids:
        text += vocabulary[i].decode("utf-8", "replace")
    return text


@wrong("decode")
def decode_strictly(ids, vocabulary):
    return b"".join([vocabulary[i] for i in ids]).decode()


@wrong("decode")
def decode_to_bytes(ids, vocabulary):
    return b"".join([vocabulary[i] for i in ids])


@wrong("decode")
def decode_ignores(ids, vocabulary):
    return b"".join(map(vocabulary.__getitem__, ids)).decode(errors="ignore")


@wrong("decode")
def decode_with_question_marks(ids, vocabulary):
    return b"".join(vocabulary[i] for i in ids).decode("utf-8", "replace").replace("\ufffd", "?")


@right("decode")
def decode_incrementally(ids, vocabulary):
    reader = codecs.getincrementaldecoder("utf-8")("replace")
    return "".join(reader.decode(vocabulary[i]) for i in ids) + reader.decode(b"", final=True)


@wrong("loss_units")
def units_in_nats(losses, n_bytes):
    return torch.exp(losses.mean()), losses.sum() / n_bytes


@wrong("loss_units")
def units_mean_per_byte(losses, n_bytes):
    mean = losses.mean().item()
    return math.exp(mean), mean / math.log(2) / n_bytes


@wrong("loss_units")
def units_exp_of_all(losses, n_bytes):
    return math.exp(losses.sum()), losses.sum().item() / (n_bytes * math.log(2))


@wrong("loss_units")
def units_power_of_two(losses, n_bytes):
    return (2 ** losses.mean()).item(), (losses.sum() / math.log(2) / n_bytes).item()


@wrong("loss_units")
def units_with_point_69(losses, n_bytes):
    return losses.mean().exp().item(), losses.sum().item() / 0.69 / n_bytes


@wrong("loss_units")
def units_only_bits(losses, n_bytes):
    return losses.sum().item() / math.log(2) / n_bytes


@right("loss_units")
def units_of_bits_first(losses, n_bytes):
    bits = losses / math.log(2)
    return 2 ** bits.mean(), bits.sum() / n_bytes


@wrong("next_token_batch")
def batch_by_a_reshape(tokens, starts, block_size):
    n = len(starts) * block_size
    return tokens[:n].view(-1, block_size), tokens[1 : n + 1].view(-1, block_size)


@wrong("next_token_batch")
def batch_with_lists_of_one_row(tokens, starts, block_size):
    i = starts + torch.arange(block_size)
    return tokens[i], tokens[i + 1]


@right("next_token_batch")
def batch_by_unfold(tokens, starts, block_size):
    windows = tokens.unfold(0, block_size + 1, 1)[starts]
    return windows[:, :-1], windows[:, 1:]


# ---- 07


@wrong("mean_loss")
def loss_shifted_again(logits, y):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), y[:, 1:].flatten())


@wrong("mean_loss")
def loss_to_base_ten(logits, y):
    return F.cross_entropy(logits.flatten(0, 1), y.flatten()) / math.log(10)


@wrong("mean_loss")
def loss_by_exponentials(logits, y):
    e = logits.exp()
    p = e / e.sum(-1, keepdim=True)
    kept = y != -100
    return -(p.gather(-1, y.clamp(min=0)[..., None])[..., 0].log() * kept).sum() / kept.sum()


@wrong("mean_loss")
def loss_flattened_wrongly(logits, y):
    return F.cross_entropy(logits.permute(1, 0, 2).reshape(-1, logits.shape[-1]), y.flatten())


@right("mean_loss")
def loss_by_logsumexp(logits, y):
    kept = y.ne(-100)
    chosen = logits[kept].gather(1, y[kept].unsqueeze(1)).squeeze(1)
    return (logits[kept].logsumexp(1) - chosen).mean()


@wrong("learning_rate")
def rate_starts_at_zero(step, peak, warmup, total, lowest):
    if step < warmup:
        return peak * step / warmup
    done = (step - warmup) / (total - warmup)
    return lowest + (peak - lowest) * (1 + math.cos(math.pi * done)) / 2


@wrong("learning_rate")
def rate_falls_in_a_line(step, peak, warmup, total, lowest):
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak - (peak - lowest) * (step - warmup) / (total - warmup)


@wrong("learning_rate")
def rate_falls_over_the_whole(step, peak, warmup, total, lowest):
    if step < warmup:
        return peak * (step + 1) / warmup
    return lowest + (peak - lowest) * (1 + math.cos(math.pi * step / total)) / 2


@wrong("learning_rate")
def rate_down_to_zero(step, peak, warmup, total, lowest):
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / (total - warmup)
    return max(lowest, peak * (1 + math.cos(math.pi * done)) / 2)


@wrong("train_step")
def step_of_the_unpacked_logits(model, optimizer, x, y, lr, grad_clip):
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad()
    loss = model(x, y)[0].mean()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
    optimizer.step()
    return loss.item()


@wrong("train_step")
def step_clips_after(model, optimizer, x, y, lr, grad_clip):
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad()
    _, loss = model(x, y)
    loss.backward()
    optimizer.step()
    nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
    return loss.item()


@wrong("train_step")
def step_of_a_detached_loss(model, optimizer, x, y, lr, grad_clip):
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad()
    with torch.no_grad():
        _, loss = model(x, y)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
    optimizer.step()
    return loss.item()


@wrong("train_step")
def step_with_inputs_as_targets(model, optimizer, x, y, lr, grad_clip):
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad()
    _, loss = model(x, x)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
    optimizer.step()
    return loss.item()


@wrong("train_step")
def step_multiplies_the_rate(model, optimizer, x, y, lr, grad_clip):
    for group in optimizer.param_groups:
        group["lr"] *= lr
    optimizer.zero_grad()
    _, loss = model(x, y)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
    optimizer.step()
    return loss.item()


@right("train_step")
def step_with_gradients_by_hand(model, optimizer, x, y, lr, grad_clip):
    [group.update(lr=lr) for group in optimizer.param_groups]
    loss = F.cross_entropy(model(x)[0].flatten(0, 1), y.flatten())
    model.zero_grad(set_to_none=True)
    for p, g in zip(model.parameters(), torch.autograd.grad(loss, list(model.parameters())), strict=True):
        p.grad = g
    nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
    optimizer.step()
    return float(loss)


@wrong("accumulation")
def accumulation_with_equal_shares(model, optimizer, x, y, parts):
    optimizer.zero_grad()
    total = 0
    for a, b in zip(x.chunk(parts), y.chunk(parts), strict=True):
        loss = model(a, b)[1] / parts
        loss.backward()
        total += loss.item()
    optimizer.step()
    return total


@wrong("accumulation")
def accumulation_steps_each_time(model, optimizer, x, y, parts):
    total = 0
    for a, b in zip(x.chunk(parts), y.chunk(parts), strict=True):
        optimizer.zero_grad()
        loss = model(a, b)[1] * len(a) / len(x)
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total


@wrong("accumulation")
def accumulation_of_the_sum(model, optimizer, x, y, parts):
    optimizer.zero_grad()
    total = 0
    for a, b in zip(x.chunk(parts), y.chunk(parts), strict=True):
        loss = model(a, b)[1]
        loss.backward()
        total += loss.item()
    optimizer.step()
    return total


# ---- 08


@wrong("temperature")
def temperature_without_greedy(logits, t):
    return logits / t


@wrong("temperature")
def temperature_multiplies(logits, t):
    return logits * t


@wrong("temperature")
def temperature_best_of_all(logits, t):
    if t == 0:
        return logits.masked_fill(logits < logits.max(), -torch.inf)
    return logits / t


@wrong("temperature")
def temperature_without_keepdim(logits, t):
    if t == 0:
        return logits.masked_fill(logits < logits.amax(-1), -torch.inf)
    return logits / t


@wrong("temperature")
def temperature_as_log_probabilities(logits, t):
    if t == 0:
        return torch.where(logits == logits.max(-1, keepdim=True).values, logits, -torch.inf)
    return (logits / t).log_softmax(-1)


@wrong("top_k")
def top_k_without_keepdim(logits, k):
    return logits.masked_fill(logits < logits.topk(min(k, logits.shape[-1])).values[..., -1], -torch.inf)


@wrong("top_k")
def top_k_in_place(logits, k):
    border = logits.topk(min(k, logits.shape[-1])).values[..., -1:]
    logits[logits < border] = -torch.inf
    return logits


@right("top_k")
def top_k_by_counting(logits, k):
    better = (logits[..., None, :] > logits[..., :, None]).sum(-1)
    return torch.where(better < k, logits, logits.new_tensor(-torch.inf))


@wrong("top_p")
def top_p_drops_the_crossing_but_the_first(logits, p):
    s, order = logits.sort(dim=-1, descending=True)
    drop = s.softmax(-1).cumsum(-1) > p
    drop[..., 0] = False
    return logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)


@wrong("top_p")
def top_p_sums_scores(logits, p):
    s, order = logits.sort(dim=-1, descending=True)
    drop = s.cumsum(-1) - s > p
    return logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)


@wrong("top_p")
def top_p_counts_along_the_batch(logits, p):
    s, order = logits.sort(dim=0, descending=True)
    probs = s.softmax(0)
    drop = probs.cumsum(0) - probs >= p
    return logits.masked_fill(torch.zeros_like(drop).scatter(0, order, drop), -torch.inf)


@right("top_p")
def top_p_from_the_small_end(logits, p):
    s, order = logits.sort(dim=-1)
    probs = s.softmax(-1)
    before = probs.flip(-1).cumsum(-1).flip(-1) - probs
    out = torch.empty_like(logits)
    return out.scatter_(-1, order, s.masked_fill(before >= p, -torch.inf))


@wrong("min_p")
def min_p_border_included(logits, p):
    probs = logits.softmax(-1)
    return logits.masked_fill(probs <= p * probs.amax(-1, keepdim=True), -torch.inf)


@right("min_p")
def min_p_by_logarithms(logits, p):
    return logits.masked_fill(logits < logits.amax(-1, keepdim=True) + math.log(p), -torch.inf)


@wrong("generate")
def loop_reads_all_again(model, idx, n, next_token, cache):
    for _ in range(n):
        scores = model(idx, cache=cache)[0]
        token = next_token(scores[:, -1])
        idx = torch.cat((idx, token), dim=1)
        yield token


@wrong("generate")
def loop_passes_the_wrong_shape(model, idx, n, next_token, cache):
    for _ in range(n):
        scores, _ = model(idx, cache=cache)
        idx = next_token(scores[-1])
        yield idx


@right("generate")
def loop_with_while(model, idx, n, next_token, cache):
    unread, done = idx, 0
    while done < n:
        scores, _ = model(unread, None, cache)
        unread = next_token(scores[:, scores.shape[1] - 1, :])
        done += 1
        yield unread.clone()


@wrong("kv_cache")
class OneTensorForAllLayers(Cache):
    def __init__(self, config, batch_size=1, device="cpu", dtype=None):
        super().__init__(config, batch_size, device, dtype)
        shape = (batch_size, config.n_kv_heads, config.max_seq_len, config.head_dim)
        self.k = [torch.zeros(shape, dtype=dtype)] * config.n_layers
        self.v = [torch.zeros(shape, dtype=dtype)] * config.n_layers


@wrong("kv_cache")
class ReturnsNewOnly(Cache):
    def store(self, layer, k, v):
        super().store(layer, k, v)
        return k, v


@wrong("kv_cache")
class StoreAdvances(Cache):
    def store(self, layer, k, v):
        pair = super().store(layer, k, v)
        self.length += k.shape[2]
        return pair

    def advance(self, n_new):
        pass


@right("kv_cache")
class CacheThatGrows(Cache):
    def store(self, layer, k, v):
        n = k.size(2)
        self.k[layer].narrow(2, self.length, n).copy_(k)
        self.v[layer].narrow(2, self.length, n).copy_(v)
        return [x[layer].narrow(2, 0, self.length + n) for x in (self.k, self.v)]


# ---- 09


@wrong("verdict")
def verdict_by_the_other_spread(base, other):
    apart = abs(np.mean(base) - np.mean(other)) / (max(other) - min(other))
    return apart, apart > 3


@wrong("verdict")
def verdict_with_numpys_deviation(base, other):
    apart = abs(np.mean(base) - np.mean(other)) / np.std(base)
    return apart, apart > 3


@wrong("equal_time_steps")
def steps_by_precedence(seconds, tokens_per_s, batch, block):
    return int(seconds * tokens_per_s / batch * block)


@wrong("bits_per_byte")
def bits_times_ln2(nats_per_token, bytes_per_token):
    return nats_per_token * math.log(2) / bytes_per_token


@right("verdict")
def verdict_with_numpy(base, other):
    base, other = np.array(base), np.array(other)
    apart = abs(base.mean() - other.mean()) / np.ptp(base)
    return float(apart), bool(apart > 3)


@right("bits_per_byte")
def bits_by_log2_e(nats_per_token, bytes_per_token):
    return nats_per_token * math.log2(math.e) / bytes_per_token


# ==== The second set


@wrong("rms_norm")
def norm_is_layer_norm(x, weight, eps):
    return F.layer_norm(widened(x), weight.shape, None, None, eps).to(x.dtype) * weight


@wrong("rms_norm")
def norm_squares_the_mean(x, weight, eps):
    w = widened(x)
    return (w / (w.mean(-1, keepdim=True) ** 2 + eps).sqrt()).to(x.dtype) * weight


@wrong("rms_norm")
def norm_times_the_root(x, weight, eps):
    w = widened(x)
    return (w * (w.pow(2).mean(-1, keepdim=True) + eps).sqrt()).to(x.dtype) * weight


@wrong("rms_norm")
def norm_mean_of_everything_without_axis(x, weight, eps):
    w = widened(x)
    return (w / (w.pow(2).mean() + eps).sqrt()).to(x.dtype) * weight


@wrong("rms_norm")
def norm_eps_squared(x, weight, eps):
    w = widened(x)
    return (w / (w.pow(2).mean(-1, keepdim=True) + eps**2).sqrt()).to(x.dtype) * weight


@wrong("rms_norm")
def norm_overwrites_x(x, weight, eps):
    x /= (x.pow(2).mean(-1, keepdim=True) + eps).sqrt()
    return x * weight


@wrong("rope_table")
def table_one_position_too_many(head_dim, max_seq_len, theta):
    i = torch.arange(head_dim // 2)
    angle = torch.outer(torch.arange(max_seq_len + 1).float(), theta ** (-2 * i / head_dim))
    return torch.stack((angle.cos(), angle.sin()))


@wrong("rope_table")
def table_exponent_with_head_dim_pairs(head_dim, max_seq_len, theta):
    i = torch.arange(head_dim // 2)
    angle = torch.outer(torch.arange(max_seq_len).float(), theta ** (-i / head_dim))
    return torch.stack((angle.cos(), angle.sin()))


@wrong("rope_table")
def table_as_a_tuple(head_dim, max_seq_len, theta):
    i = torch.arange(head_dim // 2)
    angle = torch.outer(torch.arange(max_seq_len).float(), theta ** (-2 * i / head_dim))
    return angle.cos(), angle.sin()


@wrong("rope_table")
def table_of_sine_twice(head_dim, max_seq_len, theta):
    i = torch.arange(head_dim // 2)
    angle = torch.outer(torch.arange(max_seq_len).float(), theta ** (-2 * i / head_dim))
    return torch.stack((angle.sin(), angle.sin()))


@wrong("rotate")
def rotate_interleaves_the_halves(x, table):
    cos, sin = table
    a, b = x.chunk(2, -1)
    return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2)


@wrong("rotate")
def rotate_writes_into_x(x, table):
    cos, sin = table
    n = x.shape[-1] // 2
    a, b = x[..., :n].clone(), x[..., n:].clone()
    x[..., :n], x[..., n:] = a * cos - b * sin, a * sin + b * cos
    return x


@wrong("rotate")
def rotate_takes_sin_for_cos(x, table):
    sin, cos = table
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), -1)


@wrong("rotary")
def rotary_joins_both(xq, xk, freqs_cis):
    cos, sin = freqs_cis
    both = torch.cat((xq, xk), 1)
    a, b = both.chunk(2, -1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), -1)


@wrong("rotary")
def rotary_returns_the_queries_twice(xq, xk, freqs_cis):
    cos, sin = freqs_cis

    def turn(x):
        a, b = x.chunk(2, -1)
        return torch.cat((a * cos - b * sin, a * sin + b * cos), -1)

    return turn(xq), turn(xq)


@wrong("rotary")
def rotary_second_half_first(xq, xk, freqs_cis):
    cos, sin = freqs_cis

    def turn(x):
        b, a = x.chunk(2, -1)
        return torch.cat((a * cos - b * sin, a * sin + b * cos), -1)

    return turn(xq), turn(xk)


def causal(T, S=None):
    return torch.ones(T, S or T, dtype=torch.bool).tril((S or T) - T)


@wrong("attention")
def attention_swaps_its_results(q, k, v):
    w = (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(~causal(q.shape[2]), -torch.inf).softmax(-1)
    return w, w @ v


@wrong("attention")
def attention_multiplies_by_the_triangle(q, k, v):
    w = (q @ k.mT / q.shape[-1] ** 0.5 * causal(q.shape[2])).softmax(-1)
    return w @ v, w


@wrong("attention")
def attention_sees_one_ahead(q, k, v):
    T = q.shape[2]
    w = (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(torch.ones(T, T).triu(2) == 1, -torch.inf).softmax(-1)
    return w @ v, w


@wrong("attention")
def attention_scales_the_values(q, k, v):
    w = (q @ k.mT).masked_fill(~causal(q.shape[2]), -torch.inf).softmax(-1)
    return w @ v / q.shape[-1] ** 0.5, w


@wrong("attention")
def attention_softmax_over_the_last_of_three(q, k, v):
    w = (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(~causal(q.shape[2]), -torch.inf).softmax(2)
    return w @ v, w


@wrong("gqa")
def gqa_uses_repeat(q, k, v):
    g = q.shape[1] // k.shape[1]
    k, v = k.repeat(1, g, 1, 1), v.repeat(1, g, 1, 1)
    return (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(~causal(q.shape[2], k.shape[2]), -torch.inf).softmax(-1) @ v


@wrong("gqa")
def gqa_mask_moved_the_wrong_way(q, k, v):
    g, T, S = q.shape[1] // k.shape[1], q.shape[2], k.shape[2]
    k, v = k.repeat_interleave(g, 1), v.repeat_interleave(g, 1)
    may = torch.ones(T, S, dtype=torch.bool).tril(T - S)
    return (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(~may, -torch.inf).softmax(-1) @ v


@wrong("gqa")
def gqa_returns_weights_too(q, k, v):
    g = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(g, 1), v.repeat_interleave(g, 1)
    w = (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(~causal(q.shape[2], k.shape[2]), -torch.inf).softmax(-1)
    return w @ v, w


@wrong("cache_bytes")
def cache_of_one_layer(n_layers, n_kv_heads, head_dim, n_tokens, bytes_per_number):
    return 2 * n_kv_heads * head_dim * n_tokens * bytes_per_number


@wrong("cache_bytes")
def cache_in_bits(n_layers, n_kv_heads, head_dim, n_tokens, bytes_per_number):
    return 2 * n_layers * n_kv_heads * head_dim * n_tokens * bytes_per_number * 8


@wrong("silu")
def silu_changes_its_input(x):
    gate = 1 / (1 + torch.exp(-x))
    x *= gate
    return x


@wrong("silu")
def silu_with_plus_in_the_exponent(x):
    return x / (1 + torch.exp(x))


@wrong("silu")
def silu_of_math(x):
    return x / (1 + math.exp(-x))


@wrong("swiglu")
def swiglu_forgets_to_come_back(x, w_gate, w_up, w_down):
    return F.silu(x @ w_gate.T) * (x @ w_up.T)


@wrong("swiglu")
def swiglu_without_transposing(x, w_gate, w_up, w_down):
    return (F.silu(x @ w_gate) * (x @ w_up)) @ w_down


@wrong("swiglu")
def swiglu_silu_at_the_end(x, w_gate, w_up, w_down):
    return F.silu((x @ w_gate.T) * (x @ w_up.T)) @ w_down.T


@wrong("selectivity")
def selectivity_by_means(gate, chosen):
    return float(gate[chosen].mean() > gate[~chosen].mean())


@wrong("selectivity")
def selectivity_over_all_pairs(gate, chosen):
    return (gate[chosen][:, None] > gate[None, :]).float().mean().item()


@wrong("block")
class BothFromTheSameInput(Parts):
    def forward(self, x, freqs_cis, cache=None):
        return x + self.attention(self.attention_norm(x), freqs_cis, cache) + self.feed_forward(self.ffn_norm(x))


@wrong("block")
class OneNormForBoth(Parts):
    def forward(self, x, freqs_cis, cache=None):
        x = x + self.attention(self.attention_norm(x), freqs_cis, cache)
        return x + self.feed_forward(self.attention_norm(x))


@wrong("block")
class NoNormAtAll(Parts):
    def forward(self, x, freqs_cis, cache=None):
        x = x + self.attention(x, freqs_cis, cache)
        return x + self.feed_forward(x)


class Whole(nn.Module):
    def __init__(self, config, block, norm, rope_table):
        super().__init__()
        self.tok_embeddings = nn.Embedding(config.vocab_size, config.dim)
        self.layers = nn.ModuleList([block(config, layer) for layer in range(config.n_layers)])
        self.norm = norm(config.dim, config.norm_eps)
        self.output = nn.Linear(config.dim, config.vocab_size, bias=False)
        if config.tie_embeddings:
            self.output.weight = self.tok_embeddings.weight
        table = rope_table(config.head_dim, config.max_seq_len, config.rope_theta)
        self.register_buffer("freqs_cis", table, persistent=False)

    def forward(self, idx, targets=None, cache=None):
        before = cache.length if cache else 0
        table = self.freqs_cis[:, before : before + idx.shape[1]]
        x = self.tok_embeddings(idx)
        for layer in self.layers:
            x = layer(x, table, cache)
        if cache:
            cache.advance(idx.shape[1])
        logits = self.output(self.norm(x))
        return logits, self.price(logits, targets)

    def price(self, logits, targets):
        return None if targets is None else F.cross_entropy(logits.flatten(0, 1), targets.flatten())


@wrong("model")
class ModelOfAList(Whole):
    def __init__(self, config, block, norm, rope_table):
        super().__init__(config, block, norm, rope_table)
        layers = list(self.layers)
        del self.layers
        self.layers = layers


@wrong("model")
class ModelReshapesForTheLoss(Whole):
    def price(self, logits, targets):
        return None if targets is None else F.cross_entropy(logits, targets)


@wrong("model")
class ModelWithABias(Whole):
    def __init__(self, config, block, norm, rope_table):
        super().__init__(config, block, norm, rope_table)
        self.output = nn.Linear(config.dim, config.vocab_size)
        if config.tie_embeddings:
            self.output.weight = self.tok_embeddings.weight


@wrong("count_parameters")
def count_with_all_heads(vocab_size, dim, n_layers, n_heads, n_kv_heads, hidden_dim, tied):
    layer = 4 * dim * dim + 3 * dim * hidden_dim + 2 * dim
    return vocab_size * dim * (1 if tied else 2) + n_layers * layer + dim


@wrong("count_parameters")
def count_ties_reversed(vocab_size, dim, n_layers, n_heads, n_kv_heads, hidden_dim, tied):
    layer = 2 * dim * dim + 2 * dim * n_kv_heads * dim // n_heads + 3 * dim * hidden_dim + 2 * dim
    return vocab_size * dim * (2 if tied else 1) + n_layers * layer + dim


@wrong("logit_lens")
def lens_without_the_embedding(model, idx):
    x, guesses = model.tok_embeddings(idx), []
    for layer in model.layers:
        x = layer(x, model.freqs_cis[:, : idx.shape[1]])
        guesses.append(model.output(model.norm(x)))
    return torch.stack(guesses)


@wrong("logit_lens")
def lens_of_the_last_position(model, idx):
    x = model.tok_embeddings(idx)
    guesses = [model.output(model.norm(x))[:, -1]]
    for layer in model.layers:
        x = layer(x, model.freqs_cis[:, : idx.shape[1]])
        guesses.append(model.output(model.norm(x))[:, -1])
    return torch.stack(guesses)


@wrong("most_common_pair")
def pair_of_the_most_common_token(ids):
    return max(set(ids), key=ids.count)


@wrong("merge")
def merge_keeps_the_second(ids, pair, new):
    out = []
    for i, token in enumerate(ids):
        out.append(new if tuple(ids[i : i + 2]) == tuple(pair) else token)
    return out


@wrong("merge")
def merge_only_once(ids, pair, new):
    for i in range(len(ids) - 1):
        if (ids[i], ids[i + 1]) == tuple(pair):
            return [*ids[:i], new, *ids[i + 2 :]]
    return list(ids)


@wrong("merge")
def merge_runs_over_the_end(ids, pair, new):
    out, i = [], 0
    while i < len(ids):
        if (ids[i], ids[i + 1]) == tuple(pair):
            out.append(new)
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return out


@wrong("next_token_batch")
def batch_rolls_the_rows(tokens, starts, block_size):
    x = tokens[starts[:, None] + torch.arange(block_size)]
    return x, x.roll(-1, 1)


@wrong("next_token_batch")
def batch_of_one_tensor(tokens, starts, block_size):
    return tokens[starts[:, None] + torch.arange(block_size + 1)]


@wrong("next_token_batch")
def batch_from_the_next_block(tokens, starts, block_size):
    i = starts[:, None] + torch.arange(block_size)
    return tokens[i], tokens[(i + block_size) % len(tokens)]


@wrong("mean_loss")
def loss_of_softmaxed(logits, y):
    return F.cross_entropy(logits.softmax(-1).flatten(0, 1), y.flatten())


@wrong("mean_loss")
def loss_over_everything(logits, y):
    return F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="sum") / y.numel()


@wrong("mean_loss")
def loss_without_flattening(logits, y):
    return F.cross_entropy(logits, y)


@wrong("mean_loss")
def loss_gathers_minus_100(logits, y):
    return -logits.log_softmax(-1).gather(-1, y[..., None]).mean()


@wrong("learning_rate")
def rate_without_pi(step, peak, warmup, total, lowest):
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / (total - warmup)
    return peak * (lowest + (1 - lowest) * (1 + math.cos(done)) / 2)


@wrong("learning_rate")
def rate_counts_the_warmup(step, peak, warmup, total, lowest):
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (lowest + (1 - lowest) * (1 + math.cos(math.pi * step / total)) / 2)


@wrong("learning_rate")
def rate_divides_by_no_warmup(step, peak, warmup, total, lowest):
    if step <= warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / (total - warmup)
    return peak * (lowest + (1 - lowest) * (1 + math.cos(math.pi * done)) / 2)


@wrong("learning_rate")
def rate_adds_lowest(step, peak, warmup, total, lowest):
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / (total - warmup)
    return peak * (lowest + (1 + math.cos(math.pi * done)) / 2)


def step_of(*lines, loss_of=lambda model, x, y: model(x, y)[1]):
    def my_train_step(model, optimizer, x, y, lr, grad_clip):
        loss = loss_of(model, x, y)
        for line in lines:
            if line == "rate":
                for group in optimizer.param_groups:
                    group["lr"] = lr
            if line == "attribute":
                optimizer.lr = lr
            if line == "empty":
                optimizer.zero_grad()
            if line == "backward":
                loss.backward()
            if line == "clip":
                nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
            if line == "clip to one":
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            if line == "step":
                optimizer.step()
            if line == "again":
                loss = loss_of(model, x, y)
        return loss.item()

    return my_train_step


for name, lines in {
    "sets_an_attribute": ("attribute", "empty", "backward", "clip", "step"),
    "clips_before_backward": ("rate", "empty", "clip", "backward", "step"),
    "clips_to_one": ("rate", "empty", "backward", "clip to one", "step"),
    "returns_the_loss_after": ("rate", "empty", "backward", "clip", "step", "again"),
    "never_steps": ("rate", "empty", "backward", "clip"),
}.items():
    work = step_of(*lines)
    work.__name__ = f"step_{name}"
    wrong("train_step")(work)


def accumulate_of(share, empty_each=False, empty=True, result="sum"):
    def my_accumulate(model, optimizer, x, y, parts):
        if empty:
            optimizer.zero_grad()
        total = 0.0
        for a, b in zip(x.tensor_split(parts), y.tensor_split(parts), strict=True):
            if empty_each:
                optimizer.zero_grad()
            loss = model(a, b)[1]
            (loss * share(a, x, parts)).backward()
            total = loss.item() if result == "last" else total + (loss * share(a, x, parts)).item()
        optimizer.step()
        return total

    return my_accumulate


for name, work in {
    "empties_each_time": accumulate_of(lambda a, x, parts: len(a) / len(x), empty_each=True),
    "never_empties": accumulate_of(lambda a, x, parts: len(a) / len(x), empty=False),
    "returns_the_last_piece": accumulate_of(lambda a, x, parts: len(a) / len(x), result="last"),
}.items():
    work.__name__ = f"accumulation_{name}"
    wrong("accumulation")(work)


@wrong("temperature")
def temperature_returns_the_token(logits, t):
    return logits.argmax(-1) if t == 0 else logits / t


@wrong("temperature")
def temperature_one_hot(logits, t):
    if t == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).float()
    return logits / t


@wrong("temperature")
def temperature_softmax_first(logits, t):
    if t == 0:
        return logits.masked_fill(logits < logits.amax(-1, keepdim=True), -torch.inf)
    return logits.softmax(-1) / t


@wrong("top_k")
def top_k_returns_the_values(logits, k):
    return logits.topk(min(k, logits.shape[-1]), dim=-1).values


@wrong("top_k")
def top_k_strictly_larger(logits, k):
    border = logits.topk(min(k, logits.shape[-1]), dim=-1).values[..., -1:]
    return torch.where(logits > border, logits, -torch.inf)


@wrong("top_k")
def top_k_minus_large_number(logits, k):
    border = logits.topk(min(k, logits.shape[-1]), dim=-1).values[..., -1:]
    return torch.where(logits >= border, logits, -100.0)


@wrong("top_p")
def top_p_renormalises(logits, p):
    s, order = logits.sort(dim=-1, descending=True)
    probs = s.softmax(-1)
    probs = probs.masked_fill(probs.cumsum(-1) - probs >= p, 0.0)
    return torch.zeros_like(probs).scatter(-1, order, probs / probs.sum(-1, keepdim=True))


@wrong("top_p")
def top_p_starts_with_the_least(logits, p):
    s, order = logits.sort(dim=-1)
    probs = s.softmax(-1)
    drop = probs.cumsum(-1) - probs >= p
    return logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)


@wrong("top_p")
def top_p_drops_the_crossing_one(logits, p):
    s, order = logits.sort(dim=-1, descending=True)
    drop = s.softmax(-1).cumsum(-1) > p
    return logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)


@wrong("min_p")
def min_p_of_the_mean(logits, p):
    probs = logits.softmax(-1)
    return logits.masked_fill(probs < p * probs.mean(-1, keepdim=True), -torch.inf)


@wrong("min_p")
def min_p_absolute(logits, p):
    return logits.masked_fill(logits.softmax(-1) < p, -torch.inf)


@wrong("generate")
def loop_takes_the_last_of_the_batch(model, idx, n, next_token, cache):
    for _ in range(n):
        idx = next_token(model(idx, cache=cache)[0][:, -1:])
        yield idx


@wrong("generate")
def loop_collects(model, idx, n, next_token, cache):
    out = []
    for _ in range(n):
        idx = next_token(model(idx, cache=cache)[0][:, -1])
        out.append(idx)
    return torch.cat(out, 1)


@wrong("kv_cache")
class CacheGivesTheWholeRoom(Cache):
    def store(self, layer, k, v):
        super().store(layer, k, v)
        return self.k[layer], self.v[layer]


@wrong("kv_cache")
class CacheNeverForgets(Cache):
    def reset(self):
        for room in (*self.k, *self.v):
            room.zero_()


@wrong("kv_cache")
class CacheStoresValuesAsKeys(Cache):
    def store(self, layer, k, v):
        return super().store(layer, v, k)


@wrong("verdict")
def verdict_without_abs(base, other):
    apart = (sum(other) / len(other) - sum(base) / len(base)) / (max(base) - min(base))
    return apart, apart > 3


@wrong("verdict")
def verdict_from_three_on(base, other):
    apart = abs(sum(other) / len(other) - sum(base) / len(base)) / (max(base) - min(base))
    return apart, apart >= 3


@wrong("equal_time_steps")
def steps_as_float(seconds, tokens_per_s, batch, block):
    return seconds * tokens_per_s / (batch * block)


@wrong("bits_per_byte")
def bits_of_the_exponential(nats_per_token, bytes_per_token):
    return math.exp(nats_per_token) / math.log(2) / bytes_per_token


# ---- right


@right("rms_norm")
def norm_by_a_dot_product(x, weight, eps):
    w = widened(x)
    scale = ((w[..., None, :] @ w[..., :, None])[..., 0] / x.size(-1) + eps).reciprocal().sqrt()
    return w.mul(scale).type_as(x).mul(weight)


@right("rope_table")
def table_by_polar(head_dim, max_seq_len, theta):
    speed = torch.exp(-math.log(theta) * torch.arange(0, head_dim, 2) / head_dim)
    z = torch.polar(torch.ones(()), torch.arange(max_seq_len)[:, None] * speed)
    return torch.view_as_real(z).permute(2, 0, 1).contiguous()


@right("rotate")
def rotate_by_a_swap(x, table):
    cos, sin = (torch.cat((part, part), -1) for part in table)
    a, b = x.split(x.shape[-1] // 2, -1)
    return x * cos + torch.cat((-b, a), -1) * sin


@right("rotary")
def rotary_in_one_call(xq, xk, freqs_cis):
    cos, sin = freqs_cis[0], freqs_cis[1]
    both = torch.cat((xq, xk), 1)
    a, b = both.tensor_split(2, -1)
    both = torch.cat((a * cos - b * sin, b * cos + a * sin), -1)
    return both.split((xq.shape[1], xk.shape[1]), 1)


@right("attention")
def attention_token_by_token(q, k, v):
    T = q.shape[2]
    weights = torch.zeros(*q.shape[:3], T, dtype=q.dtype)
    for t in range(T):
        scores = (q[:, :, t, None] * k[:, :, : t + 1]).sum(-1) / math.sqrt(q.shape[-1])
        weights[:, :, t, : t + 1] = torch.softmax(scores, -1)
    return torch.einsum("bhts,bhsd->bhtd", weights, v), weights


@right("gqa")
def gqa_head_by_head(q, k, v):
    g, T, S = q.shape[1] // k.shape[1], q.shape[2], k.shape[2]
    out = []
    for h in range(q.shape[1]):
        scores = q[:, h] @ k[:, h // g].mT * q.shape[-1] ** -0.5
        out.append((scores + torch.full((T, S), -torch.inf, dtype=q.dtype).triu(S - T + 1)).softmax(-1) @ v[:, h // g])
    return torch.stack(out, 1)


@right("silu")
def silu_by_tanh(x):
    return x * 0.5 * (1 + (x / 2).tanh())


@right("swiglu")
def swiglu_by_linear(x, w_gate, w_up, w_down):
    gate, up = F.linear(x, torch.cat((w_gate, w_up))).chunk(2, -1)
    return F.linear(gate / (1 + (-gate).exp()) * up, w_down)


@right("selectivity")
def selectivity_by_loops(gate, chosen):
    pairs = [(a, b) for a in gate[chosen] for b in gate[~chosen]]
    return sum(bool(a > b) for a, b in pairs) / len(pairs)


@right("block")
class BlockInOneLine(Parts):
    def forward(self, x, freqs_cis, cache=None):
        return (h := x + self.attention(self.attention_norm(x), freqs_cis, cache)) + self.feed_forward(self.ffn_norm(h))


right("model")(Whole)


@right("merge")
def merge_with_a_stack(ids, pair, new):
    out, free = [], False
    for token in ids:
        if free and out[-1] == pair[0] and token == pair[1]:
            out[-1], free = new, False
        else:
            out.append(token)
            free = True
    return out


@right("next_token_batch")
def batch_by_lists(tokens, starts, block_size):
    rows = torch.stack([tokens[s : s + block_size + 1] for s in starts.tolist()])
    return rows[:, :block_size].clone(), rows[:, 1:].clone()


@right("mean_loss")
def loss_with_transposed_scores(logits, y):
    return F.cross_entropy(logits.permute(0, 2, 1), y, ignore_index=-100)


@right("temperature")
def temperature_by_where(logits, t):
    best = logits.max(dim=-1, keepdim=True)[0]
    return logits.div(t) if t else torch.where(logits.lt(best), torch.tensor(-torch.inf), logits)


@right("top_k")
def top_k_by_sorting_upwards(logits, k):
    k = min(k, logits.size(-1))
    border = logits.sort(-1)[0][..., -k].unsqueeze(-1)
    return logits.masked_fill(logits.lt(border), float("-inf"))


@right("min_p")
def min_p_by_log_softmax(logits, p):
    logs = logits.log_softmax(-1)
    return torch.where(logs >= logs.max(-1, keepdim=True).values + math.log(p), logits, -torch.inf)


@right("generate")
def loop_by_recursion(model, idx, n, next_token, cache):
    if n:
        token = next_token(model(idx, cache=cache)[0][:, -1, :])
        yield token
        yield from loop_by_recursion(model, token, n - 1, next_token, cache)


@right("equal_time_steps")
def steps_by_divmod(seconds, tokens_per_s, batch, block):
    return int(divmod(seconds * tokens_per_s, batch * block)[0])


# ==== The third set


@wrong("rms_norm")
def norm_half_root(x, weight, eps):
    w = widened(x)
    return (w / (w.pow(2).mean(-1, keepdim=True) + eps) ** 2).to(x.dtype) * weight


@wrong("rms_norm")
def norm_sum_over_sqrt(x, weight, eps):
    w = widened(x)
    return (w / (w.abs().mean(-1, keepdim=True) ** 2 + eps).sqrt()).to(x.dtype) * weight


@wrong("rms_norm")
def norm_weight_divides(x, weight, eps):
    w = widened(x)
    return (w / (w.pow(2).mean(-1, keepdim=True) + eps).sqrt()).to(x.dtype) / weight


@wrong("rms_norm")
def norm_mean_over_feature_without_square(x, weight, eps):
    w = widened(x)
    return (w / (w.mean(-1, keepdim=True) + eps)).to(x.dtype) * weight


@wrong("rope_table")
def table_theta_to_the_plus(head_dim, max_seq_len, theta):
    a = torch.outer(torch.arange(max_seq_len).float(), theta ** (torch.arange(head_dim // 2) * 2 / head_dim))
    return torch.stack((a.cos(), a.sin()))


@wrong("rope_table")
def table_stack_last(head_dim, max_seq_len, theta):
    a = torch.outer(torch.arange(max_seq_len).float(), theta ** (-torch.arange(head_dim // 2) * 2 / head_dim))
    return torch.stack((a.cos(), a.sin()), -1)


@wrong("rotate")
def rotate_adds_in_first(x, table):
    c, s = table
    a, b = x.chunk(2, -1)
    return torch.cat((a * c + b * s, b * c - a * s), -1)


@wrong("rotate")
def rotate_ignores_b(x, table):
    c, s = table
    a, b = x.chunk(2, -1)
    return torch.cat((a * c, b * s), -1)


@wrong("rotary")
def rotary_only_q(xq, xk, t):
    c, s = t
    a, b = xq.chunk(2, -1)
    return torch.cat((a * c - b * s, a * s + b * c), -1), xk


@wrong("attention")
def att_no_mask_no_scale(q, k, v):
    w = (q @ k.mT).softmax(-1)
    return w @ v, w


@wrong("attention")
def att_mask_columns(q, k, v):
    T = q.shape[2]
    w = (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(torch.ones(T, T).tril(-1) == 1, -torch.inf).softmax(-1)
    return w @ v, w


@wrong("attention")
def att_kt(q, k, v):
    w = (q @ k / q.shape[-1] ** 0.5).softmax(-1)
    return w @ v, w


@wrong("gqa")
def gqa_forgets_v(q, k, v):
    k = k.repeat_interleave(q.shape[1] // k.shape[1], 1)
    T, S = q.shape[2], k.shape[2]
    return (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(
        ~torch.ones(T, S, dtype=torch.bool).tril(S - T), -torch.inf
    ).softmax(-1) @ v


@wrong("gqa")
def gqa_no_mask(q, k, v):
    g = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(g, 1), v.repeat_interleave(g, 1)
    return (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v


@wrong("gqa")
def gqa_scale_by_model_width(q, k, v):
    g = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(g, 1), v.repeat_interleave(g, 1)
    T, S = q.shape[2], k.shape[2]
    return (q @ k.mT / (q.shape[1] * q.shape[-1]) ** 0.5).masked_fill(
        ~torch.ones(T, S, dtype=torch.bool).tril(S - T), -torch.inf
    ).softmax(-1) @ v


@wrong("cache_bytes")
def cache_no_heads(n_layers, n_kv_heads, head_dim, n_tokens, b):
    return 2 * n_layers * head_dim * n_tokens * b


@wrong("silu")
def silu_is_relu(x):
    return torch.maximum(x, torch.zeros_like(x))


@wrong("silu")
def silu_log(x):
    return torch.log(1 + torch.exp(x))


@wrong("swiglu")
def swiglu_silu_of_x(x, g, u, d):
    return (F.silu(x @ g.T) + (x @ u.T)) @ d.T


@wrong("swiglu")
def swiglu_tanh(x, g, u, d):
    return (torch.tanh(x @ g.T) * (x @ u.T)) @ d.T


@wrong("selectivity")
def sel_less(gate, chosen):
    return (gate[chosen][:, None] < gate[~chosen]).float().mean().item()


@wrong("selectivity")
def sel_wrong_group(gate, chosen):
    return (gate[chosen] > gate[~chosen].max()).float().mean().item()


@wrong("block")
class NoResidual(Parts):
    def forward(self, x, f, cache=None):
        x = self.attention(self.attention_norm(x), f, cache)
        return self.feed_forward(self.ffn_norm(x))


@wrong("block")
class FeedForwardFirst(Parts):
    def forward(self, x, f, cache=None):
        x = x + self.feed_forward(self.ffn_norm(x))
        return x + self.attention(self.attention_norm(x), f, cache)


@wrong("block")
class SecondNormTwice(Parts):
    def forward(self, x, f, cache=None):
        x = x + self.attention(self.attention_norm(x), f, cache)
        return x + self.feed_forward(self.ffn_norm(self.ffn_norm(x)))


@wrong("count_parameters")
def count_two_mats(V, D, L, H, K, Fh, tied):
    d = D // H
    return V * D * (1 if tied else 2) + L * (2 * D * D + 2 * D * K * d + 2 * D * Fh + 2 * D) + D


@wrong("count_parameters")
def count_final_norm(V, D, L, H, K, Fh, tied):
    d = D // H
    return V * D * (1 if tied else 2) + L * (2 * D * D + 2 * D * K * d + 3 * D * Fh + 2 * D)


@wrong("logit_lens")
def lens_reversed(model, idx):
    x = model.tok_embeddings(idx)
    g = [model.output(model.norm(x))]
    for layer in model.layers:
        x = layer(x, model.freqs_cis[:, : idx.shape[1]])
        g.append(model.output(model.norm(x)))
    return torch.stack(g[::-1])


@wrong("merge")
def merge_never(ids, pair, new):
    out, i = [], 0
    while i < len(ids):
        if ids[i : i + 2] == pair:
            out.append(new)
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return out


@wrong("merge")
def merge_any_order(ids, pair, new):
    out, i = [], 0
    while i < len(ids):
        if set(ids[i : i + 2]) == set(pair) and i + 1 < len(ids):
            out.append(new)
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return out


@wrong("next_token_batch")
def batch_starts_plus(tokens, starts, B):
    i = starts[:, None] + torch.arange(1, B + 1)
    return tokens[i], tokens[(i + 1) % len(tokens)]


@wrong("mean_loss")
def loss_first_target(logits, y):
    return -logits.log_softmax(-1)[..., 0].mean()


@wrong("mean_loss")
def loss_nll(logits, y):
    return F.nll_loss(logits.flatten(0, 1), y.flatten())


@wrong("learning_rate")
def rate_sin(step, peak, warmup, total, lowest):
    if step < warmup:
        return peak * (step + 1) / warmup
    d = (step - warmup) / (total - warmup)
    return peak * (lowest + (1 - lowest) * (1 - math.sin(math.pi * d / 2)))


@wrong("learning_rate")
def rate_no_lowest_factor(step, peak, warmup, total, lowest):
    if step < warmup:
        return peak * (step + 1) / warmup
    d = (step - warmup) / (total - warmup)
    return peak * lowest + peak * (1 + math.cos(math.pi * d)) / 2


@wrong("train_step")
def step_sum(model, opt, x, y, lr, clip):
    for g in opt.param_groups:
        g["lr"] = lr
    opt.zero_grad()
    loss = model(x, y)[1]
    (loss * x.numel()).backward()
    nn.utils.clip_grad_norm_(model.parameters(), clip)
    opt.step()
    return loss.item()


@wrong("train_step")
def step_two_steps(model, opt, x, y, lr, clip):
    for g in opt.param_groups:
        g["lr"] = lr
    opt.zero_grad()
    loss = model(x, y)[1]
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), clip)
    opt.step()
    opt.step()
    return loss.item()


@wrong("train_step")
def step_lr_divided(model, opt, x, y, lr, clip):
    for g in opt.param_groups:
        g["lr"] = lr / len(x)
    opt.zero_grad()
    loss = model(x, y)[1]
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), clip)
    opt.step()
    return loss.item()


@wrong("accumulation")
def acc_no_step(model, opt, x, y, parts):
    opt.zero_grad()
    t = 0.0
    for a, b in zip(x.chunk(parts), y.chunk(parts), strict=True):
        loss = model(a, b)[1] * len(a) / len(x)
        loss.backward()
        t += loss.item()
    return t


@wrong("temperature")
def temp_ones(logits, t):
    if t == 0:
        return logits
    return logits / t


@wrong("temperature")
def temp_power(logits, t):
    if t == 0:
        return logits.masked_fill(logits < logits.amax(-1, keepdim=True), -torch.inf)
    return logits * (1 / t) ** 2


@wrong("top_k")
def topk_keep_indices(logits, k):
    return logits.topk(min(k, logits.shape[-1]), -1).indices


@wrong("top_k")
def topk_smallest(logits, k):
    b = logits.topk(min(k, logits.shape[-1]), -1, largest=False).values[..., -1:]
    return logits.masked_fill(logits > b, -torch.inf)


@wrong("top_p")
def topp_le(logits, p):
    s, o = logits.sort(-1, descending=True)
    drop = s.softmax(-1).cumsum(-1) < p
    return logits.masked_fill(torch.zeros_like(drop).scatter(-1, o, drop), -torch.inf)


@wrong("top_p")
def topp_not_sorted(logits, p):
    pr = logits.softmax(-1)
    return logits.masked_fill(pr.cumsum(-1) > p, -torch.inf)


@wrong("min_p")
def minp_log(logits, p):
    return logits.masked_fill(logits < p * logits.amax(-1, keepdim=True), -torch.inf)


@wrong("min_p")
def minp_one_minus(logits, p):
    pr = logits.softmax(-1)
    return logits.masked_fill(pr.amax(-1, keepdim=True) - pr > p, -torch.inf)


@wrong("generate")
def gen_argmax(model, idx, n, next_token, cache):
    for _ in range(n):
        idx = model(idx, cache=cache)[0][:, -1].argmax(-1, keepdim=True)
        yield idx


@wrong("generate")
def gen_off(model, idx, n, next_token, cache):
    for _ in range(n - 1):
        idx = next_token(model(idx, cache=cache)[0][:, -1])
        yield idx


@wrong("kv_cache")
class AlwaysStoresAtZero(Cache):
    def store(self, layer, k, v):
        n = k.shape[2]
        self.k[layer][:, :, :n] = k
        self.v[layer][:, :, :n] = v
        e = self.length + n
        return self.k[layer][:, :, :e], self.v[layer][:, :, :e]


@wrong("kv_cache")
class AdvanceSetsTheLength(Cache):
    def advance(self, n):
        self.length = n


@wrong("verdict")
def verdict_border(base, other):
    a = abs(sum(other) / len(other) - sum(base) / len(base)) / (max(base) - min(base))
    return a, a > 2


@wrong("verdict")
def verdict_var(base, other):
    m = sum(base) / len(base)
    a = abs(sum(other) / len(other) - m) / (sum((b - m) ** 2 for b in base) / len(base))
    return a, a > 3


@wrong("equal_time_steps")
def steps_nobatch(s, t, b, k):
    return int(s * t / k)


@wrong("bits_per_byte")
def bits_log(n, b):
    return math.log2(n / b)


CAUSES = {
    "norm_without_keepdim": "axis_of_the_mean_dropped",
    "norm_over_axis_one": "mean_over_axis_one",
    "norm_over_axis_zero": "mean_over_axis_zero",
    "norm_casts_after_the_weight": "In 16 bits the weight",
    "norm_eps_outside_in_own_precision": "eps_outside_the_root",
    "norm_weight_before": "weight_multiplied_before_the_norm",
    "norm_weight_added": "weight_added",
    "norm_eps_of_its_own": "eps_of_its_own",
    "table_with_base_ten_thousand": "theta_fixed_at_ten_thousand",
    "table_of_complex_numbers": "Shape of",
    "table_concatenated": "Shape of",
    "table_in_64_bits": "has dtype",
    "turns_the_second_half_only": "another length",
    "both_signs_plus": "both_products_added",
    "overwrites_the_first_half": "first_half_overwritten",
    "table_on_the_heads": "Two tensors do not fit",
    "same_angle_at_every_position": "one_row_of_the_table_for_all",
    "only_queries_returned": "It returned",
    "mask_times_minus_infinity": "mask_multiplied_by_infinity",
    "root_of_the_heads": "scores_scaled_by_the_number_of_heads",
    "keys_transposed_fully": "Two tensors do not fit",
    "mixed_values_only": "It returned",
    "strict_triangle": "own_key_hidden_by_a_large_number",
    "gqa_square_mask": "square_mask",
    "gqa_repeat_on_positions": "positions_repeated_instead_of_heads",
    "gqa_not_scaled": "grouped_scores_not_scaled",
    "cache_without_values": "keys_only",
    "cache_in_mebibytes": "Every expected number is",
    "silu_by_exp_ratio": "exponential_overflows",
    "silu_with_a_masked_loop": None,
    "silu_of_the_quick_gelu": "sigmoid_of_a_multiple",
    "gate_weights_twice": "gate_times_itself",
    "weights_viewed": "matrices_reshaped",
    "PlainAsWideAsSwiGLU": "as_wide_as_the_swiglu",
    "PlainWithRelu": "relu_not_squared",
    "PlainSquaresFirst": "squared_without_relu",
    "PlainReluAtTheEnd": "curve_at_the_end",
    "PlainTimesTwo": "relu_doubled",
    "PlainForgetsToComeBack": "the output",
    "PlainWithBiases": "BiasKept",
    "PlainWithOtherNames": "Its weights should be w_up.weight",
    "PlainFloatWidth": "Your code raised TypeError",
    "PlainWidthOfTheDims": "four_times_dim",
    "selectivity_in_percent": "pairs_in_per_cent",
    "PostNorm": "post_norm",
    "SecondResidualFromTheInput": "residual_from_before_attention",
    "ResidualOfTheNormed": "residual_stream_normed",
    "lens_norm_at_the_end_only": "norm_before_the_last_guess_only",
    "lens_of_log_probabilities": "log_probabilities_instead_of_logits",
    "lens_stacked_behind": "Shape of",
    "lens_with_the_whole_table": "Two tensors do not fit",
    "count_without_norms": "norms_not_counted",
    "count_of_two_norms_in_all": "one_norm_per_layer",
    "pair_without_order": "order_of_the_pair_lost",
    "pair_with_its_count": "pair_with_its_count",
    "pairs_in_steps_of_two": "every_second_position_only",
    "merge_from_the_right": "merged_from_the_right",
    "merge_loses_the_last": "last_token_lost",
    "merge_in_place": "in place",
    "encode_by_a_dictionary": "leftmost_pair_first",
    "encode_returns_in_the_loop": "only_the_first_merge",
    "encode_never_assigns": "each_merge_on_the_text_as_it_came",
    "encode_backwards": "newest_merge_first",
    "encode_index_error": "list index out of range",
    "bytes_with_append": "thing that it returned is '[195, 175]'",
    "bytes_by_ord": "code_point_in_place_of_bytes",
    "bytes_by_try": "whole_text_in_bytes_where_one_is_unknown",
    "bytes_in_latin": "It returned",
    "decode_one_by_one": "each_token_by_itself",
    "decode_strictly": "broken_bytes_raise",
    "decode_to_bytes": "bytes_returned",
    "decode_ignores": "broken_bytes_left_out",
    "decode_with_question_marks": None,
    "units_in_nats": "nats_per_byte",
    "units_mean_per_byte": "mean_loss_shared_among_the_bytes",
    "units_exp_of_all": "perplexity_of_the_sum",
    "units_power_of_two": "two_to_a_loss_in_nats",
    "units_with_point_69": "ln 2 was rounded",
    "units_only_bits": "It returned",
    "batch_by_a_reshape": "starts_not_used",
    "batch_with_lists_of_one_row": "axis_of_the_rows_missing",
    "loss_shifted_again": "targets_moved_once_more",
    "loss_to_base_ten": "loss_to_base_ten",
    "loss_by_exponentials": "exponentials_overflow",
    "loss_flattened_wrongly": "rows_and_positions_flattened_apart",
    "rate_starts_at_zero": "warmup_starts_at_zero",
    "rate_falls_in_a_line": "straight_line_to_a_rate",
    "rate_falls_over_the_whole": None,
    "rate_down_to_zero": None,
    "step_of_the_unpacked_logits": "mean_of_the_logits_as_the_loss",
    "step_clips_after": "gradients_not_clipped",
    "step_of_a_detached_loss": "no path back",
    "step_with_inputs_as_targets": "inputs_taken_as_targets",
    "step_multiplies_the_rate": "learning_rate_multiplied",
    "accumulation_with_equal_shares": "update_and_loss_with_equal_shares",
    "accumulation_steps_each_time": "update_of_its_own_for_every_piece",
    "accumulation_of_the_sum": "update_and_loss_without_shares",
    "temperature_without_greedy": "zero_not_handled",
    "temperature_multiplies": "multiplied_by_t",
    "temperature_best_of_all": "one_greedy_choice_for_all_rows",
    "temperature_without_keepdim": "Two tensors do not fit",
    "temperature_as_log_probabilities": "a_constant_subtracted",
    "top_k_without_keepdim": "Two tensors do not fit",
    "top_k_in_place": "in place",
    "top_p_drops_the_crossing_but_the_first": "crossing_token_removed_but_the_first_kept",
    "top_p_sums_scores": "scores_added_up",
    "top_p_counts_along_the_batch": "added_up_along_the_batch",
    "min_p_border_included": "the_best_removed_too",
    "loop_reads_all_again": "reads_the_whole_text_into_a_filled_cache",
    "loop_passes_the_wrong_shape": "Shape of",
    "OneTensorForAllLayers": "OneRoomForAllLayers",
    "ReturnsNewOnly": "GivesOnlyTheNew",
    "StoreAdvances": "CountsInStore",
    "verdict_by_the_other_spread": "noise_of_the_new_row",
    "verdict_with_numpys_deviation": "population_standard_deviation",
    "steps_by_precedence": "multiplied_by_the_block",
    "bits_times_ln2": "multiplied_by_ln_2",
    "norm_is_layer_norm": "mean_subtracted",
    "norm_squares_the_mean": "square_of_the_mean",
    "norm_times_the_root": "multiplied_by_the_rms",
    "norm_mean_of_everything_without_axis": "one_scale_for_all_tokens",
    "norm_eps_squared": "eps_squared",
    "norm_overwrites_x": "mean_square_in_16_bits",
    "table_one_position_too_many": "Shape of",
    "table_exponent_with_head_dim_pairs": "exponent_i_over_d",
    "table_as_a_tuple": "It returned",
    "table_of_sine_twice": "sines_twice",
    "rotate_interleaves_the_halves": "pairs_left_side_by_side",
    "rotate_writes_into_x": "in place",
    "rotate_takes_sin_for_cos": "sine_and_cosine_exchanged",
    "rotary_joins_both": "It returned",
    "rotary_returns_the_queries_twice": "Shape of",
    "rotary_second_half_first": "halves_of_both_exchanged",
    "attention_swaps_its_results": "Shape of",
    "attention_multiplies_by_the_triangle": "hidden_scores_set_to_zero",
    "attention_sees_one_ahead": "one_future_key_visible",
    "attention_scales_the_values": "mixed_values_scaled",
    "attention_softmax_over_the_last_of_three": "softmax_over_queries",
    "gqa_uses_repeat": "kv_heads_repeated_in_turn",
    "gqa_mask_moved_the_wrong_way": "mask_moved_to_the_left",
    "gqa_returns_weights_too": "It returned",
    "cache_of_one_layer": "layers_not_counted",
    "cache_in_bits": "bits_instead_of_bytes",
    "silu_changes_its_input": "in place",
    "silu_with_plus_in_the_exponent": "sign_of_the_exponent_reversed",
    "silu_of_math": "Python's `math`",
    "swiglu_forgets_to_come_back": "Shape of",
    "swiglu_without_transposing": "no_matrix_transposed",
    "swiglu_silu_at_the_end": "silu_after_the_product",
    "selectivity_by_means": "means_compared",
    "selectivity_over_all_pairs": "compared_with_all_words",
    "BothFromTheSameInput": "feed_forward_reads_the_block_input",
    "OneNormForBoth": "one_norm_for_both_parts",
    "NoNormAtAll": "no_norm",
    "ModelOfAList": "Trained weights",
    "ModelReshapesForTheLoss": "`cross_entropy` looks",
    "ModelWithABias": "Trained weights",
    "count_with_all_heads": "keys_and_values_for_every_query_head",
    "count_ties_reversed": "tied_read_the_wrong_way_round",
    "lens_without_the_embedding": "guess_before_the_first_layer_missing",
    "lens_of_the_last_position": "Shape of",
    "pair_of_the_most_common_token": "It returned",
    "merge_keeps_the_second": "second_token_kept",
    "merge_only_once": "first_occurrence_only",
    "merge_runs_over_the_end": "list index out of range",
    "batch_rolls_the_rows": "targets_wrap_around",
    "batch_of_one_tensor": "It returned",
    "batch_from_the_next_block": "targets_of_the_next_block",
    "loss_of_softmaxed": "softmax_taken_twice",
    "loss_over_everything": "mean_over_all_positions",
    "loss_without_flattening": "`cross_entropy` looks",
    "loss_gathers_minus_100": "The index -100",
    "rate_without_pi": "angle_without_pi",
    "rate_counts_the_warmup": "decay_counted_from_step_zero",
    "rate_divides_by_no_warmup": "warmup_one_step_too_long",
    "rate_adds_lowest": "lowest_added_to_the_full_curve",
    "step_sets_an_attribute": "learning_rate_not_set",
    "step_clips_before_backward": "gradients_not_clipped",
    "step_clips_to_one": "clipped_to_length_one",
    "step_returns_the_loss_after": "loss_after_the_step",
    "step_never_steps": "gradients_emptied_after_backward",
    "accumulation_empties_each_time": "gradients_emptied_before_every_piece",
    "accumulation_never_empties": "gradients_kept_from_the_last_update",
    "accumulation_returns_the_last_piece": "loss_of_the_last_piece",
    "temperature_returns_the_token": "greedy_id_instead_of_scores",
    "temperature_one_hot": "greedy_one_hot",
    "temperature_softmax_first": "probabilities_divided_by_t",
    "top_k_returns_the_values": "Shape of",
    "top_k_strictly_larger": "border_removed_too",
    "top_k_minus_large_number": "a_large_negative_score_for_the_others",
    "top_p_renormalises": "top_p_probabilities",
    "top_p_starts_with_the_least": "added_up_from_the_least_probable",
    "top_p_drops_the_crossing_one": "crossing_token_removed",
    "min_p_of_the_mean": "share_of_the_mean",
    "min_p_absolute": "compared_with_p_itself",
    "loop_takes_the_last_of_the_batch": "next_token takes the scores",
    "loop_collects": "returns_the_new_tokens_as_a_tensor",
    "CacheGivesTheWholeRoom": "GivesTheWholeRoom",
    "CacheNeverForgets": "Shape of",
    "CacheStoresValuesAsKeys": "KeysAndValuesExchanged",
    "verdict_without_abs": "lower_mean_counts_negative",
    "verdict_from_three_on": "exactly_three_spreads_pass",
    "steps_as_float": "fraction_of_a_step",
    "bits_of_the_exponential": "perplexity_in_place_of_the_loss",
    "norm_half_root": "Ten times the input",
    "norm_sum_over_sqrt": "mean_of_absolute_values",
    "norm_weight_divides": "divided_by_the_weight",
    "norm_mean_over_feature_without_square": "Ten times the input",
    "table_theta_to_the_plus": "exponent_without_its_minus",
    "table_stack_last": "cosine_and_sine_on_the_last_axis",
    "rotate_adds_in_first": "turned_backwards",
    "rotate_ignores_b": "another length",
    "rotary_only_q": "keys_not_turned",
    "att_no_mask_no_scale": "Changing the last token",
    "att_mask_columns": "past_hidden",
    "att_kt": "`a @ b` needs",
    "gqa_forgets_v": "kv_heads_not_shared",
    "gqa_no_mask": "no_mask",
    "gqa_scale_by_model_width": "scores_divided_by_the_width_of_all_heads",
    "cache_no_heads": "kv_heads_not_counted",
    "silu_is_relu": "relu_instead_of_silu",
    "silu_log": "softplus_instead_of_silu",
    "swiglu_silu_of_x": "gate_and_up_added",
    "swiglu_tanh": "tanh_gate",
    "sel_less": "pairs_won_by_the_other_word",
    "sel_wrong_group": "compared_with_the_largest_of_the_others",
    "NoResidual": "no_residual",
    "FeedForwardFirst": "feed_forward_before_attention",
    "SecondNormTwice": None,
    "count_two_mats": "gate_not_counted",
    "count_final_norm": "final_norm_not_counted",
    "lens_reversed": "last_layer_first",
    "merge_never": "nothing_merged",
    "merge_any_order": "merged_in_any_order",
    "batch_starts_plus": "both_one_position_late",
    "loss_first_target": "always_token_zero",
    "loss_nll": "scores_averaged_without_softmax",
    "rate_sin": "quarter_of_a_sine",
    "rate_no_lowest_factor": "lowest_added_to_the_full_curve",
    "step_sum": "gradient_of_the_summed_loss",
    "step_two_steps": "two_steps_per_batch",
    "step_lr_divided": "learning_rate_per_sequence",
    "acc_no_step": "no_step",
    "temp_ones": "greedy_removes_nothing",
    "temp_power": "divided_by_t_squared",
    "topk_keep_indices": "Shape of",
    "topk_smallest": "least_probable_kept",
    "topp_le": "the_most_probable_removed",
    "topp_not_sorted": "crossing_token_removed_in_id_order",
    "minp_log": "share_of_the_best_score",
    "minp_one_minus": "share_that_may_be_lost",
    "gen_argmax": "takes_the_most_probable",
    "gen_off": "one_too_few",
    "AlwaysStoresAtZero": "AlwaysAtZero",
    "AdvanceSetsTheLength": "AdvanceForgetsTheOld",
    "verdict_border": "two_spreads_are_enough",
    "verdict_var": "squared_spread",
    "steps_nobatch": "one_row_per_step",
    "bits_log": "logarithm_of_the_quotient",
}
