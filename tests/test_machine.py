"""Lesson 00's questions to the machine."""

import importlib.metadata
import platform

import pytest
import torch

from foundry_lib.lessons import machine
from foundry_lib.text.loader import DataLoader


@pytest.fixture(scope="module")
def loader(tmp_path_factory):
    path = tmp_path_factory.mktemp("machine") / "t.txt"
    path.write_text("An owl sat in an oak and said nothing at all.\n" * 200, encoding="utf-8")
    return DataLoader(path, batch_size=2, block_size=16, vocab_size=300)


def test_this_machine_has_everything():
    findings = machine.examine()
    assert [f.name for f in findings if not f.ok] == []
    assert {"Python", "PyTorch", "device", "memory", "Chinese characters"} <= {f.name for f in findings}


def test_what_is_missing_comes_with_its_mending(monkeypatch):
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: type("usage", (), {"free": 1000})())
    monkeypatch.setattr(machine.plots, "glyphs_missing", lambda text: list(text))
    monkeypatch.setattr(machine, "version", lambda name: importlib.metadata.version("none of " + name))
    lines = "\n".join(map(str, machine.examine()))
    assert lines.count("✗") == 3 and "→ Free some room" in lines and "→ Run `python3 course.py lab` again" in lines
    assert "✗ widgets" in lines


def test_a_gpu_that_pytorch_cannot_use_is_told(monkeypatch):
    monkeypatch.setattr(machine.runtime, "best_device", lambda: "cpu")
    commands, monkeypatched = "--torch-backend=auto --reinstall-package torch torch==", monkeypatch.setattr
    for program, cuda, words in (
        (None, None, ""),
        ("smi", None, commands),
        ("smi", "13.0", "install its newest driver"),
    ):
        monkeypatched(machine.shutil, "which", lambda name, program=program: program)
        monkeypatched(machine.torch.version, "cuda", cuda)
        (line,) = [str(finding) for finding in machine.examine() if finding.name == "device"]
        assert line.startswith("✓ device") and words in line and ("NVIDIA GPU" in line) == bool(program)


def test_speed_and_minutes(loader):
    speed = machine.training_speed(loader, "tiny", steps=3)
    assert 10 < speed < 1e8
    minutes = machine.minutes_to_train({"tiny": 6000.0, "small": 1000.0}, tokens=600_000, loader=loader)
    assert minutes["tiny"] == pytest.approx(600_000 / 6000 / 60) and minutes["small"] == pytest.approx(10)
    assert minutes["medium"] > 3 * minutes["small"]


def test_recommendation():
    assert machine.recommend({"tiny": 1, "small": 4, "medium": 30}) == "small"
    assert machine.recommend({"tiny": 9, "small": 40, "medium": 300}) == "tiny"
    assert machine.recommend({"tiny": 0.1, "small": 0.4, "medium": 3}) == "medium"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="asks glibc's allocator")
def test_a_loss_written_in_a_lesson_is_not_handed_new_memory_at_each_step():
    """Logits of a batch of tales take 10 MiB. Fresh from the system, each page of them is cleared again."""
    import resource  # not on Windows

    logits = torch.randn(1600, 1536, requires_grad=True)
    targets = torch.zeros(1600, dtype=torch.long)

    def pages_of_ten_steps() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(10):
            torch.nn.functional.cross_entropy(logits, targets).backward()
            logits.grad = None
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    pages_of_ten_steps()
    assert pages_of_ten_steps() < 36_000  # 72,000 where each tensor is new; 5,000 to 10,000 as it is
