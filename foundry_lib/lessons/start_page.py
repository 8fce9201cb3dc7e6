"""The start page: the lessons, what is done, whose each part of the model is, and what comes next.

    start_page()      # in any notebook: shows it as it is now

`work/start.ipynb` has this one cell; `course.py lab` fills it in before JupyterLab opens it.
"""

import base64
import json
import os
import platform
import re
from dataclasses import dataclass
from html import escape
from pathlib import Path

from IPython.display import display

from ..paths import LESSONS, WORK, lesson_files, page_files
from ..plots.model_map import map_text
from . import checklist, copies, own_parts, progress
from . import lesson_map as here_map

CALL = "from foundry_lib.lessons.start_page import start_page\nstart_page()"
FOOT = (
    "Done: the exercises that passed their check and the exit questions answered right; before the first of these, the "
    "cells that have run. The button leads to the last lesson that you worked in. Reload this page (F5) to see it as "
    "it is now."
)
ABOUT = (
    "You build, train and question a small language model of your own. Each part comes from the course's library, "
    "foundry_lib, until yours passes its check: then yours runs in its place."
)
AGAIN = (
    "After a new start, run the cells of a lesson from its top: your answers come back, also where the page says "
    '"Error displaying widget". To begin a lesson again, close its tab and type: python3 course.py lab --fresh 06. '
    "Your old copy gets another name, and what you have passed stays."
)
PAGES = {"glossary": "All terms", "troubleshooting": "Help"}  # the pages of text, and what they are for
HOSTED = "On Colab or another hosted Jupyter, run this in a cell of any notebook there, then open a lesson:"
HOSTED_LINES = (
    "!git clone ADDRESS llm-foundry     # ADDRESS: where you found this course",
    "%pip install -q ./llm-foundry      # your PyTorch and Jupyter stay as they are",
    "from foundry_lib.lessons.start_page import start_page; start_page()",
)
STYLE = """<style>
.foundry-start {max-width: 950px; line-height: 1.35}
.foundry-start p {margin: 0 0 6px !important}
.foundry-start a.foundry-next {display: inline-block; padding: 6px 16px; margin-right: 8px; border-radius: 6px;
  background: #1559b0; color: #fff !important; font-weight: 600; text-decoration: none}
.foundry-start p > span {margin-left: 2em; white-space: nowrap}
.foundry-start a:focus-visible {outline: 3px solid #e69f00; outline-offset: 2px}
.foundry-start table {margin: 0 0 6px !important; border-collapse: collapse; font-size: 13px !important}
.foundry-start th, .foundry-start td {text-align: left !important; padding: 1px 14px 1px 0 !important;
  white-space: normal !important; max-width: none !important}
.foundry-start td:nth-child(3), .foundry-start td:nth-child(4) {white-space: nowrap !important}
.foundry-start .foundry-groups {display: grid; grid-template-columns: repeat(auto-fit, minmax(205px, 1fr));
  gap: 6px 16px; font-size: 13px; margin-bottom: 6px}
.foundry-start ul {list-style: none; margin: 0 !important; padding: 0 !important}
.foundry-start li {margin: 0 !important; padding-left: 1.4em !important; text-indent: -1.4em}
.foundry-start li small {white-space: nowrap}
.foundry-start small, .foundry-start .foundry-library {opacity: .75}
.foundry-start img {width: 100%; background: #fff; border-radius: 6px}
</style>"""


@dataclass(frozen=True)
class Lesson:
    """A line of the path. shown, needed: of what its checklist asks for; run, cells: code cells of the copy."""

    number: str
    link: str
    title: str
    minutes: int
    shown: int
    needed: int
    run: int
    cells: int

    @property
    def done(self) -> bool:
        return self.shown == self.needed if self.needed else 0 < self.cells == self.run

    @property
    def begun(self) -> bool:
        return self.shown > 0 or self.run > 0

    @property
    def status(self) -> str:
        """What is done: checks and exit questions, or how many cells have run in a lesson without any.

        >>> Lesson("01", "", "RMSNorm", 25, 2, 6, 9, 20).status
        '2 of 6'
        """
        if self.done:
            return "✓ done"
        if self.shown:
            return f"{self.shown} of {self.needed}"
        return f"{self.run} of {self.cells} cells run" if self.run else ""


