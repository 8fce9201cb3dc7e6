"""The learner's copies of the lessons and pages in work/: made from notebooks/, which nobody writes to, and never lost.

    update()                       # what `course.py lab` does before it opens JupyterLab
    set_aside("06_tokens")         # what `course.py lab --fresh 06` does before that

A copy has no outputs. `work/.copies.json` notes the digest of what was written into each copy. A copy whose cells still
have that digest is untouched: an updated lesson replaces it. In any other copy there is the learner's work: it stays.
The same holds for the text of a page, `glossary.md` and `troubleshooting.md`.
"""

import datetime
import hashlib
import json
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ConfigError
from ..files import write_whole, writing
from ..paths import LESSONS, WORK, lesson_files, page_files

RECORD = ".copies.json"  # name of a lesson or page → the digest of what was written into its copy
PATIENCE = 20  # seconds that a second start waits for the first
ADVICE = "Copy the course to a folder of your own and start it there."
UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError)  # no file, no JSON, no notebook


def read(path: Path) -> dict | str:
    """A notebook in JSON, or the text of a page. Raises one of UNREADABLE for a damaged file."""
    text = path.read_text(encoding="utf-8")
    return text if path.suffix == ".md" else json.loads(text)


def fresh(path: Path) -> dict | str:
    """A stored lesson without its outputs, or a page. Raises one of UNREADABLE for a damaged file."""
    content = read(path)
    if isinstance(content, str):
        return content
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            cell.update(outputs=[], execution_count=None)
    return content


def digest(content: dict | str) -> str:
    """A digest of a page's text, or of all cells of a notebook with their outputs.

    What else a notebook notes, such as its kernel, is not a learner's.
    """
    if isinstance(content, str):
        return hashlib.sha256(content.encode()).hexdigest()
    cells = [{**cell, "source": "".join(cell["source"])} for cell in content["cells"]]
    return hashlib.sha256(json.dumps(cells, sort_keys=True).encode()).hexdigest()


def written(content: dict | str) -> str:
    """A notebook or a page as the text of its file."""
    return content if isinstance(content, str) else json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def read_record(work: Path) -> dict[str, str]:
    """The digests of what was written into the copies. Without the file every copy counts as the learner's."""
    with suppress(*UNREADABLE):
        return dict(json.loads((work / RECORD).read_text(encoding="utf-8")))
    return {}


def state(copy: Path, original: str, noted: str | None) -> str:
    """What a copy is: "missing", "current", "outdated" (untouched, the lesson is newer), "yours", or "behind".

    original: the digest of the lesson now. noted: the digest of what was written into the copy, None where it is lost.
    "behind" is a copy with the learner's work in it whose lesson has changed since.
    """
    if not copy.exists():
        return "missing"
    try:
        now = digest(read(copy))
    except UNREADABLE:
        now = None
    if now == original:
        return "current"
    if now is not None and now == noted:
        return "outdated"
    return "yours" if noted in (None, original) else "behind"


@dataclass
class Update:
    """What `update` did: the copies that it wrote, and a sentence for each copy that a learner must know of."""

    paths: list[Path] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)


def update(lessons: Path = LESSONS, work: Path = WORK) -> Update:
    """Make the copies that are missing, replace those that are untouched and outdated, leave all others.

    A lesson that cannot be read or written, and a copy that stays although its lesson is newer, get a sentence.
    Raises CheckpointError when the folder cannot be written to, or another process writes there for PATIENCE seconds.
    """
    done = Update()
    with writing(work, ADVICE, wait=PATIENCE):
        record = read_record(work)
        before = dict(record)
        for path in [*lesson_files(lessons), *page_files(lessons)]:
            try:
                record[path.stem] = update_one(path, work / path.name, record.get(path.stem), done)
            except UNREADABLE as error:
                done.sentences.append(f"{path.name} was not copied ({error}); a copy that you have stays as it is.")
        if record != before:
            with suppress(OSError):  # then these copies count as the learner's
                write_whole(work / RECORD, json.dumps(record, indent=1) + "\n")
    return done


def update_one(path: Path, copy: Path, noted: str | None, done: Update) -> str:
    """Bring one copy up to date where nothing of the learner's is in it; returns the digest to note."""
    content = fresh(path)
    original = digest(content)
    now = state(copy, original, noted)
    if now in ("missing", "outdated"):
        write_whole(copy, written(content))
        done.paths.append(copy)
    if now == "behind":
        done.sentences.append(kept_sentence(path))
        return noted
    return original


def kept_sentence(path: Path) -> str:
    name = path.stem
    if path.suffix == ".md":
        return (
            f"The page {path.name} has changed since you wrote into it. Your copy stays. For the new page, give "
            f"your copy another name and start the course again."
        )
    return (
        f"Lesson {name} has changed since you began it. Your copy stays, because your work is in it. To begin the new "
        f"lesson: {'py' if os.name == 'nt' else 'python3'} course.py lab --fresh {name[:2]} (it keeps your copy too)"
    )


def kept_back(lessons: Path = LESSONS, work: Path = WORK) -> list[str]:
    """The sentence of each copy that stays although its lesson is newer. Writes nothing."""
    record, sentences = read_record(work), []
    for path in [*lesson_files(lessons), *page_files(lessons)]:
        with suppress(*UNREADABLE):
            if state(work / path.name, digest(fresh(path)), record.get(path.stem)) == "behind":
                sentences.append(kept_sentence(path))
    return sentences


def find_lesson(name: str, lessons: Path = LESSONS) -> str:
    """The whole name of a lesson from its beginning, "06" → "06_tokens". Raises ConfigError unless it is one."""
    stems = [path.stem for path in lesson_files(lessons)]
    matching = [stem for stem in stems if name and stem.startswith(Path(name).name.removesuffix(".ipynb"))]
    if len(matching) != 1:
        raise ConfigError(f"{name!r} names {len(matching)} lessons; the lessons are {', '.join(stems)}.")
    return matching[0]


def set_aside(name: str, work: Path = WORK) -> Path | None:
    """Give the copy of a lesson another name, with the date in it; returns the new path, or None without a copy.

    The next `update` makes a new copy. Raises CheckpointError when the folder cannot be written to.
    """
    copy = work / f"{name}.ipynb"
    with writing(work, ADVICE, wait=PATIENCE):
        if not copy.exists():
            return None
        stem, number = f"{name}.{datetime.date.today()}", 1
        renamed = work / f"{stem}.ipynb"
        while renamed.exists():
            number += 1
            renamed = work / f"{stem}-{number}.ipynb"
        copy.rename(renamed)
    return renamed
