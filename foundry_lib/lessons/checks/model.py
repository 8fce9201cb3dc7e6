"""Exercises of lesson 05: the block, the number of parameters, and the guess after each layer.

A block is judged with small parts of our own, so that each of its mistakes shows: the two norms have different
weights, the attention hears its table, its layer number and its cache, and the feed-forward is not linear.
"""

import zlib
from types import SimpleNamespace

import torch
from torch import nn

from .ladder import Exercise

# ---- Stand-in parts


class Norm(nn.Module):
    """Divides by the mean size and not its square's root, so that a block that builds another norm is found out."""

    def __init__(self, dim, eps=1e-6):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(dim)), eps

    def forward(self, x):
        return self.weight * x / (x.abs().mean(-1, keepdim=True) + self.eps)


class Attention(nn.Module):
    """A running mean of the tokens, turned by a matrix, plus what table, layer and cache say."""

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
    """Give every parameter values that follow from its name, so that the order of making them does not matter."""
    for name, parameter in module.named_parameters():
        g = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        values = torch.randn(parameter.shape, generator=g)
        parameter.copy_(1 + 0.4 * values if parameter.dim() == 1 else 0.4 * values)
    return module


# ---- The block


class SmallConfig(SimpleNamespace):
    """All that a block itself needs; who asks for more builds parts that were not handed in."""

    def __getattr__(self, name):
        raise AttributeError(
            f"this check's config has no {name}: a block builds its parts with what it is given as norm, attention and "
            f"feed_forward"
        )


def build(work, case):
    config = SmallConfig(dim=case["x"].shape[-1], norm_eps=case["eps"])
    return work(config, case["layer"], Norm, Attention, FeedForward)


def run_block(work, case):
    """Build the block of our parts, fill it, and call it once with a cache or without."""
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
    """A block whose four parts have their names; a wrong one overrides `make` or `steps`."""

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
        """The stream, to which two readers write in turn."""
        for norm, reader in ((norm_1, attend), (norm_2, feed)):
            x = torch.add(x, reader(norm(x)))
        return x


def wrong(steps):
    """A wrong block: `steps(x, n1, attend, n2, feed)` says what its forward does."""
    return type("Wrong", (StepByStep,), {"steps": lambda self, *parts: steps(*parts)})


class NoLayer(StepByStep):
    def make(self, config, layer, norm, attention, feed_forward):
        super().make(config, 0, norm, attention, feed_forward)


class NoEps(StepByStep):
    def make(self, config, layer, norm, attention, feed_forward):
        super().make(SimpleNamespace(dim=config.dim, norm_eps=1e-6), layer, norm, attention, feed_forward)


class NoCache(StepByStep):
    def forward(self, x, freqs_cis, cache=None):
        return super().forward(x, freqs_cis, None)


def then(x, first, second):
    """x with what `first` adds to it, and then with what `second` adds to that."""
    h = x + first(x)
    return h + second(h)


def post_norm(x, n1, attend, n2, feed):
    h = n1(x + attend(x))
    return n2(h + feed(h))


def normed_stream(x, n1, attend, n2, feed):
    x = n1(x)
    h = n2(x + attend(x))
    return h + feed(h)


