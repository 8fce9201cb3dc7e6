"""The floor: the lowest expected loss, which is the entropy of the tales, and how it divides among the rules."""

import numpy as np

from .walk import Tale

FREE = "free"  # words that no rule fixes: free choices and certain words


class Floor:
    """The exact floor of some tales: the loss of a reader who knows the grammar and remembers the story.

    tales: from `tales.generate` or `Verdict.tale`. token_words: for each tale, the index of the word that each of its
    targets belongs to; a target is a token or, after the last word, the end sign. Every array and average is over the
    targets of all tales, in order.

    nats: the floor, nats per token. forgetful: the loss of the no-memory baseline, a reader who knows the grammar and
    remembers nothing of the story.
    rules: the names of the rules, and "free" last. counts: how many words each of them fixes.
    forgetful_by_rule: excess loss of the no-memory baseline, as in `by_rule`.
    """

    def __init__(self, tales: list[Tale], token_words: list[list[int]]):
        rules = sorted({rule for tale in tales for rule in tale.rules if rule})
        self.rules = [*rules, FREE]
        number = {rule: index for index, rule in enumerate(self.rules)} | {None: len(rules)}
        word_rules = np.array([number[rule] for tale in tales for rule in tale.rules])
        best, forgetful = (
            -np.concatenate([np.array(logs) for logs in pair])
            for pair in zip(*((tale.word_log_probs, tale.forgetful_log_probs) for tale in tales), strict=True)
        )
        self.token_rules = np.array(
            [
                number[[*tale.rules, None][word]]
                for tale, words in zip(tales, token_words, strict=True)
                for word in words
            ]
        )
        self.counts = np.bincount(word_rules, minlength=len(self.rules))
        self._best = np.bincount(word_rules, best, len(self.rules))
        self.nats = float(best.sum()) / len(self.token_rules)
        self.forgetful = float(forgetful.sum()) / len(self.token_rules)
        self.nats_per_tale = float(best.sum()) / len(tales)
        excess = np.bincount(word_rules, forgetful, len(self.rules)) - self._best
        self.forgetful_by_rule = dict(zip(self.rules, (excess / self.counts).tolist(), strict=True))

    def by_rule(self, losses: np.ndarray) -> dict[str, float]:
        """Excess loss of a model by rule: nats above the floor for each word that the rule fixes.

        losses: the model's loss at every target, nats. "free" is per free or certain word. Each value times its count
        adds up to the whole excess over the floor.
        """
        excess = np.bincount(self.token_rules, losses, len(self.rules)) - self._best
        return dict(zip(self.rules, (excess / self.counts).tolist(), strict=True))