def folder_of_lessons(here: Path) -> Path | None:
    """Where the lessons to open are: this folder, work/, notebooks/, or a course that was cloned into this folder."""
    for folder in (here, WORK, LESSONS, here / "notebooks", here / "llm-foundry" / "notebooks"):
        if lesson_files(folder):
            return folder
    return None


def relative(path: Path, here: Path) -> str:
    """The address of a link from the folder `here` to a file."""
    return os.path.relpath(path, here).replace(os.sep, "/")


def read_lessons(folder: Path, here: Path, shown: set[str]) -> list[Lesson]:
    """The lessons in `folder`. A damaged file has only its name as a title."""
    lessons = []
    for path in lesson_files(folder):
        cells = cells_of(path)
        card = "".join(cells[0]["source"]) if cells else ""
        title = re.match(r"# \d\d · (.+)", card)
        minutes = re.search(r"\*\*Time\*\*: (\d+) minutes", card)
        code = [cell for cell in cells if cell["cell_type"] == "code" and "".join(cell["source"]).strip()]
        run = sum(cell.get("execution_count") is not None for cell in code) if folder == WORK else 0
        needs = checklist.of_lesson(path.stem[:2])
        lessons.append(
            Lesson(
                path.stem[:2],
                relative(path, here),
                title[1] if title else path.stem[3:],
                int(minutes[1]) if minutes else 0,
                len(shown & set(needs)),
                len(needs),
                run,
                len(code),
            )
        )
    return lessons


def cells_of(path: Path) -> list[dict]:
    """The cells of a notebook, or none of a file that is no notebook."""
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        return [cell for cell in cells if "source" in cell and "cell_type" in cell]
    except copies.UNREADABLE:
        return []


def next_lesson(lessons: list[Lesson]) -> Lesson | None:
    """The lesson to open now: the last one begun, or after it the first that is not done; None when all are done."""
    begun = [n for n, lesson in enumerate(lessons) if lesson.begun]
    order = lessons[begun[-1] :] + lessons[: begun[-1]] if begun else lessons
    return next((lesson for lesson in order if not lesson.done), None)


