"""The settings that suit a text, and that one call makes a training of them."""

import warnings

import pytest

from foundry_lib import ConfigError, ModelConfig, Notice, TrainConfig
from foundry_lib.config import PRESETS
from foundry_lib.text.corpus import read_corpus
from foundry_lib.training.recipes import DEFAULTS, PROSE, TALES, new_trainer, recipe, sort_settings, weight_decay


def test_tales_and_prose_have_recipes_of_their_own(tmp_path):
    file = tmp_path / "my.txt"
    file.write_text("Once more. " * 500, encoding="utf-8")
    assert recipe(read_corpus("tales-zh")) is TALES and recipe(read_corpus(file)) is PROSE is not TALES


def test_a_training_on_tales_follows_the_recipe():
    trainer = new_trainer("tales-en", max_iters=10)
    model, config = trainer.model.config, trainer.config
    assert model.tie_embeddings and model.embedding_std == 0.3 and model.rope_theta == 500
    assert config.learning_rate == TALES.train["learning_rate"] and config.max_iters == 10
    assert trainer.loader.block_size == 200 and trainer.loader.longest_row <= model.max_seq_len == 256


def test_a_training_on_prose_is_the_defaults_with_a_decay_for_its_size(tmp_path):
    file = tmp_path / "my.txt"
    file.write_text("".join(f"line {n} of the text\n" for n in range(2000)), encoding="utf-8")
    trainer = new_trainer(file, seed=5, vocab_size=300)
    assert trainer.config == TrainConfig(seed=5, weight_decay=weight_decay(len(trainer.loader.train_tokens)))
    assert new_trainer(file, vocab_size=300, weight_decay=0.3).config.weight_decay == 0.3
    assert trainer.loader.block_size == trainer.model.config.max_seq_len == 128
    assert not trainer.model.config.tie_embeddings
    assert new_trainer(str(file), block_size=64, vocab_size=300, dim=64, batch_size=2).model.config.max_seq_len == 64


def test_the_smaller_the_text_the_more_decay():
    assert weight_decay(2_000) == weight_decay(160_000) == 2 and weight_decay(10**9) == 0.1
    assert weight_decay(1_600_000) == pytest.approx(0.2)
    assert new_trainer("tales-en", max_iters=5).config.weight_decay == TALES.train["weight_decay"]


def test_the_same_seed_makes_the_same_training():
    a, b, c = (new_trainer("tales-zh", seed=seed, max_iters=5) for seed in (1, 1, 2))
    first = [next(t.loader.get_batch("train")[0].flatten().tolist() for _ in [0]) for t in (a, b, c)]
    assert first[0] == first[1] != first[2]
    weights = [t.model.tok_embeddings.weight[7].tolist() for t in (a, b, c)]
    assert weights[0] == weights[1] != weights[2]


def edited(monkeypatch, cls, **defaults):
    """As if a learner had edited these defaults in config.py."""
    for name, value in defaults.items():
        monkeypatch.setattr(cls.__dataclass_fields__[name], "default", value)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "my.txt"
    path.write_text("".join(f"line {n} of the text\n" for n in range(2000)), encoding="utf-8")
    return path


def test_an_edited_default_that_has_no_effect_is_said_in_one_line(file, monkeypatch):
    edited(monkeypatch, ModelConfig, dim=512, n_layers=8)
    edited(monkeypatch, TrainConfig, learning_rate=1e-3)
    with pytest.warns(Notice) as notices:
        trainer = new_trainer("tales-en", max_iters=5)
    (notice,) = [str(warning.message) for warning in notices if "config.py" in str(warning.message)]
    assert trainer.model.config.dim == 128 and trainer.config.learning_rate == 4e-3
    for words in (
        "dim=512 (the preset tiny sets 128)",
        "n_layers=8 (the preset tiny sets 2)",
        "learning_rate=0.001 (the recipe for this text sets 0.004)",
        "Give the value to new_trainer",
    ):
        assert words in notice


def test_nothing_is_said_of_a_default_that_has_its_effect_or_was_given(file, monkeypatch):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        new_trainer(file, max_iters=5, vocab_size=300)
        edited(monkeypatch, ModelConfig, dim=512, n_layers=2)  # the preset has 2 as well
        edited(monkeypatch, TrainConfig, weight_decay=0.5)
        new_trainer(file, max_iters=5, vocab_size=300, dim=64, weight_decay=0.1)


@pytest.mark.parametrize("cls", [ModelConfig, TrainConfig])
def test_the_table_of_defaults_is_that_of_config(cls):
    assert DEFAULTS[cls] == {name: cls.__dataclass_fields__[name].default for name in DEFAULTS[cls]}


def test_the_table_of_defaults_has_all_that_a_preset_or_a_recipe_replaces():
    replaced = {name for preset in PRESETS.values() for name in preset}
    replaced |= {name for each in (PROSE, TALES) for name in {**each.model, **each.train}}
    assert replaced <= {*DEFAULTS[ModelConfig], *DEFAULTS[TrainConfig]}


def test_settings_are_sorted_by_what_they_belong_to():
    given = dict(block_size=64, dim=32, max_iters=7, seed=None) | {"learning_rate": None}
    with pytest.raises(ConfigError, match="Row 'a': there is no setting 'seed'; there are .*, text, "):
        sort_settings(given, "Row 'a'", ("text",))
    del given["seed"]
    assert sort_settings(given) == ({"block_size": 64}, {"dim": 32}, {"max_iters": 7})


@pytest.mark.parametrize("wrong", [{"learning_rte": 1e-3}, {"seeds": 3}, {"max_iters": 0}, {"dim": 3}])
def test_wrong_settings_are_named(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        new_trainer("tales-en", **wrong)
