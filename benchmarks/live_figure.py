"""What looking costs: the training loop with and without `watch`, in turn, in one process.

    OMP_NUM_THREADS=1 python benchmarks/live_figure.py > benchmarks/live_figure.md

Each pair of blocks starts from the same saved training, so both compute the same numbers; who goes first alternates.
Both the processor's time and the clock's are measured: on a machine that others use, the first is the steadier. The
second table counts the parts, from which the cost in a whole training follows.
"""

import contextlib
import io
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from foundry_lib import Trainer
from foundry_lib.panels import watch
from foundry_lib.text.baselines import reference_lines
from foundry_lib.training.recipes import new_trainer

BEGIN, STEPS, PAIRS = 20, 780, 2  # half of the lesson's training; one evaluation, and with it one text, in 100 steps
WHOLE = 1600  # steps of the lesson
PROMPT = "Behind the moon lived"
spent: dict[str, list[float]] = {"picture": [], "text": []}  # processor seconds of each


def timed(what: str, function):
    def call(*given, **named):
        began = time.process_time()
        result = function(*given, **named)
        spent[what].append(time.process_time() - began)
        return result

    return call


def block(folder: Path, loader, lines, watched: bool, steps: int = STEPS) -> dict[str, float]:
    trainer = Trainer.load(folder, loader)
    run = trainer.run
    trainer.run = lambda: run(BEGIN + steps)  # watch trains to the end; the block ends before
    looked = sum(map(sum, spent.values()))
    clock, processor = time.perf_counter(), time.process_time()
    if watched:
        with contextlib.redirect_stdout(io.StringIO()):
            watch.watch(trainer, lines, PROMPT)
    else:
        list(trainer.run())
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    return dict(clock=clock, processor=processor, looked=sum(map(sum, spent.values())) - looked)


def main():
    trainer = new_trainer("tales-en")
    lines, watch.display = reference_lines(trainer.loader), lambda view: None
    watch.LossFigure.update = timed("picture", watch.LossFigure.update)
    watch.write_text = timed("text", watch.write_text)
    list(trainer.run(BEGIN))
    rows, ends, moving = {False: [], True: []}, [], []
    with tempfile.TemporaryDirectory() as folder:
        saved = trainer.save(folder)
        block(saved, trainer.loader, lines, True, steps=3)  # warms up fonts; not counted
        for values in spent.values():
            values.clear()
        for pair in range(PAIRS):
            for watched in (pair % 2 == 0, pair % 2 == 1):
                begun = len(spent["picture"])
                rows[watched].append(block(saved, trainer.loader, lines, watched))
                if watched:
                    first, *between, last = spent["picture"][begun:]
                    ends.append(first + last)
                    moving.extend(between)
    plain, seen = ({k: statistics.median(row[k] for row in rows[w]) for k in rows[w][0]} for w in (False, True))
    two, text, picture = (statistics.median(values) for values in (ends, spent["text"], moving))
    training = plain["processor"] * WHOLE / STEPS
    must = (two + (WHOLE / 100 + 1) * text) / training
    print("# What watching a training costs\n")
    print(
        f"Made by `python benchmarks/live_figure.py`: medians of {PAIRS} blocks of {STEPS} steps of the tales' recipe,"
    )
    print("with and without `watch`, in turn in one process, each pair from the same saved training; one thread.\n")
    print("| seconds a block | without | with | more |\n| --- | --- | --- | --- |")
    for key in ("processor", "clock"):
        print(f"| {key} | {plain[key]:.2f} | {seen[key]:.2f} | {seen[key] / plain[key] - 1:+.1%} |")
    share = seen["looked"] / (seen["processor"] - seen["looked"])
    print("\nThe difference is that of two trainings, and a shared machine is never twice the same. Counted inside the")
    print(f"watched blocks, pictures and texts took {seen['looked']:.2f} s of the processor, {share:.1%} of the rest.")
    print("\n| part | processor, ms |\n| --- | --- |")
    print(f"| first and last picture together, drawn whole | {1000 * two:.0f} |")
    print(f"| a picture between, only what moves | {1000 * picture:.0f} |")
    print(f"| a text, at most {watch.LENGTH} tokens, and its verdict | {1000 * text:.0f} |")
    most = sum(watch.SHARES.values()) + (two + text + picture) / training
    print(
        f"\nA whole training of {WHOLE} steps takes {training:.0f} s of the processor. Two whole pictures and a text in"
    )
    texts, pictures = watch.SHARES["texts"], watch.SHARES["pictures"]
    print(f"every 100 steps are {must:.1%} of it. Pictures between are drawn while they have cost less than")
    print(f"{pictures:.1%} so far, texts {texts:.1%}: together at most {most:.1%}. A block bears two whole pictures")
    print("as a training does, which is twice as long.")


if __name__ == "__main__":
    main()
