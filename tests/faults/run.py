"""Which check catches a deliberate fault? `python tests/faults/run.py [--again] [name ...]`

Each fault of table.py is put into a scratch copy of the course, and two sides look for it, each until its first catch:
the unit tests (the most likely modules first, then the others) and the lessons that use the code. Without a name all
faults that benchmarks/faults.jsonl does not hold yet are tried (--again: all), and at last a copy without a fault, in
which nothing may be caught. The course itself is never touched; Ctrl-C and the same command again go on.
"""

import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(Path(__file__).resolve().parent), str(ROOT)]
from table import FAULTS, Fault  # noqa: E402

from foundry_lib.instructor.check import all_faults, end, read_records  # noqa: E402

FOUND, TABLE = ROOT / "benchmarks" / "faults.jsonl", ROOT / "benchmarks" / "faults.md"
# Not about the library, or slow.
LEFT_OUT = "browser course download environment faults interrupts kernels lessons lessons_check lessons_run package"
SKIP = (
    ".git",
    ".venv",
    "runs",
    "work",
    "downloads",
    "__pycache__",
    ".pytest_cache",
    ".ruff_cache",
    ".ipynb_checkpoints",
)
PATIENCE = 900  # seconds; a fault that makes the tests hang is caught by this
NOTHING = Fault("none", "nothing changed", (), "", "*")


def patched(fault: Fault, root: Path = ROOT) -> dict[str, str]:
    """The changed files of a fault: name → new text. ValueError where an old text is not there exactly once."""
    texts = {}
    for file, old, new in fault.changes:
        text = texts.get(file) or (root / file).read_text(encoding="utf-8")
        if callable(old):
            texts[file] = old(text)
        elif text.count(old) != 1:
            raise ValueError(f"{fault.name}: {file} holds the old text {text.count(old)} times: {old!r}")
        else:
            texts[file] = text.replace(old, new)
    return texts


def scratch_copy(folder: Path, fault: Fault, root: Path = ROOT) -> Path:
    """A copy of the course with the fault in it."""
    course = Path(shutil.copytree(root, folder / "course", ignore=shutil.ignore_patterns(*SKIP)))
    for file, text in patched(fault, root).items():
        (course / file).write_text(text, encoding="utf-8", newline="\n")
    if fault.kind != "lesson":
        for lesson in course.glob("notebooks/*.ipynb"):
            ignore_shown_source(lesson)
    return course


