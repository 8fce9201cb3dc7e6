"""A grammar is data: lists of words, tables, sentences for each scene, and the rules that the words obey."""

import re
from dataclasses import dataclass, field, replace

from ..errors import FoundryError
from . import plot
from .recalls import FAVOUR, Other, Someone, slot
from .slots import Choose, Dependent, mixed, skewed
from .tree import Node

PHRASE = re.compile(r"<([^<>{}]+)>")


def words(text) -> list[str]:
    """The entries of a list. A string is cut at | where it has one, else at spaces.

    >>> words("red blue"), words("By the sea | Above a bakery")
    (['red', 'blue'], ['By the sea', 'Above a bakery'])
    """
    if not isinstance(text, str):
        return list(text)
    return [" ".join(entry.split()) for entry in text.split("|")] if "|" in text else text.split()


@dataclass(frozen=True)
class Grammar:
    """One language of the tales.

    lists: name → words, the most common first. The first word of an entry of several words must identify it.
    tables: name → {word: word}.
    scenes: name → sentences, the most common first; `<X>` in them is replaced by the phrase of that name.
    rules: rule → the variables and tables it governs.
    messages: rule → the sentence for a broken one. spaced: whether there are spaces between words.
    """

    language: str
    lists: dict
    tables: dict
    scenes: dict
    phrases: dict
    rules: dict
    messages: dict
    spaced: bool = True
    sources: dict = field(default_factory=dict, init=False, repr=False)
    shares: dict = field(default_factory=dict, init=False, repr=False)
    nodes: dict = field(default_factory=dict, init=False, repr=False)
    weights: dict = field(default_factory=dict, init=False, repr=False)
    tails: dict = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self):
        object.__setattr__(self, "lists", {name: words(listed) for name, listed in self.lists.items()})
        for name, listed in self.lists.items():
            self.weights[name] = skewed(entry.split()[0] for entry in listed)
            for entry in listed:
                first, *rest = entry.split()
                if self.tails.setdefault(first, tuple(rest)) != tuple(rest):
                    raise FoundryError(f"Two entries begin with {first!r}, one of them in {name!r}; reword one.")
        scenes = {name: [self.spelled_out(one) for one in sentences] for name, sentences in self.scenes.items()}
        object.__setattr__(self, "scenes", scenes)
        for sentences in scenes.values():
            for token in " ".join(sentences).split():
                if token.startswith("{") and any(mark in token for mark in "=<>!"):
                    self.declare(slot(self, token[1:-1]))

    def spelled_out(self, sentence: str) -> str:
        """A sentence with its phrases filled in."""
        return PHRASE.sub(lambda match: self.phrases[match[1]], sentence)

    def declare(self, filler):
        """Note which slot fills a variable, for `marginal`."""
        if isinstance(filler, Someone):
            first, second = filler.arg.split("|")
            self.shares[filler.var] = {first: FAVOUR, second: 1 - FAVOUR}
        elif isinstance(filler, Other):
            first, second = self.shares[filler.arg]
            self.shares[filler.var] = {first: 1 - FAVOUR, second: FAVOUR}
        elif isinstance(filler, (Choose, Dependent)):
            self.sources.setdefault(filler.var, filler)

    @property
    def numbers(self) -> list:
        return self.lists["numbers"]

    def rule_of(self, name: str) -> str | None:
        """The rule that governs a variable or a table, by its last part without a final digit."""
        name = name.rpartition(".")[2].rstrip("0123456789")
        return next((rule for rule, names in self.rules.items() if name in names.split()), None)

    def marginal(self, var: str) -> dict:
        """The probability of each word as the value of `var`, for the no-memory baseline."""
        root, dot, rest = var.partition(".")
        if root in self.shares:
            return mixed((p, self.marginal(who + dot + rest)) for who, p in self.shares[root].items())
        if var not in self.sources:
            raise FoundryError(f"No sentence fills {{{var}}}; write {{{var}=a list}} where the word comes first.")
        return self.sources[var].marginal()

    def is_held_out(self, owner: str, thing: str) -> bool:
        """Whether this owner never has this thing in a training tale: one pair in eight."""
        owners = self.owners
        return (3 * owners.index(owner) + 5 * self.lists["things"].index(thing)) % 8 == 0

    @property
    def owners(self) -> list:
        return [*self.lists["heroes"], *self.lists["friends"]]

    def may_pair(self, owner: str, word: str, held_out: bool | None) -> bool:
        """Whether `word`, a friend or a thing, may go with `owner`. Two friends may if they have different pronouns.

        held_out: of things, False allows the pairs of training tales, True the held-out pairs, None all.
        """
        if word in self.tables["he"]:
            return self.tables["he"][word] != self.tables["he"][owner]
        return held_out is None or held_out == self.is_held_out(owner, word)

    def next_words(self, done: tuple) -> Node | None:
        """The tree of everything that may follow the scenes so far; None when the tale is over."""
        if done not in self.nodes:
            items = [
                (share * weight, tuple(sentence.split()), scene)
                for scene, share in plot.next_scenes(done).items()
                for sentence, weight in skewed(self.scenes[scene]).items()
            ]
            self.nodes[done] = Node(self, items) if items else None
        return self.nodes[done]

    def with_(self, **changes) -> "Grammar":
        """A copy, with some entries of its dicts replaced or added: `with_(lists={"colours": "red blue"})`."""
        return replace(self, **{name: {**getattr(self, name), **new} for name, new in changes.items()})
