"""Run lessons and store what they print and draw: `python -m foundry_lib.instructor.refresh [lesson ...]`.

The tests compare with the stored outputs, and only this command writes them.
"""

import base64
import os
import re
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
from ..paths import LESSONS, lesson_files
from .report import difference, indent

VIEW = "application/vnd.jupyter.widget-view+json"
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
CELL_TIMEOUT = 600  # seconds, as in the tests
MOVING = re.compile(r".* +\d+ %\|.*\| .+ of .+, .+ < .+")  # a line of `console.moving` or of `sweep`


def find_lessons(names: list[str], folder: Path = LESSONS) -> list[Path]:
    """The paths of lessons, given by name ("07_training"), beginning ("07"), number ("7"), file name or path.

    No names: every lesson. Raises ValueError for a name of no lesson, and for the beginning of several.
    """
    every = lesson_files(folder)
    if not names:
        return every
    paths = []
    for name in names:
        path = Path(name)
        if path.suffix != ".ipynb":
            path = folder / f"{name}.ipynb"
        elif not path.exists():
            path = folder / path.name
        begins = name.zfill(2) if name.isdigit() else name
        matches = [path] if path.exists() else [lesson for lesson in every if lesson.stem.startswith(begins)]
        if len(matches) > 1:
            raise ValueError(f"{name!r} could be any of {', '.join(lesson.stem for lesson in matches)}.")
        if not matches:
            lessons = ", ".join(lesson.stem for lesson in every)
            back = "`git checkout notebooks` restores a lost lesson, and every other lesson too"
            raise ValueError(f"There is no lesson {name!r}; the lessons are {lessons}. ({back}.)")
        paths += matches
    return paths


def execute(notebook, folder: Path) -> None:
    """Run a notebook's cells from top to bottom in a kernel of this Python, started in `folder`."""
    manager = AsyncKernelManager(
        kernel_name="python3",
        kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),  # only the kernel of this environment
    )
    environment = dict(os.environ, PYTHONUTF8="1")
    environment.pop("MPLBACKEND", None)  # so that the kernel draws pictures into the notebook
    client = NotebookClient(
        notebook,
        km=manager,
        timeout=CELL_TIMEOUT,
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(folder)}},
        on_cell_executed=lambda cell, **_: store_last_frames(cell, client),
    )
    with tempfile.TemporaryDirectory() as nowhere:  # as for a learner who has just begun
        environment["FOUNDRY_PROGRESS"] = str(Path(nowhere) / "progress.json")
        environment["FOUNDRY_RUNS"] = str(Path(nowhere) / "runs")
        client.execute(env=environment, cleanup_kc=True)


def present_picture(model_id: str, client: NotebookClient) -> str | None:
    """The PNG (base64) that a widget shows at this moment, or the first picture among its children."""
    state, buffers = client.widget_state.get(model_id, {}), client.widget_buffers.get(model_id, {})
    picture = buffers.get(("value",), {}).get("data", "") if state.get("_model_name") == "ImageModel" else ""
    if base64.b64decode(picture).startswith(b"\x89PNG"):
        return picture
    children = (child.removeprefix("IPY_MODEL_") for child in state.get("children", []))
    return next(filter(None, (present_picture(child, client) for child in children)), None)


def store_last_frames(cell, client: NotebookClient) -> None:
    """Give a figure that moved while its cell ran (`panels.stored`) the picture with which the cell ended.

    Every other panel keeps the picture that it had when it was displayed: its text describes that one, and what a later
    cell sets must not reach it.
    """
    for output in cell.get("outputs", []):
        if output.get("metadata", {}).pop("moves", False) and VIEW in output.data:
            picture = present_picture(output.data[VIEW]["model_id"], client)
            output.data["image/png"] = picture or output.data.get("image/png")


def is_progress(output) -> bool:
    """Whether an output is a line that moved while its cell ran (`console.moving`, `sweep`), or several such lines.

    Such a line rewrites itself; nbclient keeps its last state.
    """
    if output.get("name") != "stderr":
        return False
    lines = [line.split("\r")[-1] for line in output.text.rstrip("\n").split("\n")]
    return all(MOVING.fullmatch(line) for line in lines)


def normalise(notebook) -> None:
    """Keep what a reader and a comparison need; remove what differs between two runs.

    Widget ids are random; they are removed where the output has another form to show.
    """
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if "outputs" in cell:
            cell.outputs = [output for output in cell.outputs if not is_progress(output)]
        for output in cell.get("outputs", []):
            if VIEW in output.get("data", {}) and len(output.data) > 1:
                del output.data[VIEW]
    notebook.metadata = nbformat.from_dict(METADATA | {"n_cells": len(notebook.cells)})  # to notice a lost cell
    notebook.nbformat_minor = 5


def text_outputs(cell) -> str:
    """All text in a cell's outputs that is compared."""
    outputs = [output for output in cell.get("outputs", []) if output.get("name") != "stderr"]
    return "".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs)


def refresh(path: Path) -> dict[int, str]:
    """Run one lesson and store its outputs. Returns the code cells whose text changed: number → the lines before (-)
    and now (+).

    The file is replaced only after the whole lesson has run; an error leaves it unchanged.
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
    """Refresh the lessons that are named, or all of them. Exit codes: 0 stored, 1 a lesson stopped, 2 wrong use."""
    try:
        paths = find_lessons(arguments)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    for path in paths:
        print(f"{path.stem} ... ", end="", flush=True)
        started = time.monotonic()
        try:
            changed = refresh(path)
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            print(f"stopped, the file is as it was:\n{error}", file=sys.stderr)
            return 1
        seconds, size = time.monotonic() - started, path.stat().st_size / 1024
        cells = ", ".join(map(str, changed))
        changes = f"text changed in code cells {cells}" if changed else "same text as before"
        print(f"{seconds:.0f} s, {size:.0f} KiB, {changes}", flush=True)
        for number, lines in changed.items():
            print(f"  code cell {number}\n{indent(lines)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
