"""Inside a model: what its heads attend to, and how to silence some of them (`silencing` measures what that does).

Inside `looking` every layer attends with `causal_attention`, which returns the mixed values and the weights. So the
weights shown here are those that mixed the values.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from ..errors import ConfigError
from ..models.attention import causal_attention
from ..text.words import token_words
from .quality import tale_rows

CLEAR = 0.5  # a head whose largest mean weight on any relation is below this is called spread


class Watched:
    """Attends as `causal_attention` does; stores the weights and what the heads give, the mixed values (B, H, T, d).

    silent: head → what it gives instead of its mixed values, (d,), or 0.
    """

    def __init__(self, silent: dict[int, Tensor | float]):
        self.silent, self.weights, self.mixed = silent, None, None

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        self.mixed, self.weights = causal_attention(q, k, v)
        for head, instead in self.silent.items():
            self.mixed[:, head] = instead
        return self.mixed


@contextmanager
def looking(model, silent: tuple[tuple[int, int], ...] = (), instead: Tensor | None = None) -> Iterator[list[Watched]]:
    """Inside the `with`, every layer attends through a `Watched`. Yields their list, one per layer.

    silent: pairs (layer, head), counted from 0. instead: (layers, H, d), what each silent head gives instead of its
    mixed values (`silencing.mean_outputs`); None is zeros. Nested calls add up. Raises ConfigError for a layer or a
    head that the model lacks.
    """
    before = [layer.attention.attend for layer in model.layers]
    for layer, head in silent:
        if not (0 <= layer < model.config.n_layers and 0 <= head < model.config.n_heads):
            raise ConfigError(
                f"The model has layers 0 to {model.config.n_layers - 1}, and in each the heads 0 to "
                f"{model.config.n_heads - 1}; there is no head {head} of layer {layer}."
            )
    for number, layer in enumerate(model.layers):
        heads = {head: 0.0 if instead is None else instead[number, head] for index, head in silent if index == number}
        layer.attention.attend = Watched(getattr(before[number], "silent", {}) | heads)
    try:
        yield [layer.attention.attend for layer in model.layers]
    finally:
        for layer, attend in zip(model.layers, before, strict=True):
            layer.attention.attend = attend


def silenced(model, layer: int, head: int):
    """Inside `with silenced(model, 1, 2):` head 2 of layer 1 adds nothing to the residual stream."""
    return looking(model, ((layer, head),))


@torch.no_grad()
def attention_weights(model, idx: Tensor) -> Tensor:
    """All attention weights of the model when it reads idx (1, T): (layers, H, T, T); row t is what token t attends to.

    Raises ConfigError for more than one sequence.
    """
    if idx.shape[0] != 1:
        raise ConfigError(f"The weights of one sequence can be shown, idx (1, T); found {idx.shape[0]} sequences.")
    with looking(model) as watched:
        model(idx)
    return torch.stack([layer.weights[0] for layer in watched])


def relations(ids: Tensor) -> dict[str, Tensor]:
    """For tokens ids (T + 1), the positions in some relation to each query: name → (T, T), True at [t, s].

    The query t has read ids[: t + 1] and predicts ids[t + 1]. A position may be in several relations.

    >>> relations(torch.tensor([4, 7, 4]))["itself"].int().tolist()
    [[1, 0], [0, 1]]
    """
    read, target = ids[:-1], ids[1:]
    position = torch.arange(len(read))
    back = position[:, None] - position  # the distance from each query back to each position
    previous = torch.cat((read.new_tensor([-1]), read[:-1]))  # the token before each position
    related = {
        "an earlier copy of the next word": read == target[:, None],
        "the position after an earlier copy of itself": previous == read[:, None],
        "the token before it": back == 1,
        "the token two places back": back == 2,
        "itself": back == 0,
        "the start of the text": (position == 0).expand_as(back),
    }
    return {name: where & (back >= 0) for name, where in related.items()}


def mean_weights(model, tokenizer, stories: list) -> dict[str, Tensor]:
    """The mean weight of each head on each relation, over all tokens of some tales: relation → (layers, H)."""
    total, count = {}, 0
    for row in tale_rows(model, tokenizer, stories):
        ids = torch.tensor(row)
        weights = attention_weights(model, ids[None, :-1].to(model.device)).cpu()
        for name, where in relations(ids).items():
            total[name] = total.get(name, 0) + (weights * where).sum((-2, -1))
        count += len(row) - 1
    return {name: weight / count for name, weight in total.items()}


def looks(model, tokenizer, stories: list) -> dict[str, dict[str, Tensor]]:
    """What the heads attend to where a rule fixes the next word: rule → relation → mean weight (layers, H).

    stories: tales (`tales.generate`). Raises ConfigError for no tales, and for a model that cannot read them.
    """
    sums, counts = {}, {}
    device = model.device
    for tale, row in zip(stories, tale_rows(model, tokenizer, stories), strict=True):
        ids = torch.tensor(row)
        weights = attention_weights(model, ids[None, :-1].to(device)).cpu()
        rules = [[*tale.rules, None][word] for word in token_words(tale, tokenizer)]
        on = {name: (weights * where).sum(-1) for name, where in relations(ids).items()}  # (layers, H, T) each
        for rule in {rule for rule in rules if rule}:
            chosen = torch.tensor([position for position, its_rule in enumerate(rules) if its_rule == rule])
            counts[rule] = counts.get(rule, 0) + len(chosen)
            for name, weight in on.items():
                of_rule = sums.setdefault(rule, {})
                of_rule[name] = of_rule.get(name, 0) + weight[..., chosen].sum(-1)
    return {rule: {name: total / counts[rule] for name, total in sums[rule].items()} for rule in sorted(sums)}


def label(weights: dict[str, dict[str, Tensor]], layer: int, head: int) -> str:
    """What a head attends to, in words: the rule and the relation where its mean weight in `looks` is largest.

    Raises ConfigError where nothing was measured, as for a model of another text.

    >>> label({"sum": {"itself": torch.tensor([[0.7]])}}, 0, 0)
    '0.70 of its weight on itself, where the rule is sum'
    """
    if not weights:
        raise ConfigError("No head was measured, so none has a label; `looks` measures the heads of a model of tales.")
    options = [(weight[layer, head].item(), name, rule) for rule in weights for name, weight in weights[rule].items()]
    weight, name, rule = max(options)
    return f"{weight:.2f} of its weight on {name}, where the rule is {rule}" if weight >= CLEAR else "spread"