class StartPage:
    """The page as a cell's output: HTML, and the same as text.

    here: the folder in which its links begin.
    """

    def __init__(self, here: Path | None = None):
        here = (here or Path.cwd()).resolve()
        self.shown = checklist.evidence()
        folder = folder_of_lessons(here)
        self.lessons = read_lessons(folder, here, self.shown) if folder else []
        self.pages = {path.stem: relative(path, here) for path in page_files(folder)} if folder else {}
        self.sentences = copies.kept_back() if folder == WORK else []
        self.status = own_parts.status()
        marked = here_map.own_boxes()
        self.map = here_map.Map((), marked)
        self.map_text = map_text(here_map.TALES, (), marked)

    @property
    def next(self) -> tuple[str, str, str]:
        """What to do now: the words before the link, its text, its address."""
        lesson = next_lesson(self.lessons)
        if lesson is None:
            return "You have done every lesson.", "", ""
        verb = "Go on with" if lesson.begun else "Next:" if any(one.begun for one in self.lessons) else "Begin with"
        return f"{lesson.minutes} minutes.", f"{verb} {lesson.number} · {lesson.title}", lesson.link

    def parts(self, lesson: str, whose: str) -> str:
        """The parts of the model that a learner builds in `lesson` and that are now "yours" or "the library's"."""
        return ", ".join(progress.WORDS[name] for name, of, now in self.status if (of, now) == (lesson, whose))

    def item(self, item: checklist.Item) -> tuple[str, str]:
        """An item of the checklist as its box and the words after it."""
        shown = len(self.shown & set(item.needs))
        if not item.needs:
            return "☐", "not in the course yet"
        if shown == len(item.needs):
            return "☑", ""
        return "☐", f"{shown} of {len(item.needs)}, " * bool(shown) + f"lesson {item.lesson}"

    def html(self) -> str:
        after, words, link = self.next
        button = f'<a class="foundry-next" href="{escape(link)}">{escape(words)}</a>' if link else ""
        pages = "".join(
            f'<span>{PAGES[name]}: <a href="{escape(file)}">{name}</a></span>' for name, file in self.pages.items()
        )
        lines = "\n".join(HOSTED_LINES)
        picture = base64.b64encode(self.map.png()).decode()
        head = "<tr><th></th><th>lesson</th><th>time</th><th>done</th><th>the part of your model</th></tr>"
        return (
            f'{STYLE}<div class="foundry-start"><p>{ABOUT}</p><p>{button}{after}{pages}</p>'
            + "".join(f"<p><b>{escape(sentence)}</b></p>" for sentence in self.sentences)
            + f"<table>{head}{''.join(map(self.row, self.lessons))}</table>{self.groups_html()}"
            + f"<p><small>{FOOT} {AGAIN}</small></p>"
            + f'<img src="data:image/png;base64,{picture}" alt="{escape(self.map_text)}">'
            + f"<details><summary>On another computer</summary>{HOSTED}<pre>{escape(lines)}</pre></details></div>"
        )

    def row(self, lesson: Lesson) -> str:
        """A line of the table of lessons."""
        yours, library = self.parts(lesson.number, "yours"), self.parts(lesson.number, "the library's")
        parts = [f"<b>✓ {yours}: yours</b>"] if yours else []
        parts += [f'<span class="foundry-library">{library}: the library\'s</span>'] if library else []
        return (
            f'<tr><td>{lesson.number}</td><td><a href="{escape(lesson.link)}">{escape(lesson.title)}</a></td>'
            f"<td>{lesson.minutes} min</td><td>{lesson.status}</td><td>{', '.join(parts)}</td></tr>"
        )

    def groups_html(self) -> str:
        groups = []
        for group, items in checklist.GROUPS.items():
            lines = []
            for item in items:
                box, note = self.item(item)
                lines.append(f"<li>{box} {item.says} <small>{note}</small></li>")
            groups.append(f"<div><b>{group}: you can</b><ul>{''.join(lines)}</ul></div>")
        return f'<div class="foundry-groups">{"".join(groups)}</div>'

    def text(self) -> str:
        after, words, link = self.next
        first = f"{words}. {after}" + (f" File: {link}" if link else "")
        pages = [f"{PAGES[name]}: {name}. File: {file}" for name, file in self.pages.items()]
        lines = [first, *pages, ABOUT, *self.sentences, "", "The lessons"]
        for lesson in self.lessons:
            notes = [f"{lesson.minutes} min", f"done: {lesson.status}" if lesson.status else ""]
            for whose in ("yours", "the library's"):
                parts = self.parts(lesson.number, whose)
                notes.append(f"{parts}: {whose}" if parts else "")
            lines.append(f"  {lesson.number} {lesson.title} ({'; '.join(filter(None, notes))})")
        for group, items in checklist.GROUPS.items():
            lines += ["", f"{group}: you can"]
            for item in items:
                box, note = self.item(item)
                lines.append(f"  {box} {item.says}" + (f" ({note})" if note else ""))
        return "\n".join([*lines, "", f"{FOOT} {AGAIN}", "", self.map_text, "", HOSTED, *HOSTED_LINES])

    def _repr_mimebundle_(self, **options):
        return {"text/html": self.html(), "text/plain": self.text()}


def start_page():
    """Show the start page as it is now; its links open the lessons."""
    display(StartPage())


def as_notebook(page: StartPage) -> dict:
    """work/start.ipynb: the one cell that shows the page, with `page` as its output; JupyterLab folds its source.

    The metadata is what JupyterLab would add when the kernel starts. Without it JupyterLab counts the open page as
    changed, saves its old state over a newer page, and asks about a conflict.
    """
    output = {"output_type": "display_data", "metadata": {}, "data": page._repr_mimebundle_()}
    cell = {
        "cell_type": "code",
        "id": "start",
        "metadata": {"jupyter": {"source_hidden": True}},
        "execution_count": None,
        "source": CALL,
        "outputs": [output],
    }
    metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"},
        "language_info": {
            "codemirror_mode": {"name": "ipython", "version": 3},
            "file_extension": ".py",
            "mimetype": "text/x-python",
            "name": "python",
            "nbconvert_exporter": "python",
            "pygments_lexer": "ipython3",
            "version": platform.python_version(),
        },
    }
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": [cell]}
