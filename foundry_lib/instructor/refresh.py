"""Run lessons and store what they print and draw: `python -m foundry_lib.instructor.refresh refresh [lesson ...]`.

The stored outputs are the reference that the tests compare with; this is the only way they are written.
"""

import base64
import os
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from ..files import write_whole
from ..paths import LESSONS
from .report import difference, indent

VIEW = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
CELL_TIMEOUT = 600  # seconds, as in the tests


def find_lessons(names: list[str], folder: Path = LESSONS) -> list[Path]:
    """Names ("07_training"), beginnings of one name ("07"), numbers ("7"), file names or paths of lessons -> paths;
    none: every lesson. Raises ValueError for what is no lesson and for the beginning of several."""
    known = sorted(folder.glob("*.ipynb"))
    if not names:
        return known
    found = []
    for name in names:
        path = Path(name)
        if path.suffix != ".ipynb":
            path = folder / f"{name}.ipynb"
        elif not path.exists():
            path = folder / path.name
        begins = name.zfill(2) if name.isdigit() else name
        meant = [path] if path.exists() else [lesson for lesson in known if lesson.stem.startswith(begins)]
        if len(meant) > 1:
            raise ValueError(f"{name!r} could be any of {', '.join(lesson.stem for lesson in meant)}.")
        if not meant:
            lessons = ", ".join(lesson.stem for lesson in known)
            back = "`git checkout notebooks` brings back one that is lost, and all others as they came"
            raise ValueError(f"There is no lesson {name!r}; the lessons are {lessons}. ({back}.)")
        found += meant
    return found


def execute(notebook, folder: Path) -> None:
    """Run a notebook's cells from top to bottom in a kernel of this very Python, started in `folder`."""
    manager = AsyncKernelManager(
        kernel_name="python3",
        kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),  # no spec from elsewhere
    )
    environment = dict(os.environ, PYTHONUTF8="1")
    environment.pop("MPLBACKEND", None)  # the kernel's own backend: pictures in the notebook
    client = NotebookClient(
        notebook,
        km=manager,
        timeout=CELL_TIMEOUT,
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(folder)}},
    )
    with tempfile.TemporaryDirectory() as nowhere:  # a learner who has just begun, whoever runs it
        environment["FOUNDRY_PROGRESS"] = str(Path(nowhere) / "progress.json")
        client.execute(env=environment, cleanup_kc=True)


def last_picture(model_id: str, state: dict) -> str | None:
    """The PNG (base64) that a widget, or the first picture among its children, shows after the run."""
    model = state.get(model_id, {})
    values = model.get("state", {})
    if values.get("_model_name") == "ImageModel":
        for buffer in model.get("buffers", []):
            if buffer["path"] == ["value"] and base64.b64decode(buffer["data"]).startswith(b"\x89PNG"):
                return buffer["data"]
    for child in values.get("children", []):
        picture = last_picture(child.removeprefix("IPY_MODEL_"), state)
        if picture:
            return picture
    return None


def normalise(notebook) -> None:
    """Keep what a reader and a comparison need, and nothing that differs from one run to the next.

    A live figure is stored with its last frame: the notebook's own output holds the first one, the widget's
    final state the last. Widget ids are random, so they go where the output has another form to show.
    """
    state = notebook.metadata.get("widgets", {}).get(STATE, {}).get("state", {})
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if VIEW in data:
                picture = last_picture(data[VIEW]["model_id"], state)
                if picture:
                    data["image/png"] = picture
                if len(data) > 1:
                    del data[VIEW]
    notebook.metadata = nbformat.from_dict(METADATA | {"n_cells": len(notebook.cells)})  # so that a lost one is missed
    notebook.nbformat_minor = 5


def text_outputs(cell) -> str:
    """Everything in a cell's outputs that is compared as text."""
    outputs = [output for output in cell.get("outputs", []) if output.get("name") != "stderr"]
    return "".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs)


def refresh(path: Path) -> dict[int, str]:
    """Run one lesson and store its outputs; returns what moved: number of a code cell whose text changed → the lines
    before (-) and now (+).

    The file is replaced only after the whole lesson has run: an error leaves it as it was.
    """
    path = Path(path)
    before = nbformat.read(path, as_version=4)
    notebook = nbformat.read(path, as_version=4)
    execute(notebook, path.resolve().parent)
    normalise(notebook)
    old, new = ([cell for cell in nb.cells if cell.cell_type == "code"] for nb in (before, notebook))
    write_whole(path, nbformat.writes(notebook) + "\n", sync=False)
    texts = enumerate(zip(map(text_outputs, old), map(text_outputs, new), strict=True), 1)
    return {number: difference(*pair, "before", "now") for number, pair in texts if pair[0] != pair[1]}


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] != "refresh":
        print("usage: python -m foundry_lib.instructor.refresh refresh [lesson ...]", file=sys.stderr)
        return 2
    try:
        paths = find_lessons(arguments[1:])
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    for path in paths:
        print(f"{path.stem} ... ", end="", flush=True)
        started = time.monotonic()
        try:
            moved = refresh(path)
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            print(f"stopped, the file is as it was:\n{error}", file=sys.stderr)
            return 1
        seconds, size = time.monotonic() - started, path.stat().st_size / 1024
        cells = ", ".join(map(str, moved))
        changes = f"text changed in code cells {cells}" if moved else "same text as before"
        print(f"{seconds:.0f} s, {size:.0f} KiB, {changes}", flush=True)
        for number, lines in moved.items():
            print(f"  code cell {number}\n{indent(lines)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
