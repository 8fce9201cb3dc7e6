"""Every folder that the package reads from or writes to, in one place.

In a checkout of the course `data` and `notebooks` lie beside the package. A wheel carries `data` inside the package and
no notebooks, so what a learner makes then lies in the folder that they work in.
"""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
COURSE = PACKAGE.parent
LESSONS = COURSE / "notebooks"
DATA = PACKAGE / "data" if (PACKAGE / "data").is_dir() else COURSE / "data"
RUNS = COURSE / "runs" if LESSONS.is_dir() else Path.cwd() / "runs"
