"""What a wrong result depends on: an argument that has no effect, or a position that should have none."""

import torch
from torch import Tensor

from .outcomes import IN_16_BITS, close, near, outcome
from .trials import Trial, next_numbers

WORDS = {"B": "sequence", "T": "position", "S": "position", "H": "head", "K": "kv head", "D": "channel", "d": "channel"}
ALSO = {"K": "H", "S": "T"}  # an axis of an input that acts on another axis of the result
FACTORS = 1.5, -2.0  # by which numbers are changed
LONGEST = 12  # positions on one axis: a longer one takes too much time


def no_effect(exercise, made: list[Trial]) -> str | None:
    """The arguments without an effect: the right result changes with them, and the learner's never does.

    Where all results depend on an argument but one, this one is named.
    """
    counts = {len(trial.right.values) for trial in made} | {len(trial.answer.values or ()) for trial in made}
    numbers = [None, *range(counts.pop())] if len(counts) == 1 else [None]
    for number in numbers:
        names = [f"`{name}`" for name in made[0].case if never_matters(made, name, number)]
        if names and len(names) < len(made[0].case):
            which = "The result" if number is None else capital(exercise.value_name(number + 1, made[0].case))
            names = " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
            it = "it" if " or " not in names else "they"
            return f"{which} does not change when {names} changes. Where should {it} come in?"
    return None


def capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def never_matters(made: list[Trial], name: str, number: int | None) -> bool:
    """Whether the learner's result stays exactly the same in all trials in which the right one changes with `name`.

    Two cases must show it. Results that are few different whole numbers may stay the same by chance, so they do not
    count. number: which result; None for all.
    """
    if any(trial.answer.values is None for trial in made):
        return False
    chosen = slice(None) if number is None else slice(number, number + 1)
    shown = [t for t in made if t.changed == name and not close(t.right, made[t.number].right)]
    if number is not None:
        shown = [t for t in shown if differ(t.right.values[chosen], made[t.number].right.values[chosen])]
    if len({trial.number for trial in shown}) < 2:
        return False
    found = [x for trial in made for x in trial.answer.values[chosen]]
    if not all(x.dim() for x in found) and len({x.item() for x in found if not x.dim()}) < 4:
        return False
    return not any(differ(t.answer.values[chosen], made[t.number].answer.values[chosen]) for t in shown)


def differ(some: list[Tensor], others: list[Tensor]) -> bool:
    """Whether two lists of tensors differ in any bit; NaN differs from everything."""
    return len(some) != len(others) or not all(torch.equal(a, b) for a, b in zip(some, others, strict=True))


def unread_end(exercise, work, made: list[Trial]) -> str | None:
    """The first or last index of an input's axis that changes the right result and never the learner's."""
    cases = [trial for trial in made if trial.changed is None and trial.answer.values is not None]
    for name, value in made[0].case.items():
        axes = value.dim() if isinstance(value, Tensor) and value.dtype != torch.bool else 0
        if any(t.case[name].dim() != axes for t in cases if axes):
            continue
        for axis in range(axes):
            for words, index in (("first", 0), ("last", -1)):
                shown = 0
                for trial in cases:
                    never = unread(exercise, work, trial, (name, axis, index))
                    shown = -1 if never is False else shown + bool(never)
                    if shown < 0:
                        break
                if shown > 1:
                    thing = f"the {words} index of axis {axis} of `{name}`"
                    return f"The result does not change when only {thing} changes. Which line leaves it out?"
    return None


def unread(exercise, work, trial: Trial, where: tuple) -> bool | None:
    """Whether the learner's result stays the same when one index changes; None where the right one stays too."""
    name, axis, index = where
    if trial.case[name].shape[axis] < 2:
        return None
    changed = [{**trial.case, name: changed_at(trial.case[name], axis, index, factor)} for factor in FACTORS]
    for case in changed:
        answer = outcome(exercise, work, case)
        if answer.values is None or differ(answer.values, trial.answer.values):
            return False
    expected = [outcome(exercise, exercise.reference, case) for case in changed]
    return None if any(x.values is None or close(x, trial.right) for x in expected) else True


def leak(exercise, work, made: list[Trial]) -> str | None:
    """A position that changes another one and should not, or should and does not, in the letters of the shapes.

    On two wrong cases each input is changed at each index of each axis. A change too much is named only where the right
    result follows one of PATTERNS. A change that is missing must be missing on both cases; where tokens are removed,
    a row may stay the same, so there it is not named.
    """
    wrong = [trial for trial in made if not trial.changed and trial.is_wrong and is_plain(trial)]
    tables: dict = {}  # (argument, its letter, the result's letter) → for each case: the learner's table, the right one
    for trial in wrong[:2] if exercise.shapes else ():
        for where in axes_of(exercise, trial.case):
            both = [changes(exercise, work, trial, "answer", where)]
            both.append(changes(exercise, exercise.reference, trial, "right", where))
            if any(x is None for x in both):
                return None
            tables.setdefault((where[0], where[1], where[3]), []).append(both)
    filters = any((x == -torch.inf).any() for trial in wrong for x in trial.right.values)
    return too_much(tables) or (None if filters else too_little(tables))


