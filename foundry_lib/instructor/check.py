"""The instructor's check: run every lesson again before class and compare it with its stored outputs.

    python3 course.py check [lesson ...] [--html [FILE]] [--jobs N] [--timeout SECONDS]

Each lesson runs in its own pytest with the settings of `course.py test`, so that the two cannot disagree. conftest.py
records what each cell did. Exit codes: 0 all green, 1 a lesson differs or fails, 2 wrong use, 130 stopped by Ctrl-C.
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
import torch

from ..config import ModelConfig
from ..models.model import MiniLLM
from ..paths import COURSE, LESSONS
from . import report
from .refresh import CELL_TIMEOUT, find_lessons

STATED = re.compile(r"\((\d+) s of computing[,)]")  # in a lesson's first cell
TOLERANCE = 2.0  # the factor by which a header may differ from the measurement, up or down
UNIT_SECONDS = 0.0315  # `unit_of_work` on the computer on which the headers were measured
ENDS = ("dies", "endless", "broken")  # after a cell with such a verdict no cell is run
PAUSE = 0.3  # seconds between two readings of the records


@dataclass
class LessonRun:
    """One run of a lesson.

    stated: the seconds of computing in its header. records: what its cells did so far. log: what pytest printed.
    slower: how many times slower this computer was meanwhile than the one on which the headers were measured.
    missing: a sentence, if the lesson has fewer cells than when it was stored; a learner may add cells.
    """

    path: Path
    stated: int | None
    n_cells: int
    records: list[dict] = field(default_factory=list)
    seconds: float = 0.0
    log: str = ""
    done: bool = False
    slower: float = 1.0
    missing: str = ""

    @property
    def name(self) -> str:
        """The lesson as an argument of `course.py refresh`."""
        if self.path.parent == LESSONS:
            return self.path.stem
        return quoted(self.path)

    @property
    def stored(self) -> str:
        """The lesson as an argument of git, called in the course's folder."""
        return quoted(self.path.relative_to(COURSE) if self.path.is_relative_to(COURSE) else self.path)

    @property
    def faults(self) -> list[dict]:
        """The cells that differ from the stored ones. If a run ended early and no cell explains it, pytest's log."""
        faults = all_faults(self.records)
        if self.missing:
            faults.insert(0, {"verdict": "missing", "cell": 1, "source": "", "message": self.missing})
        explained = bool(faults) and faults[-1]["verdict"] in ENDS
        if self.done and not explained and (len(self.records) < self.n_cells or not self.n_cells):
            last = "\n".join(self.log.strip().splitlines()[-12:])
            faults.append({"verdict": "broken", "cell": len(self.records) + 1, "source": "", "message": last})
        return faults

    @property
    def fault(self) -> dict | None:
        """The first fault, or None."""
        return next(iter(self.faults), None)

    @property
    def compared(self) -> int:
        return sum(record["compared"] for record in self.records)

    @property
    def memory(self) -> float:
        return max((record["memory"] for record in self.records), default=0.0)

    @property
    def computing(self) -> float:
        """Processor seconds of the kernel, converted to the computer on which the headers were measured."""
        return max((record["processor_seconds"] for record in self.records), default=0.0) / self.slower

    @property
    def header(self) -> str:
        """Whether the header's time is right: "ok", "too low", "too high", or "none" where nothing was measured."""
        if self.stated is None or self.done and len(self.records) < self.n_cells:  # only a part was run
            return "none"
        ratio = max(1.0, self.computing) / self.stated
        return "ok" if 1 / TOLERANCE <= ratio <= TOLERANCE else "too low" if ratio > 1 else "too high"


def quoted(path: Path) -> str:
    """A path as an argument in a shell."""
    return f'"{path.as_posix()}"' if " " in str(path) else path.as_posix()


def read_records(file: Path) -> list[dict]:
    """The records of the cells that have been run so far. A line that is half written is left for the next call."""
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n")[:-1]]


def all_faults(records: list[dict]) -> list[dict]:
    """The cells that are not as they should be.

    A stored cell that was never run is a fault, because nothing in it is compared. A lesson in which nothing is
    compared is a fault too. So are cells that were stored after a run in another order: their outputs may differ.
    """
    faults = []
    for record in records:
        if record["verdict"] != "ok":
            faults.append(record)
        elif record["count"] is None:
            faults.append(record | {"verdict": "stripped", "message": "The stored lesson was not run."})
        elif record["count"] != record["cell"]:
            message = f"Stored as the run number {record['count']}: not run from top to bottom, each cell once."
            faults.append(record | {"verdict": "disorder", "message": message})
    if records and not faults and not any(record["compared"] for record in records):
        faults.append(records[0] | {"verdict": "stripped", "message": "No cell of the lesson is compared."})
    return faults


