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


def imported_rooms(file: Path) -> set[str]:
    """The folders and files of the package that a file imports, wherever in the file the import is."""
    depth, rooms = len(file.relative_to(PACKAGE).parts), set()
    inside = {path.stem for path in PACKAGE.iterdir()}
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            names = [node.module.split(".")[0]] if node.module else [alias.name for alias in node.names]
            rooms |= {name if name in inside else "__init__" for name in names}
        elif isinstance(node, ast.Import) and any(alias.name.split(".")[0] == "foundry_lib" for alias in node.names):
            rooms.add("__init__")
    return rooms