def ignore_shown_source(lesson: Path):
    """A cell that prints the library's source differs whatever is changed there; that is no catch."""
    notebook = json.loads(lesson.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if "getsource" in "".join(cell["source"]):
            cell["metadata"]["tags"] = ["nbval-ignore-output"]
    lesson.write_text(json.dumps(notebook, ensure_ascii=False), encoding="utf-8")


def pytest(course: Path, *arguments) -> tuple[int, str]:
    """Run pytest in a copy, on the library of that copy; exit code and output."""
    environment = dict(os.environ, PYTHONPATH=str(course), OMP_NUM_THREADS="1", OMP_WAIT_POLICY="PASSIVE")
    arguments = ["-x", "-q", "--tb=no", "-p", "no:cacheprovider", *map(str, arguments)]
    begin = forked if hasattr(os, "fork") else started_anew
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        process = begin(course, arguments, environment, output)
        try:
            code = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            code = 1
            output.write(f"\nFAILED {arguments[-1]} (no end after {PATIENCE} s)")
        finally:
            end(process)
        output.seek(0)
        return code, output.read()


def started_anew(course, arguments, environment, output):
    command = [sys.executable, "-m", "pytest", *arguments]
    return subprocess.Popen(command, cwd=course, env=environment, stdout=output, stderr=subprocess.STDOUT)


def forked(course, arguments, environment, output):
    """The same in a fork of this process, which has PyTorch already: its import costs more than most catches."""
    import pytest
    import torch  # noqa: F401

    def run():
        for stream in (1, 2):
            os.dup2(output.fileno(), stream)
        os.chdir(course)
        os.environ.update(environment)
        for name in list(sys.modules):
            if name.partition(".")[0] in ("foundry_lib", "conftest", "table"):
                del sys.modules[name]
        sys.path[:2] = [str(course)]
        sys.exit(int(pytest.main(arguments)))

    class Child(multiprocessing.get_context("fork").Process):
        def wait(self, seconds=None):
            self.join(seconds)
            if self.exitcode is None:
                raise subprocess.TimeoutExpired("pytest", seconds)
            return self.exitcode

        def poll(self):
            return self.exitcode

    child = Child(target=run)
    child.start()
    return child


def by_unit_tests(course: Path, fault: Fault) -> str | None:
    """The first unit test that fails, or None."""
    if fault.kind == "lesson":
        runs = [["tests/test_lessons.py::test_lesson_is_stored_well"]]
    else:
        likely = [f"tests/test_{name}.py" for name in fault.tests.split()]
        every = [path.relative_to(course).as_posix() for path in sorted(course.glob("tests/test_*.py"))]
        left_out = {f"tests/test_{name}.py" for name in LEFT_OUT.split()}
        runs = [*([path] for path in likely), [path for path in every if path not in likely and path not in left_out]]
    for files in filter(None, runs):
        code, output = pytest(course, "-o", "addopts=", *files)
        failed = re.search(r"(?m)^(?:FAILED|ERROR) (.+?)(?: - |$)", output)
        if code == 1 and failed:
            return failed[1]
        if code != 0:
            raise RuntimeError(f"{fault.name}: pytest ended with {code}:\n{output[-2000:]}")
    return None


def by_lessons(course: Path, fault: Fault) -> str | None:
    """The first cell of a lesson that is not as stored, or None."""
    for number in fault.lessons.split():
        for lesson in sorted(course.glob(f"notebooks/{number}*.ipynb")):
            record = course / f"{lesson.stem}.jsonl"
            code, output = pytest(course, "--record", record, lesson.relative_to(course))
            for cell in all_faults(read_records(record)):
                return f"{lesson.stem}, cell {cell['cell']} {cell['verdict']}"
            if code not in (0, 1):
                raise RuntimeError(f"{fault.name}: pytest ended with {code}:\n{output[-2000:]}")
    return None


SIDES = {"unit": by_unit_tests, "lesson": by_lessons}


def find(fault: Fault, side: str) -> dict:
    """Put a fault into a scratch copy and let one side look for it."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        caught = SIDES[side](scratch_copy(Path(folder), fault), fault)
    seconds = round(time.monotonic() - started)
    return {"name": fault.name, "kind": fault.kind, "side": side, "caught": caught, "seconds": seconds}


def known() -> dict[tuple[str, str], dict]:
    """What has been found before, by name and side; of two lines the later counts."""
    lines = FOUND.read_text(encoding="utf-8").splitlines() if FOUND.exists() else []
    return {(found["name"], found["side"]): found for found in map(json.loads, lines)}


def table(found: dict[tuple[str, str], dict]) -> str:
    """The measured table as Markdown."""
    lines = [
        "# Deliberate faults, and which check caught each",
        "",
        "`python3 course.py faults`; each fault of `tests/faults/table.py` in a scratch copy of the course. A side",
        "stops at its first catch; of the lessons only those that use the patched code are run, and a cell that only",
        'prints the library\'s source is no catch. "3 of 4" means that four were tried and three caught.',
        "",
        "| faults in | in the list | caught by a unit test | caught by a lesson |",
        "| --- | --- | --- | --- |",
    ]
    kinds = dict.fromkeys(fault.kind for fault in FAULTS)
    for kind in [*kinds, "the library"]:
        names = [f.name for f in FAULTS if f.kind == kind or (kind == "the library" and f.kind != "lesson")]
        cells = []
        for side in SIDES:
            tried = [found[name, side]["caught"] for name in names if (name, side) in found]
            cells.append(f"{sum(map(bool, tried))} of {len(tried)}")
        lines.append(f"| {kind} | {len(names)} | {' | '.join(cells)} |")
    lines += ["", "| in | fault | unit test | lesson |", "| --- | --- | --- | --- |"]
    for fault in [*FAULTS, NOTHING]:
        said = [found.get((fault.name, side), {"caught": "not tried"})["caught"] or "nothing" for side in SIDES]
        lines.append(f"| {fault.kind} | {fault.name} | {said[0].removeprefix('tests/')} | {said[1]} |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what we started is ended too
    again, names = "--again" in arguments, [a for a in arguments if a != "--again"]
    every = {fault.name: fault for fault in [*FAULTS, NOTHING]}
    unknown = [name for name in names if name not in every]
    if unknown:
        print(f"There is no fault {unknown[0]!r}; the faults are: {', '.join(every)}.", file=sys.stderr)
        return 2
    todo = [(every[name], side) for side in SIDES for name in names or every]
    todo = [(fault, side) for fault, side in todo if again or names or (fault.name, side) not in known()]
    started = time.monotonic()
    for number, (fault, side) in enumerate(todo, 1):
        print(f"{number} of {len(todo)} · {side} · {fault.kind}: {fault.name} ... ", end="", flush=True)
        found = find(fault, side)
        with open(FOUND, "a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(found, ensure_ascii=False) + "\n")
        left = (time.monotonic() - started) / number * (len(todo) - number) / 60
        print(f"{found['caught'] or 'nothing'} · {found['seconds']} s, about {left:.0f} min left", flush=True)
        TABLE.write_text(table(known()), encoding="utf-8", newline="\n")
    found = {name: [known().get((name, side), {}).get("caught") for side in SIDES] for name in names or every}
    false = any(found.pop(NOTHING.name, ()))
    missed = [name for name, caught in found.items() if not any(caught)]
    print(f"{len(found) - len(missed)} of {len(found)} faults are caught.", *(f"Not: {name}." for name in missed))
    if false:
        print("Something fails in a copy without a fault; see benchmarks/faults.md.")
    return 1 if missed or false else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
