"""How pytest runs the lessons: nbval's settings, the environment of every kernel, and a record of each cell."""

import json
import os
import re
import tempfile
import time
from pathlib import Path
from queue import Empty

import psutil
import pytest

ROOT = Path(__file__).resolve().parent
if "OMP_WAIT_POLICY" not in os.environ:  # before torch starts; foundry_lib.runtime says why
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
os.environ["PYTHONUTF8"] = "1"  # kernels and other children read and print UTF-8 on Windows as well
os.environ.pop("MPLBACKEND", None)  # a kernel draws inline; a value from outside would leave the pictures out

# Never compared: warnings and progress bars hold paths and rates; HTML and SVG hold random ids, and come with
# a text form that is compared.
NOT_COMPARED = ("stderr", "text/html", "image/svg+xml")
OUTPUT_TIMEOUT = 60  # seconds between two messages of a cell; nbval's own 5 are too few on a busy machine


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="the long form of the proofs that have one (minutes each)")
    parser.addoption(
        "--minutes", type=float, default=15, help="with --long: how long the one training lasts whose memory is watched"
    )
    parser.addoption("--record", metavar="FILE", help="write what each cell of the lessons did (course.py check)")


def pytest_collectstart(collector):
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += NOT_COMPARED


def pytest_collection_modifyitems(items):
    for item in items:
        if hasattr(item, "output_timeout"):
            item.output_timeout = OUTPUT_TIMEOUT


def pytest_configure(config):
    """Find what nbval replaces from any working folder, and let it see within a second that a kernel has died."""
    if config.option.nbval_sanitize_with is None:
        config.option.nbval_sanitize_with = str(ROOT / "tests" / "sanitize.cfg")

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
    refused = tempfile.TemporaryDirectory()
    config.stash[REFUSED] = Path(refused.name) / "connections.txt"
    config.add_cleanup(refused.cleanup)
    if "FOUNDRY_PROGRESS" not in os.environ:  # the lessons as a newcomer runs them, whoever runs the tests
        nowhere = tempfile.TemporaryDirectory()
        os.environ["FOUNDRY_PROGRESS"] = str(Path(nowhere.name) / "progress.json")
        config.add_cleanup(lambda: (os.environ.pop("FOUNDRY_PROGRESS"), nowhere.cleanup()))
    config.stash[RUNS] = None
    if "FOUNDRY_RUNS" not in os.environ:
        trained = tempfile.TemporaryDirectory()
        config.stash[RUNS] = Path(trained.name)
        os.environ["FOUNDRY_RUNS"] = trained.name
        config.add_cleanup(lambda: (os.environ.pop("FOUNDRY_RUNS"), trained.cleanup()))


# ---- No lesson depends on what was trained on this machine, or by the lesson before it

RUNS = pytest.StashKey[Path | None]()  # each lesson has a folder of its own here; None: the caller has chosen one


def give_runs(item):
    """Let the kernel that starts now write its trainings into a folder of this lesson."""
    if item.config.stash[RUNS]:
        os.environ["FOUNDRY_RUNS"] = str(item.config.stash[RUNS] / item.path.stem)


# ---- No lesson reaches another machine

REFUSED = pytest.StashKey[Path]()  # the file of the connections that a kernel asked for and did not get


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    """The first cell of a lesson starts its kernel: there, and in what it starts, tests/offline refuses connections."""
    if not hasattr(item, "test_outputs"):
        return (yield)
    give_runs(item)
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT / "tests" / "offline"), before]))
    os.environ["REFUSED_CONNECTIONS"] = str(item.config.stash[REFUSED])
    try:
        return (yield)
    finally:
        del os.environ["PYTHONPATH"], os.environ["REFUSED_CONNECTIONS"]
        if before is not None:
            os.environ["PYTHONPATH"] = before


def refused_connections(item) -> str:
    """A sentence where the cell asked for a connection to another machine, whether or not it caught the refusal."""
    file = item.config.stash[REFUSED]
    if not file.exists():
        return ""
    addresses = file.read_text(encoding="utf-8").splitlines()
    file.unlink()
    return f"Connections: this cell asked for {', '.join(addresses)}; lessons run without a network."


