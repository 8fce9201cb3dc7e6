"""The course on a GPU: every lesson by the strict check, and how long a learner waits.

    python benchmarks/course_on_gpu.py              # about ten minutes on a large GPU
    python benchmarks/course_on_gpu.py --no-check   # about two minutes: only the times

Writes benchmarks/course_on_gpu.md. Slider to picture is a move of a panel's slider until its picture is drawn, without
a browser. First text is the first tale of lesson 08, from the import on, in a new process.
"""

import argparse
import contextlib
import io
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from foundry_lib import runtime, tales  # noqa: E402
from foundry_lib.inference.cuda_graphs import recorded  # noqa: E402
from foundry_lib.inference.generation import stream  # noqa: E402
from foundry_lib.panels.head_explorer import head_explorer  # noqa: E402
from foundry_lib.panels.playground import playground  # noqa: E402
from foundry_lib.panels.speak import speak  # noqa: E402
from foundry_lib.training.checkpoint import load_checkpoint  # noqa: E402
from foundry_lib.training.recipes import new_trainer  # noqa: E402

FIRST_TEXT = """
from foundry_lib import sample_text
from foundry_lib.training.checkpoint import load_checkpoint
print(sample_text(*load_checkpoint("data/starter-en"), "Once there was", 250, seed=4))
"""


def seconds(work) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def moves(panel, name: str, values) -> str:
    """Median and worst milliseconds of moves of one control."""
    with contextlib.redirect_stdout(io.StringIO()):  # the readings
        times = [1000 * seconds(lambda value=value: panel.set(**{name: value})) for value in values][2:]
    return f"{statistics.median(times):.0f} ms, at worst {max(times):.0f} ms"


def rate(write) -> str:
    """Tokens per second of three texts, one after the other: the first one records."""
    return ", ".join(f"{write(seed):,.0f}" for seed in range(3)) + " tokens/s (three texts)"


def streamed(model, tokenizer):
    def write(seed: int) -> float:
        started = time.perf_counter()
        texts = list(stream(model, tokenizer, "Once there was", 200, seed=seed, stop_at_end=False))
        return len(texts) / (time.perf_counter() - started)

    return write


def spoken(model, tokenizer):
    voice = speak(model, tokenizer, "Once there was", "en", pace=0)

    def write(seed: int) -> float:
        voice.set(seed=seed)
        voice.start()
        voice.wait()
        return voice.run.tokens / voice.run.seconds

    return write


def times() -> list[tuple[str, str]]:
    """What is waited for, and how long."""
    model, tokenizer = load_checkpoint("data/starter-en")
    play, heads = playground(model, tokenizer, "By the sea lived Clever", "en"), head_explorer(model, tokenizer)
    grid = [0.3 + 0.05 * step for step in range(25)]
    rows = [
        ("first text, a new process", f"{seconds(lambda: subprocess.run([sys.executable, '-c', FIRST_TEXT])):.1f} s"),
        ("slider to picture, playground", moves(play, "temperature", grid)),
        ("slider to picture, head explorer", moves(heads, "head", [(i % 2, i % 4) for i in range(25)])),
        ("streamed", rate(streamed(model, tokenizer))),
        ("the speaking panel, the model alone", rate(spoken(model, tokenizer))),
        ("models with recorded graphs", str(len(recorded))),
    ]
    trainer = new_trainer("tales-en")
    rows.append(("lesson 07's training, 1,600 steps", f"{seconds(lambda: list(trainer.run())):.0f} s"))
    last = trainer.history[-1]
    rows.append(("its end above the floor", f"{100 * last.excess / trainer.loader.floor.nats:.1f} %"))
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--no-check", action="store_true", help="only the times, not the lessons")
    options = parser.parse_args()
    os.chdir(ROOT)
    if runtime.best_device() == "cpu":
        raise SystemExit("There is no GPU that PyTorch can use: nothing is measured, nothing is written.")
    assert tales.parse("Once there was a list.").message  # the parser is loaded before anything is timed
    rows, log = times(), ""
    for what, found in rows:
        print(f"{what}: {found}", flush=True)
    if not options.no_check:
        command = [sys.executable, "-m", "foundry_lib.instructor.check", "--jobs", "4"]
        done = subprocess.run(command, capture_output=True, text=True)
        log = done.stdout[-6000:]
        rows.append(("`course.py check` of all lessons", "all green" if done.returncode == 0 else "not all green"))
        print(log, flush=True)
    table = [f"| {what} | {found} |" for what, found in rows]
    lines = ["# The course on a GPU", "", "Written by `benchmarks/course_on_gpu.py`.", ""]
    lines += [f"{runtime.describe()}. {os.cpu_count()} CPU cores ({platform.machine()}).", ""]
    lines += ["| what | found |", "| --- | --- |", *table]
    lines += ["", "The lessons, cell by cell where one is not green:", "", "```", log.strip(), "```"] if log else []
    (ROOT / "benchmarks" / "course_on_gpu.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
