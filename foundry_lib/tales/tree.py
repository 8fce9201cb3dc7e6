"""All sentences that may come next, merged into a tree of words.

Where two sentences differ, the next word decides which one it is. So a text has one derivation, and the probability of
each word is known as soon as it is read. A grammar that is ambiguous is refused.
"""

from ..errors import FoundryError
from .recalls import slot


class Node:
    """A node of the tree: first the certain words `run`, then a choice, or the end of `scene`.

    edges: word → its slot or None, the next node, and the probability for the no-memory baseline.
    """

    def __init__(self, grammar, items):
        run = []
        while True:
            firsts = {}
            for weight, tokens, scene in items:
                firsts.setdefault(tokens[0] if tokens else None, []).append((weight, tokens[1:], scene))
            first, *others = firsts
            if others or first is None or first.startswith("{"):
                break
            run.append(first)
            items = firsts[first]
        self.run, self.zeros, self.nones = tuple(run), (0.0,) * len(run), (None,) * len(run)
        self.scene = items[0][2] if first is None and not others else None
        self.slots, self.fixed, self.edges = [], {}, {}
        if self.scene is not None:
            return
        total = sum(weight for weight, *_ in items)
        for token, group in firsts.items():
            if token is None:
                scene = items[0][2]
                raise FoundryError(f"In {scene!r} one sentence is the beginning of another; reword one.")
            share, child = sum(weight for weight, *_ in group) / total, Node(grammar, group)
            if token.startswith("{"):
                filler = slot(grammar, token[1:-1])
                marginal = filler.marginal()
                self.slots.append((share, filler))
            else:
                filler, marginal = None, {token: 1.0}
                self.fixed[token] = share
            for word, p in marginal.items():
                if word in self.edges:
                    raise FoundryError(f"In {group[0][2]!r} two sentences go on with {word!r}; reword one.")
                self.edges[word] = filler, child, share * p
        if not grammar.spaced:
            self.refuse_beginnings()
        self.only = self.slots[0][1] if len(self.slots) == 1 and not self.fixed else None

    def rule_of(self, word) -> str | None:
        """The rule that may forbid this word here; None for a free choice and for an unknown word."""
        filler = self.edges.get(word, (None,))[0]
        return filler and filler.rule

    def refuse_beginnings(self):
        """Refuse two possible words of which one begins the other: without spaces a text could be cut in two ways."""
        for word in self.edges:
            for length in range(1, len(word)):
                if word[:length] in self.edges:
                    raise FoundryError(f"{word[:length]!r} begins {word!r}, and both may follow; rename one.")

    def options(self, memory) -> dict:
        """Every possible next word with its probability, given the story so far."""
        if self.only is not None:
            return self.only.options(memory)
        if not self.slots:
            return self.fixed
        possible = dict(self.fixed)
        for share, filler in self.slots:
            for word, p in filler.options(memory).items():
                possible[word] = share * p
        return possible
