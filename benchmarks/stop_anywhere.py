"""■ at a random moment of the first ten seconds of lessons 00, 07 and 08: what does a learner then need?

    .venv/bin/python benchmarks/stop_anywhere.py               # 12 kernels, about 6 minutes
    .venv/bin/python benchmarks/stop_anywhere.py --kernels 200 # the promise; about 100 minutes on two quiet cores

Each kernel runs the first cells of a lesson one after the other. At a random moment it is interrupted as JupyterLab's
button does it. Then the learner runs the cell again that was stopped, and all cells after it. A kernel counts as lost
when a cell fails the second time, unless what stood below the stopped cell asks to restart the kernel. Prints each lost
kernel with its moment, its cell and its error. Exit code 1 if there is one.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
sys.path.insert(0, str(ROOT))
from helpers import kernel  # noqa: E402

LAST = {"00_setup_check": "00-measure", "07_training": "07-26", "08_sampling": "08-14"}  # the last cell that is run
SECONDS = 10
LIMIT = 300  # seconds for a cell


def first_cells(lesson: str) -> list:
    """The code cells of a lesson up to LAST."""
    cells = nbformat.read(ROOT / "notebooks" / f"{lesson}.ipynb", as_version=4).cells
    end = [cell.id for cell in cells].index(LAST[lesson])
    return [cell for cell in cells[: end + 1] if cell.cell_type == "code"]


def run(client, source: str, interrupt=None, moment: float = 0.0) -> tuple[str, str, bool]:
    """Run a cell: what it printed, its error or "", and whether `interrupt` was called, at time `moment`."""
    message_id, text, error, pressed = client.execute(source), "", "", False
    ends = time.monotonic() + LIMIT
    while True:
        if interrupt is not None and not pressed and time.monotonic() >= moment:
            interrupt()
            pressed = True
        try:
            message = client.get_iopub_msg(timeout=0.02)
        except Exception:  # queue.Empty: nothing was said for 20 ms
            if time.monotonic() > ends:
                return text, f"no end after {LIMIT} s", pressed
            continue
        if message["parent_header"].get("msg_id") != message_id:
            continue
        kind, content = message["msg_type"], message["content"]
        text += content["text"] if kind == "stream" else ""
        error = f"{content['ename']}: {content['evalue'][:200]}" if kind == "error" else error
        if kind == "status" and content["execution_state"] == "idle":
            return text, error, pressed


def stopped_once(lesson: str, cells: list, after: float) -> str:
    """One kernel, stopped `after` seconds: "" if the cells can go on, else what went wrong."""
    with tempfile.TemporaryDirectory() as folder:
        variables = {"FOUNDRY_RUNS": folder, "FOUNDRY_PROGRESS": f"{folder}/progress.json", "PYTHONPATH": str(ROOT)}
        with kernel(ROOT / "notebooks", **variables) as (manager, client):
            moment, number, pressed, said = time.monotonic() + after, 0, False, ""
            while number < len(cells):
                interrupt = None if pressed else manager.interrupt_kernel
                text, error, pressed_now = run(client, cells[number].source, interrupt, moment)
                pressed = pressed or pressed_now
                if pressed_now:
                    said, where = text + error, cells[number].id
                    continue  # the learner runs the stopped cell again
                if error and not manager.is_alive():
                    return f"the kernel died in {cells[number].id}"
                if error:
                    return "" if "estart the kernel" in said + error else f"stopped in {where}; then {error}"
                number += 1
    return ""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kernels", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="the latest moment; more on a busy machine")
    options = parser.parse_args()
    dice, lost, began = random.Random(options.seed), [], time.monotonic()
    lessons = {lesson: first_cells(lesson) for lesson in LAST}
    for number in range(options.kernels):
        lesson, after = list(LAST)[number % len(LAST)], dice.random() * options.seconds
        fault = stopped_once(lesson, lessons[lesson], after)
        if fault:
            lost.append(fault)
            print(f"kernel {number + 1}, lesson {lesson[:2]}, after {after:.2f} s: {fault}", flush=True)
    minutes = (time.monotonic() - began) / 60
    print(f"{options.kernels} kernels, {len(lost)} lost, {minutes:.1f} minutes, load {os.getloadavg()[0]:.1f}")
    sys.exit(bool(lost))


if __name__ == "__main__":
    main()
