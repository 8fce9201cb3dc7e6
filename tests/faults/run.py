"""Which check catches a deliberate fault? `python tests/faults/run.py [--again] [name ...]`

Each fault of table.py is put into a scratch copy of the course, and two sides look for it, each until its first catch:
the unit tests (the most likely modules first, then the others) and the lessons that use the code. Without a name all
faults that benchmarks/faults.jsonl does not hold yet are tried (--again: all), and at last a copy without a fault, in
which nothing may be caught. The course itself is never touched.
"""

import json
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

from foundry_lib.lessons_check import end, first_fault, read_records  # noqa: E402

FOUND, TABLE = ROOT / "benchmarks" / "faults.jsonl", ROOT / "benchmarks" / "faults.md"
# Not about the library, or slow.
LEFT_OUT = "browser course download environment faults interrupts kernels lessons lessons_check lessons_run".split()
SKIP = (".git", ".venv", "runs", "downloads", "__pycache__", ".pytest_cache", ".ruff_cache", ".ipynb_checkpoints")
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
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=no", "-p", "no:cacheprovider", *map(str, arguments)]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        process = subprocess.Popen(command, cwd=course, env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            code = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            code = 1
            output.write(f"\nFAILED {arguments[-1]} (no end after {PATIENCE} s)")
        finally:
            end(process)
        output.seek(0)
        return code, output.read()


def by_unit_tests(course: Path, fault: Fault) -> str | None:
    """The first unit test that fails, or None."""
    if fault.kind == "lesson":
        runs = [["tests/test_lessons.py::test_lesson_is_stored_well"]]
    else:
        likely = [f"tests/test_{name}.py" for name in fault.tests.split()]
        every = [path.relative_to(course).as_posix() for path in sorted(course.glob("tests/test_*.py"))]
        left_out = {f"tests/test_{name}.py" for name in LEFT_OUT}
        runs = [*([path] for path in likely), [path for path in every if path not in likely and path not in left_out]]
    for files in filter(None, runs):
        code, output = pytest(course, "-o", "addopts=", *files)
        failed = re.search(r"(?m)^(?:FAILED|ERROR) (\S+)", output)
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
            cell = first_fault(read_records(record))
            if cell:
                return f"{lesson.stem}, cell {cell['cell']} {cell['verdict']}"
            if code not in (0, 1):
                raise RuntimeError(f"{fault.name}: pytest ended with {code}:\n{output[-2000:]}")
    return None


def find(fault: Fault, sides: str = "unit lessons") -> dict:
    """Put a fault into a scratch copy and let both sides look for it."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        course = scratch_copy(Path(folder), fault)
        unit = by_unit_tests(course, fault) if "unit" in sides else None
        lesson = by_lessons(course, fault) if "lessons" in sides else None
    return dict(kind=fault.kind, name=fault.name, unit=unit, lesson=lesson, seconds=round(time.monotonic() - started))


def known() -> dict[str, dict]:
    """What has been found before, by name; of two lines the later counts."""
    lines = FOUND.read_text(encoding="utf-8").splitlines() if FOUND.exists() else []
    return {found["name"]: found for found in map(json.loads, lines)}


def write_table():
    found = known()
    rows = [found[fault.name] for fault in [*FAULTS, NOTHING] if fault.name in found]
    lines = [
        "# Deliberate faults, and which check caught each",
        "",
        "`python3 course.py faults`, one thread; each fault of `tests/faults/table.py` in a scratch copy.",
        "A side stops at its first catch; of the lessons only those that use the patched code were run. A cell that",
        "only prints the library's source is no catch.",
        "",
        "| kind | faults | caught by a unit test | caught by a lesson | by neither |",
        "| --- | --- | --- | --- | --- |",
    ]
    for kind in [*dict.fromkeys(fault.kind for fault in FAULTS), "all of the library"]:
        of_kind = [r for r in rows if r["kind"] == kind or (kind[:3] == "all" and r["kind"] not in ("lesson", "none"))]
        counts = [sum(bool(row[side]) for row in of_kind) for side in ("unit", "lesson")]
        neither = sum(not row["unit"] and not row["lesson"] for row in of_kind)
        lines.append(f"| {kind} | {len(of_kind)} | {counts[0]} | {counts[1]} | {neither} |")
    lines += ["", "| kind | fault | unit test | lesson |", "| --- | --- | --- | --- |"]
    for row in rows:
        unit = (row["unit"] or "nothing").removeprefix("tests/")
        lines.append(f"| {row['kind']} | {row['name']} | {unit} | {row['lesson'] or 'nothing'} |")
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def main(arguments: list[str]) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what we started is ended too
    again, names = "--again" in arguments, [a for a in arguments if a != "--again"]
    every = {fault.name: fault for fault in [*FAULTS, NOTHING]}
    unknown = [name for name in names if name not in every]
    if unknown:
        print(f"There is no fault {unknown[0]!r}; the faults are: {', '.join(every)}.", file=sys.stderr)
        return 2
    todo = [every[name] for name in names or every if again or names or name not in known()]
    started = time.monotonic()
    for number, fault in enumerate(todo, 1):
        print(f"{number} of {len(todo)} · {fault.kind}: {fault.name} ... ", end="", flush=True)
        found = find(fault)
        FOUND.parent.mkdir(exist_ok=True)
        with open(FOUND, "a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(found, ensure_ascii=False) + "\n")
        left = (time.monotonic() - started) / number * (len(todo) - number) / 60
        print(
            f"{found['unit'] or 'nothing'} | {found['lesson'] or 'nothing'} · {found['seconds']} s, "
            f"about {left:.0f} min left",
            flush=True,
        )
        write_table()
    found = known()
    missed = [f.name for f in FAULTS if f.name in found and not (found[f.name]["unit"] or found[f.name]["lesson"])]
    false = NOTHING.name in found and (found[NOTHING.name]["unit"] or found[NOTHING.name]["lesson"])
    print(f"{len(FAULTS) - len(missed)} of {len(FAULTS)} faults are caught." + (f" Not: {missed}" if missed else ""))
    if false:
        print(f"Without any fault this failed: {false}")
    return 1 if missed or false else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
