"""Who picks the words of a walk through the grammar: a Writer samples the next word, a Reader reads it from a text."""

import re
from dataclasses import dataclass
from random import Random

WORD = re.compile(r"[^\W\d_]+|\S")


class Lost(Exception):
    """The text does not continue like a tale. options: the possible words, with their probabilities."""

    def __init__(self, options):
        self.options = options


@dataclass
class Break:
    """One broken rule: word `index` of the text is `actual`, and the story implies `expected`."""

    rule: str
    index: int
    expected: str
    actual: str


class Writer:
    """Samples each word. It only uses `random.random`, whose numbers are the same in every Python."""

    def __init__(self, seed: Random):
        self.random = seed.random

    def run(self, words):
        """Do nothing: certain words are not sampled."""

    def pick(self, options, node, index):
        point = self.random()
        for word, p in options.items():
            point -= p
            if point < 0:
                return word
        return word


class Reader:
    """Reads each word of a text. A wrong word after which the sentence can go on is added to `breaks`.

    text: words, or the characters of a language without spaces. at: position of the next word in it.
    """

    def __init__(self, text, spaced):
        self.text = WORD.findall(text) if spaced else "".join(text.split())
        self.spaced, self.at, self.breaks = spaced, 0, []

    def run(self, words):
        """Read words that are certain. Raises Lost at the first that differs."""
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
        for word in words:  # up to the first that differs
            if self.next_in((word,)) is None:
                raise Lost({word: 1.0})
            self.step(word)

    def next_in(self, words):
        """The word of `words` that comes next in the text; None if none of them does."""
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
        """The next word. For a word that breaks a rule, the word that the rule asks for, if there is only one."""
        word = self.next_in(options)
        if word is not None:
            self.step(word)
            return word
        wrong = self.next_in(node.edges)
        rule = node.rule_of(wrong)
        if rule is None:
            raise Lost(options)
        expected = [possible for possible in options if node.rule_of(possible) == rule]
        self.breaks.append(Break(rule, index, "/".join(expected), wrong))
        if len(options) > 1:  # it is unknown which of them the text means, and the rest of the tale depends on it
            raise Lost(options)
        self.step(wrong)
        return expected[0]

    @property
    def rest(self):
        """The part of the text that was not read yet."""
        return self.text[self.at :]
