"""This machine: how threads wait, which device computes, and one line that says so."""

import os
import sys

from .errors import ConfigError

came_first = True  # whether the waiting policy was set before torch read it


def set_wait_policy():
    """Make idle threads sleep soon instead of spinning on.

    OpenMP's threads spin while they wait. On a machine that is busy with something else (thirty learners on one
    server, a browser beside the notebook) two spinning threads have been measured 25 times slower than one. But to
    wake a thread takes longer than many a product of a small model, so GNU's OpenMP spins a little first: 1,000 turns,
    of the numbers tried the fastest that does not slow a busy machine much (`benchmarks/waiting_speed.py`). The
    settings are read when torch starts, so they must come first; a policy that the user has set is kept, and nothing
    added to it.
    """
    global came_first
    came_first = "torch" not in sys.modules or "OMP_WAIT_POLICY" in os.environ
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
        os.environ.setdefault("KMP_BLOCKTIME", "0")  # the same for builds on Intel's OpenMP


def keep_freed_memory():
    """Let glibc keep up to half a GiB of freed memory instead of giving it back to the system after each step.

    A training takes and frees the same hundreds of megabytes at every step, and the system clears each page that it
    hands out again. Elsewhere than on glibc this does nothing.
    """
    import ctypes

    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(-3, 8 * 2**20)  # M_MMAP_THRESHOLD: smaller pieces come from the heap; larger ones would leave holes in it
    mallopt(-1, 512 * 2**20)  # M_TRIM_THRESHOLD: so much may lie free at the heap's end


def best_device() -> str:
    """ "cuda" where there is an NVIDIA (or ROCm) GPU, "mps" on Apple silicon, else "cpu"."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def usable_device(name: str | None = None) -> str:
    """`name` after trying it, or the best device for None. Raises ConfigError for one that this machine lacks."""
    import torch

    try:
        torch.zeros(1, device=name or best_device())
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"The device {name!r} cannot be used here; leave it out, or name cpu. ({error})") from None
    return name or best_device()


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
