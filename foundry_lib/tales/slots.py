"""The slots of a sentence: `{A=heroes}` fills one, `{A}` asks for the word that filled it.

| written           | the word that comes next                                                       |
|-------------------|--------------------------------------------------------------------------------|
| `{A=heroes}`      | any word of the list `heroes`; the tale then remembers it as `A`               |
| `{t=things/A}`    | any word of `things` that may go with `A`: see `Grammar.may_pair`              |
| `{q>p}`           | nearly always one of the five words after `p` in its list, which is a ring     |
| `{m<n}`           | a number smaller than `n`                                                      |
| `{X=A|B}`         | the name of `A` or of `B`; `X` then means that one (`{X.colour}`, `{X~he}`)    |
| `{Y!X}`           | the other one                                                                  |
| `{A}` `{A.thing}` | the remembered word                                                            |
| `{A~he}`          | the entry of the table `he` for it                                             |
| `{n+m}` `{n-m}`   | the sum, the difference                                                        |

Every slot has three methods. `options`: the words that the story so far allows, with their probabilities. `marginal`:
the probabilities for the no-memory baseline, which knows the grammar and remembers nothing of the story. `bind`:
remember the choice.
"""

RING = (0.36, 0.25, 0.17, 0.13, 0.09)  # the probabilities of the next five words of a ring
STRAY = 0.02  # the probability that the choice ignores the ring


def normalised(weights: dict) -> dict:
    """The weights, divided by their sum."""
    total = sum(weights.values())
    return {word: weight / total for word, weight in weights.items()}


def skewed(words) -> dict:
    """Zipf-Mandelbrot: rank r of n weighs 1 / (r + 1 + n/6); the first weighs 7n / (n + 6) times the last."""
    words = list(words)
    return normalised({word: 1 / (rank + 1 + len(words) / 6) for rank, word in enumerate(words)})


def mixed(parts) -> dict:
    """The mixture of several distributions, given as (weight, distribution)."""
    total = {}
    for weight, distribution in parts:
        for word, p in distribution.items():
            total[word] = total.get(word, 0.0) + weight * p
    return total


class Slot:
    """`rule`: the name of the rule that a wrong word here breaks; None where the choice is free."""

    rule = None

    def __init__(self, grammar, var, arg, owner):
        self.grammar, self.var, self.arg, self.owner = grammar, var, arg, owner
        self.root, dot, rest = var.partition(".")
        self.rest = dot + rest
        self.cache = {}

    def meant(self, memory):
        """The remembered word. `X.colour` is `A.colour` where X means A."""
        root = memory.get("@" + self.root)
        return memory[self.var if root is None else root + self.rest]

    def bind(self, memory, word):
        """Do nothing: the story already contains this word."""


class Choose(Slot):
    def options(self, memory):
        if self.owner is None:
            return self.grammar.weights[self.arg]
        key = memory[self.owner], memory["held out"]
        if key not in self.cache:
            self.cache[key] = self.allowed(*key)
        return self.cache[key]

    def allowed(self, owner, held_out):
        """The words that may go with this owner. held_out: as in `Grammar.may_pair`."""
        weights, may_pair = self.grammar.weights[self.arg], self.grammar.may_pair
        return normalised({word: w for word, w in weights.items() if may_pair(owner, word, held_out)})

    def marginal(self):
        if self.owner is None:
            return self.grammar.weights[self.arg]
        owners = self.grammar.marginal(self.owner)
        seen = mixed((p, self.allowed(owner, False)) for owner, p in owners.items())
        return {thing: seen.get(thing, 0.0) for thing in self.grammar.lists[self.arg]}

    def bind(self, memory, word):
        memory[self.var] = word


class Dependent(Slot):
    """A free choice whose possibilities depend on one earlier word."""

    def options(self, memory):
        earlier = memory[self.arg]
        if earlier not in self.cache:
            self.cache[earlier] = self.given(earlier)
        return self.cache[earlier]

    def marginal(self):
        return mixed((p, self.given(earlier)) for earlier, p in self.grammar.marginal(self.arg).items())

    def bind(self, memory, word):
        memory[self.var] = word


class Next(Dependent):
    def given(self, earlier):
        source = self.grammar.sources[self.arg]
        while isinstance(source, Next):
            source = self.grammar.sources[source.arg]
        ring = self.grammar.lists[source.arg]
        start = ring.index(earlier) + 1
        rare = STRAY / len(ring)  # any other word may follow too, so that a model with a small error breaks no rule
        near = {ring[(start + step) % len(ring)]: (1 - STRAY) * p for step, p in enumerate(RING)}
        return {word: rare + near.get(word, 0.0) for word in ring}


class Smaller(Dependent):
    def given(self, earlier):
        return skewed(self.grammar.numbers[: self.grammar.numbers.index(earlier)])
