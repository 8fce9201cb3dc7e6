"""What leads a walk through the grammar: a Writer draws the next word, a Reader finds it in a text."""

import re
from dataclasses import dataclass
from random import Random

WORD = re.compile(r"[^\W\d_]+|\S")


class Lost(Exception):
    """The text cannot be read on: only `options` were possible, words with their probabilities."""

    def __init__(self, options):
        self.options = options


@dataclass
class Break:
    """One broken rule: at word `index`, `found` stands where the story implies `expected`."""

    rule: str
    index: int
    expected: str
    found: str


class Writer:
    """Draws each word, by `random.random` alone: its numbers are the same in every Python."""

    def __init__(self, seed: Random):
        self.random = seed.random

    def run(self, words):
        """The certain words need no drawing."""

    def pick(self, options, node, index):
        point = self.random()
        for word, p in options.items():
            point -= p
            if point < 0:
                return word
        return word


class Reader:
    """Finds each word in a text. A wrong word after which the sentence can go on is noted in `breaks`."""

    def __init__(self, text, spaced):
        self.text = WORD.findall(text) if spaced else "".join(text.split())
        self.spaced, self.at, self.breaks = spaced, 0, []

    def run(self, words):
        text, at = self.text, self.at
        if self.spaced:
            self.at = at + len(words)
            if tuple(text[at : self.at]) == words:
                return
        else:
            joined = "".join(words)
            self.at = at + len(joined)
            if text.startswith(joined, at):
                return
        self.at = at
        for word in words:  # go to the first that differs
            if self.next_in((word,)) is None:
                raise Lost({word: 1.0})
            self.step(word)

    def next_in(self, words):
        """The word of `words` that comes next in the text; None when there is none."""
        if self.spaced:
            word = self.text[self.at] if self.at < len(self.text) else None
            return word if word in words else None
        for length in range(1, 13):
            word = self.text[self.at : self.at + length]
            if word in words:
                return word
        return None

    def step(self, word):
        self.at += 1 if self.spaced else len(word)

    def pick(self, options, node, index):
        word = self.next_in(options)
        if word is None:
            found = self.next_in(node.edges)
            rule = node.rule_of(found)
            if rule is None:
                raise Lost(options)
            expected = [possible for possible in options if node.rule_of(possible) == rule]
            self.breaks.append(Break(rule, index, "/".join(expected), found))
            if len(options) > 1:  # which of them was meant? what follows depends on it
                raise Lost(options)
            self.step(found)
            return expected[0]
        self.step(word)
        return word

    @property
    def rest(self):
        return self.text[self.at :]
