"""The learner's own filters, generation loop and KV cache from lesson 08, as the `own` of everything that generates.

own = sampling_parts()                                    # prints whose each part is
sample_text(model, tokenizer, "Once there was", own=own)
"""

import inspect
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps

import torch
from torch import Tensor

from ..console import say
from ..errors import FoundryError
from ..inference.generation import PARTS
from ..inference.sampling import FILTERS
from . import checks
from .own_parts import stored
from .part_speed import slowest_line
from .traceback_in_words import error_in_words

TRIAL = dict(temperature=0.8, top_k=20, top_p=0.9, min_p=0.05)  # the settings with which the filters are timed
SLOW = 0.002  # seconds: about what the course's model takes for one token on a CPU


def sampling_parts() -> dict[str, Callable]:
    """The learner's parts of sampling that pass their checks; where there is none, the library's stands in.

    Each is tried. Prints a line for a part that breaks, for one that is slow, and then one line that says whose each
    part is. A part that breaks later ends the text with one sentence (`reported`).
    """
    own = {}
    for name in PARTS:
        work = stored(name)
        if work is not None and runs(name, work):
            own[name] = reported(name, work)
    rest = [name for name in PARTS if name not in own]
    say(f"Yours: {', '.join(own) or 'none'}. The library's: {', '.join(rest) or 'none'}.")
    return own


def runs(name: str, work: Callable) -> bool:
    """Whether a part runs on inputs of the size that a lesson has. Prints why not, and whether it is slow."""
    try:
        extra = seconds(name, reported(name, work)) - seconds(name, PARTS[name])
    except FoundryError as error:
        say(str(error))
        return False
    if extra > SLOW:
        longer = f"yours takes {1000 * extra:.0f} ms longer than the library's each time"
        say(f"{name}: {longer} ({slow_place(name, work)}). {way_back(name)}")
    return True


def seconds(name: str, work: Callable) -> float:
    """The shortest of three runs: a filter on 2,048 scores, the loop and the cache on the first case of their check."""
    exercise = checks.EXERCISES[name]
    run = partial(work, *trial(name)) if name in FILTERS else partial(exercise.run, work, exercise.cases[0])
    times = []
    for _ in range(3):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def trial(name: str) -> tuple[Tensor, float]:
    """What a filter is tried with: one row of scores, and its setting."""
    return torch.randn(1, 2048, generator=torch.Generator().manual_seed(0)), TRIAL[name]


def slow_place(name: str, work: Callable) -> str:
    """The function, and for a filter the line in which it spends most of its time."""
    if name not in FILTERS:
        return work.__name__
    number, code = slowest_line(work, trial(name))
    return f"{work.__name__}, most of it in line {number}: {code}"


def reported(name: str, work: Callable) -> Callable:
    """`work`, whose errors become one sentence that names the function, its line and the way back to the library."""
    if inspect.isclass(work):
        methods = {part: reported(name, method) for part, method in vars(work).items() if inspect.isfunction(method)}
        return type(work.__name__, (work,), methods | {"__module__": work.__module__})

    @wraps(work)
    def tokens(model, idx, n, next_token, cache):
        with in_one_sentence(name):
            for token in work(model, idx, n, next_token, cache):
                require_tokens(name, token, idx)
                yield token

    @wraps(work)
    def part(*given, **more):
        with in_one_sentence(name):
            result = work(*given, **more)
        if name in FILTERS:
            require_scores(name, result, given[0])
        return result

    return tokens if name == "generate" else part


@contextmanager
def in_one_sentence(name: str) -> Iterator[None]:
    """An error of the learner's code becomes a FoundryError. The library's own errors and a full memory stay."""
    try:
        yield
    except (FoundryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise FoundryError(f"{name}: {error_in_words(error)}. {way_back(name)}") from error


def require_scores(name: str, result, logits: Tensor):
    """Raise FoundryError unless a filter gave scores of the shape that it got, on the same device."""
    if not isinstance(result, Tensor):
        found = f"a {type(result).__name__}"
    elif result.shape != logits.shape or result.device != logits.device:
        found = f"{tuple(result.shape)} on {result.device}"
    elif (nothing := ~(result > -torch.inf).any(-1)).any() and (logits > -torch.inf).any(-1)[nothing].any():  # or NaN
        raise FoundryError(f"{name}: yours left no token that can be drawn. {way_back(name)}")
    else:
        return
    wanted = f"{tuple(logits.shape)} on {logits.device}"
    raise FoundryError(f"{name}: yours gave {found}, expected scores {wanted}. {way_back(name)}")


def require_tokens(name: str, token, idx: Tensor):
    """Raise FoundryError unless a loop gave one new token of each text, (B, 1)."""
    found = f"{tuple(token.shape)}" if isinstance(token, Tensor) else f"a {type(token).__name__}"
    if found != f"{(len(idx), 1)}":
        raise FoundryError(f"{name}: yours gave {found}, expected new tokens {(len(idx), 1)}. {way_back(name)}")


def way_back(name: str) -> str:
    return f"progress.switch_off({name!r}) lets the library's run."
