"""Generation and parsing share one walk. A Writer samples the next word, a Reader reads it from a text."""

import math
from dataclasses import dataclass, field

from .plot import EVENTS

MARKS = set(".,!?:;")


@dataclass
class Tale:
    """One tale. Probabilities are natural logarithms; each list has one entry per word.

    word_log_probs: of each word, given the story so far; `log_prob` is their sum.
    forgetful_log_probs: of each word, for the no-memory baseline, which knows the grammar and not the story.
    rules: the rule that fixes each word; None where the word was a free choice or certain.
    scenes: name of each scene and the index of its first word. memory: what each slot holds, by its name.
    held_out: whether the friends have things that they have in no training tale.
    """

    language: str
    held_out: bool | None
    spaced: bool
    words: list = field(default_factory=list)
    word_log_probs: list = field(default_factory=list)
    forgetful_log_probs: list = field(default_factory=list)
    rules: list = field(default_factory=list)
    scenes: list = field(default_factory=list)
    memory: dict = field(default_factory=dict)

    @property
    def text(self) -> str:
        return "".join(self.parts)

    @property
    def parts(self) -> list[str]:
        """The text cut after each word. A space belongs to the word after it."""
        return parts(self.words, self.spaced)

    @property
    def log_prob(self) -> float:
        return math.fsum(self.word_log_probs)

    @property
    def derivation(self) -> str:
        """Line by line, a scene and its words. A word that a rule fixes has the rule in brackets."""
        lines, ends = [], [start for _, start in self.scenes[1:]] + [len(self.words)]
        for (scene, start), end in zip(self.scenes, ends, strict=True):
            pairs = zip(self.words[start:end], self.rules[start:end], strict=True)
            marked = [word if rule is None else f"{word}[{rule}]" for word, rule in pairs]
            lines.append(f"{scene:7} {' '.join(marked)}")
        return "\n".join(lines)


def parts(words, spaced: bool) -> list[str]:
    """The words as running text has them: with `spaced`, each has a space before it, except the first and marks.

    >>> parts(["They", "met", "a", "duck", "."], spaced=True)
    ['They', ' met', ' a', ' duck', '.']
    """
    if not spaced:
        return list(words)
    return [word if index == 0 or word in MARKS else " " + word for index, word in enumerate(words)]


def walk(grammar, hand, held_out=False, tale=None) -> Tale:
    """One tale. `hand`, a Writer or a Reader, picks each word; a Reader raises Lost where its text goes wrong.

    tale: an empty tale to fill, for a caller who needs the words before the text goes wrong.
    """
    tale = Tale(grammar.language, held_out, grammar.spaced) if tale is None else tale
    memory, words, rules = tale.memory, tale.words, tale.rules
    logs, forgetful, done, log = tale.word_log_probs, tale.forgetful_log_probs, (), math.log
    memory["held out"] = held_out
    while (node := grammar.next_words(done)) is not None:
        start = len(words)
        while True:
            if node.run:
                hand.run(node.run)
                words += node.run
                logs += node.zeros
                forgetful += node.zeros
                rules += node.nones
            if node.scene is not None:
                break
            options = node.options(memory)
            word = hand.pick(options, node, len(words))
            slot, child, without_story = node.edges[word]
            words.append(word)
            logs.append(log(options[word]))
            forgetful.append(log(without_story))
            if slot is None:
                rules.append(None)
            else:
                rules.append(slot.rule)
                slot.bind(memory, word)
                tail = grammar.tails.get(word)
                if tail:
                    hand.run(tail)
                    words += tail
                    logs += [0.0] * len(tail)
                    forgetful += [0.0] * len(tail)
                    rules += [None] * len(tail)
            node = child
        tale.scenes.append((node.scene, start))
        done += ("event" if node.scene in EVENTS else node.scene,)
    return tale
