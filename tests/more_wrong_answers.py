"""Two more sets of wrong and right answers, written from the texts of the tasks, without a look at known mistakes.

On its first run, before the general facts, the first set was told its cause for 60 of 65. The second has no common
mistakes: on its first run, with the general facts, 38 of 68 were told their cause, 2 a wrong one, and one passed.
Answers to exercises that have changed since then have left both sets.
"""

import math
from collections import Counter

import torch
import torch.nn.functional as F
from torch import nn
from wrong_answers import Cache, right, wrong


@wrong("rms_norm")  # mean over all of the tensor
def rms_whole(x, weight, eps):
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return (wide / (wide.pow(2).mean() + eps).sqrt()).to(x.dtype) * weight


@wrong("rms_norm")  # eps forgotten
def rms_no_eps(x, weight, eps):
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return (wide * wide.pow(2).mean(-1, keepdim=True).rsqrt()).to(x.dtype) * weight


@wrong("rms_norm")  # weight added as 1 + weight
def rms_gemma(x, weight, eps):
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return (wide / (wide.pow(2).mean(-1, keepdim=True) + eps).sqrt()).to(x.dtype) * (1 + weight)


@wrong("rms_norm")  # eps fixed at 1e-6
def rms_fixed_eps(x, weight, eps=1e-6):
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return (wide / (wide.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt()).to(x.dtype) * weight


@wrong("rms_norm")  # norm() times no sqrt D
def rms_norm_of_vector(x, weight, eps):
    wide = x.float()
    return (wide / (wide.norm(dim=-1, keepdim=True) + eps)).to(x.dtype) * weight


@wrong("rms_norm")  # median / abs mean
def rms_abs(x, weight, eps):
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return (wide / (wide.abs().mean(-1, keepdim=True) + eps)).to(x.dtype) * weight


@wrong("rope_table")  # exponent i/d instead of 2i/d
def table_half_exponent(head_dim, max_seq_len, theta):
    i = torch.arange(head_dim // 2)
    freq = theta ** (-i / head_dim)
    angle = torch.arange(max_seq_len)[:, None] * freq
    return torch.stack((angle.cos(), angle.sin()))


@wrong("rope_table")  # positions from 1
def table_from_one(head_dim, max_seq_len, theta):
    freq = 1.0 / theta ** (torch.arange(0, head_dim, 2) / head_dim)
    angle = torch.outer(torch.arange(1, max_seq_len + 1).float(), freq)
    return torch.stack((angle.cos(), angle.sin()))


@wrong("rope_table")  # theta fixed 10000
def table_fixed(head_dim, max_seq_len, theta):
    freq = 1.0 / 10000 ** (torch.arange(0, head_dim, 2) / head_dim)
    angle = torch.outer(torch.arange(max_seq_len).float(), freq)
    return torch.stack((angle.cos(), angle.sin()))


@wrong("rope_table")  # linspace exponents that reach 1
def table_linspace(head_dim, max_seq_len, theta):
    freq = theta ** -torch.linspace(0, 1, head_dim // 2)
    angle = torch.outer(torch.arange(max_seq_len).float(), freq)
    return torch.stack((angle.cos(), angle.sin()))


@wrong("rotate")  # both use sin first half minus
def rotate_twice_minus(x, table):
    cos, sin = table
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos - a * sin), -1).to(x.dtype)


@wrong("rotate")  # halves swapped in result
def rotate_swapped(x, table):
    cos, sin = table.to(x.dtype)
    a, b = x.chunk(2, -1)
    return torch.cat((a * sin + b * cos, a * cos - b * sin), -1)


@wrong("rotate")  # second half uses new a
def rotate_overwrites(x, table):
    cos, sin = table.to(x.dtype)
    a, b = x.chunk(2, -1)
    a = a * cos - b * sin
    b = a * sin + b * cos
    return torch.cat((a, b), -1)


@wrong("rotary")  # keys repeated to the number of query heads
def rotary_repeat(xq, xk, t):
    xk = xk.repeat_interleave(xq.shape[1] // xk.shape[1], 1)

    def turn(x):
        c, s = t.to(x.dtype)
        a, b = x.chunk(2, -1)
        return torch.cat((a * c - b * s, a * s + b * c), -1)

    return turn(xq), turn(xk)


@wrong("rotary")  # keys returned unturned
def rotary_only_q(xq, xk, t):
    c, s = t.to(xq.dtype)
    a, b = xq.chunk(2, -1)
    return torch.cat((a * c - b * s, a * s + b * c), -1), xk


@wrong("attention")  # mask in the upper half, visible future
def attention_triu(q, k, v):
    T = q.shape[2]
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    scores = scores.masked_fill(torch.ones(T, T, dtype=torch.bool).tril(-1), -torch.inf)
    w = scores.softmax(-1)
    return w @ v, w


@wrong("attention")  # scale by T
def attention_scale_T(q, k, v):
    T = q.shape[2]
    scores = q @ k.transpose(-1, -2) / T**0.5
    scores = scores.masked_fill(~torch.ones(T, T, dtype=torch.bool).tril(), -torch.inf)
    w = scores.softmax(-1)
    return w @ v, w


@wrong("attention")  # mask with -100
def attention_soft_mask(q, k, v):
    T = q.shape[2]
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    scores = scores.masked_fill(~torch.ones(T, T, dtype=torch.bool).tril(), -10.0)
    w = scores.softmax(-1)
    return w @ v, w


@wrong("attention")  # transposed weights at the mix
def attention_mix_T(q, k, v):
    T = q.shape[2]
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    scores = scores.masked_fill(~torch.ones(T, T, dtype=torch.bool).tril(), -torch.inf)
    w = scores.softmax(-1)
    return w.mT @ v, w


@wrong("attention")  # window of two tokens
def attention_strict(q, k, v):
    T = q.shape[2]
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    mask = torch.ones(T, T, dtype=torch.bool).tril() & torch.ones(T, T, dtype=torch.bool).triu(-2)
    scores = scores.masked_fill(~mask, -torch.inf)
    w = scores.softmax(-1)
    return w @ v, w


@wrong("gqa")  # repeat instead of repeat_interleave
def gqa_repeat(q, k, v):
    g = q.shape[1] // k.shape[1]
    k, v = k.repeat(1, g, 1, 1), v.repeat(1, g, 1, 1)
    T, S = q.shape[2], k.shape[2]
    mask = torch.ones(T, S, dtype=torch.bool).tril(S - T)
    return (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(~mask, -torch.inf).softmax(-1) @ v


@wrong("gqa")  # mask for first T positions when T == 1 none
def gqa_wrong_diag(q, k, v):
    g = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(g, 1), v.repeat_interleave(g, 1)
    T, S = q.shape[2], k.shape[2]
    mask = torch.ones(T, S, dtype=torch.bool).tril(S - T - 1)
    mask[:, 0] = True
    return (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(~mask, -torch.inf).softmax(-1) @ v


@wrong("gqa")  # first kv head for all
def gqa_first_head(q, k, v):
    k, v = k[:, :1], v[:, :1]
    T, S = q.shape[2], k.shape[2]
    mask = torch.ones(T, S, dtype=torch.bool).tril(S - T)
    return (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(~mask, -torch.inf).softmax(-1) @ v


@wrong("cache_bytes")  # q heads count three: q k v
def bytes_three(n_layers, n_kv_heads, head_dim, n_tokens, bytes_per_number):
    return 3 * n_layers * n_kv_heads * head_dim * n_tokens * bytes_per_number


@wrong("cache_bytes")  # bits to bytes
def bytes_bits(n_layers, n_kv_heads, head_dim, n_tokens, bytes_per_number):
    return 2 * n_layers * n_kv_heads * head_dim * n_tokens * bytes_per_number // 8


@wrong("silu")  # sigmoid of -x
def silu_minus(x):
    return x / (1 + torch.exp(x))


@wrong("silu")  # tanh form without the half
def silu_tanh(x):
    return x * torch.tanh(x)


@wrong("silu")  # clamped at 0
def silu_clamped(x):
    return (x / (1 + torch.exp(-x))).clamp(min=0)


@wrong("swiglu")  # silu on the product
def swiglu_product(x, w_gate, w_up, w_down):
    return F.silu((x @ w_gate.T) * (x @ w_up.T)) @ w_down.T


@wrong("swiglu")  # gate and up added
def swiglu_added(x, w_gate, w_up, w_down):
    return (F.silu(x @ w_gate.T) + x @ w_up.T) @ w_down.T


@wrong("swiglu")  # residual inside
def swiglu_residual(x, w_gate, w_up, w_down):
    return x + (F.silu(x @ w_gate.T) * (x @ w_up.T)) @ w_down.T


@wrong("selectivity")  # max of group compared
def selectivity_mean(gate, chosen):
    return (gate[chosen] > gate[~chosen].mean()).float().mean()


@wrong("selectivity")  # ge: equal counts
def selectivity_ge(gate, chosen):
    return (gate[chosen][:, None] >= gate[~chosen]).float().mean()


@wrong("block")  # one norm used for both
class BlockOneNorm(nn.Module):
    def __init__(self, config, layer=0, norm=None, attention=None, feed_forward=None):
        super().__init__()
        self.attention_norm = norm(config.dim, config.norm_eps)
        self.ffn_norm = norm(config.dim, config.norm_eps)
        self.attention = attention(config, layer)
        self.feed_forward = feed_forward(config)

    def forward(self, x, freqs_cis, cache=None):
        x = x + self.attention(self.attention_norm(x), freqs_cis, cache)
        return x + self.feed_forward(self.attention_norm(x))


@wrong("block")  # x overwritten by norm
class BlockOverwrites(nn.Module):
    def __init__(self, config, layer=0, norm=None, attention=None, feed_forward=None):
        super().__init__()
        self.attention_norm = norm(config.dim, config.norm_eps)
        self.ffn_norm = norm(config.dim, config.norm_eps)
        self.attention = attention(config, layer)
        self.feed_forward = feed_forward(config)

    def forward(self, x, freqs_cis, cache=None):
        x = self.attention_norm(x)
        x = x + self.attention(x, freqs_cis, cache)
        x = self.ffn_norm(x)
        return x + self.feed_forward(x)


@wrong("model")  # table from row 0 with a cache
class ModelNoOffset(nn.Module):
    def __init__(self, config, block, norm, rope_table):
        super().__init__()
        self.config = config
        self.tok_embeddings = nn.Embedding(config.vocab_size, config.dim)
        self.layers = nn.ModuleList(block(config, i) for i in range(config.n_layers))
        self.norm = norm(config.dim, config.norm_eps)
        self.output = nn.Linear(config.dim, config.vocab_size, bias=False)
        if config.tie_embeddings:
            self.output.weight = self.tok_embeddings.weight
        table = rope_table(config.head_dim, config.max_seq_len, config.rope_theta)
        self.register_buffer("freqs_cis", table, persistent=False)

    def forward(self, idx, targets=None, cache=None):
        x = self.tok_embeddings(idx)
        T = idx.shape[1]
        for layer in self.layers:
            x = layer(x, self.freqs_cis[:, :T], cache)
        if cache is not None:
            cache.advance(T)
        logits = self.output(self.norm(x))
        loss = None
        if targets is not None:
            loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        return logits, loss


@wrong("model")  # loss with ignored targets clamped
class ModelClampedLoss(ModelNoOffset):
    def forward(self, idx, targets=None, cache=None):
        x = self.tok_embeddings(idx)
        T = idx.shape[1]
        past = 0 if cache is None else cache.length
        for layer in self.layers:
            x = layer(x, self.freqs_cis[:, past : past + T], cache)
        if cache is not None:
            cache.advance(T)
        logits = self.output(self.norm(x))
        loss = None
        if targets is not None:
            loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten().clamp(min=0))
        return logits, loss


@wrong("count_parameters")  # norms forgotten at the end
def count_no_final(vocab_size, dim, n_layers, n_heads, n_kv_heads, hidden_dim, tied):
    kv = dim // n_heads * n_kv_heads
    layer = 2 * dim * dim + 2 * dim * kv + 3 * dim * hidden_dim + 2 * dim
    return vocab_size * dim * (1 if tied else 2) + n_layers * layer


@wrong("count_parameters")  # MHA: kv heads ignored
def count_mha(vocab_size, dim, n_layers, n_heads, n_kv_heads, hidden_dim, tied):
    layer = 4 * dim * dim + 3 * dim * hidden_dim + 2 * dim
    return vocab_size * dim * (1 if tied else 2) + n_layers * layer + dim


@wrong("logit_lens")  # norm not applied
def lens_no_norm(model, idx):
    x = model.tok_embeddings(idx)
    out = [model.output(x)]
    for layer in model.layers:
        x = layer(x, model.freqs_cis[:, : idx.shape[1]])
        out.append(model.output(x))
    return torch.stack(out)


@wrong("logit_lens")  # norm applied to the stream
def lens_norm_in_stream(model, idx):
    x = model.tok_embeddings(idx)
    out = [model.output(model.norm(x))]
    for layer in model.layers:
        x = model.norm(layer(x, model.freqs_cis[:, : idx.shape[1]]))
        out.append(model.output(x))
    return torch.stack(out)


@wrong("most_common_pair")  # most common token pairs of disjoint
def pair_disjoint(ids):
    return Counter(zip(ids[::2], ids[1::2], strict=False)).most_common(1)[0][0]


@wrong("merge")  # continues after one
def merge_for(ids, pair, new):
    out = []
    for a, b in zip(ids, ids[1:] + [None], strict=False):
        if (a, b) == pair:
            out.append(new)
        elif b is not None or True:
            out.append(a)
    return out


@wrong("merge")  # last token lost
def merge_loses_last(ids, pair, new):
    out, i = [], 0
    while i < len(ids) - 1:
        if (ids[i], ids[i + 1]) == pair:
            out.append(new)
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return out


@wrong("next_token_batch")  # y is x shifted within the block, last repeated
def batch_rolled(tokens, starts, block_size):
    x = tokens[starts[:, None] + torch.arange(block_size)]
    return x, x.roll(-1, 1)


@wrong("mean_loss")  # mean per sequence, then of sequences
def loss_per_sequence(logits, y):
    kept = y != -100
    nll = -logits.log_softmax(-1).gather(-1, y.clamp(min=0)[..., None])[..., 0] * kept
    return (nll.sum(-1) / kept.sum(-1)).mean()


@wrong("mean_loss")  # log of softmax + 1e-9
def loss_log_eps(logits, y):
    kept = y != -100
    p = logits.softmax(-1).gather(-1, y.clamp(min=0)[..., None])[..., 0]
    return -((p + 1e-9).log() * kept).sum() / kept.sum()


@wrong("learning_rate")  # linear decay
def rate_linear(step, peak, warmup, total, lowest):
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak + (peak * lowest - peak) * (step - warmup) / (total - warmup)


@wrong("train_step")  # clip before backward
def step_clip_early(model, optimizer, x, y, lr, grad_clip):
    for g in optimizer.param_groups:
        g["lr"] = lr
    loss = model(x, y)[1]
    optimizer.zero_grad()
    nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
    loss.backward()
    optimizer.step()
    return loss.item()


@wrong("accumulation")  # mean of part losses regardless of size
def accumulate_equal(model, optimizer, x, y, parts):
    optimizer.zero_grad()
    total = 0
    for a, b in zip(x.chunk(parts), y.chunk(parts), strict=False):
        loss = model(a, b)[1] / parts
        loss.backward()
        total += loss.item()
    optimizer.step()
    return total


@wrong("temperature")  # argmax over the whole batch
def temperature_global(logits, t):
    if t == 0:
        return logits.masked_fill(logits < logits.max(), -torch.inf)
    return logits / t


@wrong("top_k")  # clamp of k missing, keeps k+1
def top_k_plus(logits, k):
    k = min(k, logits.shape[-1])
    border = logits.sort(-1, descending=True).values[..., min(k, logits.shape[-1] - 1)].unsqueeze(-1)
    return logits.masked_fill(logits < border, -torch.inf)


@wrong("top_p")  # the crossing token is removed
def top_p_cut(logits, p):
    s, order = logits.sort(-1, descending=True)
    remove = s.softmax(-1).cumsum(-1) > p
    return logits.masked_fill(remove.scatter(-1, order, remove), -torch.inf)


@wrong("min_p")  # border over logits
def min_p_logits(logits, p):
    return logits.masked_fill(logits < p * logits.amax(-1, keepdim=True), -torch.inf)


@wrong("generate")  # prompt given again each time
def generate_whole(model, idx, n, next_token, cache):
    for _ in range(n):
        scores, _ = model(idx, cache=cache)
        new = next_token(scores[:, -1])
        idx = torch.cat((idx, new), 1)
        yield new


@wrong("kv_cache")  # returns only new
class CacheNew:
    def __init__(self, config, batch_size=1, device="cpu", dtype=None):
        shape = (batch_size, config.n_kv_heads, config.max_seq_len, config.head_dim)
        self.k = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.n_layers)]
        self.v = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.n_layers)]
        self.length = 0

    def store(self, layer, k, v):
        end = self.length + k.shape[2]
        self.k[layer][:, :, self.length : end] = k
        self.v[layer][:, :, self.length : end] = v
        return self.k[layer][:, :, self.length : end], self.v[layer][:, :, self.length : end]

    def advance(self, n_new):
        self.length += n_new

    def reset(self):
        self.length = 0


