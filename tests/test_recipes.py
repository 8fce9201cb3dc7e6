"""The settings that suit a text, and that one call makes a training of them."""

import pytest

from foundry_lib import ConfigError, TrainConfig
from foundry_lib.text.corpus import read_corpus
from foundry_lib.training.recipes import PROSE, TALES, new_trainer, recipe, weight_decay


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


@pytest.mark.parametrize("wrong", [{"learning_rte": 1e-3}, {"seeds": 3}, {"max_iters": 0}, {"dim": 3}])
def test_wrong_settings_are_named(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        new_trainer("tales-en", **wrong)
