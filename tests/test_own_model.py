"""The model that the lessons open: the learner's of lesson 07, else the course's starter."""

import os
import subprocess
import sys
import warnings

import pytest
import torch
from helpers import CONFIG, TOKENIZER, small_model

from foundry_lib import MiniLLM, Notice, RMSNorm
from foundry_lib.lessons import own_model, own_parts
from foundry_lib.lessons.own_model import learners_model
from foundry_lib.text.tokenizer import Tokenizer
from foundry_lib.training.checkpoint import save_checkpoint


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    monkeypatch.setattr(own_model, "RUNS", tmp_path)
    return tmp_path


def save(folder, step: int, model=None, corpus: str = "tales-en"):
    tokenizer = Tokenizer(TOKENIZER._proto, corpus)
    saved = save_checkpoint(folder / f"step-{step:06d}", model or small_model(step), tokenizer)
    os.utime(saved / "manifest.json", (step, step))
    return saved


def first_weight(model) -> torch.Tensor:
    return model.layers[0].attention.wq.weight


def damage(folder):
    (folder / "model.safetensors").write_bytes(b"half")


def test_a_new_learner_sees_the_starter():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shown = learners_model("cpu")
    assert (shown.title, shown.grammar, shown.yours) == ("the course's starter", "en", False)
    assert shown.model.config.vocab_size == shown.tokenizer.vocab_size == 1536


def test_the_newest_checkpoint_of_the_tales_comes_first(runs):
    save(runs / "07_own_text", 9, corpus="my book.txt")
    shown = learners_model("cpu")
    assert (shown.title, shown.grammar) == ("your model of lesson 07, trained on my book.txt", None)
    save(runs / "07_training", 1), save(runs / "07_training", 2)
    shown = learners_model("cpu")
    assert (shown.title, shown.grammar, shown.yours) == ("your model of lesson 07", "en", True)
    assert torch.equal(first_weight(shown.model), first_weight(small_model(2)))


def test_a_training_beside_an_earlier_one_is_the_newest(runs):
    save(runs / "07_training-2", 2), save(runs / "07_training-old", 3)
    save(runs / "07_training", 1)
    assert torch.equal(first_weight(learners_model("cpu").model), first_weight(small_model(1)))
    save(runs / "07_training-3", 4)
    assert torch.equal(first_weight(learners_model("cpu").model), first_weight(small_model(4)))


def test_a_lesson_about_tales_takes_a_model_of_tales(runs):
    save(runs / "07_training", 1, corpus="tales-zh")
    assert learners_model("cpu").grammar == "zh" and learners_model("cpu", "zh").yours
    assert learners_model("cpu", "en").title == "the course's starter"
    save(runs / "07_own_text", 2)
    assert learners_model("cpu", "en").yours


def test_a_damaged_checkpoint_is_passed_over_with_one_sentence(runs):
    save(runs / "07_training", 1)
    damage(save(runs / "07_training", 2))
    damage(save(runs / "07_training", 3))
    (runs / "07_training" / "step-000004.new").mkdir()  # half-written
    with pytest.warns(Notice, match="Here is your model of lesson 07, because .*model.safetensors is missing") as said:
        shown = learners_model("cpu")
    assert len(said) == 1 and torch.equal(first_weight(shown.model), first_weight(small_model(1)))
    damage(runs / "07_training" / "step-000001")
    with pytest.warns(Notice, match="Here is the course's starter, because a newer one could not be loaded"):
        assert not learners_model("cpu").yours


class OwnNorm(RMSNorm):
    pass


def test_own_parts_run_in_it_and_the_librarys_step_in(runs, monkeypatch):
    save(runs / "07_training", 1, MiniLLM(CONFIG.with_(vocab_size=TOKENIZER.vocab_size), norm=OwnNorm))
    monkeypatch.setattr(own_parts, "model_parts", lambda: {"norm": OwnNorm}, raising=False)
    assert learners_model("cpu").model.parts == {"norm": OwnNorm}
    monkeypatch.setattr(own_parts, "model_parts", dict)  # switched off, or its check fails now
    with pytest.warns(Notice, match="saved with norm=OwnNorm; it is loaded with norm=the library's"):
        assert learners_model("cpu").model.parts == {}


def test_a_part_without_a_stand_in_is_passed_over(runs, monkeypatch):
    model = MiniLLM(CONFIG.with_(vocab_size=TOKENIZER.vocab_size), logits=torch.tanh)
    save(runs / "07_training", 1, model)
    monkeypatch.setattr(own_parts, "model_parts", dict, raising=False)
    with pytest.warns(Notice, match="saved with own parts: logits"):
        assert not learners_model("cpu").yours


def test_the_folder_of_trainings_can_be_another(tmp_path):
    def runs_folder(**environment) -> str:
        code = "from foundry_lib.paths import RUNS; print(RUNS)"
        env = {name: value for name, value in os.environ.items() if name != "FOUNDRY_RUNS"} | environment
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    assert runs_folder(FOUNDRY_RUNS=str(tmp_path / "我的")) == str(tmp_path / "我的")
    assert runs_folder() == runs_folder(FOUNDRY_RUNS="") != str(tmp_path)
