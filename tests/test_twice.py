"""Each code cell of a lesson, run twice in a row, on a device that is not the CPU.

The device is the pretended one of tests/offline/pretend.py, which needs no GPU. It computes with its own tensors only:
a lesson turns red where it makes a model, a loader, a training or a tensor that is not on the chosen device. Two
lessons in the ordinary run, all of them with --long.
"""

import os

import nbformat
import pytest
from helpers import ROOT, kernel

LESSONS = sorted(path.stem for path in ROOT.glob("notebooks/*.ipynb"))
SAMPLES = ("02_rope", "04_swiglu")
TIMEOUT = 900  # seconds for a cell


@pytest.fixture(params=LESSONS)
def lesson(request):
    if request.param not in SAMPLES and not request.config.getoption("--long"):
        pytest.skip("two lessons are the sample; all of them with --long")
    return nbformat.read(ROOT / "notebooks" / f"{request.param}.ipynb", as_version=4)


def outcome(client, source: str) -> tuple[str, str]:
    """What a cell printed, and the error that ended it, or ""."""
    message_id, text, error = client.execute(source), "", ""
    while True:
        message = client.get_iopub_msg(timeout=TIMEOUT)
        content = message["content"]
        if message["parent_header"].get("msg_id") != message_id:
            continue
        if message["msg_type"] == "stream" and content["name"] == "stdout":
            text += content["text"]
        if message["msg_type"] == "error":
            error = f"{content['ename']}: {content['evalue'][:300]}"
        if message["msg_type"] == "status" and content["execution_state"] == "idle":
            return text, error


def faults_of(notebook, client, models: str) -> list[str]:
    """The cells that fail, or say something else the second time; and what is not on the chosen device."""
    faults = []
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        may_raise = "raises-exception" in cell.metadata.get("tags", [])
        ticks = []
        for turn in ("first", "second"):
            text, error = outcome(client, cell.source)
            ticks.append({sign: text.count(sign) for sign in ("✓", "✗", "True", "False")})
            if error and not may_raise:
                faults.append(f"{cell.id}, {turn} run: {error}")
        if ticks[0] != ticks[1]:
            faults.append(f"{cell.id}: {ticks[0]}, then {ticks[1]}")
        text, _ = outcome(client, models)
        faults += [f"{cell.id}: {line}" for line in text.splitlines()]
    return faults


MODELS = """
from foundry_lib import DataLoader as _DataLoader, MiniLLM as _MiniLLM, Trainer as _Trainer
for _name, _value in list(globals().items()):
    if isinstance(_value, (_MiniLLM, _DataLoader, _Trainer)) and not str(_value.device).startswith("pretend"):
        print(f"{_name} is on {_value.device}")
"""


def test_each_cell_twice_on_a_device_that_is_not_the_cpu(lesson, tmp_path):
    variables = {
        "PYTHONPATH": os.pathsep.join(map(str, [ROOT, ROOT / "tests" / "offline"])),
        "FOUNDRY_DEVICE": "pretend",
        "FOUNDRY_RUNS": str(tmp_path / "runs"),
        "FOUNDRY_PROGRESS": str(tmp_path / "progress.json"),
    }
    with kernel(ROOT / "notebooks", **variables) as (_, client):
        assert faults_of(lesson, client, MODELS) == []
