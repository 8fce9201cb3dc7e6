"""Real kernels: ■ through `interrupt_kernel`, as JupyterLab's button does it, and what a class of kernels weighs.

--long: 60 interrupts, and 30 kernels at once; otherwise 4 interrupts, and one kernel.
"""

import os
import random
import time

import psutil
import pytest
from helpers import kernel, printed, run_cell

PREPARE = """
import hashlib, torch
from helpers import OWL_TEXT, small_trainer
from pathlib import Path
def weights(t): return hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in t.model.parameters())).hexdigest()
Path({path!r}).write_text(OWL_TEXT, encoding="utf-8")
whole, t = small_trainer({path!r}, {steps}), small_trainer({path!r}, {steps})
for _ in whole.run(): pass
print("seconds a step", whole.elapsed / {steps})
"""


@pytest.mark.skipif(os.name == "nt", reason="not tried on Windows")
def test_the_stop_button_in_a_real_kernel(tmp_path, request):
    presses = 60 if request.config.getoption("--long") else 4
    dice, steps = random.Random(7), 60 * presses
    with kernel() as (manager, client):
        step = float(run_cell(client, PREPARE.format(path=str(tmp_path / "text.txt"), steps=steps)).split()[-1])
        slowest, stopped = 0.0, 0
        for _ in range(presses):
            cell = client.execute("print('go', flush=True)\nfor _ in t.run(): pass\nprint(t.status())")
            while not client.get_iopub_msg(timeout=60)["content"].get("text", "").startswith("go"):
                pass  # its line end may come in a message of its own
            time.sleep(0.02 + dice.random() * 20 * step)
            pressed = time.monotonic()
            manager.interrupt_kernel()
            impatient = dice.random() < 0.3
            if impatient:  # the second press may find the training stopped already, and ends the cell then
                manager.interrupt_kernel()
            said = printed(client, cell, interrupted_late=impatient)
            slowest = max(slowest, time.monotonic() - pressed)
            stopped += impatient or "call run() again to go on" in said
            assert run_cell(client, "print(1 + 1)") == "2\n", "the next cell answers"
        run_cell(client, "for _ in t.run(): pass")
        assert run_cell(client, "print(weights(t) == weights(whole), t.step)") == f"True {steps}\n"
    print(f"\n{presses} presses, {stopped} stops, the slowest {slowest:.2f} s; a step takes {step:.3f} s")
    assert stopped >= presses / 2


TRAIN = """
from foundry_lib.training.recipes import new_trainer
t = new_trainer("tales-en")
for _ in t.run(until=5): pass
"""


def test_what_kernels_weigh(request):
    """MiB each: idle with the library and its panels, and at most while training the default."""
    number = 30 if request.config.getoption("--long") else 1
    open_kernels, idle, busy = [], [], []
    try:
        for _ in range(number):
            context = kernel()
            open_kernels.append((context, context.__enter__()))
        for _, (manager, client) in open_kernels:
            run_cell(client, "import foundry_lib, foundry_lib.panels.playground")
            idle.append(psutil.Process(manager.provisioner.pid).memory_info().rss / 2**20)
        for _, (manager, client) in open_kernels:
            run_cell(client, TRAIN)
            busy.append(psutil.Process(manager.provisioner.pid).memory_info().rss / 2**20)
    finally:
        for context, _ in open_kernels:
            context.__exit__(None, None, None)
    print(f"\n{number} kernels: {max(idle):.0f} MiB idle, {max(busy):.0f} MiB after training, each at most")
    assert max(idle) <= 300 and max(busy) <= 600
