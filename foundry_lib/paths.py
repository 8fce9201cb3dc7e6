"""Every folder that the package reads from or writes to.

In a checkout of the course `data` and `notebooks` lie beside the package. A wheel has `data` inside the package and
has no notebooks; the learner's files are then written into the working folder.

The environment variable FOUNDRY_RUNS names another folder for trainings. The course's tools set it, so that a lesson
runs as for a new learner.
"""

import os
import re
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
COURSE = PACKAGE.parent
LESSONS = COURSE / "notebooks"
WORK = COURSE / "work"  # the learner's copies of the lessons
DATA = PACKAGE / "data" if (PACKAGE / "data").is_dir() else COURSE / "data"
RUNS = Path(os.environ.get("FOUNDRY_RUNS") or (COURSE if LESSONS.is_dir() else Path.cwd()) / "runs").absolute()


def lesson_files(folder: Path = LESSONS) -> list[Path]:
    """The lessons in a folder, in order: two digits, "_" and a name in small letters.

    Any other notebook there is the learner's, such as JupyterLab's duplicate 04_swiglu-Copy1.ipynb.
    """
    return sorted(path for path in folder.glob("*.ipynb") if re.fullmatch(r"\d\d_[a-z_]+", path.stem))


def page_files(folder: Path = LESSONS) -> list[Path]:
    """The pages of text beside the lessons that are in a folder: the glossary and the troubleshooting page."""
    return [folder / name for name in ("glossary.md", "troubleshooting.md") if (folder / name).is_file()]