def is_plain(trial: Trial) -> bool:
    """Whether the results are free of NaN, and no input has 16 bits or is large."""
    inputs = [value for value in trial.case.values() if isinstance(value, Tensor)]
    return (
        trial.answer.values is not None
        and not any(x.isnan().any() for x in trial.answer.values)
        and not any(x.dtype in IN_16_BITS or (x.is_floating_point() and x.abs().max() > 40) for x in inputs)
    )


def axes_of(exercise, case: dict):
    """Each axis of an input that acts on an axis of a result: (argument, letter, number, the result's letter)."""
    coming_out = {letter for letters in exercise.letters_out(case) for letter in letters.split()}
    names = [name for name, value in case.items() if isinstance(value, Tensor)]
    for name, letters in zip(names, exercise.shapes.split("->")[0].split(","), strict=False):
        axes = letters.split()
        for letter in ("...", *WORDS):  # V is left out: a filter compares its entries
            other = letter if letter in coming_out else ALSO.get(letter)
            if letter in axes and other in coming_out and case[name].dim() >= len(axes):
                axis = 0 if letter == "..." else axes.index(letter) - len(axes)
                if 1 < case[name].shape[axis] <= LONGEST and (letter != "..." or case[name].dim() > len(axes) - 1):
                    yield name, letter, axis, other


def changes(exercise, function, trial: Trial, side: str, where: tuple) -> Tensor | None:
    """[i, j]: whether index i of an input's axis changes index j of a result's axis. None where there is no result."""
    name, _, axis, letter = where
    before, rows = getattr(trial, side), []
    for i in range(trial.case[name].shape[axis]):
        row = None
        for factor in FACTORS:
            if row is not None and row.all():
                break
            after = outcome(exercise, function, {**trial.case, name: changed_at(trial.case[name], axis, i, factor)})
            if after.values is None or [x.shape for x in after.values] != [x.shape for x in before.values]:
                return None
            for a, b, letters in zip(after.values, before.values, exercise.letters_out(trial.case), strict=False):
                axes = letters.split()
                if axes.count(letter) == 1:
                    at = 0 if letter == "..." else axes.index(letter) - len(axes)
                    bad = (~near(a, b)).movedim(at, 0).reshape(a.shape[at], -1).any(1)
                    row = bad if row is None else row | bad
        if row is None:
            return None
        rows.append(row)
    return torch.stack(rows)


def changed_at(x: Tensor, axis: int, index: int, factor: float) -> Tensor:
    """A copy of x with other numbers at one index of one axis; whole numbers stay between x's lowest and highest."""
    changed = x.clone()
    part = changed.select(axis, index)
    if x.is_floating_point() or x.is_complex():
        noise = torch.rand(part.shape, generator=torch.Generator().manual_seed(1))
        part.copy_(part * (factor + noise) + 0.5 - noise)
    else:
        part.copy_(next_numbers(x).select(axis, index))
    return changed


PATTERNS = (  # of the n indices of an input, the index i changes the index j of m
    lambda i, j, n, m: (i == j) & (n == m),
    lambda i, j, n, m: i <= j + n - m,
    lambda i, j, n, m: (i == j * n // m) & (m % n == 0),
)


def follows_a_pattern(right: Tensor) -> bool:
    n, m = right.shape
    i, j = torch.arange(n)[:, None], torch.arange(m)
    return any(torch.equal(right, pattern(i, j, n, m)) for pattern in PATTERNS)


def too_much(tables: dict) -> str | None:
    for where, pairs in tables.items():
        for ours, right in pairs:
            more = ours & ~right
            if more.any() and all(follows_a_pattern(theirs) for _, theirs in pairs):
                return f"{when(where, *more.nonzero()[-1].tolist())} changes too. Should it?"
    return None


def too_little(tables: dict) -> str | None:
    for where, pairs in tables.items():
        missing = [right & ~ours for ours, right in pairs]
        if all(x.any() for x in missing):
            return f"{when(where, *missing[0].nonzero()[0].tolist())} stays the same. It should change."
    return None


def when(where: tuple, one: int, other: int) -> str:
    """The beginning of a sentence: "When only position 4 of `k` changes, the earlier position 2 of the result"."""
    name, letter, result_letter = where
    order = ("the earlier " if one > other else "the later ") if letter == result_letter == "T" and one != other else ""
    row = " (first axis)" if letter == "..." else ""
    return (
        f"When only {WORDS.get(letter, 'index')} {one} of `{name}`{row} changes, "
        f"{order}{WORDS.get(result_letter, 'index')} {other} of the result"
    )