def begin(path: Path) -> LessonRun:
    """A lesson before its run. If its file cannot be read, pytest reports why."""
    try:
        notebook = nbformat.read(path, as_version=4)
    except Exception:  # not JSON, not a notebook: nbformat raises a dozen kinds
        return LessonRun(path, None, 0)
    cells = notebook.cells
    stated, stored = STATED.search(cells[0].source) if cells else None, notebook.metadata.get("n_cells", len(cells))
    missing = f"The lesson was stored with {stored} cells of text and code, and now has {len(cells)}."
    n_code = sum(cell.cell_type == "code" for cell in cells)
    seconds = int(stated.group(1)) if stated else None
    return LessonRun(path, seconds, n_code, missing=missing if len(cells) < stored else "")


def unit_of_work() -> float:
    """Processor seconds of a fixed amount of training: how fast this computer is while the lessons run."""
    model = MiniLLM(ModelConfig.preset("tiny", vocab_size=512, max_seq_len=64))
    idx = torch.zeros(2, 64, dtype=torch.long)
    started = time.thread_time()
    for _ in range(2):
        model(idx, idx)[1].backward()
    return time.thread_time() - started


def start(run: LessonRun, folder: Path, root: Path, timeout: int, threads: int) -> subprocess.Popen:
    """The pytest that runs one lesson; it writes the records and its log into `folder`."""
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads))
    environment["PYTHONPATH"] = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment["FOUNDRY_PROGRESS"] = str(folder / f"{run.path.stem}.progress.json")  # as for a new learner
    environment["FOUNDRY_RUNS"] = str(folder / f"{run.path.stem}.runs")
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "--color=no", "-p", "no:cacheprovider"]
    command += [f"--rootdir={root}", f"--nbval-cell-timeout={timeout}", f"--record={folder / run.path.stem}.jsonl"]
    with open(folder / f"{run.path.stem}.log", "wb") as log:
        return subprocess.Popen(
            [*command, str(run.path)], cwd=root, env=environment, stdin=subprocess.DEVNULL, stdout=log,
            stderr=subprocess.STDOUT, start_new_session=True,  # Ctrl-C reaches only this process, which ends the others
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
    paths: list[Path], root: Path = COURSE, jobs: int = 1, timeout: int = 600, watch=lambda runs: None
) -> list[LessonRun]:
    """Run the lessons, `jobs` at a time and the longest first. `watch(runs)` is called several times a second.

    root: the course whose settings are used. timeout: seconds per cell.
    """
    runs = [begin(Path(path).resolve()) for path in paths]
    waiting = sorted(runs, key=lambda run: run.stated or 10 + run.n_cells / 100)
    threads = max(1, (os.cpu_count() or 1) // jobs)
    going: dict[int, tuple[LessonRun, subprocess.Popen, float]] = {}
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
                watch(runs)
        finally:
            for _, process, _ in going.values():
                end(process)
    return runs


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="course.py check", allow_abbrev=False, description=__doc__.split("\n")[0])
    parser.add_argument("lessons", nargs="*", help="such as 01_rms_norm, or 01; none: all of them")
    parser.add_argument("--html", nargs="?", const="", metavar="FILE", help="a report with the pictures as well")
    parser.add_argument("--jobs", type=int, metavar="N", help="lessons at a time (one for each processor core)")
    parser.add_argument("--timeout", type=int, default=CELL_TIMEOUT, metavar="SECONDS", help="for one cell")
    options = parser.parse_args(arguments)
    if (options.jobs is not None and options.jobs < 1) or options.timeout < 1:
        parser.error("--jobs and --timeout take whole numbers of at least 1")
    if options.html and not options.html.endswith(".html"):
        parser.error(f"--html takes the name of a file that ends in .html, found {options.html!r}")
    try:
        paths = find_lessons(options.lessons)
    except ValueError as error:
        parser.error(str(error))
    outside = [path for path in paths if not any((up / "conftest.py").exists() for up in path.resolve().parents)]
    if outside:
        parser.error(f"{outside[0]} lies in no folder of the course; copy it into notebooks, then it can be checked")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the kernels end too
    jobs = min(options.jobs or os.cpu_count() or 1, len(paths))
    progress = report.Progress(jobs)
    try:
        runs = check(list(dict.fromkeys(paths)), jobs=jobs, timeout=options.timeout, watch=progress)
    except KeyboardInterrupt:
        print("\nStopped; no kernel is left.", file=sys.stderr)
        return 130
    print(report.text(runs))
    if options.html is not None:
        name = options.html or COURSE / "runs" / time.strftime("check-%Y-%m-%d.html")
        file = Path(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(report.html(runs), encoding="utf-8")
        print(f"The report with the pictures: {file}")
    return 1 if any(run.fault for run in runs) else 0


if __name__ == "__main__":
    sys.exit(main())
