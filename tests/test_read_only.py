"""A folder that may be read and not written to: one sentence, nothing changed in it, the training still in memory.

The administrator of a system may write anywhere, so where the tests run as root these run as a user without rights.
"""

import json
import os
import shutil
import stat
import tempfile
import warnings
from pathlib import Path

import pytest
import torch
from helpers import OWL_TEXT, TOKENIZER, small_model, small_trainer

from foundry_lib import CheckpointError, CorpusError, DataLoader, FoundryError
from foundry_lib.experiments.sweeps import sweep
from foundry_lib.lessons import progress
from foundry_lib.text import corpus
from foundry_lib.training.checkpoint import checkpoints, load_checkpoint, save_checkpoint
from foundry_lib.training.trainer import Trainer

NOBODY = 65534
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no other user to become for a while")


@pytest.fixture
def folder():
    """A folder with a text and a run of four steps, read-only for everybody; pytest's own would be closed to others."""
    home = Path(tempfile.mkdtemp(prefix="只读 "))
    try:
        (home / "text.txt").write_text(OWL_TEXT, encoding="utf-8")
        trainer = small_trainer(home / "text.txt", 8)
        list(trainer.run(until=4))
        trainer.save(home / "run")
        for path in (home, *home.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        yield home
    finally:
        for path in (home, *home.rglob("*")):
            path.chmod(path.stat().st_mode | stat.S_IWUSR)
        shutil.rmtree(home)


def contents(folder: Path) -> dict:
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def as_nobody(work) -> str:
    """What `work` returns, or the name and sentence of its error, in a process that has no rights beyond its own."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            torch.set_num_threads(1)  # the other threads did not come along
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            found = work()
        except BaseException as error:
            found = f"{type(error).__name__}: {error}"
        os.write(write, json.dumps(found).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        found = json.loads(pipe.read())
    os.waitpid(child, 0)
    return found


def test_a_user_without_rights_is_refused_here(folder):
    """A test of the tests below."""
    assert as_nobody(lambda: (folder / "new").write_text("x")).startswith("PermissionError")


def test_a_save_is_refused_and_the_training_goes_on(folder):
    def work():
        trainer = small_trainer(folder / "text.txt", 8)
        list(trainer.run(until=5))
        for place in ("run", "run/deeper", "another"):
            with pytest.raises(CheckpointError, match="cannot be written to: Permission denied.*still in memory") as no:
                trainer.save(folder / place)
            assert str(folder / place) in str(no.value)
        with pytest.raises(CheckpointError, match="could not be written: Permission denied.*still in memory"):
            save_checkpoint(folder / "run" / "step-000009", small_model(1), TOKENIZER)
        list(trainer.run())
        whole = small_trainer(folder / "text.txt", 8)
        list(whole.run())
        pairs = zip(trainer.model.parameters(), whole.model.parameters(), strict=True)
        assert trainer.step == 8 and all(torch.equal(a, b) for a, b in pairs)
        with tempfile.TemporaryDirectory() as elsewhere:
            load_checkpoint(trainer.save(elsewhere))
        return "all as it should be"

    before = contents(folder)
    assert as_nobody(work) == "all as it should be"
    assert contents(folder) == before


def test_a_run_in_a_read_only_folder_can_be_gone_on_with(folder):
    def work():
        (saved,) = checkpoints(folder)
        trainer = Trainer.load(saved)
        list(trainer.run())
        return trainer.step

    assert as_nobody(work) == 8


def test_whatever_else_writes_says_so_in_one_sentence(folder, monkeypatch):
    def experiment():
        sweep("mine", {"a": {}}, text=folder / "text.txt", root=folder, max_iters=1, block_size=16, vocab_size=300)

    def tokens():
        monkeypatch.setattr(corpus, "LARGE_TEXT", 1000)
        monkeypatch.setenv("FOUNDRY_CACHE", str(folder / "cache"))
        DataLoader(folder / "text.txt", block_size=16, vocab_size=300)

    def answer():
        monkeypatch.setattr(progress, "FILE", folder / "progress.json")
        with warnings.catch_warnings(record=True) as notices:
            warnings.simplefilter("always")
            progress.keep("answers", "01-exit-1", "a")
        return str(notices[0].message)

    before = contents(folder)
    said = as_nobody(experiment)
    assert said.startswith("CheckpointError: ") and "Permission denied" in said and "another root=" in said
    said = as_nobody(tokens)
    assert said.startswith(CorpusError.__name__) and "Permission denied" in said and "FOUNDRY_CACHE" in said
    said = as_nobody(answer)
    assert "Permission denied" in said and "FOUNDRY_PROGRESS" in said
    assert contents(folder) == before and issubclass(CheckpointError, FoundryError)
