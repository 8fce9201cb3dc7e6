"""What one process keeps: generations, stops and steps must not add up.

--long: 1,000 generations, 200 stops, and 15 minutes of training (--minutes 120: two hours); otherwise 150, 20, and
some seconds.
"""

import gc
import os
import signal
import statistics
import subprocess
import sys
import time

import psutil
import pytest
import torch
from helpers import OWL_TEXT, small_trainer

from foundry_lib import generate
from foundry_lib.paths import LESSONS
from foundry_lib.training.checkpoint import load_checkpoint


def grown(work, times: int) -> float:
    """MiB by which this process grew over `times` runs of `work`, after a tenth of them to warm up."""
    process = psutil.Process()
    for _ in range(max(3, times // 10)):
        work()
    gc.collect()
    before = process.memory_info().rss
    for _ in range(times):
        work()
    gc.collect()
    return (process.memory_info().rss - before) / 2**20


@pytest.mark.skipif(os.name == "nt", reason="this system cannot send another process Ctrl-C alone")
def test_the_memory_of_a_long_training_is_a_flat_line(tmp_path, request):
    """The command as a learner runs it, evaluations and saves among its steps; short: a small text, and small rows."""
    long, options = request.config.getoption("--long"), ["--steps", "10000000", "--device", "cpu", "--out", "run"]
    seconds, pause = (60 * request.config.getoption("--minutes"), 10) if long else (10, 0.25)
    if not long:
        (tmp_path / "text.txt").write_text(OWL_TEXT, encoding="utf-8")
        options += ["--data", "text.txt", "--block-size", "16", "--vocab-size", "300", "--eval-interval", "20"]
    command = [sys.executable, "-m", "foundry_lib", "train", *options]
    ready = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731, though run in background
    with open(tmp_path / "said.txt", "w+", encoding="utf-8") as said:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=said, stderr=said, preexec_fn=ready)
        try:
            while not (tmp_path / "run").exists() and process.poll() is None:
                time.sleep(0.1)
            line = []
            for _ in range(int(seconds / pause)):
                line.append(psutil.Process(process.pid).memory_info().rss / 2**20)
                time.sleep(pause)
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
        finally:
            process.kill()
        said.seek(0)
        step = said.read().split("Stopped at step ")[1].split(".")[0]
    second, last = (statistics.median(line[i * len(line) // 4 : (i + 1) * len(line) // 4]) for i in (1, 3))
    curve = ", ".join(f"{m:.0f}" for m in line[:: max(1, len(line) // 12)])
    print(
        f"\n{step} steps in {seconds / 60:g} minutes, MiB: {curve}; the last quarter {last - second:+.1f} to the second"
    )
    assert last - second < (20 if long else 5) and max(line) < 600


def test_generations_leave_nothing_behind(request):
    model, _ = load_checkpoint(LESSONS.parent / "data" / "starter-en")
    idx = torch.tensor([[1]])
    times = 1000 if request.config.getoption("--long") else 150
    more = grown(lambda: generate(model, idx, 20, top_p=0.9), times)
    print(f"\n{times} generations: {more:+.1f} MiB")
    assert more < 20


@pytest.mark.parametrize("saves", [False, True], ids=["stops", "stops and saves"])
def test_stops_and_resumes_leave_nothing_behind(tmp_path, saves, request):
    times = 200 if request.config.getoption("--long") else 20
    (tmp_path / "text.txt").write_text(OWL_TEXT, encoding="utf-8")
    trainer = small_trainer(tmp_path / "text.txt", 100_000)

    def cycle():
        run = trainer.run()
        for _ in range(4):
            next(run)
        run.close()
        if saves:
            trainer.save(tmp_path / "run")

    more = grown(cycle, times)
    print(f"\n{times} cycles{' with saves' if saves else ''}: {more:+.1f} MiB")
    assert more < 20 and trainer.step > 3 * times
