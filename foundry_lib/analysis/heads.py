"""Look inside a model: where its heads look, and what is lost when one of them falls silent.

There is one path. The weights that are shown are the weights by which the values were mixed, not a second computation
beside it: inside `looking` every layer attends with `causal_attention`, which gives both.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from ..errors import ConfigError
from ..models.attention import causal_attention
from ..text.words import token_words
from .quality import excess

CLEAR = 0.5  # a head that puts less than this on anything is called spread


class Watched:
    """Attends as `causal_attention` does, keeps the weights, and gives zeros for the heads in `silent`."""

    def __init__(self, silent: set[int]):
        self.silent, self.weights = silent, None

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        mixed, self.weights = causal_attention(q, k, v)
        if self.silent:
            mixed[:, list(self.silent)] = 0.0
        return mixed


@contextmanager
def looking(model, silent: tuple[tuple[int, int], ...] = ()) -> Iterator[list[Watched]]:
    """Inside, every layer attends through a `Watched`, which this gives, one a layer; afterwards all is as before.

    silent: pairs (layer, head), counted from 0. What is silent outside stays silent inside. Raises ConfigError for a
    layer or a head that the model lacks.
    """
    before = [layer.attention.attend for layer in model.layers]
    for layer, head in silent:
        if not (0 <= layer < model.config.n_layers and 0 <= head < model.config.n_heads):
            raise ConfigError(
                f"The model has layers 0 to {model.config.n_layers - 1}, and in each the heads 0 to "
                f"{model.config.n_heads - 1}; there is no head {head} of layer {layer}."
            )
    for number, layer in enumerate(model.layers):
        heads = {head for where, head in silent if where == number}
        layer.attention.attend = Watched(heads | getattr(before[number], "silent", set()))
    try:
        yield [layer.attention.attend for layer in model.layers]
    finally:
        for layer, attend in zip(model.layers, before, strict=True):
            layer.attention.attend = attend


def silenced(model, layer: int, head: int):
    """Inside `with silenced(model, 1, 2):` head 2 of layer 1 adds nothing to the stream."""
    return looking(model, ((layer, head),))


@torch.no_grad()
def attention_weights(model, idx: Tensor) -> Tensor:
    """All weights that the model uses when it reads idx (1, T): (layers, H, T, T); row t is what token t looks at.
    Raises ConfigError for more rows than one."""
    if idx.shape[0] != 1:
        raise ConfigError(f"The weights of one row can be shown, idx (1, T); found {idx.shape[0]} rows.")
    with looking(model) as watched:
        model(idx)
    return torch.stack([layer.weights[0] for layer in watched])


def relations(ids: Tensor) -> dict[str, Tensor]:
    """For tokens ids (T + 1) the places that stand in some relation to each query: name → (T, T), True at [t, s].

    The query t has read ids[: t + 1] and is to say ids[t + 1]. A place may stand in several relations.
    """
    read, nxt = ids[:-1], ids[1:]
    place = torch.arange(len(read))
    back = place[:, None] - place  # how far behind the query each place is
    behind = torch.cat((read.new_tensor([-1]), read[:-1]))  # the token in front of each place
    found = {
        "an earlier copy of the word to be said": read == nxt[:, None],
        "the place after an earlier copy of itself": behind == read[:, None],
        "the token before it": back == 1,
        "the token two places back": back == 2,
        "itself": back == 0,
        "the start of the text": (place == 0).expand_as(back),
    }
    return {name: where & (back >= 0) for name, where in found.items()}


def looks(model, tokenizer, told: list) -> dict[str, dict[str, Tensor]]:
    """Where the heads look when the next word is fixed by the story: rule → relation → mean weight (layers, H)."""
    sums, counts = {}, {}
    for tale in told:
        ids = torch.tensor(tokenizer.encode(tale.text, bos=True, eos=True))
        weights = attention_weights(model, ids[None, :-1])
        rules = [[*tale.rules, None][word] for word in token_words(tale, tokenizer)]
        on = {name: (weights * where).sum(-1) for name, where in relations(ids).items()}  # (layers, H, T) each
        for rule in {rule for rule in rules if rule}:
            chosen = torch.tensor([place for place, found in enumerate(rules) if found == rule])
            counts[rule] = counts.get(rule, 0) + len(chosen)
            for name, weight in on.items():
                of_rule = sums.setdefault(rule, {})
                of_rule[name] = of_rule.get(name, 0) + weight[..., chosen].sum(-1)
    return {rule: {name: total / counts[rule] for name, total in sums[rule].items()} for rule in sorted(sums)}


def label(found: dict[str, dict[str, Tensor]], layer: int, head: int) -> str:
    """What a head looks at, in words: the rule and the relation in which the measurement `looks` finds it clearest."""
    options = [(weight[layer, head].item(), name, rule) for rule in found for name, weight in found[rule].items()]
    weight, name, rule = max(options)
    return f"{weight:.2f} of its weight on {name}, where the rule is {rule}" if weight >= CLEAR else "spread"


def silencing(model, tokenizer, told: list) -> dict[tuple[int, int], dict[str, float]]:
    """What each head is worth: (layer, head) → rule → nats a word that are lost when it alone is silent."""
    with looking(model):
        whole = excess(model, tokenizer, told).by_rule
    found = {}
    for layer in range(model.config.n_layers):
        for head in range(model.config.n_heads):
            with silenced(model, layer, head):
                without = excess(model, tokenizer, told).by_rule
            found[layer, head] = {rule: without[rule] - whole[rule] for rule in whole}
    return found
