"""How fast a training runs with the lessons' solutions in place of the library's parts.

    python benchmarks/own_parts_speed.py          # all parts at once, then each alone; about two minutes
    python benchmarks/own_parts_speed.py --whole  # 500 steps of lesson 07 with its evaluations; about three minutes

The trainings take turns, one step each (A B C … A B C …), in one process. Printed is the median of the ratios of a
turn: processor time of a step with the solutions, divided by that of the library's step in the same turn.

Measured with one thread, 30 turns, other work on the machine (medians): all parts 1.08, the loss alone 1.03, a step
alone 1.06; 500 steps with their evaluations 1.067 (1.03 to 1.11). The library's loss takes a few rows at a time. A loss
written with PyTorch's functions makes several tensors of the size of all logits, 10 MiB: while glibc handed each of
them out fresh from the system, all parts took 1.155 (`runtime.keep_freed_memory`).
"""

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch

folder = Path(tempfile.mkdtemp())
os.environ["FOUNDRY_PROGRESS"] = str(folder / "progress.json")

from foundry_lib import runtime  # noqa: E402
from foundry_lib.instructor.solutions import solutions  # noqa: E402
from foundry_lib.lessons import progress  # noqa: E402
from foundry_lib.lessons.as_parts import MODEL_PARTS, TRAINING_PARTS  # noqa: E402
from foundry_lib.lessons.own_parts import model_parts, training_parts  # noqa: E402
from foundry_lib.text.corpus import told  # noqa: E402
from foundry_lib.training.recipes import new_trainer  # noqa: E402

WHOLE = sys.argv[1:] == ["--whole"]
TURNS = int(sys.argv[1]) if len(sys.argv) > 1 and not WHOLE else 12


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


def whole(dtype: torch.dtype, steps: int, left_out: str = "", turn: int = 100):
    """The first steps of lesson 07's training, with the library's parts and with all solutions, in turns.

    In 32 bits the two round differently, and a training lets such a difference grow; in 64 bits it begins smaller.
    left_out: a part that stays the library's. The solution's RoPE table is computed in 32 bits, as in the lesson.
    """
    solved = [name for name in (*MODEL_PARTS, *TRAINING_PARTS) if name != left_out]
    trainers = [training(names, "tales-en") for names in ([], solved)]
    seconds = [[], []]
    for trainer in trainers:
        trainer.model.to(dtype)
    for until in range(turn, steps + 1, turn):
        for trainer, times in zip(trainers, seconds, strict=True):
            started = time.process_time()
            for _ in trainer.run(until):
                pass
            times.append(time.process_time() - started)
    ratios = [mine / theirs for theirs, mine in zip(*seconds, strict=True)]
    theirs, mine = ([r.train_loss for r in trainer.history if r.step] for trainer in trainers)
    apart = [abs(a - b) for a, b in zip(theirs, mine, strict=True)]
    within = next((step for step, difference in enumerate(apart) if difference > 1e-4), steps)
    print(
        f"{dtype}: ratio {sum(seconds[1]) / sum(seconds[0]):.3f} ({min(ratios):.2f} to {max(ratios):.2f}), losses equal"
    )
    print(f"  to 1e-4 for {within} of {steps} steps; largest difference {max(apart):.1e}")


if WHOLE:
    whole(torch.float32, 500)
    whole(torch.float64, 300, left_out="rope_table")
else:
    main()
