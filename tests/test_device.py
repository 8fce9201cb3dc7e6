"""Which device computes: the best there is, the one that FOUNDRY_DEVICE names, or the one that a call names."""

import inspect

import pytest
import torch
from helpers import OWL_TEXT

from foundry_lib import runtime
from foundry_lib.errors import ConfigError
from foundry_lib.experiments import ablations, sweeps
from foundry_lib.inference.generation import seeded
from foundry_lib.text.loader import DataLoader
from foundry_lib.training.checkpoint import Checkpoint, load_checkpoint
from foundry_lib.training.recipes import new_trainer
from foundry_lib.training.trainer import Trainer

TAKES_A_DEVICE = [
    runtime.usable_device, DataLoader, new_trainer, Trainer, Trainer.load, load_checkpoint, Checkpoint.model,
    ablations.train,
]  # fmt: skip


def test_a_variable_names_the_device_of_every_call(monkeypatch, tmp_path):
    (tmp_path / "text.txt").write_text(OWL_TEXT, encoding="utf-8")
    monkeypatch.setenv("FOUNDRY_DEVICE", "cpu:0")
    assert runtime.best_device() == runtime.usable_device() == "cpu:0"
    trainer = new_trainer(tmp_path / "text.txt", max_iters=2, block_size=16, vocab_size=300)
    assert trainer.device == trainer.loader.device == "cpu:0"
    list(trainer.run(until=1))
    assert Trainer.load(trainer.save(tmp_path / "run")).device == "cpu:0"
    assert DataLoader(tmp_path / "text.txt", device="cpu", block_size=16, vocab_size=300).device == "cpu"


def test_a_wrong_name_in_the_variable_is_a_sentence(monkeypatch):
    monkeypatch.setenv("FOUNDRY_DEVICE", "gpu")
    with pytest.raises(ConfigError, match="^FOUNDRY_DEVICE=gpu: this device cannot be used here. Unset the variable, "):
        runtime.best_device()
    monkeypatch.setenv("FOUNDRY_DEVICE", "meta")  # it holds no numbers
    with pytest.raises(ConfigError, match="^FOUNDRY_DEVICE=meta: this device cannot be used"):
        DataLoader()


@pytest.mark.parametrize("call", TAKES_A_DEVICE, ids=lambda call: call.__qualname__)
def test_without_a_device_the_best_one_is_taken(call):
    parameters = inspect.signature(call).parameters
    assert parameters["name" if call is runtime.usable_device else "device"].default is None
    assert sweeps.DEFAULTS["device"] is None


def test_a_seed_gives_the_same_numbers_on_every_device():
    """The sampled token is chosen by a number from the CPU; a generator of the model's device would give another."""
    assert seeded(3).device == torch.device("cpu")
