"""How many minutes a lesson takes a person, by section: `python -m foundry_lib.instructor.minutes 01 --write`.

Counted are the words at 130 a minute, the lines of code at 10, half a minute for each question and each picture, and
the minutes that each exercise states. Computing is not counted; `check` measures it. With --write the minutes of each
section stand under its heading, and their sum, rounded up to five, in the card.
"""

import argparse
import re
from math import ceil
from pathlib import Path

import nbformat

from ..files import write_whole
from ..lessons.questions import read_questions
from .refresh import find_lessons

WORDS, LINES = 130, 10  # read in a minute
QUESTION, PICTURE = 0.5, 0.5  # minutes
TASK = re.compile(r"^\*\*[^*\n]+\*\* · (?:●○○|●●○|●●●) · (\d+) minutes", re.M)
STATED = re.compile(r"^\*\d+ minutes?\*(?:\n+|$)", re.M)
CARD = re.compile(r"(\*\*Time\*\*: )\d+( minutes)")


def words(text: str) -> int:
    """How many words a person reads: without code blocks, hints and solutions, which belong to an exercise's minutes.

    >>> words("Two words.<details><summary>Hint</summary>Three more words</details>")
    2
    """
    text = re.sub(r"<details>.*?</details>|```.*?```|\$\$.*?\$\$", " ", text, flags=re.S)
    return len(re.findall(r"[\w'’]+", re.sub(r"<[^>]+>|\]\([^)]*\)", " ", text)))


def minutes(cell, questions: dict) -> float:
    """Of one cell: its reading, and what its exercise or its questions ask for."""
    if cell.cell_type == "markdown":
        return words(STATED.sub("", cell.source)) / WORDS + sum(map(int, TASK.findall(cell.source)))
    asked = [questions[name] for name in re.findall(r'(?:ask|predict)\("([\w-]+)"', cell.source) if name in questions]
    texts = [str(question[key]) for question in asked for key in ("question", "a", "b", "c", "d") if key in question]
    lines = 0 if asked else sum(bool(line.strip()) for line in cell.source.splitlines())
    pictures = sum("image/png" in output.get("data", {}) for output in cell.outputs)
    return lines / LINES + sum(map(words, texts)) / WORDS + QUESTION * len(asked) + PICTURE * pictures


def sections(notebook, lesson: str) -> dict[int, float]:
    """Index of the cell with a section's heading (0 is the card) → its minutes."""
    questions, found, heading = read_questions(lesson), {}, 0
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown" and re.search(r"^## ", cell.source, re.M):
            heading = index
        found[heading] = found.get(heading, 0) + minutes(cell, questions)
    return found


def title(cell) -> str:
    """The heading of a cell, without its marks."""
    return re.search(r"^##? (.*)", cell.source, re.M)[1]


def total(notebook, lesson: str) -> int:
    """Minutes of the whole lesson, rounded up to five."""
    return 5 * ceil(sum(sections(notebook, lesson).values()) / 5)


def write(notebook, lesson: str) -> None:
    """State the minutes under each section's heading and their sum in the card."""
    for index, found in sections(notebook, lesson).items():
        cell = notebook.cells[index]
        if re.search(r"^## ", cell.source, re.M):
            stated = f"*{ceil(found)} minute{'s' * (ceil(found) > 1)}*"
            before, heading, after = re.split(r"^(## .*)\n*", STATED.sub("", cell.source), maxsplit=1, flags=re.M)
            cell.source = f"{before}{heading}\n\n{stated}\n\n{after}".rstrip("\n")
    card = notebook.cells[0]
    card.source = CARD.sub(rf"\g<1>{total(notebook, lesson)}\g<2>", card.source)


def main() -> None:
    """Print the minutes of each section; with --write state them in the lesson."""
    parser = argparse.ArgumentParser(prog="python -m foundry_lib.instructor.minutes", description=__doc__)
    parser.add_argument("lessons", nargs="*", help="name or number; none: every lesson")
    parser.add_argument("--write", action="store_true", help="state the minutes in the lesson")
    chosen = parser.parse_args()
    for path in find_lessons(chosen.lessons):
        notebook, lesson = nbformat.read(path, as_version=4), path.stem[:2]
        print(f"{path.stem}: {total(notebook, lesson)} minutes, {len(notebook.cells)} cells")
        for index, found in sections(notebook, lesson).items():
            print(f"  {ceil(found):3d}  {title(notebook.cells[index])}")
        if chosen.write:
            write(notebook, lesson)
            write_whole(Path(path), nbformat.writes(notebook) + "\n")


if __name__ == "__main__":
    main()