BLOCK_MISTAKES = {
    "Each norm stands behind the addition and changes the stream itself (post-norm, as in 2017). Who should read the "
    "normed copy, and what should go on unchanged?": wrong(post_norm),
    "The stream does not pass by the attention: what went in is gone after it. What is attention's result added to?": (
        wrong(lambda x, n1, at, n2, ff: (h := at(n1(x))) + ff(n2(h)))
    ),
    "After the feed-forward only its own result is left. Where is what attention has gathered?": wrong(
        lambda x, n1, at, n2, ff: ff(n2(x + at(n1(x))))
    ),
    "Nothing of x arrives at the end: neither part adds, each replaces. What makes a stream of it?": wrong(
        lambda x, n1, at, n2, ff: ff(n2(at(n1(x))))
    ),
    "The feed-forward reads x and knows nothing of what attention found in this layer. Which tensor is the latest?": (
        wrong(lambda x, n1, at, n2, ff: x + at(n1(x)) + ff(n2(x)))
    ),
    "Attention and feed-forward both read the same normed copy, side by side. Which of the two should wait?": wrong(
        lambda x, n1, at, n2, ff: x + at(n1(x)) + ff(n1(x))
    ),
    "The feed-forward reads the right thing, but its result is added to the x from before attention. What was lost on "
    "the way?": wrong(lambda x, n1, at, n2, ff: x + ff(n2(x + at(n1(x))))),
    "One and the same norm serves both parts, so one set of weights is never used. How many norms has the diagram?": (
        wrong(lambda x, n1, at, n2, ff: then(x, lambda y: at(n1(y)), lambda y: ff(n1(y))))
    ),
    "The two norms have changed places. Which one has attention in its name?": wrong(
        lambda x, n1, at, n2, ff: then(x, lambda y: at(n2(y)), lambda y: ff(n1(y)))
    ),
    "Attention reads the raw stream, however loud it is. What stands between the stream and a part?": wrong(
        lambda x, n1, at, n2, ff: then(x, at, lambda y: ff(n2(y)))
    ),
    "The feed-forward reads the raw stream. What did attention get that it does not?": wrong(
        lambda x, n1, at, n2, ff: then(x, lambda y: at(n1(y)), ff)
    ),
    "No norm is used at all. Try an input twenty times as loud: what do the parts hear?": wrong(
        lambda x, n1, at, n2, ff: then(x, at, ff)
    ),
    "The feed-forward comes before attention. In which order does the diagram list them?": wrong(
        lambda x, n1, at, n2, ff: then(x, lambda y: ff(n2(y)), lambda y: at(n1(y)))
    ),
    "x = norm(x) overwrites the stream, and the addition then starts from the normed copy. Which of the two values of "
    "x should live on?": wrong(normed_stream),
    "The norms stand behind attention and feed-forward, before the addition. On which side of a part is its reading?": (
        wrong(lambda x, n1, at, n2, ff: then(x, lambda y: n1(at(y)), lambda y: n2(ff(y))))
    ),
    "x is in the result twice. h holds it already: what does the second addition start from?": wrong(
        lambda x, n1, at, n2, ff: x + then(x, lambda y: at(n1(y)), lambda y: ff(n2(y)))
    ),
    "What attention found is in the result twice. Follow it from h on: who adds it, and how often?": wrong(
        lambda x, n1, at, n2, ff: (h := x + at(n1(x))) + at(n1(x)) + ff(n2(h))
    ),
    "Right without a cache, but with one the earlier tokens are forgotten. What does forward receive that it hands to "
    "nobody?": NoCache,
    "Every layer believes to be layer 0, so that all of them would write to the same rows of a cache. Who tells "
    "attention which layer it is?": NoLayer,
    "The norms run with an eps of their own. Where does the config's norm_eps go?": NoEps,
}


def four_parts(work, case):
    block = build(work, case)
    return all(isinstance(getattr(block, name, None), nn.Module) for name in PARTS)


block = Exercise(
    "block",
    "class MyBlock: __init__(self, config, layer, norm, attention, feed_forward), forward(self, x, freqs_cis, cache)",
    BLOCK_CASES,
    StepByStep,
    BLOCK_MISTAKES,
    {
        "A block keeps its parts as self.attention_norm, self.attention, self.ffn_norm and self.feed_forward: trained "
        "weights are stored under these names, and one of them was not found.": four_parts
    },
    run_block,
    "class",
)


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
    """Every weight of the model, one after the other: (what it is, its shape)."""
    narrow = dim // n_heads * n_kv_heads
    yield "embedding", (vocab_size, dim)
    for _ in range(n_layers):
        yield from (("norm 1", (dim,)), ("wq", (dim, dim)), ("wk", (narrow, dim)), ("wv", (narrow, dim)))
        yield from (("wo", (dim, dim)), ("norm 2", (dim,)), ("gate", (hidden_dim, dim)))
        yield from (("up", (hidden_dim, dim)), ("down", (dim, hidden_dim)))
    yield "final norm", (dim,)
    if not tied:
        yield "head", (vocab_size, dim)


def total(weight=lambda what, shape: 1, **changed):
    """A count in which each weight counts `weight(what, shape)` times, with some of the numbers changed."""

    def count(*values):
        case = count_case(*values)
        case |= {name: change(case) for name, change in changed.items()}
        return sum(weight(what, shape) * torch.Size(shape).numel() for what, shape in shapes(**case))

    return count


def without(*names):
    return total(lambda what, shape: int(what not in names))


COUNT_MISTAKES = {
    "Too many where the head is tied: one tensor is counted in two places. How often does it exist?": total(
        tied=lambda c: False
    ),
    "Right where the head is tied, too few where it has weights of its own. Which matrix stands at the very end?": (
        without("head")
    ),
    "A few hundred or thousand are missing: everything that has one number a channel and is no matrix. Which part is "
    "that?": without("norm 1", "norm 2", "final norm"),
    "It is too small by exactly dim. What stands between the last layer and the head?": without("final norm"),
    "It is too small by dim for each layer. How often does a layer norm its stream?": without("norm 2"),
    "It is too small by two times dim for each layer. What stands before attention and before the feed-forward?": (
        without("norm 1", "norm 2")
    ),
    "One matrix too many where the head is tied, and one too few where it is not. Does `tied` mean that two tables are "
    "stored, or one?": total(tied=lambda c: not c["tied"]),
    "Keys and values were counted as if every query head had its own. What do several heads share here?": total(
        n_kv_heads=lambda c: c["n_heads"]
    ),
    "Attention is too small. Projections lead into queries, keys and values; which one leads back?": without("wo"),
    "Attention is too small by one narrow matrix a layer. Keys and values: are they the same numbers?": without("wv"),
    "Keys and values are too small: as if a head had one channel. How wide is a head?": total(
        lambda what, shape: 1,
        n_heads=lambda c: c["dim"],
    ),
    "The feed-forward has two matrices in this count. How many does a gated one have?": without("gate"),
    "The width of the feed-forward was taken as 4 · dim. Which argument says how wide it is?": total(
        hidden_dim=lambda c: 4 * c["dim"]
    ),
    "The tokens' vectors are missing. Where does the model look up a token before its first layer?": without(
        "embedding"
    ),
    "However many layers there are, one is counted. By what is the sum of a layer multiplied?": total(
        n_layers=lambda c: 1
    ),
    "More for every layer than a layer has: something was multiplied along that stands outside of the layers. What "
    "exists once in a model?": lambda *v: v[2] * total()(*v),
    "Every matrix was counted with a bias, one more number for each of its rows. Do nn.Linear layers here have one?": (
        lambda *v: total()(*v) + sum(s[0] for w, s in shapes(*v) if len(s) == 2 and w != "embedding")
    ),
    "Only the matrices inside the layers are there. What is at the bottom and at the top of the diagram?": without(
        "embedding", "head", "norm 1", "norm 2", "final norm"
    ),
}

