"""The floor along the tokens: what the best possible reader pays for each, and which rule each belongs to."""

import bisect
import itertools

import numpy as np

from .walk import Tale

FREE = "free"  # words that no rule fixes: free choices, and words that are certain


def token_words(tale: Tale, tokenizer) -> list[int]:
    """For each token of the tale and its end sign, the index of the word that it belongs to.

    The end sign belongs to the word behind the last. A token that reaches into several words, which a tokenizer that
    knows the words never makes, belongs to the first of them that has a rule, or else to the last.
    """
    ends = list(itertools.accumulate(len(part.encode("utf-8")) for part in tale.parts))
    owners, start = [], 0
    for token in tokenizer.encode(tale.text):
        end = start + len(tokenizer.token_bytes(token))
        touched = range(bisect.bisect_right(ends, start), bisect.bisect_left(ends, end) + 1)
        owners.append(next((word for word in touched if tale.rules[word]), touched[-1]))
        start = end
    return [*owners, len(ends)]


class Floor:
    """The exact floor of some tales under a tokenizer, for whole tales from BOS to EOS.

    tales: what `tales.generate` or `Verdict.tale` gives. The targets are all tokens of all tales in order, each tale
    followed by its end sign; every array and average here is over them.

    nats: the floor, nats a token. forgetful: the same for a reader who knows the grammar and forgets the story.
    rules: the names of the rules, and "free" last. counts: how often the tales ask for each.
    forgetful_by_rule: what the forgetful reader owes, as in `by_rule`.
    """

    def __init__(self, tales: list[Tale], tokenizer):
        rules = sorted({rule for tale in tales for rule in tale.rules if rule})
        self.rules = [*rules, FREE]
        number = {rule: index for index, rule in enumerate(self.rules)} | {None: len(rules)}
        word_rules = np.array([number[rule] for tale in tales for rule in tale.rules])
        best, forgetful = (
            -np.concatenate([np.array(logs) for logs in pair])
            for pair in zip(*((tale.word_log_probs, tale.forgetful_log_probs) for tale in tales), strict=True)
        )
        self.token_rules = np.array(
            [number[[*tale.rules, None][word]] for tale in tales for word in token_words(tale, tokenizer)]
        )
        self.counts = np.bincount(word_rules, minlength=len(self.rules))
        self._best = np.bincount(word_rules, best, len(self.rules))
        self.nats = float(best.sum()) / len(self.token_rules)
        self.forgetful = float(forgetful.sum()) / len(self.token_rules)
        self.nats_per_tale = float(best.sum()) / len(tales)
        owed = np.bincount(word_rules, forgetful, len(self.rules)) - self._best
        self.forgetful_by_rule = dict(zip(self.rules, (owed / self.counts).tolist(), strict=True))

    def by_rule(self, losses: np.ndarray) -> dict[str, float]:
        """What a model still owes, rule by rule: nats above the floor for each word that the rule fixes.

        losses: the model's loss at every target, nats. "free" is per free or certain word. Each times its count, the
        values add up to the whole excess over the floor.
        """
        owed = np.bincount(self.token_rules, losses, len(self.rules)) - self._best
        return dict(zip(self.rules, (owed / self.counts).tolist(), strict=True))
