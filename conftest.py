"""How pytest runs the lessons: nbval's settings, and the environment of every kernel that it starts."""

import os
import time
from queue import Empty

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch starts; foundry_lib.runtime says why
os.environ["PYTHONUTF8"] = "1"  # kernels and other children read and print UTF-8 on Windows as well
os.environ.pop("MPLBACKEND", None)  # a kernel draws inline; a value from outside would leave the pictures out

# Never compared: warnings and progress bars hold paths and rates; HTML and SVG hold random ids, and come with
# a text form that is compared.
NOT_COMPARED = ("stderr", "text/html", "image/svg+xml")
OUTPUT_TIMEOUT = 60  # seconds between two messages of a cell; nbval's own 5 are too few on a busy machine


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="the long form of the proofs that have one (minutes each)")


def pytest_collectstart(collector):
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += NOT_COMPARED


def pytest_collection_modifyitems(items):
    for item in items:
        if hasattr(item, "output_timeout"):
            item.output_timeout = OUTPUT_TIMEOUT


def pytest_configure():
    """Let nbval see within a second that a kernel has died; alone it waits until the cell's time is up."""
    from nbval.kernel import RunningKernel

    def get_message(self, stream, timeout=None):
        receive = self.kc.get_iopub_msg if stream == "iopub" else self.kc.get_shell_msg
        deadline = time.monotonic() + (float("inf") if timeout is None else timeout)
        while True:
            try:
                return receive(timeout=max(0.0, min(1.0, deadline - time.monotonic())))
            except Empty:
                if not self.is_alive():
                    raise RuntimeError("the kernel died in this cell (a crash, or no memory left)") from None
                if time.monotonic() >= deadline:
                    raise

    RunningKernel.get_message = get_message
