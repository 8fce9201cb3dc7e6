"""What `course.py lab` runs before JupyterLab: copies of the lessons and pages in work/, and the start page.

python -m foundry_lib.lessons.prepare_work [--fresh 06 07]
"""

import argparse
import json
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

from ..console import run_command, say
from ..errors import CheckpointError, FoundryError
from ..files import write_whole
from ..paths import LESSONS, WORK
from . import copies, progress
from .start_page import CALL, StartPage, as_notebook

START = "start.ipynb"
ONE_AT_A_TIME = threading.Lock()  # for threads that write the start page


def prepare(again: list[str], lessons: Path = LESSONS, work: Path = WORK) -> list[str]:
    """Make the copies and the start page; `again` names lessons to begin again. Returns what the learner must know."""
    names = [copies.find_lesson(name, lessons) for name in again]
    renamed = [(name, copies.set_aside(name, work)) for name in names]
    done = copies.update(lessons, work)
    sentences = [
        f"Your copy of {name} is now {path.name}; {name}.ipynb is new. What you have passed stays. If {name} is open "
        f"in the browser, close its tab and do not save it there."
        for name, path in renamed
        if path
    ]
    sentences += done.sentences
    try:
        written = [*done.paths, *write_start_page(work)]
    except OSError as error:
        written = done.paths
        sentences.append(f"The start page could not be written: {error.strerror or error}.")
    notebooks = [path for path in written if path.suffix == ".ipynb"]
    if notebooks:
        sign(notebooks)
    return sentences


def write_start_page(work: Path) -> list[Path]:
    """Write work/start.ipynb; returns the path, or nothing when the page is already there as it is.

    A page to which the learner has added something gets another name first.
    """
    path, text = work / START, copies.written(as_notebook(StartPage(work)))
    if path.exists():
        if path.read_text(encoding="utf-8", errors="replace") == text:
            return []
        if not is_ours(path):
            copies.set_aside(path.stem, work)
    write_whole(path, text)
    return [path]


def keep_start_page_current():
    """From now on, write the start page again whenever the learner's progress changes: a reload of it shows that.

    Only where `course.py lab` made one, and not in a run that keeps its progress elsewhere, such as a test.
    """
    if (WORK / START).exists() and "FOUNDRY_PROGRESS" not in os.environ:
        progress.after_keeping = lambda: threading.Thread(target=renew, name="start page").start()


def renew():
    """Write the start page. What stands in the way, such as a full disk, is said at the next start of the course."""
    with ONE_AT_A_TIME, suppress(OSError, FoundryError):
        sign(write_start_page(WORK))


def is_ours(path: Path) -> bool:
    """Whether a start page has only its own cell. What that cell has shown is not the learner's."""
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        return ["".join(cell["source"]) for cell in cells if cell["source"]] == [CALL]
    except copies.UNREADABLE:
        return False


def sign(paths: list[Path]):
    """Tell Jupyter that we wrote these files. It shows their outputs as they are, and its log does not warn of them."""
    import nbformat
    from nbformat.sign import NotebookNotary

    notary = NotebookNotary()
    for path in paths:
        notary.sign(nbformat.read(path, as_version=4))


def main() -> int:
    parser = argparse.ArgumentParser(prog="course.py lab")
    parser.add_argument("--fresh", nargs="+", default=[])
    try:
        for sentence in prepare(parser.parse_args().fresh):
            say(sentence)
    except CheckpointError as error:  # the copies of an earlier start can be opened all the same
        say(str(error))
        return 0 if (WORK / START).exists() else 2
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
