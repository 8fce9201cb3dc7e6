"""Which device computes: the best there is, the one that FOUNDRY_DEVICE names, or the one that a call names."""

import ast
import inspect

import nbformat
import pytest
import torch
from helpers import OWL_TEXT, ROOT

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


# ---- What a lesson makes is on the chosen device (test_twice.py runs the lessons on another one)

ON_THE_BEST = ("load_checkpoint", "load_with_own_parts", "new_trainer", "DataLoader", "Trainer", "sweep")


def called(node: ast.AST) -> str:
    """The name of the function that a node calls, or ""."""
    function = getattr(node, "func", None)
    return getattr(function, "id", getattr(function, "attr", ""))


def elsewhere(source: str) -> list[str]:
    """The calls in a cell that make a model, a loader or a training which may not be on the chosen device.

    A model must be moved where it is made, be given to a Trainer, which moves it, or only lend a layer to a proof.
    """
    tree, moved = ast.parse(source), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in ("to", "layers"):
            moved.add(node.value)
        if called(node) == "Trainer" and node.args:
            moved.add(node.args[0])
    faults = [node for node in ast.walk(tree) if called(node) == "MiniLLM" and node not in moved]
    for node in ast.walk(tree):
        if called(node) in (*ON_THE_BEST, "to"):
            values = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg in ("device", None))]
            faults += [node for value in values if getattr(value, "value", None) in ("cpu", "cuda", "mps")]
    return [ast.unparse(node) for node in faults]


def cells_of(lesson) -> list:
    return [cell for cell in nbformat.read(lesson, as_version=4).cells if cell.cell_type == "code"]


@pytest.mark.parametrize("lesson", sorted(ROOT.glob("notebooks/*.ipynb")), ids=lambda path: path.stem)
def test_what_a_lesson_makes_is_on_the_chosen_device(lesson):
    assert [(cell.id, call) for cell in cells_of(lesson) for call in elsewhere(cell.source)] == []


def test_each_lesson_turns_red_without_its_device():
    """A `.to(device)` that is taken out of a lesson's model is missed, and so is a device by name."""
    n_models = 0
    for lesson in sorted(ROOT.glob("notebooks/*.ipynb")):
        for cell in cells_of(lesson):
            without = cell.source.replace(").to(device)", ")")
            n_models += without != cell.source and "MiniLLM(" in cell.source
            made = "MiniLLM(" in cell.source and without != cell.source
            assert bool(elsewhere(without)) == made, cell.id
    assert n_models >= 8
    assert elsewhere('model, _ = load_checkpoint("data", "cpu")') and elsewhere('new_trainer(device="cpu")')
