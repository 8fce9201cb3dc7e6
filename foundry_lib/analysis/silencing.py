"""What is a head worth? Silence it, and measure the loss that this adds, tale by tale and rule by rule.

    means = mean_outputs(model, tale_rows(model, tokenizer, other_tales))
    lost = silencing(model, tokenizer, told, means)
    lost[1, 2]["mirror"]                    # one number per tale: its mean, and `mean_interval` of it

A head can be silenced in two ways: it gives zeros, or it gives the mean of its output over other texts. Zeros may be an
input that the later layers have never met. The mean removes only what differs from text to text.
"""

from collections import defaultdict

import numpy as np
import torch
from torch import Tensor

from ..text.words import token_words
from .heads import looking
from .quality import tale_losses


@torch.no_grad()
def mean_outputs(model, rows: list[list[int]]) -> Tensor:
    """What each head gives on average, over all tokens of some texts: (layers, H, d).

    rows: the tokens of each text, as `tale_rows` gives them.
    """
    total, count = 0.0, 0
    with looking(model) as watched:
        for row in rows:
            model(torch.tensor([row], device=model.device)[:, : model.config.max_seq_len])
            total = total + torch.stack([layer.mixed[0].sum(1) for layer in watched])
            count += watched[0].mixed.shape[2]
    return total / count


def rule_losses(model, tokenizer, stories: list) -> dict[str, np.ndarray]:
    """The loss in nats per word that a rule fixes: rule → one number for each tale that has such words, in order.

    stories: tales (`tales.generate`). Raises ConfigError for no tales, and for a model that cannot read them.
    """
    found = defaultdict(list)
    for tale, losses in zip(stories, tale_losses(model, tokenizer, stories), strict=True):
        of_rule = defaultdict(lambda: defaultdict(float))  # rule → word → loss, the sum over the word's tokens
        for word, loss in zip(token_words(tale, tokenizer), losses.tolist(), strict=True):
            rule = tale.rules[word] if word < len(tale.rules) else None
            if rule:
                of_rule[rule][word] += loss
        for rule, words in of_rule.items():
            found[rule].append(sum(words.values()) / len(words))
    return {rule: np.array(found[rule]) for rule in sorted(found)}


def silencing(
    model, tokenizer, stories: list, instead: Tensor | None = None
) -> dict[tuple[int, int], dict[str, np.ndarray]]:
    """The loss that silencing each head adds: (layer, head) → rule → nats per word, one number for each tale.

    stories, and the tales of a rule: as for `rule_losses`. instead: as for `looking`, None is zeros.
    """
    with looking(model):
        whole = rule_losses(model, tokenizer, stories)
    lost = {}
    for layer in range(model.config.n_layers):
        for head in range(model.config.n_heads):
            with looking(model, ((layer, head),), instead):
                without = rule_losses(model, tokenizer, stories)
            lost[layer, head] = {rule: without[rule] - whole[rule] for rule in whole}
    return lost