# ---- The record of a lesson's run: one line of JSON a cell, for `course.py check`


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if not hasattr(item, "test_outputs"):
        return report
    refused, missed = "", missed_picture(item)
    if report.when == "call":
        refused = refused_connections(item)
    if report.when == "call" and report.passed and (refused or missed):
        report.outcome, report.longrepr = "failed", refused or missed
    file = item.config.getoption("--record")
    if file and (report.when == "call" or (report.when == "setup" and report.failed)):
        found = record(item, call, refused, missed)
        with open(file, "a", encoding="utf-8") as handle:
            handle.write(json.dumps(found) + "\n")
        if found["verdict"] in ("dies", "endless", "broken"):
            item.session.shouldfail = found["message"]  # the cells behind it can not run
    return report


def pictures(outputs) -> list[str]:
    return [output.data["image/png"] for output in outputs or () if "image/png" in output.get("data", {})]


def missed_picture(item) -> str:
    """A sentence where as many pictures were not drawn as are stored: their points may differ, their number may not."""
    stored, drawn = len(pictures(item.cell.outputs)), len(pictures(item.test_outputs))
    return "" if stored == drawn else f"Pictures: {stored} stored, {drawn} drawn now."


def record(item, call, refused: str, missed: str) -> dict:
    """What one cell did: its verdict, the texts that were compared, the pictures, what it cost."""
    code = [cell for cell in item.parent.nb.cells if cell.cell_type == "code"]
    expected, found = (compared_text(item, outputs) for outputs in (item.cell.outputs, item.test_outputs))
    verdict, message = "ok", ""
    if call.excinfo is not None:
        error = call.excinfo.value
        message = str(error)
        dead = isinstance(error, RuntimeError) and re.search("(?i)kernel d", message)
        words = {"outputs differ": "differs", "Timeout": "endless", "exception": "raises", "Unrun": "stripped"}
        verdict = "dies" if dead else next((words[word] for word in words if word in message), "broken")
        raised = [output for output in item.test_outputs or () if output.output_type == "error"]
        if verdict == "raises" and raised:
            message = f"{raised[-1].ename}: {raised[-1].evalue}"
    elif refused:
        verdict, message = "raises", refused
    elif missed:
        verdict, message = "differs", missed
    return {
        "cell": item.cell_num + 1,
        "of": len(code),
        "source": item.cell.source,
        "count": item.cell.execution_count,
        "compared": bool(item.options["check"] and item.cell.execution_count is not None and expected.strip()),
        "verdict": verdict,
        "message": message,
        "expected": expected,
        "found": found,
        "seconds": call.duration,
        **cost(item.parent.kernel),
        "pictures": pictures(item.test_outputs),
    }


def compared_text(item, outputs) -> str:
    """What is compared of a cell's outputs, in one text."""
    texts = []
    for output in outputs or ():
        forms = output.get("data") or {output.get("name", "error"): output.get("text") or output.get("ename", "")}
        texts += [item.sanitize(str(forms[kind])) for kind in forms if kind not in item.parent.skip_compare]
    return "\n".join(text.removesuffix("\n") for text in texts)


def cost(kernel) -> dict:
    """Processor seconds of a lesson's kernel so far, and its greatest memory in MiB (where the system keeps it)."""
    try:
        process = psutil.Process(kernel.km.provisioner.pid)
        times, memory = process.cpu_times(), process.memory_info()
        peak = getattr(memory, "peak_wset", memory.rss)  # Windows keeps it
        status = Path(f"/proc/{process.pid}/status")  # so does Linux
        if status.exists():
            peak = 1024 * int(re.search(r"VmHWM:\s*(\d+)", status.read_text()).group(1))
        return {"processor_seconds": times.user + times.system, "memory": peak / 2**20}
    except (psutil.Error, AttributeError, TypeError, OSError):  # the kernel has died, or never started
        return {"processor_seconds": 0.0, "memory": 0.0}
