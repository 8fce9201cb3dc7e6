"""The start page: the lessons, what is done, whose each part of the model is, and what comes next.

    start_page()      # in any notebook: shows it as it is now

`work/start.ipynb` has this one cell; `course.py lab` fills it in before JupyterLab opens it.
"""

import json
import os
import re
from dataclasses import dataclass
from html import escape
from pathlib import Path

from IPython.display import display

from ..paths import LESSONS, WORK
from . import checklist, copies, progress

CALL = "from foundry_lib.lessons.start_page import start_page\nstart_page()"
HOSTED = (
    "!git clone ADDRESS llm-foundry     # ADDRESS: where you found this course",
    "%pip install -q ./llm-foundry      # your PyTorch and Jupyter stay as they are",
    "from foundry_lib.lessons.start_page import start_page; start_page()",
)
PART_NAMES = {"rms_norm": "RMSNorm", "rotary": "RoPE", "gqa": "grouped-query attention", "swiglu": "SwiGLU"}
STYLE = """<style>
.foundry-start {max-width: 1000px; line-height: 1.35}
.foundry-start p {margin: 0 0 8px}
.foundry-start a.foundry-next {display: inline-block; padding: 7px 16px; border-radius: 6px; background: #1559b0;
  color: #fff !important; font-weight: 600; text-decoration: none}
.foundry-start a:focus-visible {outline: 3px solid #e69f00; outline-offset: 2px}
.foundry-start .foundry-two {display: flex; flex-wrap: wrap; gap: 8px 32px; align-items: flex-start}
.foundry-start table {margin: 0 !important; border-collapse: collapse; font-size: 13px !important}
.foundry-start th, .foundry-start td {text-align: left !important; padding: 1px 14px 1px 0 !important;
  background: none !important; white-space: normal !important; max-width: none !important}
.foundry-start td.foundry-number {text-align: right !important; white-space: nowrap !important}
.foundry-start .foundry-groups {display: grid; grid-template-columns: repeat(2, minmax(190px, 1fr)); gap: 8px 20px;
  flex: 1 1 400px; font-size: 13px}
.foundry-start ul {list-style: none; margin: 0 !important; padding: 0 !important}
.foundry-start li {margin: 0 !important; padding-left: 1.4em !important; text-indent: -1.4em}
.foundry-start small {opacity: .75}
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
        """What is done, in words.

        >>> Lesson("01", "", "RMSNorm", 25, 2, 6, 9, 20).status
        '2 of 6 checks and questions'
        """
        if self.done:
            return "✓ done"
        if self.shown:
            return f"{self.shown} of {self.needed} checks and questions"
        return f"{self.run} of {self.cells} cells run" if self.run else ""


def folder_of_lessons(here: Path) -> Path | None:
    """Where the lessons to open are: this folder, work/, notebooks/, or a course that was cloned into this folder."""
    for folder in (here, WORK, LESSONS, here / "notebooks", here / "llm-foundry" / "notebooks"):
        if list(folder.glob("00_*.ipynb")):
            return folder
    return None


def read_lessons(folder: Path, here: Path, shown: set[str]) -> list[Lesson]:
    """The lessons in `folder` that a course has: two digits and a name. A damaged file has only its name as a title."""
    lessons = []
    for path in sorted(folder.glob("[0-9][0-9]_*.ipynb")):
        if "." in path.stem:  # a copy that `--fresh` kept
            continue
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
                os.path.relpath(path, here).replace(os.sep, "/"),
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
        self.sentences = copies.kept_back() if folder == WORK else []

    @property
    def next(self) -> tuple[str, str, str]:
        """What to do now: the words before the link, its text, its address."""
        lesson = next_lesson(self.lessons)
        if lesson is None:
            return "You have done every lesson.", "", ""
        verb = "Go on with" if lesson.begun else "Next:" if any(one.begun for one in self.lessons) else "Begin with"
        return f"{lesson.minutes} minutes.", f"{verb} {lesson.number} · {lesson.title}", lesson.link

    def whose(self) -> list[tuple[str, str]]:
        """(part, "yours" or "the library's, until you build it in lesson 03") of every part that a learner builds."""
        stored = progress.read()["work"]
        return [
            (PART_NAMES.get(name, name), "yours" if stored.get(name) else f"the library's; you build it in {lesson}")
            for name, lesson in progress.PARTS.items()
        ]

    def item(self, item: checklist.Item) -> tuple[str, str]:
        """An item of the checklist as its box and the words after it."""
        shown = len(self.shown & set(item.needs))
        if not item.needs:
            return "☐", f"comes with lesson {item.lesson}"
        if shown == len(item.needs):
            return "☑", ""
        return "☐", f"lesson {item.lesson}" + (f": {shown} of {len(item.needs)}" if shown else "")

    def html(self) -> str:
        after, words, link = self.next
        button = f'<a class="foundry-next" href="{escape(link)}">{escape(words)}</a> ' if link else ""
        rows = "".join(
            f'<tr><td>{lesson.number}</td><td><a href="{escape(lesson.link)}">{escape(lesson.title)}</a></td>'
            f'<td class="foundry-number">{lesson.minutes} min</td><td>{escape(lesson.status)}</td></tr>'
            for lesson in self.lessons
        )
        head = "<tr><th></th><th>lesson</th><th>you</th><th>done</th></tr>"
        parts = " · ".join(
            f"<b>{part}: yours ✓</b>" if own == "yours" else f"{part}: {own}" for part, own in self.whose()
        )
        return (
            f'{STYLE}<div class="foundry-start"><p>{button}{after}</p>'
            f'<div class="foundry-two"><table>{head}{rows}</table>{self.groups_html()}</div>'
            f"<p>The parts of your model. {' · '.join(parts)}</p>"
            + "".join(f"<p>{escape(sentence)}</p>" for sentence in self.sentences)
            + f"<p><small>{self.foot()}</small></p></div>"
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

    def foot(self) -> str:
        return "As of the last time this cell ran. Click this page and press Shift + Enter to bring it up to date."

    def text(self) -> str:
        after, words, link = self.next
        lines = [f"{words}. {after}" + (f" File: {link}" if link else ""), "", "The lessons"]
        lines += [
            f"  {one.number} {one.title}, {one.minutes} min" + (f": {one.status}" if one.status else "")
            for one in self.lessons
        ]
        for group, items in checklist.GROUPS.items():
            lines += ["", f"{group}: you can"]
            for item in items:
                box, note = self.item(item)
                lines.append(f"  {box} {item.says}" + (f" ({note})" if note else ""))
        lines += ["", "The parts of your model", *(f"  {part}: {own}" for part, own in self.whose())]
        return "\n".join([*lines, "", *self.sentences, self.foot()])

    def _repr_mimebundle_(self, **options):
        return {"text/html": self.html(), "text/plain": self.text()}


def start_page():
    """Show the start page as it is now; its links open the lessons."""
    display(StartPage())


def as_notebook(page: StartPage) -> dict:
    """work/start.ipynb: the one cell that shows the page, with `page` as its output; JupyterLab folds its source."""
    output = {"output_type": "display_data", "metadata": {}, "data": page._repr_mimebundle_()}
    cell = {
        "cell_type": "code",
        "id": "start",
        "metadata": {"jupyter": {"source_hidden": True}},
        "execution_count": None,
        "source": CALL,
        "outputs": [output],
    }
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": kernel}, "cells": [cell]}
