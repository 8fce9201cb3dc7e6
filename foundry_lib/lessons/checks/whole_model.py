"""The exercise that ends lesson 05: a whole model from an empty file.

It is judged with small parts, as the block is, so that each mistake shows. The block's result depends on table, layer
number and cache, and the table on each of its arguments.
"""

from types import SimpleNamespace

import torch
from torch import nn

from .ladder import Exercise
from .model import Attention, FeedForward, Norm, StepByStep, fill


class SmallCache(SimpleNamespace):
    """What a model uses of a KVCache: how many tokens were read, and a call that adds new ones."""

    def advance(self, n_new):
        self.length += n_new


def small_block(config, layer=0):
    return StepByStep(config, layer, Norm, Attention, FeedForward)


def small_table(head_dim, max_seq_len, theta):
    """A table (2, T, d/2) of cosines and sines that depends on each argument."""
    angle = torch.outer(torch.arange(1.0, max_seq_len + 1), torch.arange(1.0, head_dim // 2 + 1)) / theta
    return torch.stack((angle.cos(), angle.sin()))


def build_model(work, case):
    config = dict(vocab_size=case["vocab_size"], dim=case["dim"], n_layers=case["n_layers"], norm_eps=case["eps"])
    config |= dict(head_dim=4, n_heads=case["dim"] // 4, n_kv_heads=1, hidden_dim=8, max_seq_len=12)
    config |= dict(rope_theta=case["theta"], tie_embeddings=case["tied"])
    return work(SimpleNamespace(**config), small_block, Norm, small_table)


def run_model(work, case):
    """Build the model from small parts, fill its weights, and call it once. Returns the logits, the loss where there
    are targets, and the number of tokens in the cache where there is one."""
    model = build_model(work, case)
    if not isinstance(model, nn.Module):
        return model
    cache = SmallCache(length=case["read_before"], before=0.7) if case["read_before"] else None
    model = model if "_parameters" not in vars(model) else fill(model)
    result = model.forward(case["idx"], case["targets"], cache)
    if not isinstance(result, tuple) or len(result) != 2:
        return result
    return [value for value in (*result, cache and cache.length) if value is not None]


def model_case(B, T, vocab_size, dim, n_layers, tied, read_before=0, targets=True, eps=1e-5, theta=3.0):
    g = torch.Generator().manual_seed(100 * B + 10 * T + dim)
    case = dict(vocab_size=vocab_size, dim=dim, n_layers=n_layers, tied=tied, read_before=read_before)
    case |= dict(eps=eps, theta=theta, idx=torch.randint(vocab_size, (B, T), generator=g), targets=None)
    if targets:
        case["targets"] = torch.randint(vocab_size, (B, T), generator=g)
        case["targets"][0, -1] = -100
    return case


MODEL_CASES = [
    model_case(2, 5, 11, 8, 3, tied=False, targets=False),
    model_case(3, 4, 7, 12, 2, tied=True, theta=5.0),
    model_case(1, 2, 9, 4, 2, tied=True, read_before=3, targets=False, eps=0.3),
    model_case(2, 6, 13, 16, 4, tied=False, eps=0.1),
]


class WholeModel(nn.Module):
    """The reference, one method for each thing that can go wrong. A wrong model overrides one of them."""

    def __init__(self, config, block, norm, rope_table):
        super().__init__()
        self.tok_embeddings = nn.Embedding(config.vocab_size, config.dim)
        self.layers = nn.ModuleList(self.blocks(config, block))
        self.norm = self.last_norm(config, norm)
        self.output = nn.Linear(config.dim, config.vocab_size, bias=False)
        if self.is_tied(config):
            self.output.weight = self.tok_embeddings.weight
        self.register_buffer("freqs_cis", self.table(config, rope_table), persistent=False)

    def blocks(self, config, block):
        return [block(config, layer) for layer in range(config.n_layers)]

    def last_norm(self, config, norm):
        return norm(config.dim, config.norm_eps)

    def is_tied(self, config):
        return config.tie_embeddings

    def table(self, config, rope_table):
        return rope_table(config.head_dim, config.max_seq_len, config.rope_theta)

    def rows(self, T, cache):
        """The rows of the table at the positions of the new tokens."""
        before = cache.length if cache else 0
        return self.freqs_cis.narrow(1, before, T)

    def walk(self, x, rows, cache):
        for layer in self.layers:
            x = layer(x, rows, cache)
        return x

    def head(self, x):
        return self.norm(x) @ self.output.weight.T

    def count(self, cache, T):
        if cache:
            cache.advance(T)

    def price(self, logits, targets):
        return nn.functional.cross_entropy(logits.transpose(1, 2), targets)

    def forward(self, idx, targets=None, cache=None):
        x = self.walk(self.tok_embeddings.weight[idx], self.rows(idx.shape[1], cache), cache)
        self.count(cache, idx.shape[1])
        logits = self.head(x)
        return logits, None if targets is None else self.price(logits, targets)


def has_the_names(work, case):
    """Whether the weights are stored under the names of MiniLLM."""
    ours, theirs = (build_model(kind, case).state_dict() for kind in (WholeModel, work))
    return {name: w.shape for name, w in ours.items()} == {name: w.shape for name, w in theirs.items()}


model = Exercise(
    "model",
    "class MyModel: __init__(self, config, block, norm, rope_table), forward(self, idx, targets, cache)",
    MODEL_CASES,
    WholeModel,
    {
        "Trained weights are stored as tok_embeddings.weight, layers.0.…, norm.weight and output.weight, and nothing "
        "else is stored: the table is a buffer with persistent=False. Your model's state_dict() has other names or "
        "shapes.": has_the_names
    },
    run_model,
    "class",
    case_in_words=lambda case: (
        f"idx {tuple(case['idx'].shape)}, {case['n_layers']} layers, tied {case['tied']}, targets "
        f"{case['targets'] is not None}, {case['read_before']} tokens in the cache"
    ),
    value_name=lambda number, case: [
        "the logits",
        "the loss" if case["targets"] is not None else "cache.length after the call",
    ][number - 1],
)


def wrong_at(method):
    """Decorate a function that stands for one method of WholeModel: it becomes a wrong model."""
    return lambda function: type(function.__name__, (WholeModel,), {method: function, "__doc__": function.__doc__})


@model.mistake
@wrong_at("head")
def no_norm_before_the_head(self, x):
    """The head reads the residual stream without the norm in between. What does the walk of section 3 do after the last
    block?"""
    return self.output(x)


@model.mistake
@wrong_at("rows")
def table_from_position_zero(self, T, cache):
    """Right without a cache. With one, the new tokens are rotated as if they were the first. At which position does the
    first of them stand?"""
    return self.freqs_cis[:, :T]


@model.mistake
@wrong_at("rows")
def last_rows_of_the_table(self, T, cache):
    """The layers get the last rows of the table, whatever the positions are. Which rows belong to the tokens of idx?"""
    return self.freqs_cis[:, -T:]


@model.mistake
@wrong_at("rows")
def whole_table_passed_on(self, T, cache):
    """The layers get the whole table, with a row for each of max_seq_len positions. How many positions has idx?"""
    return self.freqs_cis


@model.mistake
@wrong_at("count")
def cache_not_advanced(self, cache, T):
    """The logits are right, but the cache does not know that tokens were read: the next call overwrites them. Which
    call tells it how many?"""


@model.mistake
@wrong_at("walk")
def cache_not_given_to_the_layers(self, x, rows, cache):
    """Right without a cache, but with one the earlier tokens are forgotten. What does a layer receive as its third
    argument?"""
    return WholeModel.walk(self, x, rows, None)


@model.mistake
class CacheAdvancedFirst(WholeModel):
    """The cache counts the new tokens before the layers have stored them, so the table starts too late. When has a
    token been read?"""

    def forward(self, idx, targets=None, cache=None):
        self.count(cache, idx.shape[1])
        logits = self.head(self.walk(self.tok_embeddings(idx), self.rows(idx.shape[1], cache), cache))
        return logits, None if targets is None else self.price(logits, targets)


@model.mistake
@wrong_at("is_tied")
def head_never_tied(self, config):
    """Right where the head has weights of its own, wrong where it is tied. Which tensor does a tied head use?"""
    return False


@model.mistake
@wrong_at("is_tied")
def head_always_tied(self, config):
    """Right where the head is tied, wrong where it is not. Which field of the config decides?"""
    return True


@model.mistake
@wrong_at("walk")
def only_the_last_layer(self, x, rows, cache):
    """All layers read the embedding, and only the last result is kept. What should the second layer read?"""
    return self.layers[-1](x, rows, cache)


@model.mistake
@wrong_at("walk")
def only_the_first_layer(self, x, rows, cache):
    """Only one layer has run. Where does the loop over the layers end?"""
    return self.layers[0](x, rows, cache)


@model.mistake
@wrong_at("walk")
def layers_in_reverse(self, x, rows, cache):
    """The last layer ran first. In which order does the residual stream meet them?"""
    for layer in reversed(self.layers):
        x = layer(x, rows, cache)
    return x


@model.mistake
@wrong_at("walk")
def residual_stream_normed_in_between(self, x, rows, cache):
    """The last norm is applied after every layer. How often does the model use it?"""
    for layer in self.layers:
        x = self.norm(layer(x, rows, cache))
    return x


@model.mistake
@wrong_at("walk")
def layer_output_added_again(self, x, rows, cache):
    """x is added to what a layer returns, but a block has added its input already. What does `layer(x, …)` give?"""
    for layer in self.layers:
        x = x + layer(x, rows, cache)
    return x


@model.mistake
@wrong_at("blocks")
def every_block_is_layer_zero(self, config, block):
    """Every block was built as layer 0, so that all of them would write to the same rows of a cache. What is block's
    second argument?"""
    return [block(config, 0) for _ in range(config.n_layers)]


@model.mistake
@wrong_at("blocks")
def layers_counted_from_one(self, config, block):
    """The blocks were built as layers 1, 2, …; a cache counts its layers from 0. Where does `range` begin?"""
    return [block(config, layer + 1) for layer in range(config.n_layers)]


@model.mistake
@wrong_at("last_norm")
def last_norm_with_its_own_eps(self, config, norm):
    """The last norm runs with an eps of its own. Where does the config's norm_eps go?"""
    return norm(config.dim)


@model.mistake
@wrong_at("table")
def theta_left_at_ten_thousand(self, config, rope_table):
    """The table was made with theta 10,000. Which field of the config holds the theta of this model?"""
    return rope_table(config.head_dim, config.max_seq_len, 10000.0)


@model.mistake
@wrong_at("price")
def targets_shifted_once_more(self, logits, targets):
    """The targets were moved by one position inside the model. The loader has moved them already: what does targets[t]
    hold?"""
    return WholeModel.price(self, logits[:, :-1], targets[:, 1:])


@model.mistake
@wrong_at("price")
def ignored_targets_counted(self, logits, targets):
    """Positions with the target −100 count as if token 0 were right there. What does −100 mean?"""
    return WholeModel.price(self, logits, targets.clamp(min=0))


@model.mistake
@wrong_at("price")
def ignored_targets_in_the_mean(self, logits, targets):
    """The sum of the losses was divided by all positions. How many of them have a target?"""
    return nn.functional.cross_entropy(logits.transpose(1, 2), targets, reduction="none").mean()


@model.mistake
@wrong_at("price")
def loss_summed(self, logits, targets):
    """The losses were summed, so that a larger batch has a larger loss. What is the loss of a training, per what?"""
    return nn.functional.cross_entropy(logits.transpose(1, 2), targets, reduction="sum")


@model.mistake
@wrong_at("price")
def loss_of_probabilities(self, logits, targets):
    """A softmax was taken before cross_entropy, which takes one itself. What does it expect?"""
    return WholeModel.price(self, logits.softmax(-1), targets)


@model.mistake
@wrong_at("head")
def probabilities_for_logits(self, x):
    """Each row of the logits sums to 1: these are probabilities. Which line of the task speaks of a softmax?"""
    return WholeModel.head(self, x).softmax(-1)


@model.mistake
class EmbeddingScaled(WholeModel):
    """The embedding was multiplied by the root of dim, as in the first transformer. Does the walk of section 3 do
    that?"""

    def forward(self, idx, targets=None, cache=None):
        x = self.tok_embeddings(idx) * self.tok_embeddings.embedding_dim**0.5
        x = self.walk(x, self.rows(idx.shape[1], cache), cache)
        self.count(cache, idx.shape[1])
        logits = self.head(x)
        return logits, None if targets is None else self.price(logits, targets)
