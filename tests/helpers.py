"""What several test files use: copies of the course, and which folders of the package a file imports."""

import ast
import shutil
from pathlib import Path

import foundry_lib

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path(foundry_lib.__file__).parent
SETTINGS = ("conftest.py", "pyproject.toml", "tests/sanitize.cfg", "tests/offline")  # how pytest runs a lesson
LEFT = ("runs", "__pycache__", ".ipynb_checkpoints")  # a learner's own work and Python's caches


def copy_of_course(folder: Path, *names: str) -> Path:
    """A course in `folder` with the settings of this one, and with its files and folders `names`."""
    for name in (*SETTINGS, *names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns(*LEFT))
        else:
            shutil.copy(ROOT / name, folder / name)
    (folder / "notebooks").mkdir(exist_ok=True)
    return folder
