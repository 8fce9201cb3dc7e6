"""Exercises of lesson 05: the block, the number of parameters, and the guess after each layer.

A block is judged with small parts of this file, so that each mistake shows. The two norms have different weights, the
attention's output depends on table, layer number and cache, and the feed-forward is not linear.
"""

import zlib
from functools import wraps
from types import SimpleNamespace

import torch
from torch import nn

from .ladder import Exercise

# ---- Stand-in parts


class Norm(nn.Module):
    """Divides by the mean of |x| instead of the RMS, so that a block which builds an RMSNorm gives another result."""

    def __init__(self, dim, eps=1e-6):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(dim)), eps

    def forward(self, x):
        return self.weight * x / (x.abs().mean(-1, keepdim=True) + self.eps)


class Attention(nn.Module):
    """A running mean of the tokens times a matrix, plus terms that depend on table, layer number and cache."""

    def __init__(self, config, layer=0):
        super().__init__()
        self.matrix, self.layer = nn.Parameter(torch.zeros(config.dim, config.dim)), layer

    def forward(self, x, freqs_cis, cache=None):
        count = torch.arange(1, x.shape[1] + 1, dtype=x.dtype)
        mixed = (x.cumsum(1) / count[:, None]) @ self.matrix
        seen = 0.0 if cache is None else cache.before
        return mixed * (1 + 0.3 * self.layer) + 0.5 * freqs_cis.mean((0, -1))[:, None] + seen


