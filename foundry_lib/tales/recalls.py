"""The slots that ask for an earlier word of the story, and the reading of `{...}`. `slots` lists all kinds."""

import re

from ..errors import FoundryError
from .slots import Choose, Next, Slot, Smaller, mixed

SLOT = re.compile(r"(?P<var>[\w.]+)((?P<op>[=~<>!+-])(?P<arg>[\w.|]+)(/(?P<owner>[\w.]+))?)?$")
FAVOUR = 0.55  # the probability that `{X=A|B}` is A


class Someone(Slot):
    rule = "recall"

    def options(self, memory):
        first, second = self.arg.split("|")
        return {memory[first]: FAVOUR, memory[second]: 1 - FAVOUR}

    def marginal(self):
        first, second = map(self.grammar.marginal, self.arg.split("|"))
        if both := sorted(set(first) & set(second)):
            raise FoundryError(f"{both[0]!r} may mean either of {self.arg}; remove it from one of the two lists.")
        return mixed([(FAVOUR, first), (1 - FAVOUR, second)])

    def bind(self, memory, word):
        first, second = self.arg.split("|")
        memory["@" + self.var] = first if memory[first] == word else second
        memory["@not " + self.var] = second if memory[first] == word else first


class Other(Slot):
    rule = "recall"

    def options(self, memory):
        return {memory[memory["@not " + self.arg]]: 1.0}

    def marginal(self):
        return self.grammar.marginal(self.var)

    def bind(self, memory, word):
        memory["@" + self.var] = memory["@not " + self.arg]


class Recall(Slot):
    def __init__(self, *args):
        super().__init__(*args)
        self.rule = self.grammar.rule_of(self.var)

    def options(self, memory):
        return {self.meant(memory): 1.0}

    def marginal(self):
        return self.grammar.marginal(self.var)


class Lookup(Slot):
    def __init__(self, *args):
        super().__init__(*args)
        self.rule = self.grammar.rule_of(self.arg)

    def options(self, memory):
        return {self.grammar.tables[self.arg][self.meant(memory)]: 1.0}

    def marginal(self):
        table = self.grammar.tables[self.arg]
        return mixed((p, {table[word]: 1.0}) for word, p in self.grammar.marginal(self.var).items())


class Sum(Slot):
    rule, sign = "sum", 1

    def result(self, n, m):
        numbers = self.grammar.numbers
        return numbers[numbers.index(n) + self.sign * (numbers.index(m) + 1)]

    def options(self, memory):
        return {self.result(memory[self.var], memory[self.arg]): 1.0}

    def marginal(self):
        second = self.grammar.sources[self.arg]
        given = second.given if isinstance(second, Smaller) else lambda n: second.marginal()
        first = self.grammar.marginal(self.var)
        return mixed((p * q, {self.result(n, m): 1.0}) for n, p in first.items() for m, q in given(n).items())


class Difference(Sum):
    sign = -1


KINDS = {None: Recall, "~": Lookup, "<": Smaller, ">": Next, "!": Other, "+": Sum, "-": Difference}


def slot(grammar, spec: str) -> Slot:
    """The slot written as `spec`, without its braces."""
    match = SLOT.match(spec)
    if not match:
        raise FoundryError(f"A slot looks like {{A=heroes}}, {{A}} or {{A~he}}; found {{{spec}}}.")
    kind = KINDS.get(match["op"]) or (Someone if "|" in match["arg"] else Choose)
    return kind(grammar, match["var"], match["arg"], match["owner"])
