"""A training in parts is the training in one, through changes of process; and no part of its state can be left out.

--long: 100 steps = 37 + 63 = 1 + 99 = ten resumes; otherwise 20 steps, twice resumed.
"""

import hashlib
import json
import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from foundry_lib import Corpus, CorpusError
from foundry_lib.config import ModelConfig, TrainConfig
from foundry_lib.models.feed_forward import MLP
from foundry_lib.models.model import MiniLLM
from foundry_lib.text.corpus import told
from foundry_lib.text.data import DataLoader
from foundry_lib.training.checkpoint import newest_checkpoint
from foundry_lib.training.optimizer import learning_rate
from foundry_lib.training.recipes import new_trainer
from foundry_lib.training.trainer import Trainer

TEXT = "An owl sat in an oak. The more it saw the less it spoke. 猫头鹰坐在橡树上。\n" * 60


def new(text, steps: int) -> Trainer:
    loader = DataLoader(text, batch_size=4, block_size=16, vocab_size=300)
    config = ModelConfig(loader.vocab_size, dim=32, n_layers=2, n_heads=2, n_kv_heads=1, max_seq_len=16)
    torch.manual_seed(4)
    return Trainer(MiniLLM(config), loader, TrainConfig(batch_size=4, max_iters=steps, eval_interval=7))


def dropping_out(forward=MLP.forward):
    """A part that draws from torch's generator in every step; without one a training needs none of its numbers."""
    return lambda self, x: F.dropout(forward(self, x), 0.1)


def outcome(trainer: Trainer) -> dict:
    """The sha256 over every weight, and what was written down after each step."""
    digest = hashlib.sha256()
    for name, tensor in trainer.model.state_dict().items():
        digest.update(name.encode() + tensor.numpy().tobytes())
    losses = [(r.step, r.train_loss, r.val_loss, r.lr, r.grad_norm) for r in trainer.history]
    return {"weights": digest.hexdigest(), "losses": losses}


def part(folder, until: int, steps: int) -> dict:
    """Begin the training of a folder, or go on with it, to step `until`, and save it. For a process of its own."""
    MLP.forward = dropping_out()
    trainer = Trainer.load(newest_checkpoint(folder)) if any(folder.glob("step-*")) else new(folder / "t.txt", steps)
    list(trainer.run(until=until))
    trainer.save(folder)
    return outcome(trainer)


PART = """
import json, pathlib, sys
from test_resume import part
print(json.dumps(part(pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
"""


def in_parts(folder, stops: list[int], steps: int) -> dict:
    """The outcome of a training that is stopped at `stops`, each part of it in another process."""
    folder.mkdir()
    (folder / "t.txt").write_text(TEXT, encoding="utf-8")
    for until in (*stops, steps):
        command = [sys.executable, "-c", PART, str(folder), str(until), str(steps)]
        env = dict(os.environ, PYTHONPATH=os.path.dirname(__file__))
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_parts_in_processes_of_their_own_are_the_whole(tmp_path, request):
    long = request.config.getoption("--long")
    steps, ways = (100, ([37], [1], range(9, 91, 9))) if long else (20, ([1, 8],))
    whole = in_parts(tmp_path / "whole", [], steps)
    assert len(whole["losses"]) == steps + 1
    for stops in ways:
        found = in_parts(tmp_path / f"{len(stops)} 次, first at {stops[0]}", list(stops), steps)
        print(f"\n{steps} steps, resumed at {', '.join(map(str, stops))}: {found['weights'][:16]}…")
        assert found == whole


PARTS = {
    "model": lambda trainer, text: trainer.model.init_weights(),
    "optimizer": lambda trainer, text: trainer.optimizer.state.clear(),
    "schedule": lambda trainer, text: None,
    "data": lambda trainer, text: trainer.loader.load_state(new(text, 20).loader.state()),
    "random numbers": lambda trainer, text: torch.manual_seed(0),
}


@pytest.mark.parametrize("left_out", [None, *PARTS])
def test_no_part_of_the_state_can_be_left_out(tmp_path, monkeypatch, left_out):
    """A test of the test above: with one part anew at the resume, the outcome is another."""
    monkeypatch.setattr(MLP, "forward", dropping_out())
    (tmp_path / "t.txt").write_text(TEXT, encoding="utf-8")
    whole = new(tmp_path / "t.txt", 20)
    list(whole.run())
    first = new(tmp_path / "t.txt", 20)
    list(first.run(until=9))
    saved = first.save(tmp_path / "run")
    torch.rand(3)
    second = Trainer.load(saved)
    if left_out:
        PARTS[left_out](second, tmp_path / "t.txt")
    if left_out == "schedule":
        second.schedule = lambda step, config: learning_rate(step - 9, config)
    list(second.run())
    assert (outcome(second) == outcome(whole)) == (left_out is None)
    assert (outcome(second)["weights"] == outcome(whole)["weights"]) == (left_out is None)


@pytest.mark.skipif(told("en", 2).name == "tales-en", reason="a corpus does not name itself fully yet")
def test_a_training_on_some_tales_resumes_without_its_loader(tmp_path):
    """The corpus bears a full name, by which the checkpoint finds it again."""
    settings = dict(max_iters=4, dim=16, n_heads=2, n_kv_heads=1, batch_size=2)
    whole, first = (new_trainer(told("en", 400, seed=3), **settings) for _ in range(2))
    list(whole.run())
    list(first.run(until=2))
    second = Trainer.load(first.save(tmp_path))
    assert second.loader.corpus.sha256 == first.loader.corpus.sha256
    list(second.run())
    assert outcome(second) == outcome(whole)


def test_a_text_that_has_moved_is_found_by_its_sha256(tmp_path, monkeypatch):
    project = tmp_path / "p1"
    project.mkdir()
    (project / "t.txt").write_text(TEXT, encoding="utf-8")
    first = new(project / "t.txt", 4)
    list(first.run(until=2))
    saved = first.save(project / "runs" / "mine")
    project = project.rename(tmp_path / "p2")
    saved = project / "runs" / "mine" / saved.name
    (project / "runs" / "t.txt").write_text("another text of that name", encoding="utf-8")
    assert Trainer.load(saved).loader.corpus.path == project / "t.txt"
    (project / "t.txt").rename(tmp_path / "u.txt")
    with pytest.raises(CorpusError, match=r"runs.t.txt is not the text of this training: that was t.txt"):
        Trainer.load(saved)
    (project / "runs" / "t.txt").unlink()
    with pytest.raises(CorpusError, match="The text of this training cannot be read. There is no file .*text=FILE"):
        Trainer.load(saved)
    assert Trainer.load(saved, text=tmp_path / "u.txt").step == 2
    assert Trainer.load(saved, text=Corpus("mine", (TEXT,))).step == 2
    (tmp_path / "u.txt").rename(tmp_path / "t.txt")
    monkeypatch.chdir(tmp_path)
    assert Trainer.load(saved).loader.corpus.path == tmp_path / "t.txt"