count_parameters = Exercise(
    "count_parameters",
    "my_count(vocab_size, dim, n_layers, n_heads, n_kv_heads, hidden_dim, tied) → a whole number",
    COUNT_CASES,
    total(),
    COUNT_MISTAKES,
)


# ---- The guess after each layer


class StandInLayer(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.matrix = nn.Parameter(torch.zeros(dim, dim))

    def forward(self, x, freqs_cis, cache=None):
        return x + torch.tanh(x.cumsum(1) @ self.matrix + freqs_cis.mean((0, -1))[:, None])


class StandInModel(nn.Module):
    """What a lens needs of a MiniLLM, under the same names."""

    def __init__(self, vocab_size, dim, n_layers):
        super().__init__()
        self.tok_embeddings = nn.Embedding(vocab_size, dim)
        self.layers = nn.ModuleList(StandInLayer(dim) for _ in range(n_layers))
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
    """The stream before the first layer and behind each."""
    found = [model.tok_embeddings(idx)]
    for layer in model.layers:
        found.append(layer(found[-1], model.freqs_cis[:, : idx.shape[1]], None))
    return found


def read_with(read, keep=slice(None)):
    """A lens that gives `read(model, stream)` for the streams in `keep`."""
    return lambda model, idx: torch.stack([read(model, s) for s in streams(model, idx)[keep]])


def head(model, stream):
    return model.norm(stream) @ model.output.weight.T


def each_from_the_start(model, idx):
    table, x = model.freqs_cis[:, : idx.shape[1]], model.tok_embeddings(idx)
    return torch.stack([head(model, s) for s in (x, *(layer(x, table) for layer in model.layers))])


def normed_on_the_way(model, idx):
    table, x, found = model.freqs_cis[:, : idx.shape[1]], model.tok_embeddings(idx), []
    for layer in (lambda s, t: s, *model.layers):
        x = model.norm(layer(x, table))
        found.append(x @ model.output.weight.T)
    return torch.stack(found)


def normed_behind_each_layer(model, idx):
    table, x = model.freqs_cis[:, : idx.shape[1]], model.tok_embeddings(idx)
    found = [head(model, x)]
    for layer in model.layers:
        x = model.norm(layer(x, table))
        found.append(x @ model.output.weight.T)
    return torch.stack(found)


def differences(model, idx):
    found = streams(model, idx)
    added = [found[0]] + [b - a for a, b in zip(found, found[1:], strict=False)]
    return torch.stack([head(model, s) for s in added])


LENS_MISTAKES = {
    "The streams went to the head without the norm in between. What has the head always read in training?": read_with(
        lambda model, stream: stream @ model.output.weight.T
    ),
    "The first row is missing: what does the model guess before any layer has run?": read_with(head, slice(1, None)),
    "The last row is missing. Is the stream looked at before a layer or behind it?": read_with(head, slice(None, -1)),
    "Only the last guess is there. Where does the loop keep the guesses on the way?": lambda model, idx: head(
        model, streams(model, idx)[-1]
    ),
    "All layers read the embedding. What should the second one read?": each_from_the_start,
    "The normed copy went on into the next layer. The lens should look at the stream and leave it alone: what does it "
    "change?": normed_on_the_way,
    "The first two guesses are right and the later ones are not: what a layer gave was normed, and that went on into "
    "the next layer. Which tensor should the next one read?": normed_behind_each_layer,
    "The guesses come from what each layer adds, without what was there before. What does the head read at the end?": (
        differences
    ),
    "These are probabilities: each row sums to 1. What comes before the softmax?": read_with(
        lambda model, stream: head(model, stream).softmax(-1)
    ),
}

logit_lens = Exercise(
    "logit_lens",
    "my_lens(model, idx) → logits (n_layers + 1, B, T, V)",
    LENS_CASES,
    read_with(head),
    LENS_MISTAKES,
    run=run_lens,
)
