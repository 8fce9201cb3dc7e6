"""How fast a training runs with the lessons' solutions in place of the library's parts.

    python benchmarks/own_parts_speed.py          # all parts at once, then each alone; about two minutes

The trainings take turns, one step each (A B C … A B C …), in one process. Printed is the median of the ratios of a
turn: processor time of a step with the solutions, divided by that of the library's step in the same turn.

Measured with one thread, 50 turns, other work on the machine (median, quartiles): all parts 1.155 (1.08 to 1.18), the
parts of the model together 1.04 (1.02 to 1.07), the loss alone 1.13 (1.08 to 1.17), a step alone 1.09. The library's
loss takes a few rows at a time, with one exponential for each score. Written with PyTorch's functions, also as
`F.cross_entropy` (1.12), a loss takes two exponentials for each score, and its gradient
begins as zeros of the size of all logits.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

folder = Path(tempfile.mkdtemp())
os.environ["FOUNDRY_PROGRESS"] = str(folder / "progress.json")

from foundry_lib import runtime  # noqa: E402
from foundry_lib.instructor.solutions import solutions  # noqa: E402
from foundry_lib.lessons import progress  # noqa: E402
from foundry_lib.lessons.as_parts import MODEL_PARTS, TRAINING_PARTS  # noqa: E402
from foundry_lib.lessons.own_parts import model_parts, training_parts  # noqa: E402
from foundry_lib.text.corpus import told  # noqa: E402
from foundry_lib.training.recipes import new_trainer  # noqa: E402

TURNS = int(sys.argv[1]) if len(sys.argv) > 1 else 12


def training(names, text):
    """A training of tiny on tales in which the solutions of these exercises run."""
    work = {name: source for name, source in solutions().items() if name in names}
    progress.FILE.write_text(json.dumps({"work": work}), encoding="utf-8")
    return new_trainer(text, seed=5, parts=model_parts(), own=training_parts())


def main():
    text, parts = told("en", 2000), [*MODEL_PARTS, *TRAINING_PARTS]
    rows = {"library": [], "library again": [], "all parts": parts} | {name: [name] for name in parts}
    trainers = {row: training(names, text) for row, names in rows.items()}
    ratios = {row: [] for row in rows}
    for turn in range(TURNS + 2):
        seconds = {}
        for row, trainer in trainers.items():
            started = time.process_time()
            trainer.train_step()
            seconds[row] = time.process_time() - started
        if turn >= 2:  # the first steps are slow
            for row in rows:
                ratios[row].append(seconds[row] / seconds["library"])
    print(runtime.describe("cpu"))
    for row, found in ratios.items():
        print(f"{row:<15}{statistics.median(found):6.2f}   ({min(found):.2f} to {max(found):.2f})")


main()