class FeedForward(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.matrix = nn.Parameter(torch.zeros(config.dim, config.dim))

    def forward(self, x):
        return torch.tanh(x @ self.matrix) * x


@torch.no_grad()
def fill(module):
    """Give every parameter values that depend only on its name, so that the order of creation does not matter."""
    for name, parameter in module.named_parameters():
        g = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        values = torch.randn(parameter.shape, generator=g)
        parameter.copy_(1 + 0.4 * values if parameter.dim() == 1 else 0.4 * values)
    return module


# ---- The block


class SmallConfig(SimpleNamespace):
    """All that a block needs. A block that reads another field builds parts of its own, which is an error."""

    def __getattr__(self, name):
        raise AttributeError(
            f"this check's config has no {name}: a block builds its parts with what it is given as norm, attention and "
            f"feed_forward"
        )


def build(work, case):
    config = SmallConfig(dim=case["x"].shape[-1], norm_eps=case["eps"])
    return work(config, case["layer"], Norm, Attention, FeedForward)


def run_block(work, case):
    """Build the block from the parts above, fill its weights, and call it once, with or without a cache."""
    block = build(work, case)
    if not isinstance(block, nn.Module):
        return block
    cache = SimpleNamespace(before=0.7) if case["cached"] else None
    if "_parameters" not in vars(block):  # an __init__ that is still to be written
        return block.forward(case["x"], case["freqs_cis"], cache)
    return fill(block)(case["x"], case["freqs_cis"], cache)


def block_case(B, T, D, layer=0, eps=1e-5, cached=False, scale=1.0):
    g = torch.Generator().manual_seed(100 * B + 10 * T + D)
    x = scale * torch.randn(B, T, D, generator=g)
    return {"x": x, "freqs_cis": torch.randn(2, T, 3, generator=g), "layer": layer, "eps": eps, "cached": cached}


BLOCK_CASES = [
    block_case(2, 5, 8),
    block_case(3, 2, 6, layer=1, scale=20.0),
    block_case(1, 7, 4, layer=2, eps=0.3, scale=0.5),
    block_case(4, 1, 10, layer=1, cached=True),
]
PARTS = ("attention_norm", "attention", "ffn_norm", "feed_forward")


class StepByStep(nn.Module):
    """A block with the four parts under their names. A wrong block overrides `make` or `steps`."""

    def __init__(self, config, layer, norm, attention, feed_forward):
        super().__init__()
        self.make(config, layer, norm, attention, feed_forward)

    def make(self, config, layer, norm, attention, feed_forward):
        self.attention_norm, self.ffn_norm = (norm(config.dim, config.norm_eps) for _ in range(2))
        self.attention, self.feed_forward = attention(config, layer), feed_forward(config)

    def forward(self, x, freqs_cis, cache=None):
        return self.steps(
            x, self.attention_norm, lambda y: self.attention(y, freqs_cis, cache), self.ffn_norm, self.feed_forward
        )

    def steps(self, x, norm_1, attend, norm_2, feed):
        """The residual stream: attention adds to it, then the feed-forward."""
        for norm, reader in ((norm_1, attend), (norm_2, feed)):
            x = torch.add(x, reader(norm(x)))
        return x


def wrong(steps):
    """A wrong block whose forward is `steps(x, norm_1, attend, norm_2, feed)`."""
    return type(steps.__name__, (StepByStep,), {"steps": lambda self, *parts: steps(*parts), "__doc__": steps.__doc__})


def then(x, first, second):
    """x, plus first(x), and then plus `second` of that sum."""
    h = x + first(x)
    return h + second(h)


def four_parts(work, case):
    block = build(work, case)
    return all(isinstance(getattr(block, name, None), nn.Module) for name in PARTS)


block = Exercise(
    "block",
    "class MyBlock: __init__(self, config, layer, norm, attention, feed_forward), forward(self, x, freqs_cis, cache)",
    BLOCK_CASES,
    StepByStep,
    {
        "A block keeps its parts as self.attention_norm, self.attention, self.ffn_norm and self.feed_forward: trained "
        "weights are stored under these names, and one of them was not found.": four_parts
    },
    run_block,
    "class",
)


@block.mistake
@wrong
def post_norm(x, norm_1, attend, norm_2, feed):
    """Each norm stands behind the addition and changes the stream itself (post-norm, as in 2017). Who should read
    the normed copy, and what should go on unchanged?"""
    h = norm_1(x + attend(x))
    return norm_2(h + feed(h))


@block.mistake
@wrong
def attention_without_residual(x, norm_1, attend, norm_2, feed):
    """The stream does not pass by the attention: what went in is gone after it. What is attention's result added to?"""
    return (h := attend(norm_1(x))) + feed(norm_2(h))


@block.mistake
@wrong
def feed_forward_without_residual(x, norm_1, attend, norm_2, feed):
    """After the feed-forward only its own result is left. Where is what attention has gathered?"""
    return feed(norm_2(x + attend(norm_1(x))))


@block.mistake
@wrong
def no_residual(x, norm_1, attend, norm_2, feed):
    """Nothing of x arrives at the end: neither part adds, each replaces. What makes a stream of it?"""
    return feed(norm_2(attend(norm_1(x))))


@block.mistake
@wrong
def feed_forward_reads_the_block_input(x, norm_1, attend, norm_2, feed):
    """The feed-forward reads x and knows nothing of what attention found in this layer. Which tensor is the latest?"""
    return x + attend(norm_1(x)) + feed(norm_2(x))


@block.mistake
@wrong
def both_parts_read_one_normed_copy(x, norm_1, attend, norm_2, feed):
    """Attention and feed-forward both read the same normed copy, side by side. Which of the two should wait?"""
    return x + attend(norm_1(x)) + feed(norm_1(x))


@block.mistake
@wrong
def residual_from_before_attention(x, norm_1, attend, norm_2, feed):
    """The feed-forward reads the right thing, but its result is added to the x from before attention. What was lost
    on the way?"""
    return x + feed(norm_2(x + attend(norm_1(x))))


@block.mistake
@wrong
def one_norm_for_both_parts(x, norm_1, attend, norm_2, feed):
    """One and the same norm serves both parts, so one set of weights is never used. How many norms has the diagram?"""
    return then(x, lambda y: attend(norm_1(y)), lambda y: feed(norm_1(y)))


@block.mistake
@wrong
def norms_exchanged(x, norm_1, attend, norm_2, feed):
    """The two norms have changed places. Which one has attention in its name?"""
    return then(x, lambda y: attend(norm_2(y)), lambda y: feed(norm_1(y)))


@block.mistake
@wrong
def attention_without_norm(x, norm_1, attend, norm_2, feed):
    """Attention reads the raw stream, however loud it is. What stands between the stream and a part?"""
    return then(x, attend, lambda y: feed(norm_2(y)))


@block.mistake
@wrong
def feed_forward_without_norm(x, norm_1, attend, norm_2, feed):
    """The feed-forward reads the raw stream. What did attention get that it does not?"""
    return then(x, lambda y: attend(norm_1(y)), feed)


@block.mistake
@wrong
def no_norm(x, norm_1, attend, norm_2, feed):
    """No norm is used at all. Try an input twenty times as loud: what do the parts hear?"""
    return then(x, attend, feed)


@block.mistake
@wrong
def feed_forward_before_attention(x, norm_1, attend, norm_2, feed):
    """The feed-forward comes before attention. In which order does the diagram list them?"""
    return then(x, lambda y: feed(norm_2(y)), lambda y: attend(norm_1(y)))


@block.mistake
@wrong
def residual_stream_normed(x, norm_1, attend, norm_2, feed):
    """x = norm(x) overwrites the stream, and the addition then starts from the normed copy. Which of the two values
    of x should live on?"""
    x = norm_1(x)
    h = norm_2(x + attend(x))
    return h + feed(h)


@block.mistake
@wrong
def norm_after_each_part(x, norm_1, attend, norm_2, feed):
    """The norms stand behind attention and feed-forward, before the addition. On which side of a part is its
    reading?"""
    return then(x, lambda y: norm_1(attend(y)), lambda y: norm_2(feed(y)))


@block.mistake
@wrong
def input_added_twice(x, norm_1, attend, norm_2, feed):
    """x is in the result twice. h holds it already: what does the second addition start from?"""
    return x + then(x, lambda y: attend(norm_1(y)), lambda y: feed(norm_2(y)))


@block.mistake
@wrong
def attention_added_twice(x, norm_1, attend, norm_2, feed):
    """What attention found is in the result twice. Follow it from h on: who adds it, and how often?"""
    return (h := x + attend(norm_1(x))) + attend(norm_1(x)) + feed(norm_2(h))


@block.mistake
class CacheNotPassedOn(StepByStep):
    """Right without a cache, but with one the earlier tokens are forgotten. What does forward receive that it hands
    to nobody?"""

    def forward(self, x, freqs_cis, cache=None):
        return super().forward(x, freqs_cis, None)


@block.mistake
class LayerNotPassedOn(StepByStep):
    """Every layer believes to be layer 0, so that all of them would write to the same rows of a cache. Who tells
    attention which layer it is?"""

    def make(self, config, layer, norm, attention, feed_forward):
        super().make(config, 0, norm, attention, feed_forward)


@block.mistake
class EpsNotPassedOn(StepByStep):
    """The norms run with an eps of their own. Where does the config's norm_eps go?"""

    def make(self, config, layer, norm, attention, feed_forward):
        super().make(SimpleNamespace(dim=config.dim, norm_eps=1e-6), layer, norm, attention, feed_forward)


# ---- The number of parameters


def count_case(*values):
    return dict(
        zip(("vocab_size", "dim", "n_layers", "n_heads", "n_kv_heads", "hidden_dim", "tied"), values, strict=True)
    )


COUNT_CASES = [
    count_case(8192, 256, 4, 8, 4, 704, False),
    count_case(8192, 256, 4, 8, 4, 704, True),
    count_case(1536, 128, 2, 4, 2, 352, True),
    count_case(500, 48, 3, 6, 1, 100, False),
    count_case(97, 60, 5, 5, 5, 44, True),
]


def shapes(vocab_size, dim, n_layers, n_heads, n_kv_heads, hidden_dim, tied):
    """The weights of the model, one after the other: (its kind, its shape)."""
    narrow = dim // n_heads * n_kv_heads
    yield "embedding", (vocab_size, dim)
    for _ in range(n_layers):
        yield from (("norm 1", (dim,)), ("wq", (dim, dim)), ("wk", (narrow, dim)), ("wv", (narrow, dim)))
        yield from (("wo", (dim, dim)), ("norm 2", (dim,)), ("gate", (hidden_dim, dim)))
        yield from (("up", (hidden_dim, dim)), ("down", (dim, hidden_dim)))
    yield "final norm", (dim,)
    if not tied:
        yield "head", (vocab_size, dim)


def count(values, weight=lambda what, shape: 1, **changed):
    """A count of parameters: each weight counts `weight(kind, shape)` times its size, with some numbers changed."""
    case = count_case(*values)
    case |= {name: change(case) for name, change in changed.items()}
    return sum(weight(what, shape) * torch.Size(shape).numel() for what, shape in shapes(**case))


def count_without(values, *names):
    return count(values, lambda what, shape: int(what not in names))


count_parameters = Exercise(
    "count_parameters",
    "my_count(vocab_size, dim, n_layers, n_heads, n_kv_heads, hidden_dim, tied) → a whole number",
    COUNT_CASES,
    lambda *values: count(values),
)


@count_parameters.mistake
def tied_head_counted_again(*values):
    """Too many where the head is tied: one tensor is counted in two places. How often does it exist?"""
    return count(values, tied=lambda c: False)


@count_parameters.mistake
def head_not_counted(*values):
    """Right where the head is tied, too few where it has weights of its own. Which matrix stands at the very end?"""
    return count_without(values, "head")


@count_parameters.mistake
def norms_not_counted(*values):
    """A few hundred or thousand are missing: everything that has one number a channel and is no matrix. Which part
    is that?"""
    return count_without(values, "norm 1", "norm 2", "final norm")


@count_parameters.mistake
def final_norm_not_counted(*values):
    """It is too small by exactly dim. What stands between the last layer and the head?"""
    return count_without(values, "final norm")


@count_parameters.mistake
def one_norm_per_layer(*values):
    """It is too small by dim for each layer. How often does a layer norm its stream?"""
    return count_without(values, "norm 2")


@count_parameters.mistake
def layer_norms_not_counted(*values):
    """It is too small by two times dim for each layer. What stands before attention and before the feed-forward?"""
    return count_without(values, "norm 1", "norm 2")


@count_parameters.mistake
def tied_read_the_wrong_way_round(*values):
    """One matrix too many where the head is tied, and one too few where it is not. Does `tied` mean that two tables
    are stored, or one?"""
    return count(values, tied=lambda c: not c["tied"])


@count_parameters.mistake
def keys_and_values_for_every_query_head(*values):
    """Keys and values were counted as if every query head had its own. What do several heads share here?"""
    return count(values, n_kv_heads=lambda c: c["n_heads"])


@count_parameters.mistake
def output_projection_not_counted(*values):
    """Attention is too small. Projections lead into queries, keys and values; which one leads back?"""
    return count_without(values, "wo")


@count_parameters.mistake
def values_not_counted(*values):
    """Attention is too small by one narrow matrix a layer. Keys and values: are they the same numbers?"""
    return count_without(values, "wv")


@count_parameters.mistake
def one_channel_per_head(*values):
    """Keys and values are too small: as if a head had one channel. How wide is a head?"""
    return count(values, n_heads=lambda c: c["dim"])


@count_parameters.mistake
def gate_not_counted(*values):
    """The feed-forward has two matrices in this count. How many does a gated one have?"""
    return count_without(values, "gate")


@count_parameters.mistake
def classic_hidden_width(*values):
    """The width of the feed-forward was taken as 4 · dim. Which argument says how wide it is?"""
    return count(values, hidden_dim=lambda c: 4 * c["dim"])


@count_parameters.mistake
def embedding_not_counted(*values):
    """The tokens' vectors are missing. Where does the model look up a token before its first layer?"""
    return count_without(values, "embedding")


@count_parameters.mistake
def one_layer_counted(*values):
    """However many layers there are, one is counted. By what is the sum of a layer multiplied?"""
    return count(values, n_layers=lambda c: 1)


@count_parameters.mistake
def everything_multiplied_by_the_layers(*values):
    """More for every layer than a layer has: something was multiplied along that stands outside of the layers. What
    exists once in a model?"""
    return values[2] * count(values)


@count_parameters.mistake
def biases_counted(*values):
    """Every matrix was counted with a bias, one more number for each of its rows. Do nn.Linear layers here have one?"""
    return count(values) + sum(shape[0] for what, shape in shapes(*values) if len(shape) == 2 and what != "embedding")


@count_parameters.mistake
def matrices_of_the_layers_only(*values):
    """Only the matrices inside the layers are there. What is at the bottom and at the top of the diagram?"""
    return count_without(values, "embedding", "head", "norm 1", "norm 2", "final norm")


# ---- The guess after each layer


class StandInModel(nn.Module):
    """The parts of a MiniLLM that a lens uses, under the same names; a layer can be walked through part by part."""

    def __init__(self, vocab_size, dim, n_layers):
        super().__init__()
        self.tok_embeddings = nn.Embedding(vocab_size, dim)
        config = SmallConfig(dim=dim, norm_eps=1e-5)
        self.layers = nn.ModuleList(StepByStep(config, i, Norm, Attention, FeedForward) for i in range(n_layers))
        self.norm, self.output = Norm(dim), nn.Linear(dim, vocab_size, bias=False)
        self.register_buffer("freqs_cis", torch.randn(2, 12, 3, generator=torch.Generator().manual_seed(dim)))

    def forward(self, idx):
        x = self.tok_embeddings(idx)
        for layer in self.layers:
            x = layer(x, self.freqs_cis[:, : idx.shape[1]])
        return self.output(self.norm(x)), None


def run_lens(work, case):
    return work(fill(StandInModel(case["vocab_size"], case["dim"], case["n_layers"])), case["idx"])


def lens_case(B, T, vocab_size, dim, n_layers):
    g = torch.Generator().manual_seed(B + T)
    return {
        "idx": torch.randint(vocab_size, (B, T), generator=g),
        "vocab_size": vocab_size,
        "dim": dim,
        "n_layers": n_layers,
    }


LENS_CASES = [lens_case(2, 5, 11, 8, 3), lens_case(1, 9, 7, 6, 2), lens_case(3, 4, 20, 10, 4)]


def streams(model, idx):
    """The residual stream (B, T, D) before the first layer and after each layer, a list."""
    hidden = [model.tok_embeddings(idx)]
    for layer in model.layers:
        hidden.append(layer(hidden[-1], model.freqs_cis[:, : idx.shape[1]], None))
    return hidden


def read_with(read, keep=slice(None)):
    """A lens that stacks `read(model, stream)` over the residual streams in the slice `keep`."""
    return wraps(read)(lambda model, idx: torch.stack([read(model, s) for s in streams(model, idx)[keep]]))


def head(model, stream):
    return model.norm(stream) @ model.output.weight.T


logit_lens = Exercise(
    "logit_lens",
    "my_lens(model, idx) → logits (n_layers + 1, B, T, V)",
    LENS_CASES,
    read_with(head),
    run=run_lens,
    shapes="B T -> L+1 B T V",
)


@logit_lens.mistake
@read_with
def head_without_norm(model, stream):
    """The streams went to the head without the norm in between. What has the head always read in training?"""
    return stream @ model.output.weight.T


@logit_lens.mistake
def norm_before_the_last_guess_only(model, idx):
    """Only the last guess is right: the other streams went to the head without the norm. Which streams does the lens
    compare with the last one?"""
    hidden = streams(model, idx)
    return torch.stack([*(s @ model.output.weight.T for s in hidden[:-1]), head(model, hidden[-1])])


@logit_lens.mistake
@read_with
def log_probabilities_instead_of_logits(model, stream):
    """These are log-probabilities: the exponentials of each row add up to 1. What comes before the softmax?"""
    return head(model, stream).log_softmax(-1)


@logit_lens.mistake
def last_layer_first(model, idx):
    """The guesses are right and stand in the reverse order. Which guess is at index 0?"""
    return read_with(head)(model, idx).flip(0)


@logit_lens.mistake
@read_with
def embedding_used_as_the_head(model, stream):
    """The embedding was used as the head. That is right only where the two are tied: which part of the model makes
    logits?"""
    return model.norm(stream) @ model.tok_embeddings.weight.T


@logit_lens.mistake
def guess_before_the_first_layer_missing(model, idx):
    """The first row is missing: what does the model guess before any layer has run?"""
    return read_with(head, slice(1, None))(model, idx)


@logit_lens.mistake
def guess_after_the_last_layer_missing(model, idx):
    """The last row is missing. Is the stream looked at before a layer or behind it?"""
    return read_with(head, slice(None, -1))(model, idx)


@logit_lens.mistake
def last_guess_only(model, idx):
    """Only the last guess is there. Where does the loop keep the guesses on the way?"""
    return head(model, streams(model, idx)[-1])


@logit_lens.mistake
def every_layer_reads_the_embedding(model, idx):
    """All layers read the embedding. What should the second one read?"""
    table, x = model.freqs_cis[:, : idx.shape[1]], model.tok_embeddings(idx)
    return torch.stack([head(model, s) for s in (x, *(layer(x, table) for layer in model.layers))])


@logit_lens.mistake
def normed_copy_passed_on(model, idx):
    """The normed copy went on into the next layer. The lens should look at the stream and leave it alone: what does
    it change?"""
    table, x, guesses = model.freqs_cis[:, : idx.shape[1]], model.tok_embeddings(idx), []
    for layer in (lambda s, t: s, *model.layers):
        x = model.norm(layer(x, table))
        guesses.append(x @ model.output.weight.T)
    return torch.stack(guesses)


@logit_lens.mistake
def layer_output_normed_and_passed_on(model, idx):
    """The first two guesses are right and the later ones are not: what a layer gave was normed, and that went on
    into the next layer. Which tensor should the next one read?"""
    table, x = model.freqs_cis[:, : idx.shape[1]], model.tok_embeddings(idx)
    guesses = [head(model, x)]
    for layer in model.layers:
        x = model.norm(layer(x, table))
        guesses.append(x @ model.output.weight.T)
    return torch.stack(guesses)


@logit_lens.mistake
def layer_output_without_the_residual_stream(model, idx):
    """The guesses come from what each layer adds, without what was there before. What does the head read at the end?"""
    hidden = streams(model, idx)
    added = [hidden[0]] + [b - a for a, b in zip(hidden, hidden[1:], strict=False)]
    return torch.stack([head(model, s) for s in added])


@logit_lens.mistake
@read_with
def probabilities_instead_of_logits(model, stream):
    """These are probabilities: each row sums to 1. What comes before the softmax?"""
    return head(model, stream).softmax(-1)
