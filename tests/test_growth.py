"""What one kernel keeps: generations and stops must not add up. --long: 1,000 and 200 of them; otherwise 150 and 20."""

import gc

import psutil
import pytest
import torch
from test_interrupts import TEXT, new

from foundry_lib import generate
from foundry_lib.checkpoint import load_checkpoint
from foundry_lib.lessons import LESSONS


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
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    trainer = new(tmp_path / "text.txt", 100_000)

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
