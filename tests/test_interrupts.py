"""■ and Ctrl-C at random moments: the training ends after the present step and goes on to the same bits.

--long: 200 signals, the proof; otherwise 20.
"""

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import nullcontext

import pytest
import torch
from helpers import OWL_TEXT, small_trainer

from foundry_lib.runtime import hold_interrupts
from foundry_lib.training.checkpoint import Checkpoint


def weights(trainer):
    return [p.detach().clone() for p in trainer.model.parameters()]


@pytest.mark.skipif(os.name == "nt", reason="this system cannot send itself the signal")
@pytest.mark.parametrize("twice", [False, True], ids=["once", "a second time during the stop"])
def test_signals_at_random_moments_change_nothing(tmp_path, twice, request):
    signals = 200 if request.config.getoption("--long") else 20
    path, dice, steps = tmp_path / "text.txt", random.Random(6), 12 * signals
    path.write_text(OWL_TEXT, encoding="utf-8")
    whole, stopped = small_trainer(path, steps), small_trainer(path, steps)
    list(whole.run())
    step_time = sorted(b.elapsed - a.elapsed for a, b in zip(whole.history[1:], whole.history[2:], strict=False))

    sent, stops, late = 0, 0, []
    while stopped.step < steps:
        running, fired = threading.Event(), []

        def fire(running=running, fired=fired):
            running.wait(10)
            time.sleep(dice.random() * 8 * step_time[len(step_time) // 2])
            if running.is_set():
                fired.append(stopped.step)
                os.kill(os.getpid(), signal.SIGINT)
                if twice:
                    os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=fire)
        thread.start()
        try:
            for _ in stopped.run():
                if sent < signals:
                    running.set()
            running.clear()
            thread.join(20)
        except KeyboardInterrupt:  # it came between two cells, where Python's own handler is back
            thread.join(20)
        if fired:
            sent += 1
            stops += stopped.interrupted
            late.append(stopped.step - fired[0])
            if stopped.interrupted:
                assert f"Stopped at step {stopped.step} of {steps}" in stopped.status()
    print(f"\n{sent} signals, {stops} stops, at most {max(late)} steps later")
    assert sent >= signals / 2 and stops >= sent / 2 and max(late) <= 2
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(stopped), strict=True))
    assert [r.train_loss for r in stopped.history] == [r.train_loss for r in whole.history]


IMPATIENT = """
import signal, sys
from pathlib import Path
from helpers import OWL_TEXT, small_trainer

def press_again(frame, event, argument):
    outer = frame
    while outer and outer.f_code is not handler.__code__:
        outer = outer.f_back
    if outer:  # we are inside the handler of the first press
        presses.append(frame.f_lineno)
        signal.raise_signal(signal.SIGINT)
        return press_again

Path("text.txt").write_text(OWL_TEXT, encoding="utf-8")
trainer, presses = small_trainer("text.txt", 100), []
for record in trainer.run():
    if record.step == 5:
        handler = signal.getsignal(signal.SIGINT)
        sys.settrace(press_again)
        signal.raise_signal(signal.SIGINT)
        sys.settrace(None)
print(len(presses) > 0, trainer.interrupted, trainer.step)
"""


@pytest.mark.skipif(os.name == "nt", reason="not tried on Windows")
def test_a_press_while_another_is_being_heard_does_not_hang(tmp_path):
    """At every line of the handler the next signal comes; with a threading.Event for a flag this waits for ever."""
    env = dict(os.environ, PYTHONPATH=os.pathsep.join([os.path.dirname(__file__), *sys.path]))
    options = dict(cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    done = subprocess.run([sys.executable, "-c", IMPATIENT], **options)
    assert done.stdout == "True True 5\n", done.stderr


PRESSED = """
import os, signal, sys
from foundry_lib.commands.train import main
from foundry_lib.training.trainer import Trainer

step, save = Trainer.train_step, Trainer.save

def pressed(self):
    if self.step == 4:
        os.kill(os.getpid(), signal.SIGINT)
    return step(self)

def pressed_again(self, folder):
    os.kill(os.getpid(), signal.SIGINT)
    return save(self, folder)

Trainer.train_step, Trainer.save = pressed, pressed_again
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(os.name == "nt", reason="this system cannot send itself the signal")
def test_a_second_ctrl_c_does_not_cut_off_the_save(tmp_path):
    (tmp_path / "text.txt").write_text(OWL_TEXT, encoding="utf-8")
    options = ["--data", "text.txt", "--block-size", "16", "--vocab-size", "300", "--device", "cpu", "--out", "run"]
    done = subprocess.run([sys.executable, "-c", PRESSED, *options], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r"Stopped at step 5. Go on with: .*python\S* -m foundry_lib train --resume run\n", done.stdout)
    assert Checkpoint.open(tmp_path / "run" / "step-000005")


PRESSED_IN_IMPORTS = """
import signal, sys
from pathlib import Path

class Presser:  # asked for each module that is imported; presses Ctrl-C at those that are named
    def find_spec(self, name, path=None, target=None):
        if name in modules:
            modules.remove(name)
            signal.raise_signal(signal.SIGINT)

modules = set(sys.argv[1:])
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Presser())
for attempt in range(9):
    try:
        import foundry_lib  # before anything that imports torch by itself
        import torch
        torch.optim.AdamW([torch.zeros(1, requires_grad=True)])
        from helpers import OWL_TEXT, small_trainer
        Path("text.txt").write_text(OWL_TEXT, encoding="utf-8")
        trained = len(list(small_trainer("text.txt", 2).run()))
        import scipy.stats
        from foundry_lib.panels.playground import playground
        print("trained", trained, "drawn", scipy.stats.norm.cdf(0), "not pressed", modules)
        break
    except KeyboardInterrupt:
        print("stopped")
"""
IN_IMPORTS = [  # each in another import of the script; torch, and the first optimizer, which loads the other half of it
    ["torch.types", "sympy.printing", "ipywidgets.widgets.widget_box", "scipy.stats._distn_infrastructure"],
    ["torch.autograd", "torch._inductor.custom_graph_pass", "matplotlib.figure"],
]


@pytest.mark.parametrize("modules", IN_IMPORTS, ids=["first", "second"])
def test_a_press_during_an_import_waits_for_its_end(tmp_path, modules):
    """A package cannot be imported again after an import that was cut off; so each import ends before the press."""
    env = dict(os.environ, PYTHONPATH=os.pathsep.join([os.path.dirname(__file__), *sys.path]))
    command = [sys.executable, "-c", PRESSED_IN_IMPORTS, *modules]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.stdout.split("\n")[:-1] == len(modules) * ["stopped"] + ["trained 3 drawn 0.5 not pressed set()"], (
        done.stderr
    )


def test_interrupts_are_held_back_and_delivered_or_dropped(request):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores the signal
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    for deliver in (True, False):
        done = []
        with pytest.raises(KeyboardInterrupt) if deliver else nullcontext():
            with hold_interrupts(deliver):
                signal.raise_signal(signal.SIGINT)
                done.append(deliver)
        assert done == [deliver] and signal.getsignal(signal.SIGINT) is signal.default_int_handler
