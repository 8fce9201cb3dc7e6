"""The floor along the tokens, the words each rule fixes, and what a model owes on them."""

import math

import numpy as np
import pytest

from foundry_lib import DataLoader, ModelConfig, read_corpus, tales
from foundry_lib.models.model import MiniLLM
from foundry_lib.tales.floor import FREE
from foundry_lib.text.baselines import reference_lines
from foundry_lib.text.corpus import told
from foundry_lib.text.tokenizer import EOS_ID, Tokenizer
from foundry_lib.text.words import token_floor, token_words
from foundry_lib.training.trainer import Trainer

LANGUAGES = ["en", "zh"]


@pytest.fixture(scope="module", params=LANGUAGES)
def loader(request):
    return DataLoader(f"tales-{request.param}", block_size=200)


def validation_tales(loader) -> list:
    """The tales that the validation rows spell, read back from the tokens."""
    found = []
    for x, y in loader.val_batches():
        for row, targets in zip(x.tolist(), y.tolist(), strict=True):
            text = loader.tokenizer.decode(row[: targets.index(EOS_ID) + 1])
            found.append(tales.parse(text, loader.corpus.grammar).tale)
    return found


def test_the_words_of_the_tales_are_the_pieces(loader):
    """Each word is one token, so that the floor of a token is the floor of a word."""
    for tale in validation_tales(loader)[:50]:
        assert token_words(tale, loader.tokenizer) == list(range(len(tale.words) + 1))
        assert "".join(tale.parts) == tale.text


def test_the_floor_is_that_of_the_very_targets(loader):
    told_here = validation_tales(loader)
    targets = sum(len(loader.tokenizer.encode(tale.text)) + 1 for tale in told_here)
    assert targets == len(loader.val_pairs()[1]) == len(loader.floor.token_rules)
    assert loader.floor.nats == pytest.approx(-math.fsum(tale.log_prob for tale in told_here) / targets)
    forgetful = -math.fsum(p for tale in told_here for p in tale.forgetful_log_probs) / targets
    assert loader.floor.forgetful == pytest.approx(forgetful)


def test_lines_of_tales_are_ordered(loader):
    lines = reference_lines(loader)
    assert list(lines) == ["ln V", "unigram", "bigram", "no memory", "floor"]
    values = list(lines.values())
    assert values == sorted(values, reverse=True) and values[-1] < values[-2] / 2 < values[-3] / 3


def test_the_best_reader_owes_nothing_and_the_forgetful_one_what_the_line_says(loader):
    told_here, floor = validation_tales(loader), loader.floor
    for kind, nats in (("word_log_probs", floor.nats), ("forgetful_log_probs", floor.forgetful)):
        losses = np.concatenate([[*(-p for p in getattr(tale, kind)), 0.0] for tale in told_here])
        owed = floor.by_rule(losses)
        expected = dict.fromkeys(floor.rules, 0.0) if kind == "word_log_probs" else floor.forgetful_by_rule
        assert owed == pytest.approx(expected, abs=1e-9)
        total = sum(owed[rule] * count for rule, count in zip(floor.rules, floor.counts, strict=True))
        assert total == pytest.approx((nats - floor.nats) * len(losses), abs=1e-6)


def test_what_is_owed_on_one_rule_is_found_there(loader):
    """A reader who is one nat worse at every word of a rule owes one nat there and nothing elsewhere."""
    told_here, floor = validation_tales(loader), loader.floor
    for worse in floor.rules[:-1]:
        losses = []
        for tale in told_here:
            losses += [-p + (rule == worse) for p, rule in zip(tale.word_log_probs, tale.rules, strict=True)] + [0.0]
        expected = {rule: float(rule == worse) for rule in floor.rules}
        assert floor.by_rule(np.array(losses)) == pytest.approx(expected, abs=1e-9)


def test_a_tokenizer_that_does_not_know_the_words_gives_the_same_totals():
    """Tokens that cut or cross words move the losses between words, never the floor of a tale."""
    told_here = tales.generate("zh", 3, 40)
    text = "\n".join(tale.text for tale in told_here)
    pieces, letters = Tokenizer.train(text, 1024), Tokenizer.train(text, 720)
    a, b = token_floor(told_here, pieces), token_floor(told_here, letters)
    assert a.nats_per_tale == pytest.approx(b.nats_per_tale) and len(a.token_rules) < len(b.token_rules)
    for tokenizer in (pieces, letters):
        for tale in told_here:
            owners = token_words(tale, tokenizer)
            assert owners == sorted(owners) and owners[-1] == len(tale.words)
            assert len(owners) == len(tokenizer.encode(tale.text)) + 1


def test_a_record_of_tales_says_what_is_owed(loader):
    config = ModelConfig(vocab_size=loader.vocab_size, dim=16, n_layers=1, n_heads=1, n_kv_heads=1, max_seq_len=200)
    trainer = Trainer(MiniLLM(config), loader)
    first = next(trainer.run())
    # an untrained model finds every token equally likely: ln V everywhere, and one ln V for a word of one token
    assert first.val_loss == pytest.approx(math.log(loader.vocab_size), abs=1e-5)
    assert first.excess == pytest.approx(first.val_loss - loader.floor.nats)
    assert first.owed["fact"] == pytest.approx(math.log(loader.vocab_size), abs=1e-4)
    assert set(first.owed) == set(loader.floor.rules) and FREE in first.owed


def test_tales_of_a_grammar_of_your_own():
    """Ten lines: another list, another corpus, the floor moves with it."""
    mine = tales.grammar("en").with_(lists={"colours": "red pink grey"})
    corpus = told(mine, 300, seed=5, name="my tales")
    assert " pink " in corpus.documents[0] + corpus.documents[1] + corpus.documents[2]
    loader = DataLoader(corpus, block_size=200)
    assert loader.by_document and 0.3 < loader.floor.nats < 0.6
    assert read_corpus("tales-en").sha256 != corpus.sha256
    assert loader.spec()["file_path"] == "my tales"


def test_rows_too_short_for_a_tale_have_no_floor():
    """They begin and end in the middle of one; a training on them runs, and is compared with nothing."""
    from foundry_lib.training.recipes import new_trainer

    trainer = new_trainer(told("en", 300), block_size=64, dim=16, max_iters=1, eval_interval=1)
    assert not trainer.loader.by_document and trainer.loader.floor is None
    assert all(record.excess is None for record in trainer.run())
