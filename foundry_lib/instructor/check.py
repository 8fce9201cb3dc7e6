"""The instructor's check: every lesson run again and compared, before class.

    python3 course.py check [lesson ...] [--html [FILE]] [--jobs N] [--timeout SECONDS]

Each lesson runs in a pytest of its own with the settings of `course.py test`, so that the two can not disagree; what
each cell did is read from the record that conftest.py writes. Exit codes: 0 all green, 1 a lesson differs or fails,
2 wrong use, 130 stopped by Ctrl-C.
"""

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
import psutil

from ..paths import COURSE, LESSONS
from . import refresh as lessons
from . import report as lessons_report

STATED = re.compile(r"\((\d+) s of computing[,)]")  # in a lesson's first cell
ROOM = 2.0  # how far a header may be from what is measured, either way
UNIT_SECONDS = 0.0315  # what `unit_of_work` took on the computer on which the headers were measured
ENDS = ("dies", "endless", "broken")  # behind a cell with such a verdict none is run
PAUSE = 0.3  # seconds between two looks at the records


@dataclass
class Run:
    """One lesson's run. `records`: what its cells did so far; `log`: what pytest said; `speed`: how many times slower
    than the headers' computer this one was meanwhile."""

    path: Path
    stated: int | None
    n_cells: int
    records: list[dict] = field(default_factory=list)
    seconds: float = 0.0
    log: str = ""
    done: bool = False
    slower: float = 1.0
    missing: str = ""  # what is said where the lesson has fewer cells than when it was stored; more are a learner's own

    @property
    def name(self) -> str:
        """How `course.py refresh` takes the lesson."""
        if self.path.parent == LESSONS:
            return self.path.stem
        return quoted(self.path)

    @property
    def stored(self) -> str:
        """How git, called in the course's folder, takes the lesson."""
        return quoted(self.path.relative_to(COURSE) if self.path.is_relative_to(COURSE) else self.path)

    @property
    def faults(self) -> list[dict]:
        """The cells that are not as stored; where the run broke off and no cell says why, pytest's last words too."""
        found = all_faults(self.records)
        if self.missing:
            found.insert(0, {"verdict": "missing", "cell": 1, "source": "", "message": self.missing})
        known = bool(found) and found[-1]["verdict"] in ENDS
        if self.done and not known and (len(self.records) < self.n_cells or not self.n_cells):
            last = "\n".join(self.log.strip().splitlines()[-12:])
            found.append({"verdict": "broken", "cell": len(self.records) + 1, "source": "", "message": last})
        return found

    @property
    def fault(self) -> dict | None:
        """The first of them."""
        return next(iter(self.faults), None)

    @property
    def compared(self) -> int:
        return sum(record["compared"] for record in self.records)

    @property
    def memory(self) -> float:
        return max((record["memory"] for record in self.records), default=0.0)

    @property
    def computing(self) -> float:
        """Processor seconds of the kernel, as the headers' computer would have needed them."""
        return max((record["processor_seconds"] for record in self.records), default=0.0) / self.slower

    @property
    def header(self) -> str:
        """Whether the header's time holds: "ok", or what is wrong; "none" where that cannot be said."""
        if self.stated is None or self.done and len(self.records) < self.n_cells:  # a part says nothing of the whole
            return "none"
        ratio = max(1.0, self.computing) / self.stated
        return "ok" if 1 / ROOM <= ratio <= ROOM else "too low" if ratio > 1 else "too high"


def quoted(path: Path) -> str:
    """As a shell takes it."""
    return f'"{path.as_posix()}"' if " " in str(path) else path.as_posix()


def read_records(file: Path) -> list[dict]:
    """The records of the cells that have been run so far; half a line is left for later."""
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n")[:-1]]


def all_faults(records: list[dict]) -> list[dict]:
    """The cells that are not as they should be. Nothing is compared in a cell that was never run, so such a cell is a
    fault, and so is a lesson in which nothing is compared; what was run in another order may hold other things."""
    found = []
    for record in records:
        if record["verdict"] != "ok":
            found.append(record)
        elif record["count"] is None:
            found.append(record | {"verdict": "stripped", "message": "The stored lesson was not run."})
        elif record["count"] != record["cell"]:
            message = f"Stored as the run number {record['count']}: not run from top to bottom, each cell once."
            found.append(record | {"verdict": "disorder", "message": message})
    if records and not found and not any(record["compared"] for record in records):
        found.append(records[0] | {"verdict": "stripped", "message": "No cell of the lesson is compared."})
    return found


def first_fault(records: list[dict]) -> dict | None:
    """The first of them, or None."""
    return next(iter(all_faults(records)), None)


def begin(path: Path) -> Run:
    """A lesson before its run; one that can not be read is left to pytest, which says why."""
    try:
        notebook = nbformat.read(path, as_version=4)
    except Exception:  # not JSON, not a notebook: nbformat raises a dozen kinds
        return Run(path, None, 0)
    cells = notebook.cells
    stated, stored = STATED.search(cells[0].source) if cells else None, notebook.metadata.get("n_cells", len(cells))
    missing = f"The lesson was stored with {stored} cells of text and code, and now has {len(cells)}."
    n_code = sum(cell.cell_type == "code" for cell in cells)
    return Run(path, int(stated.group(1)) if stated else None, n_code, missing=missing if len(cells) < stored else "")


