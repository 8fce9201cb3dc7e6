"""Rivals take turns at the same work, each in a process of its own.

What one rival sets, an allocator's options or the way threads wait, then neither helps nor hurts another, and each has
its own peak of memory. This module and the commands that use it import no torch: a worker's memory is its own.
"""

import multiprocessing
import os
import statistics
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a worker finds foundry_lib without an installation


class AbsentError(Exception):
    """A peer that cannot run here; the message says why."""


def peak_bytes() -> int:
    """The most memory that this process has held."""
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@contextmanager
def environment(**values: str):
    """Set variables of the environment, for a process that is started meanwhile."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _serve(pipe, make: Callable, args: tuple):
    """A worker's whole life: make the rival, then run its methods on request and answer (error, seconds, result)."""
    rival = None
    while True:
        try:
            method, *given = pipe.recv() if rival is not None else ("make",)
        except EOFError:
            return
        started = time.perf_counter()
        try:
            if method == "make":
                rival, result = make(*args), None
            else:
                result = peak_bytes() if method == "peak_bytes" else getattr(rival, method)(*given)
            pipe.send((None, time.perf_counter() - started, result))
        except (ImportError, AbsentError) as error:
            pipe.send((f"{error}", None, None))
        except Exception:
            pipe.send((traceback.format_exc(), 0.0, None))
        if rival is None:
            return


class Rival:
    """A worker process that holds what `make(*args)` returned there; use it in a `with` block.

    Raises AbsentError where a package that it needs is not installed, RuntimeError where its work fails.
    """

    def __init__(self, make: Callable, *args, threads: int = 1):
        context = multiprocessing.get_context("spawn")
        self.pipe, end = context.Pipe()
        self.process = context.Process(target=_serve, args=(end, make, args), daemon=True)
        with environment(OMP_NUM_THREADS=str(threads)):  # read when torch starts, so it must be there before
            self.process.start()
        end.close()
        self._answer()

    def _answer(self) -> tuple[float, object]:
        try:
            error, seconds, result = self.pipe.recv()
        except EOFError:
            self.process.join()
            raise RuntimeError(f"A worker ended with exit code {self.process.exitcode}.") from None
        if error is not None:
            raise AbsentError(error) if seconds is None else RuntimeError(error)
        return seconds, result

    def timed(self, method: str, *args) -> tuple[float, object]:
        """Run one of the rival's methods there: the seconds that it took, and what it returned."""
        self.pipe.send((method, *args))
        return self._answer()

    def call(self, method: str, *args):
        return self.timed(method, *args)[1]

    def seconds(self, method: str, *args) -> float:
        return self.timed(method, *args)[0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.pipe.close()
        self.process.join()


def start(stack, makers: dict[str, tuple], threads: int = 1) -> tuple[dict[str, Rival], dict[str, str]]:
    """The rivals that run here, entered into the ExitStack, and for each that does not, why. The first, ours, must."""
    rivals, absent = {}, {}
    for name, (make, *args) in makers.items():
        try:
            rivals[name] = stack.enter_context(Rival(make, *args, threads=threads))
        except AbsentError as error:
            if not rivals:
                raise
            absent[name] = str(error)
            print(f"{name} is left out: {error}")
    return rivals, absent


def take_turns(tasks: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each task in each round. All run once in a round, the order turns each time; one more round, the
    first, warms up and does not count."""
    seconds = {name: [] for name in tasks}
    for turn in range(rounds + 1):
        for name in list(tasks)[:: 1 if turn % 2 else -1]:
            seconds[name].append(tasks[name]())
    return {name: values[1:] for name, values in seconds.items()}


def speeds(seconds: dict[str, list[float]], amount: float, against: str) -> dict[str, dict[str, float]]:
    """`amount` (tokens, bytes, …) a second of each task: median, lowest and highest round, and the ratio to `against`,
    the median of the rounds' own ratios."""
    table = {}
    for name, values in seconds.items():
        ratio = None
        if against in seconds:
            pairs = zip(seconds[against], values, strict=True)
            ratio = statistics.median(theirs / mine for theirs, mine in pairs)
        rates = [amount / value for value in values]
        table[name] = dict(median=statistics.median(rates), low=min(rates), high=max(rates), ratio=ratio)
    return table
