"""The hidden channels ("neurons") of a feed-forward: their values at every word, and the words that open them."""

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ConfigError
from ..tales import grammar

GATES = {"SiLU": F.silu, "GELU": F.gelu, "ReLU": F.relu}
OFTEN = 5  # a word is ranked if the texts have it at least this often


def product(gate: Tensor, up: Tensor, activation: str = "SiLU") -> Tensor:
    """The output of a hidden channel: activation(gate) · up.

    >>> round(product(torch.tensor(4.0), torch.tensor(2.0)).item(), 2)
    7.86
    """
    return GATES[activation](gate) * up


def word_kinds(language: str = "en") -> dict[str, set[str]]:
    """Some kinds of words of the tales: name → words."""
    lists = grammar(language).lists
    return {
        "colours": set(lists["colours"]),
        "numbers": set(lists["numbers"]),
        "names": set(lists["heroes"]) | set(lists["friends"]),
        "places": set(lists["places"]),
        "spell words": set(lists["syllables"]),
    }


@dataclass
class Neurons:
    """Gate and up projection of every neuron of one layer, at every word of some texts.

    layer: its number, from 0. words: the N words. gate, up: (N, F), the outputs of w_gate and w_up, before the
    activation. kinds: kind → (N,), True where the word is of that kind.
    """

    layer: int
    words: list[str]
    gate: Tensor
    up: Tensor
    kinds: dict[str, Tensor]

    def selectivity(self, kind: str) -> Tensor:
        """(F,): of all pairs of a word of this kind and another word, the share in which the first has the wider gate.

        Raises ConfigError for a kind that the texts lack. This share is the AUC, the area under the ROC curve (Mann &
        Whitney 1947), counted by ranks: the rank of a word is the number of words with a narrower gate. The ranks of a
        kind's n words sum to the pairs they win against other words, plus the n (n − 1) / 2 pairs among themselves.
        """
        if kind not in self.kinds:
            raise ConfigError(f"The texts have no {kind!r}; there are {', '.join(self.kinds)}.")
        chosen = self.kinds[kind]
        rank = self.rank[chosen]
        n, others = len(rank), len(chosen) - len(rank)
        return (rank.sum(0) - n * (n - 1) // 2).double() / (n * others)

    @cached_property
    def rank(self) -> Tensor:
        """(N, F): the number of words that open this neuron less than this word does."""
        order = self.gate.argsort(dim=0)
        ranks = torch.arange(len(order))[:, None].expand_as(order)
        return torch.empty_like(order).scatter_(0, order, ranks)

    def most_selective(self, kind: str) -> list[int]:
        """All neurons, the most selective for this kind first."""
        return self.selectivity(kind).argsort(descending=True, stable=True).tolist()

    @cached_property
    def dictionary(self) -> tuple[list[str], Tensor]:
        """The different words, and (N,) the index of each word among them."""
        index = {word: number for number, word in enumerate(dict.fromkeys(self.words))}
        return list(index), torch.tensor([index[word] for word in self.words])

    def top_words(self, neuron: int, n: int = 5) -> list[str]:
        """The n words that open this neuron most, by the mean of its gate; rare words are left out."""
        words, index = self.dictionary
        count = index.bincount(minlength=len(words))
        mean = torch.zeros(len(words), dtype=torch.float64).index_add(0, index, self.gate[:, neuron].double()) / count
        order = mean.argsort(descending=True, stable=True).tolist()
        return [words[number] for number in order if count[number] >= OFTEN][:n]

    @cached_property
    def extent(self) -> tuple[float, float]:
        """The |gate| and |up| that nine in ten neurons never exceed; at least 1."""
        largest = torch.stack((self.gate.abs().amax(0), self.up.abs().amax(0)))
        return tuple(largest.quantile(0.9, dim=1).clamp(min=1.0).tolist())


@torch.no_grad()
def gather(model, tokenizer, texts: list[str], layer: int = 0, kinds: dict[str, set[str]] | None = None) -> Neurons:
    """Let the model read each text, and collect gate and up projection of one layer's feed-forward part.

    layer: −1 is the last. kinds: kind → words, `word_kinds()` unless given; a kind that no text has is left out.
    Raises ConfigError for a layer that the model lacks, and when the texts have no word of any kind.
    """
    n_layers = len(model.layers)
    if not -n_layers <= layer < n_layers:
        raise ConfigError(f"The model has the layers 0 to {n_layers - 1}; there is no layer {layer}.")
    part, gates, ups = model.layers[layer].feed_forward, [], []

    def note(_, inputs, __):  # from what the part reads, so that it works for a learner's own feed-forward too
        gates.append(part.w_gate(inputs[0])[0, 1:].float().cpu())
        ups.append(part.w_up(inputs[0])[0, 1:].float().cpu())

    hook = part.register_forward_hook(note)
    words = []
    try:
        for text in texts:
            ids = tokenizer.encode(text, bos=True)[: model.config.max_seq_len]
            model(torch.tensor([ids], device=model.device))
            words += [tokenizer.decode([i]).strip() for i in ids[1:]]  # the begin token is not a word
    finally:
        hook.remove()
    members_by_kind = {}
    for kind, members in (word_kinds() if kinds is None else kinds).items():
        chosen = torch.tensor([word in members for word in words], dtype=torch.bool)
        if 0 < chosen.sum() < len(words):
            members_by_kind[kind] = chosen
    if not members_by_kind:
        raise ConfigError(f"None of the {len(words)} words read is of a known kind; give other texts or kinds.")
    return Neurons(layer % n_layers, words, torch.cat(gates), torch.cat(ups), members_by_kind)