@wrong("equal_time_steps")  # rounded to nearest
def steps_round(seconds, tokens_per_s, batch, block):
    return round(seconds * tokens_per_s / (batch * block))


@right("rms_norm")
def rms_einsum(x, weight, eps):
    wide = x.double() if x.dtype == torch.float64 else x.float()
    square = torch.einsum("...d,...d->...", wide, wide) / wide.shape[-1]
    return (wide * (square + eps).unsqueeze(-1) ** -0.5).to(x.dtype) * weight


@right("rope_table")
def table_by_logs(head_dim, max_seq_len, theta):
    freq = torch.tensor([math.exp(-2 * i / head_dim * math.log(theta)) for i in range(head_dim // 2)])
    z = torch.polar(torch.ones(max_seq_len, head_dim // 2), torch.arange(max_seq_len).float()[:, None] * freq)
    return torch.stack([z.real, z.imag])


@right("rotate")
def rotate_complex(x, table):
    cos, sin = table.to(x.dtype)
    a, b = x.tensor_split(2, -1)
    z = torch.complex(a.contiguous(), b.contiguous()) * torch.complex(cos, sin)
    return torch.cat((z.real, z.imag), -1)


@right("rotary")
def rotary_cat(xq, xk, t):
    c, s = torch.cat((t[0], t[0]), -1), torch.cat((-t[1], t[1]), -1)
    return tuple(x * c.to(x.dtype) + x.roll(x.shape[-1] // 2, -1) * s.to(x.dtype) for x in (xq, xk))


@right("attention")
def attention_loop(q, k, v):
    w = torch.zeros(*q.shape[:3], q.shape[2], dtype=q.dtype)
    for t in range(q.shape[2]):
        w[:, :, t, : t + 1] = (q[:, :, t : t + 1] @ k[:, :, : t + 1].mT / math.sqrt(q.shape[-1])).softmax(-1)[:, :, 0]
    return w @ v, w


@right("gqa")
def gqa_grouped(q, k, v):
    B, H, T, d = q.shape
    K, S = k.shape[1:3]
    q = q.view(B, K, H // K, T, d)
    scores = torch.einsum("bkgtd,bksd->bkgts", q, k) * d**-0.5
    ok = torch.arange(S) <= torch.arange(S - T, S)[:, None]
    return torch.einsum("bkgts,bksd->bkgtd", scores.where(ok, -torch.inf).softmax(-1), v).reshape(B, H, T, d)


@right("silu")
def silu_tanh_right(x):
    return 0.5 * x * (1 + torch.tanh(x / 2))


@right("swiglu")
def swiglu_transposed(x, w_gate, w_up, w_down):
    both = F.linear(x, torch.cat((w_gate, w_up)))
    g, u = both.chunk(2, -1)
    return F.linear(g * g.sigmoid() * u, w_down)


@right("selectivity")
def selectivity_loop(gate, chosen):
    a, b = gate[chosen].tolist(), gate[~chosen].tolist()
    return sum(x > y for x in a for y in b) / (len(a) * len(b))


@right("count_parameters")
def count_by_modules(vocab_size, dim, n_layers, n_heads, n_kv_heads, hidden_dim, tied):
    d = dim // n_heads
    return (
        (2 - bool(tied)) * vocab_size * dim
        + dim
        + n_layers * (dim * (2 + 3 * hidden_dim) + dim * d * (2 * n_heads + 2 * n_kv_heads))
    )


@right("most_common_pair")
def pair_dict(ids):
    counts = {}
    for i in range(len(ids) - 1):
        counts[ids[i], ids[i + 1]] = counts.get((ids[i], ids[i + 1]), 0) + 1
    return max(counts, key=counts.get)


@right("merge")
def merge_recursive(ids, pair, new):
    out = list(ids)
    i = 0
    while i + 1 < len(out):
        if (out[i], out[i + 1]) == tuple(pair):
            out[i : i + 2] = [new]
        i += 1
    return out


@right("next_token_batch")
def batch_unfold(tokens, starts, block_size):
    w = tokens.unfold(0, block_size + 1, 1)[starts]
    return w[:, :-1], w[:, 1:]


@right("mean_loss")
def loss_boolean(logits, y):
    rows = logits[y != -100].double()
    return (rows.logsumexp(-1) - rows[torch.arange(len(rows)), y[y != -100]]).mean()


@right("learning_rate")
def rate_right(step, peak, warmup, total, lowest):
    if step < warmup:
        return peak / warmup * (step + 1)
    z = math.cos(math.pi / 2 * (step - warmup) / (total - warmup)) ** 2
    return peak * (lowest * (1 - z) + z)


@right("top_k")
def top_k_kth(logits, k):
    V = logits.shape[-1]
    return logits.where(logits >= logits.kthvalue(max(V - k, 0) + 1, -1, keepdim=True).values, -torch.inf)


@right("min_p")
def min_p_diff(logits, p):
    return logits.where(logits - logits.amax(-1, True) >= math.log(p), -torch.inf)


@wrong("rms_norm")  # max instead of mean
def rms_b_max(x, weight, eps):
    w = x.to(torch.promote_types(x.dtype, torch.float32))
    return (w / (w.abs().amax(-1, keepdim=True) + eps)).to(x.dtype) * weight


@wrong("rms_norm")  # weight multiplied twice
def rms_b_weight_twice(x, weight, eps):
    w = x.to(torch.promote_types(x.dtype, torch.float32))
    return (w * (w.pow(2).mean(-1, keepdim=True) + eps).rsqrt()).to(x.dtype) * weight * weight


@wrong("rms_norm")  # eps subtracted
def rms_b_minus(x, weight, eps):
    w = x.to(torch.promote_types(x.dtype, torch.float32))
    return (w * (w.pow(2).mean(-1, keepdim=True) - eps).abs().rsqrt()).to(x.dtype) * weight


@wrong("rms_norm")  # weight sorted / flipped
def rms_b_flip(x, weight, eps):
    w = x.to(torch.promote_types(x.dtype, torch.float32))
    return (w * (w.pow(2).mean(-1, keepdim=True) + eps).rsqrt()).to(x.dtype) * weight.flip(0)


@wrong("rms_norm")  # mean over the last two axes
def rms_b_two_axes(x, weight, eps):
    w = x.to(torch.promote_types(x.dtype, torch.float32))
    return (w * (w.pow(2).mean((-2, -1), keepdim=True) + eps).rsqrt()).to(x.dtype) * weight


@wrong("rms_norm")  # root twice
def rms_b_root_twice(x, weight, eps):
    w = x.to(torch.promote_types(x.dtype, torch.float32))
    return (w / (w.pow(2).mean(-1, keepdim=True) + eps) ** 0.25).to(x.dtype) * weight


@wrong("rope_table")  # angle multiplied by 2 pi
def table_b_twopi(head_dim, max_seq_len, theta):
    f = 1 / theta ** (torch.arange(0, head_dim, 2) / head_dim)
    a = torch.outer(torch.arange(max_seq_len).float(), f) * 2 * math.pi
    return torch.stack((a.cos(), a.sin()))


@wrong("rope_table")  # minus sign sine
def table_b_minus(head_dim, max_seq_len, theta):
    f = 1 / theta ** (torch.arange(0, head_dim, 2) / head_dim)
    a = -torch.outer(torch.arange(max_seq_len).float(), f)
    return torch.stack((a.cos(), a.sin()))


@wrong("rope_table")  # positions reversed
def table_b_rev(head_dim, max_seq_len, theta):
    f = 1 / theta ** (torch.arange(0, head_dim, 2) / head_dim)
    a = torch.outer(torch.arange(max_seq_len).flip(0).float(), f)
    return torch.stack((a.cos(), a.sin()))


@wrong("rotate")  # only first half of the positions / chunk on T axis angle doubled
def rotate_b_double(x, table):
    c, s = table.to(x.dtype)
    c, s = c * c - s * s, 2 * c * s
    a, b = x.chunk(2, -1)
    return torch.cat((a * c - b * s, a * s + b * c), -1)


@wrong("rotate")  # mean of table over positions
def rotate_b_absolute(x, table):
    c, s = table.to(x.dtype)
    a, b = x.chunk(2, -1)
    return torch.cat((a * c - b * s, b * s + a * c), -1)


@wrong("rotary")  # k uses q
def rotary_b_q_twice(xq, xk, t):
    def turn(x):
        c, s = t.to(x.dtype)
        a, b = x.chunk(2, -1)
        return torch.cat((a * c - b * s, a * s + b * c), -1)

    return turn(xq), turn(xq[:, : xk.shape[1]])


@wrong("rotary")  # q scaled by sqrt d
def rotary_b_scaled(xq, xk, t):
    def turn(x):
        c, s = t.to(x.dtype)
        a, b = x.chunk(2, -1)
        return torch.cat((a * c - b * s, a * s + b * c), -1)

    return turn(xq) / math.sqrt(xq.shape[-1]), turn(xk)


@wrong("attention")  # softmax temperature 2 & scale sqrt(2d)
def attention_b_2d(q, k, v):
    T = q.shape[2]
    s = q @ k.mT / math.sqrt(2 * q.shape[-1])
    w = s.masked_fill(torch.ones(T, T, dtype=torch.bool).triu(1), -torch.inf).softmax(-1)
    return w @ v, w


@wrong("attention")  # distances: minus squared distance
def attention_b_distance(q, k, v):
    T = q.shape[2]
    s = -torch.cdist(q, k) / q.shape[-1] ** 0.5
    w = s.masked_fill(torch.ones(T, T, dtype=torch.bool).triu(1), -torch.inf).softmax(-1)
    return w @ v, w


@wrong("attention")  # hard attention: argmax
def attention_b_hard(q, k, v):
    T = q.shape[2]
    s = (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(torch.ones(T, T, dtype=torch.bool).triu(1), -torch.inf)
    w = F.one_hot(s.argmax(-1), T).to(q.dtype)
    return w @ v, w


@wrong("attention")  # v added (residual)
def attention_b_residual(q, k, v):
    T = q.shape[2]
    s = (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(torch.ones(T, T, dtype=torch.bool).triu(1), -torch.inf)
    w = s.softmax(-1)
    return w @ v + v, w


@wrong("attention")  # first sequence's keys for all
def attention_b_first(q, k, v):
    T = q.shape[2]
    s = (q @ k[:1].mT / q.shape[-1] ** 0.5).masked_fill(torch.ones(T, T, dtype=torch.bool).triu(1), -torch.inf)
    w = s.softmax(-1)
    return w @ v, w


@wrong("gqa")  # values of next head group (roll)
def gqa_b_roll(q, k, v):
    g = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(g, 1), v.roll(1, 1).repeat_interleave(g, 1)
    T, S = q.shape[2], k.shape[2]
    mask = torch.ones(T, S, dtype=torch.bool).tril(S - T)
    return (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(~mask, -torch.inf).softmax(-1) @ v


@wrong("gqa")  # drops the last key
def gqa_b_drop(q, k, v):
    g = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(g, 1), v.repeat_interleave(g, 1)
    T, S = q.shape[2], k.shape[2]
    mask = torch.ones(T, S, dtype=torch.bool).tril(S - T)
    mask[:, 0] = S == T
    mask[0, 0] = True
    return (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(~mask, -torch.inf).softmax(-1) @ v


@wrong("gqa")  # result divided by the group size
def gqa_b_divided(q, k, v):
    g = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(g, 1), v.repeat_interleave(g, 1)
    T, S = q.shape[2], k.shape[2]
    mask = torch.ones(T, S, dtype=torch.bool).tril(S - T)
    return (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(~mask, -torch.inf).softmax(-1) @ v / g


@wrong("cache_bytes")  # head_dim squared
def bytes_b_squared(n_layers, n_kv_heads, head_dim, n_tokens, bytes_per_number):
    return 2 * n_layers * n_kv_heads * head_dim**2 * n_tokens * bytes_per_number


@wrong("cache_bytes")  # one token more for BOS
def bytes_b_bos(n_layers, n_kv_heads, head_dim, n_tokens, bytes_per_number):
    return 2 * n_layers * n_kv_heads * head_dim * (n_tokens + 1) * bytes_per_number


@wrong("silu")  # x squared
def silu_b_square(x):
    return x * x / (1 + torch.exp(-x))


@wrong("silu")  # hard sigmoid
def silu_b_hard(x):
    return x * ((x + 3) / 6).clamp(0, 1)


@wrong("swiglu")  # gate projected, silu on x
def swiglu_b_mixed(x, w_gate, w_up, w_down):
    return (F.silu(x @ w_gate.T) * (x @ w_gate.T + x @ w_up.T)) @ w_down.T


@wrong("swiglu")  # normalised hidden
def swiglu_b_bias(x, w_gate, w_up, w_down):
    return (F.silu(x @ w_gate.T + 1) * (x @ w_up.T)) @ w_down.T


@wrong("selectivity")  # all pairs by sorted ranks: auc with sign of difference mean
def selectivity_b_sign(gate, chosen):
    return torch.sign(gate[chosen][:, None] - gate[~chosen]).mean()


@wrong("selectivity")  # swapped mask
def selectivity_b_swapped(gate, chosen):
    return (gate[~chosen][:, None] > gate[chosen]).float().mean()


@wrong("block")  # attention output normed twice
class BlockB(nn.Module):
    def __init__(self, config, layer=0, norm=None, attention=None, feed_forward=None):
        super().__init__()
        self.attention_norm = norm(config.dim, config.norm_eps)
        self.ffn_norm = norm(config.dim, config.norm_eps)
        self.attention = attention(config, layer)
        self.feed_forward = feed_forward(config)

    def forward(self, x, freqs_cis, cache=None):
        x = x + self.attention(self.attention_norm(x), freqs_cis, cache)
        return x - self.feed_forward(self.ffn_norm(x))


@wrong("block")  # halved sum
class BlockBHalf(BlockB):
    def forward(self, x, freqs_cis, cache=None):
        x = (x + self.attention(self.attention_norm(x), freqs_cis, cache)) / 2
        return (x + self.feed_forward(self.ffn_norm(x))) / 2


class BModel(nn.Module):
    def __init__(self, config, block, norm, rope_table):
        super().__init__()
        self.config = config
        self.tok_embeddings = nn.Embedding(config.vocab_size, config.dim)
        self.layers = nn.ModuleList(block(config, i) for i in range(config.n_layers))
        self.norm = norm(config.dim, config.norm_eps)
        self.output = nn.Linear(config.dim, config.vocab_size, bias=False)
        if config.tie_embeddings:
            self.output.weight = self.tok_embeddings.weight
        table = rope_table(config.head_dim, config.max_seq_len, config.rope_theta)
        self.register_buffer("freqs_cis", table, persistent=False)

    def stream(self, idx, cache):
        x, T = self.tok_embeddings(idx), idx.shape[1]
        past = 0 if cache is None else cache.length
        for layer in self.layers:
            x = layer(x, self.freqs_cis[:, past : past + T], cache)
        if cache is not None:
            cache.advance(T)
        return x


@wrong("model")  # only last position's loss
class ModelBLastLoss(BModel):
    def forward(self, idx, targets=None, cache=None):
        logits = self.output(self.norm(self.stream(idx, cache)))
        loss = None if targets is None else F.cross_entropy(logits[:, -1], targets[:, -1], ignore_index=-100)
        return logits, loss


@wrong("model")  # skips last layer
class ModelBSkips(BModel):
    def forward(self, idx, targets=None, cache=None):
        x, T = self.tok_embeddings(idx), idx.shape[1]
        past = 0 if cache is None else cache.length
        for layer in list(self.layers)[:-1]:
            x = layer(x, self.freqs_cis[:, past : past + T], cache)
        if cache is not None:
            cache.advance(T)
        logits = self.output(self.norm(x))
        return logits, None if targets is None else F.cross_entropy(logits.flatten(0, 1), targets.flatten())


@wrong("model")  # loss in bits
class ModelBBits(BModel):
    def forward(self, idx, targets=None, cache=None):
        logits = self.output(self.norm(self.stream(idx, cache)))
        if targets is None:
            return logits, None
        return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten()) / math.log(2)


@wrong("count_parameters")  # q norm counts 3 norms per layer
def count_b_three(vocab_size, dim, n_layers, n_heads, n_kv_heads, hidden_dim, tied):
    kv = dim // n_heads * n_kv_heads
    layer = 2 * dim * dim + 2 * dim * kv + 3 * dim * hidden_dim + 3 * dim
    return vocab_size * dim * (2 - tied) + n_layers * layer + dim


@wrong("count_parameters")  # head_dim 64 always
def count_b_fixed(vocab_size, dim, n_layers, n_heads, n_kv_heads, hidden_dim, tied):
    kv = 64 * n_kv_heads
    layer = 2 * dim * dim + 2 * dim * kv + 3 * dim * hidden_dim + 2 * dim
    return vocab_size * dim * (2 - tied) + n_layers * layer + dim


@wrong("logit_lens")  # each layer alone on the embedding sum
def lens_b_table(model, idx):
    x = model.tok_embeddings(idx)
    out = [model.output(model.norm(x))]
    for layer in model.layers:
        x = layer(x, model.freqs_cis[:, 1 : idx.shape[1] + 1])
        out.append(model.output(model.norm(x)))
    return torch.stack(out)


@wrong("logit_lens")  # mean of streams
def lens_b_mean(model, idx):
    x = model.tok_embeddings(idx)
    xs = [x]
    for layer in model.layers:
        x = layer(x, model.freqs_cis[:, : idx.shape[1]])
        xs.append(x)
    return torch.stack([model.output(model.norm(sum(xs[: i + 1]) / (i + 1))) for i in range(len(xs))])


@wrong("most_common_pair")  # counts gaps of two
def pair_b_gap(ids):
    return Counter(zip(ids, ids[2:], strict=False)).most_common(1)[0][0]


@wrong("merge")  # replaces only when at even index
def merge_b_even(ids, pair, new):
    out, i = [], 0
    while i < len(ids):
        if i % 2 == 0 and tuple(ids[i : i + 2]) == tuple(pair):
            out.append(new)
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return out


@wrong("merge")  # keeps old pair and appends
def merge_b_appends(ids, pair, new):
    out, i = [], 0
    while i < len(ids):
        if tuple(ids[i : i + 2]) == tuple(pair):
            out += [*pair, new]
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return out


@wrong("next_token_batch")  # y is two-block shift +1 on positions from end
def batch_b_reversed(tokens, starts, block_size):
    at = starts[:, None] + torch.arange(block_size).flip(0)
    return tokens[at], tokens[at + 1]


@wrong("next_token_batch")  # rows sorted by start
def batch_b_sorted(tokens, starts, block_size):
    at = starts.sort().values[:, None] + torch.arange(block_size)
    return tokens[at], tokens[at + 1]


@wrong("mean_loss")  # label smoothing
def loss_b_smooth(logits, y):
    return F.cross_entropy(logits.flatten(0, 1), y.flatten(), label_smoothing=0.1)


@wrong("mean_loss")  # ignores first position
def loss_b_skip(logits, y):
    return F.cross_entropy(logits[:, 1:].flatten(0, 1), y[:, 1:].flatten())


@wrong("mean_loss")  # perplexity
def loss_b_ppl(logits, y):
    return F.cross_entropy(logits.flatten(0, 1), y.flatten()).exp()


@wrong("learning_rate")  # exponential decay
def rate_b_exp(step, peak, warmup, total, lowest):
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * lowest ** ((step - warmup) / (total - warmup))


@wrong("learning_rate")  # warmup quadratic
def rate_b_quad(step, peak, warmup, total, lowest):
    if step < warmup:
        return peak * ((step + 1) / warmup) ** 2
    z = (1 + math.cos(math.pi * (step - warmup) / (total - warmup))) / 2
    return peak * (lowest + (1 - lowest) * z)


@wrong("train_step")  # lr divided by grad_clip
def step_b_ratio(model, optimizer, x, y, lr, grad_clip):
    for g in optimizer.param_groups:
        g["lr"] = lr * grad_clip
    loss = model(x, y)[1]
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
    optimizer.step()
    return loss.item()


@wrong("train_step")  # first sequence only
def step_b_first(model, optimizer, x, y, lr, grad_clip):
    for g in optimizer.param_groups:
        g["lr"] = lr
    loss = model(x[:1], y[:1])[1]
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
    optimizer.step()
    return loss.item()


@wrong("accumulation")  # average of last
def accumulate_b_zero(model, optimizer, x, y, parts):
    total = 0.0
    for a, b in zip(x.tensor_split(parts), y.tensor_split(parts), strict=False):
        optimizer.zero_grad()
        loss = model(a, b)[1] * len(a) / len(x)
        loss.backward()
        total += loss.item()
    optimizer.step()
    return total


@wrong("temperature")  # square root of t
def temperature_b_root(logits, t):
    if t == 0:
        return logits.masked_fill(logits < logits.amax(-1, keepdim=True), -torch.inf)
    return logits / t**0.5


@wrong("temperature")  # keeps two at t=0
def temperature_b_two(logits, t):
    if t == 0:
        second = logits.topk(2, -1).values[..., -1:]
        return logits.masked_fill(logits < second, -torch.inf)
    return logits / t


@wrong("top_k")  # removed set to the min score
def top_k_b_min(logits, k):
    border = logits.topk(min(k, logits.shape[-1]), -1).values[..., -1:]
    return logits.where(logits >= border, logits.amin(-1, keepdim=True))


@wrong("top_k")  # strictly k largest absolute scores
def top_k_b_abs(logits, k):
    border = logits.abs().topk(min(k, logits.shape[-1]), -1).values[..., -1:]
    return logits.masked_fill(logits.abs() < border, -torch.inf)


@wrong("top_p")  # p of squared probabilities; uses p as 1-p
def top_p_b_rest(logits, p):
    s, order = logits.sort(-1, descending=True)
    probs = s.softmax(-1)
    remove = probs.cumsum(-1) - probs >= 1 - p
    return logits.masked_fill(remove.scatter(-1, order, remove), -torch.inf)


@wrong("min_p")  # difference rather than ratio
def min_p_b_difference(logits, p):
    probs = logits.softmax(-1)
    return logits.masked_fill(probs < probs.amax(-1, keepdim=True) - p, -torch.inf)


@wrong("generate")  # yields after the loop of two tokens at once
def generate_b_repeat(model, idx, n, next_token, cache):
    scores, _ = model(idx, cache=cache)
    for _ in range(n):
        new = next_token(scores[:, -1])
        yield new
        scores, _ = model(new.roll(1, 0), cache=cache)


@wrong("kv_cache")  # keys in place of values
class CacheB(Cache):
    def store(self, layer, k, v):
        return super().store(layer, k, k)


@wrong("equal_time_steps")  # one step less
def steps_b_less(seconds, tokens_per_s, batch, block):
    return int(seconds * tokens_per_s / (batch * block)) - 1


@right("rms_norm")
def rms_b_functional(x, weight, eps):
    w = x.to(torch.promote_types(x.dtype, torch.float32))
    return F.rms_norm(w, (w.shape[-1],), eps=eps).to(x.dtype).mul(weight)


@right("rotary")
def rotary_b_list(xq, xk, t):
    out = []
    for x in (xq, xk):
        c, s = t[0].to(x.dtype), t[1].to(x.dtype)
        h = x.shape[-1] // 2
        y = x.clone()
        y[..., :h] = x[..., :h] * c - x[..., h:] * s
        y[..., h:] = x[..., h:] * c + x[..., :h] * s
        out.append(y)
    return out


@right("attention")
def attention_b_sdpa(q, k, v):
    T = q.shape[2]
    bias = torch.full((T, T), -torch.inf, dtype=q.dtype).triu(1)
    w = (torch.einsum("bhtd,bhsd->bhts", q, k) * q.shape[-1] ** -0.5 + bias).softmax(-1)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True), w


@right("silu")
def silu_b_where(x):
    e = torch.exp(-x.abs())
    return torch.where(x >= 0, x / (1 + e), x * e / (1 + e))


@right("merge")
def merge_b_right(ids, pair, new):
    out = []
    for token in ids:
        out.append(token)
        if len(out) > 1 and out[-2:] == list(pair):
            out[-2:] = [new]
    return out if pair[0] != new and pair[1] != new else out


@right("top_p")
def top_p_b_loop(logits, p):
    flat = logits.reshape(-1, logits.shape[-1])
    out = torch.full_like(flat, -torch.inf)
    for row, scores in enumerate(flat):
        total = 0.0
        for i in scores.argsort(descending=True).tolist():
            out[row, i] = scores[i]
            total += scores.softmax(-1)[i].item()
            if total >= p:
                break
    return out.reshape(logits.shape)


@right("temperature")
def temperature_b_right(logits, t):
    if not t:
        out = torch.full_like(logits, -torch.inf)
        best = logits.argmax(-1, keepdim=True)
        return out.scatter(-1, best, logits.gather(-1, best))
    return logits * (1 / t)


@right("generate")
def generate_b_right(model, idx, n, next_token, cache):
    unread = idx
    while n > 0:
        unread = next_token(model(unread, cache=cache)[0][:, -1])
        n -= 1
        yield unread


@right("equal_time_steps")
def steps_b_right(seconds, tokens_per_s, batch, block):
    return seconds * tokens_per_s // (batch * block)


CAUSES = {
    "rms_whole": "one_scale_for_all_tokens",
    "rms_no_eps": "eps_not_used",
    "rms_gemma": "It would be the right result for 1 + `weight`.",
    "rms_fixed_eps": "eps_of_its_own",
    "rms_norm_of_vector": "At each position all numbers along D are off by one factor.",
    "rms_abs": "mean_of_absolute_values",
    "table_half_exponent": "exponent_i_over_d",
    "table_from_one": "positions_start_at_one",
    "table_fixed": "theta_fixed_at_ten_thousand",
    "table_linspace": "exponents_up_to_one",
    "rotate_twice_minus": "both_products_subtracted",
    "rotate_swapped": "halves_exchanged",
    "rotate_overwrites": "first_half_overwritten",
    "rotary_repeat": "kv_heads_repeated",
    "rotary_only_q": "keys_not_turned",
    "attention_triu": "past_hidden",
    "attention_scale_T": "scores_scaled_by_the_text_length",
    "attention_soft_mask": "When only position 4 of `v` changes, the earlier position 3 of the result",
    "attention_mix_T": "values_mixed_down_the_columns",
    "attention_strict": "When only position 0 of `k` changes, the later position 3 of the result stays",
    "gqa_repeat": "kv_heads_repeated_in_turn",
    "gqa_wrong_diag": "mask_hides_the_own_key",
    "gqa_first_head": "first_kv_head_for_all",
    "bytes_three": "queries_counted_too",
    "bytes_bits": "Every expected number is 8 times the one found.",
    "silu_minus": "sign_of_the_exponent_reversed",
    "silu_tanh": "tanh_instead_of_sigmoid",
    "silu_clamped": "It would be the right result for `x` with 0 in place of negative numbers.",
    "swiglu_product": "silu_after_the_product",
    "swiglu_added": "gate_and_up_added",
    "swiglu_residual": "residual_added",
    "selectivity_mean": "compared_with_the_mean_of_the_others",
    "selectivity_ge": "ties_counted_as_won",
    "BlockOneNorm": "one_norm_for_both_parts",
    "BlockOverwrites": "residual_stream_normed",
    "ModelNoOffset": "table_from_position_zero",
    "ModelClampedLoss": "ignored_targets_counted",
    "count_no_final": "final_norm_not_counted",
    "count_mha": "keys_and_values_for_every_query_head",
    "lens_no_norm": "head_without_norm",
    "lens_norm_in_stream": "layer_output_normed_and_passed_on",
    "pair_disjoint": "every_second_position_only",
    "merge_for": "second_token_kept",
    "merge_loses_last": "last_token_lost",
    "batch_rolled": "targets_wrap_around",
    "loss_per_sequence": "mean_of_the_row_means",
    "loss_log_eps": "With smaller numbers in the input it is right. Which step cannot take large",
    "rate_linear": "linear_decay",
    "step_clip_early": "gradients_not_clipped",
    "accumulate_equal": "update_and_loss_with_equal_shares",
    "temperature_global": "one_greedy_choice_for_all_rows",
    "top_k_plus": "one_token_too_many",
    "top_p_cut": "crossing_token_removed",
    "min_p_logits": "share_of_the_best_score",
    "generate_whole": "reads_the_whole_text_into_a_filled_cache",
    "CacheNew": "GivesOnlyTheNew",
    "steps_round": "rounded_to_the_nearest",
    "rms_b_max": "At each position all numbers along D are off by one factor.",
    "rms_b_weight_twice": "It would be the right result for `weight` squared.",
    "rms_b_minus": "At each position all numbers along D are off by one factor.",
    "rms_b_flip": "It would be the right result for `weight` in reverse order of its last axis.",
    "rms_b_two_axes": "one_scale_for_all_tokens",
    "rms_b_root_twice": "At each position all numbers along D are off by one factor.",
    "table_b_twopi": "The first index of T is right, and all later ones are wrong, on every wrong",
    "table_b_minus": "Every wrong number has the opposite sign, and is right without it.",
    "table_b_rev": "The numbers are right, but stand in reverse order along the axis T.",
    "rotate_b_double": None,
    "rotate_b_absolute": "Only the second half of d is wrong, on every wrong input.",
    "rotary_b_q_twice": "The result does not change when `xk` changes. Where should it come in?",
    "rotary_b_scaled": "Every number is the expected one divided by the root of the size of axis d.",
    "attention_b_2d": None,
    "attention_b_distance": "The first index of T is right, and all later ones are wrong, on every wrong",
    "attention_b_hard": "When only position 0 of `v` changes, the later position 4 of the result stays",
    "attention_b_residual": "Every number is the expected one plus `v`.",
    "attention_b_first": "It would be the right result for only the first index of the first axis of `k`.",
    "gqa_b_roll": "When only kv head 1 of `v` changes, head 1 of the result changes too. Should",
    "gqa_b_drop": "When only position 0 of `k` changes, position 1 of the result stays the same.",
    "gqa_b_divided": "On each input all numbers are off by one factor",
    "bytes_b_squared": "Every number is the expected one times `head_dim`.",
    "bytes_b_bos": "It would be the right result for `n_tokens` + 1.",
    "silu_b_square": "Every number is the expected one times `x`.",
    "silu_b_hard": None,
    "swiglu_b_mixed": None,
    "swiglu_b_bias": None,
    "selectivity_b_sign": None,
    "selectivity_b_swapped": "pairs_won_by_the_other_word",
    "BlockB": None,
    "BlockBHalf": None,
    "ModelBLastLoss": None,
    "ModelBSkips": "only_the_first_layer",
    "ModelBBits": None,
    "count_b_three": "Every number is the expected one plus `dim` · `n_layers`.",
    "count_b_fixed": "The result does not change when `n_heads` changes. Where should it come in?",
    "lens_b_table": "The first index of L+1 is right, and all later ones are wrong, on every wrong",
    "lens_b_mean": "The first index of L+1 is right, and all later ones are wrong, on every wrong",
    "pair_b_gap": None,
    "merge_b_even": "It returned 6 numbers, expected 5.",
    "merge_b_appends": "It returned 7 numbers, expected 5.",
    "batch_b_reversed": "The numbers are right, but stand in reverse order along the axis T.",
    "batch_b_sorted": "When only sequence 3 of `starts` changes, sequence 2 of the result changes too.",
    "loss_b_smooth": None,
    "loss_b_skip": "The result does not change when only the first index of axis 1 of `logits`",
    "loss_b_ppl": None,
    "rate_b_exp": None,
    "rate_b_quad": None,
    "step_b_ratio": None,
    "step_b_first": "The result does not change when only the last index of axis 1 of `x` changes.",
    "accumulate_b_zero": "gradients_emptied_before_every_piece",
    "temperature_b_root": "It would be the right result for the root of `t`.",
    "temperature_b_two": "On every wrong input it keeps the right tokens and some more. Where is the",
    "top_k_b_min": "On every wrong input it keeps the right tokens and some more. Where is the",
    "top_k_b_abs": None,
    "top_p_b_rest": "It would be the right result for 1 − `p`.",
    "min_p_b_difference": "share_that_may_be_lost",
    "generate_b_repeat": None,
    "CacheB": "The result does not change when `v` changes. Where should it come in?",
    "steps_b_less": "Every number is 1 smaller than the expected one.",
}
