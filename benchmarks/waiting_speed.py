"""How should threads wait for each other?

A training of tiny on two threads, the library's own steps, for several lengths of the spin before a waiting thread
sleeps (GOMP_SPINCOUNT, turns of a loop; OMP_WAIT_POLICY is PASSIVE): alone, beside a process that keeps one core busy
all the time, and four such trainings at once, whose speeds are added up. `foundry_lib.runtime` sets 1,000. Where
nothing is set, libgomp takes 300,000 on a machine with a core for each thread, and 100 on one that has fewer.
"""

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import peers
import race
import report
import training_speed

PRESET, CROWD, SECONDS = "tiny", 4, 5
TURNS = {"sleeps at once": 0, "1,000": 1_000, "10,000": 10_000, "300,000": 300_000}
OURS = "1,000"


class Ours(training_speed.Ours):
    def __init__(self, turns: int, *given):
        os.environ.update(OMP_WAIT_POLICY="PASSIVE", GOMP_SPINCOUNT=str(turns))  # read when torch is imported, next
        super().__init__(*given)

    def steps_in(self, seconds: float) -> int:
        """How many steps are done until the time is over."""
        count, end = 0, time.perf_counter() + seconds
        while time.perf_counter() < end:
            self.steps(1)
            count += 1
        return count


def together(rivals: list) -> float:
    """Steps a second of trainings that run at the same time."""
    with ThreadPoolExecutor(len(rivals)) as pool:
        return sum(done / spent for spent, done in pool.map(lambda rival: rival.timed("steps_in", SECONDS), rivals))


@contextlib.contextmanager
def busy_core():
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def main():
    rounds = report.options(__doc__, rounds=5).rounds
    rows, tokens = training_speed.SHAPES[PRESET]
    found = {name: ([], [], []) for name in TURNS}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        with race.Rival(peers.Weights, folder, PRESET):
            pass
        rivals = {name: [] for name in TURNS}
        for name, mine in rivals.items():
            for _ in range(CROWD):
                mine.append(stack.enter_context(race.Rival(Ours, TURNS[name], folder, rows, tokens, threads=2)))
                mine[-1].call("steps", 2)
        for turn in range(rounds):
            for name in list(TURNS)[:: 1 if turn % 2 else -1]:
                alone, beside, crowd = found[name]
                alone.append(together(rivals[name][:1]))
                with busy_core():
                    beside.append(together(rivals[name][:1]))
                crowd.append(together(rivals[name]))
    lines = []
    for name, places in found.items():
        line = [name]
        for mine, ours in zip(places, found[OURS], strict=True):
            ratio = statistics.median(a / b for a, b in zip(mine, ours, strict=True))
            line += [statistics.median(mine) * rows * tokens, ratio]
        lines.append(line)
    where = ("alone", "beside a busy core", f"{CROWD} at once")
    header = ["turns before sleeping", *(part for name in where for part in (f"{name}, tokens/s", f"× {OURS}"))]
    report.write("waiting", [dict(title=f"Training {PRESET}, 2 threads", header=header, rows=lines)], [], 2)


if __name__ == "__main__":
    main()
