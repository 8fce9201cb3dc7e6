"""This machine: how its threads wait, which device computes, one line that says so, and when Ctrl-C may interrupt."""

import ctypes
import importlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import ConfigError

came_first = True  # whether `set_wait_policy` ran before torch was imported


def set_wait_policy():
    """Make idle threads sleep soon instead of spinning.

    OpenMP's threads spin while they wait. On a busy machine (thirty learners on one server, a browser beside
    the notebook) two spinning threads were 25 times slower than one. But waking a thread takes longer than many
    products of a small model. So GNU's OpenMP spins for 1,000 turns first. Of the numbers tried, this is the fastest
    that does not slow a busy machine much (`benchmarks/waiting_speed.py`). torch reads the settings when it starts, so
    they must come first. A policy that the user has set stays, and nothing is added to it.
    """
    global came_first
    came_first = "torch" not in sys.modules or "OMP_WAIT_POLICY" in os.environ
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
        os.environ.setdefault("KMP_BLOCKTIME", "0")  # the same for builds on Intel's OpenMP


@contextmanager
def hold_interrupts(deliver: bool = True) -> Iterator[None]:
    """Delay Ctrl-C and the notebook's ■ until the block has ended. deliver: False drops them.

    Only the main thread receives the signal, so the block runs unchanged in any other thread.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is None:
        yield
        return
    presses = []
    signal.signal(signal.SIGINT, lambda number, frame: presses.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if presses and deliver:
        signal.raise_signal(signal.SIGINT)


def hold_interrupts_in_imports():
    """From now on Ctrl-C and ■ wait until the import that runs has ended, whichever module it loads.

    An import that was cut off leaves half a package behind: Python forgets the package and keeps its modules, so that
    a second import misses names. This meets torch, the 800 modules that the first optimizer loads, matplotlib, scipy
    and ipywidgets. Python calls `_find_and_load` for a module that is not loaded yet; other imports cost nothing.
    """
    bootstrap = importlib._bootstrap
    load = bootstrap._find_and_load
    if load.__module__ == __name__:  # after an import of foundry_lib that failed
        return

    def load_undisturbed(name, import_):
        __tracebackhide__ = True  # IPython leaves this frame out of the traceback of a misspelled import
        with hold_interrupts():
            return load(name, import_)

    bootstrap._find_and_load = load_undisturbed


def import_torch():
    """Import torch, and numpy with it.

    `python -m foundry_lib` by a Python without torch ends with a sentence: Python imports this package for it first.
    """
    try:
        importlib.import_module("torch")
    except ModuleNotFoundError as missing:
        if sys.argv[:1] != ["-m"]:
            raise
        course = Path(".venv", "Scripts" if os.name == "nt" else "bin", "python")
        sys.exit(
            f"error: this Python ({sys.executable}) has no {missing.name}. The course's own has it: in the course's "
            f"folder, type {course} -m foundry_lib …; `python3 course.py lab` makes it."
        )


def keep_freed_memory():
    """Let glibc keep up to half a GiB of freed memory instead of returning it to the system after each step.

    A training takes and frees the same hundreds of megabytes in every step, and the system clears each page that it
    hands out again. The logits of a batch of tales take 10 MiB; a learner's loss, which makes several tensors of that
    size, took a third less time than with a border of 8 MiB. Without glibc this does nothing.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(-3, 32 * 2**20)  # M_MMAP_THRESHOLD: smaller blocks come from the heap; glibc takes no larger number
    mallopt(-1, 512 * 2**20)  # M_TRIM_THRESHOLD: this much may stay free at the heap's end


def best_device() -> str:
    """The name of the best device: "cuda" for an NVIDIA or ROCm GPU, "mps" on Apple silicon, else "cpu".

    The environment variable FOUNDRY_DEVICE decides instead, for example for a whole class. Raises ConfigError if it
    names a device that cannot be used.
    """
    import torch

    named = os.environ.get("FOUNDRY_DEVICE")
    if named:
        return require_device(named, f"FOUNDRY_DEVICE={named}: this device", "Unset the variable")
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def usable_device(name: str | None = None) -> str:
    """`name`, or the best device for None, after one tensor was made there. Raises ConfigError if that fails."""
    return require_device(name or best_device(), f"The device {name!r}", "Leave it out")


def require_device(name: str, subject: str, advice: str) -> str:
    """`name`, after a number was stored there and read back. Raises ConfigError if that fails."""
    import torch

    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"{subject} cannot be used here. {advice}, or name cpu. ({error})") from None
    return name


def describe(device: str | None = None) -> str:
    """One line for the learner: Python, torch, device, threads and how they wait."""
    import torch

    device = str(device or best_device())
    name = f" ({torch.cuda.get_device_name()})" if device.startswith("cuda") else ""
    policy = (
        os.environ["OMP_WAIT_POLICY"].lower() if came_first else "default, as torch was imported before foundry_lib"
    )
    return (
        f"Python {sys.version.split()[0]}, torch {torch.__version__}, device {device}{name}, "
        f"{torch.get_num_threads()} threads, waiting policy {policy}"
    )