def unit_of_work() -> float:
    """Processor seconds of a fixed piece of training: how fast this computer is while the lessons run."""
    import torch

    from ..config import ModelConfig
    from ..models.model import MiniLLM

    model = MiniLLM(ModelConfig.preset("tiny", vocab_size=512, max_seq_len=64))
    idx = torch.zeros(2, 64, dtype=torch.long)
    started = time.thread_time()
    for _ in range(2):
        model(idx, idx)[1].backward()
    return time.thread_time() - started


def start(run: Run, folder: Path, root: Path, timeout: int, threads: int) -> subprocess.Popen:
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads))
    environment["PYTHONPATH"] = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment["FOUNDRY_PROGRESS"] = str(folder / f"{run.path.stem}.progress.json")  # as nobody has begun it
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "--color=no", "-p", "no:cacheprovider"]
    command += [f"--rootdir={root}", f"--nbval-cell-timeout={timeout}", f"--record={folder / run.path.stem}.jsonl"]
    with open(folder / f"{run.path.stem}.log", "wb") as log:
        return subprocess.Popen(
            [*command, str(run.path)], cwd=root, env=environment, stdin=subprocess.DEVNULL, stdout=log,
            stderr=subprocess.STDOUT, start_new_session=True,  # Ctrl-C comes to us, and we end it with its kernel
        )  # fmt: skip


def end(process: subprocess.Popen):
    """End a pytest and the kernels that it started."""
    try:
        family = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        family = []
    if process.poll() is None:
        process.terminate()
    for child in family:
        try:
            child.kill()
        except psutil.NoSuchProcess:
            pass
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def check(
    paths: list[Path], root: Path = COURSE, jobs: int = 1, timeout: int = 600, say=lambda runs: None
) -> list[Run]:
    """Run the lessons, `jobs` at a time and the longest first; `say(runs)` is called again and again meanwhile."""
    runs = [begin(Path(path).resolve()) for path in paths]
    waiting = sorted(runs, key=lambda run: run.stated or 10 + run.n_cells / 100)
    threads = max(1, (os.cpu_count() or 1) // jobs)
    going: dict[int, tuple[Run, subprocess.Popen, float]] = {}
    units = [unit_of_work() for _ in range(3)][1:]  # the first one warms up
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        try:
            while waiting or going:
                while waiting and len(going) < jobs:
                    run = waiting.pop()
                    going[id(run)] = run, start(run, folder, root, timeout, threads), time.monotonic()
                time.sleep(PAUSE)
                if len(units) < 4 * sum(run.seconds for run in runs) / 10:
                    units.append(unit_of_work())
                for run, process, started in list(going.values()):
                    ended = process.poll() is not None
                    run.records = read_records(folder / f"{run.path.stem}.jsonl")
                    run.seconds = time.monotonic() - started
                    if ended:
                        run.log = (folder / f"{run.path.stem}.log").read_text(encoding="utf-8", errors="replace")
                        run.done, run.slower = True, statistics.median(units) / UNIT_SECONDS
                        end(process)
                        del going[id(run)]
                say(runs)
        finally:
            for _, process, _ in going.values():
                end(process)
    return runs


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="course.py check", allow_abbrev=False, description=__doc__.split("\n")[0])
    parser.add_argument("lessons", nargs="*", help="such as 01_rms_norm, or 01; none: all of them")
    parser.add_argument("--html", nargs="?", const="", metavar="FILE", help="a report with the pictures as well")
    parser.add_argument("--jobs", type=int, metavar="N", help="lessons at a time (one for each processor core)")
    parser.add_argument("--timeout", type=int, default=lessons.CELL_TIMEOUT, metavar="SECONDS", help="for one cell")
    options = parser.parse_args(arguments)
    if (options.jobs is not None and options.jobs < 1) or options.timeout < 1:
        parser.error("--jobs and --timeout take whole numbers of at least 1")
    if options.html and not options.html.endswith(".html"):
        parser.error(f"--html takes the name of a file that ends in .html, found {options.html!r}")
    try:
        paths = lessons.find_lessons(options.lessons)
    except ValueError as error:
        parser.error(str(error))
    outside = [path for path in paths if not any((up / "conftest.py").exists() for up in path.resolve().parents)]
    if outside:
        parser.error(f"{outside[0]} lies in no folder of the course; copy it into notebooks, then it can be checked")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the kernels are ended too
    jobs = min(options.jobs or os.cpu_count() or 1, len(paths))
    progress = lessons_report.Progress(jobs)
    try:
        runs = check(list(dict.fromkeys(paths)), jobs=jobs, timeout=options.timeout, say=progress)
    except KeyboardInterrupt:
        print("\nStopped; no kernel is left.", file=sys.stderr)
        return 130
    print(lessons_report.text(runs))
    if options.html is not None:
        name = options.html or COURSE / "runs" / time.strftime("check-%Y-%m-%d.html")
        file = Path(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(lessons_report.html(runs), encoding="utf-8")
        print(f"The report with the pictures: {file}")
    return 1 if any(run.fault for run in runs) else 0


if __name__ == "__main__":
    sys.exit(main())
