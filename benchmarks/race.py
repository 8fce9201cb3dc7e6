"""Rivals take turns at the same work, each in a process of its own, and the result is written down.

What one rival sets, an allocator's options or the way threads wait, then neither helps nor hurts another, and each has
its own peak of memory. This module and the commands that use it import no torch: a worker's memory is its own.
"""

import argparse
import importlib.metadata
import json
import multiprocessing
import os
import platform
import statistics
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import psutil

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
PACKAGES = ("torch", "transformers", "litgpt", "xllamacpp", "sentencepiece", "numpy")
sys.path.insert(0, str(HERE.parent))  # so that a worker finds foundry_lib without an installation
os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error", TOKENIZERS_PARALLELISM="false")


class AbsentError(Exception):
    """A peer that cannot run here; the message says why."""


def peak_bytes() -> int:
    """The most memory that this process has held."""
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


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
        os.environ["OMP_NUM_THREADS"] = str(threads)  # read when torch starts, so it must be there before
        self.process = context.Process(target=_serve, args=(end, make, args), daemon=True)
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
    """The rivals that run here, entered into the ExitStack, and for each that does not, why."""
    rivals, absent = {}, {}
    for name, (make, *args) in makers.items():
        try:
            rivals[name] = stack.enter_context(Rival(make, *args, threads=threads))
        except AbsentError as error:
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


def promise(what: str, found: float | None, least: float | None = None, most: float | None = None, unit="") -> dict:
    """One line of the issue's promises: what was found, and whether it is enough. Found None: it was not measured."""
    held = None if found is None else (least is None or found >= least) and (most is None or found <= most)
    return dict(what=what, found=found, least=least, most=most, unit=unit, held=held)


def machine() -> dict:
    """What was measured on."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), cpu)
    memory = f"{psutil.virtual_memory().total / 2**30:.0f} GiB"
    return dict(cpu=cpu, cores=psutil.cpu_count(), memory=memory, system=platform.platform(terse=True))


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def table(header: list[str], rows: list[list]) -> str:
    """A table in Markdown; numbers get three significant digits, or all before the point."""

    def cell(value) -> str:
        if not isinstance(value, float):
            return "–" if value is None else str(value)
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"

    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell(value) for value in line) + " |" for line in lines)


def options(description: str, rounds: int) -> argparse.Namespace:
    """The one option that all commands have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds, help="turns of each rival (default: %(default)s)")
    return parser.parse_args()


def write(question: str, sections: list[dict], promises: list[dict], **more) -> Path:
    """Print the sections, {title, header, rows, notes}, and the promises; keep all in results/<question>.json."""
    result = dict(
        question=question,
        when=time.strftime("%Y-%m-%d"),
        machine=machine(),
        versions=versions(),
        sections=sections,
        promises=promises,
        **more,
    )
    for section in sections:
        print(f"\n{section['title']}\n\n{table(section['header'], section['rows'])}")
        print("".join(f"\n{note}" for note in section.get("notes", [])))
    for line in promises:
        held = {True: "held", False: "NOT held", None: "not measured"}[line["held"]]
        print(f"{line['what']}: {line['found']} {line['unit']} → {held}")
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{question}.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path
