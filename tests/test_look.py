"""Looking inside changes nothing, the weights shown are the weights used, and the measurements count what they say."""

import copy
from pathlib import Path

import pytest
import torch

from foundry_lib import KVCache, MiniLLM, ModelConfig, causal_attention, fused_causal_attention, tales
from foundry_lib.analysis import heads as look
from foundry_lib.analysis import silencing
from foundry_lib.analysis.induction import induction_scores, random_halves
from foundry_lib.analysis.neurons import gather
from foundry_lib.analysis.quality import excess, tale_rows
from foundry_lib.training.checkpoint import load_checkpoint

DATA = Path(__file__).resolve().parent.parent / "data"
IDS = torch.tensor([[2, 7, 5, 7, 9, 1, 5, 7]])


@pytest.fixture(scope="module")
def small():
    return MiniLLM(ModelConfig(vocab_size=11, dim=24, n_layers=3, n_heads=6, n_kv_heads=2, tie_embeddings=True))


@pytest.fixture(scope="module")
def starter():
    return load_checkpoint(DATA / "starter-en")


@pytest.fixture(scope="module")
def told():
    return tales.generate("en", 5, 6)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_looking_changes_no_logit(small, starter, told, dtype, tolerance):
    """But for rounding, which is relative to the largest logit: the starter's go up to 23."""
    model, tokenizer = starter
    text = torch.tensor([tokenizer.encode(told[0].text, bos=True)])
    for one, ids in ((small, IDS), (model, text)):
        one = copy.deepcopy(one).to(dtype)
        plain = one(ids)[0]
        with look.looking(one):
            watched = one(ids)[0]
        assert (plain - watched).abs().max() <= tolerance * plain.abs().max()
        assert torch.equal(plain, one(ids)[0])


def test_the_model_is_as_before_even_after_an_error(small):
    with pytest.raises(ZeroDivisionError), look.looking(small, ((0, 1),)):
        raise ZeroDivisionError
    assert all(layer.attention.attend is fused_causal_attention for layer in small.layers)


def test_the_weights_shown_are_the_weights_used(small, monkeypatch):
    """Where the attention is another one, the weights and the logits both show it."""
    weights = look.attention_weights(small, IDS)
    assert weights.shape == (3, 6, 8, 8) and torch.allclose(weights.sum(-1), torch.ones(1))
    assert not weights.triu(1).any()
    before = small(IDS)[0]

    def previous_token(q, k, v):
        weights = torch.eye(8).roll(-1, 1).tril().expand(1, 6, 8, 8)
        return weights @ v.repeat_interleave(3, 1), weights

    monkeypatch.setattr(look, "causal_attention", previous_token)
    assert torch.equal(look.attention_weights(small, IDS)[2, 5], torch.eye(8).roll(-1, 1).tril())
    with look.looking(small):
        assert (small(IDS)[0] - before).abs().max() > 0.01


def test_a_silent_head_adds_nothing(small):
    """The same as a model whose wo has zeros in that head's columns."""
    with look.silenced(small, 1, 4):
        silent = small(IDS)[0]
    wo = small.layers[1].attention.wo.weight
    kept, d = wo.data.clone(), small.config.head_dim
    wo.data[:, 4 * d : 5 * d] = 0.0
    cut = small(IDS)[0]
    wo.data = kept
    assert (silent - cut).abs().max() <= 1e-5 and (silent - small(IDS)[0]).abs().max() > 0.01


def test_silence_adds_up_and_is_kept_inside(small):
    with look.looking(small, ((0, 1), (2, 3))):
        both = small(IDS)[0]
    with look.silenced(small, 0, 1), look.silenced(small, 2, 3):
        nested = small(IDS)[0]
    with look.silenced(small, 0, 1), look.looking(small):
        inside = small(IDS)[0]
    with look.silenced(small, 0, 1):
        one = small(IDS)[0]
    assert torch.equal(both, nested) and torch.equal(inside, one) and not torch.allclose(one, both)


def test_looking_works_with_a_cache(small):
    with look.looking(small) as watched:
        cache = KVCache(small.config)
        first = small(IDS[:, :5], cache=cache)[0]
        second = small(IDS[:, 5:], cache=cache)[0]
    assert watched[0].weights.shape == (1, 6, 3, 8)
    assert (torch.cat((first, second), 1) - small(IDS)[0]).abs().max() <= 1e-5


def test_relations_by_hand():
    found = {name: where.nonzero().tolist() for name, where in look.relations(torch.tensor([2, 7, 5, 7, 9, 5])).items()}
    assert found["itself"] == [[t, t] for t in range(5)]
    assert found["the token before it"] == [[t, t - 1] for t in range(1, 5)]
    assert found["the token two places back"] == [[t, t - 2] for t in range(2, 5)]
    assert found["the start of the text"] == [[t, 0] for t in range(5)]
    assert found["an earlier copy of the next word"] == [[2, 1], [4, 2]]
    assert found["the position after an earlier copy of itself"] == [[3, 2]]


def test_looks_of_a_head_that_is_known(starter, told, monkeypatch):
    """If every head looked at the token before it, each rule would say so; and the label would."""
    model, tokenizer = starter

    def previous_token(q, k, v):
        weights = torch.eye(q.shape[2]).roll(-1, 1).tril().expand(1, 4, -1, -1)
        return causal_attention(q, k, v)[0], weights

    monkeypatch.setattr(look, "causal_attention", previous_token)
    found = look.looks(model, tokenizer, told)
    for of_rule in found.values():
        assert torch.allclose(of_rule["the token before it"], torch.ones(2, 4))
        assert not of_rule["itself"].any()
    assert look.label(found, 0, 3).startswith("1.00 of its weight on the token before it, where the rule is")


def test_looks_counts_only_the_places_of_a_rule(starter, told):
    model, tokenizer = starter
    ids = tokenizer.encode(told[0].text, bos=True, eos=True)
    weights = look.attention_weights(model, torch.tensor([ids[:-1]]))
    places = [t for t, rule in enumerate(told[0].rules) if rule == "pronoun"]  # each word is one token
    by_hand = torch.stack([weights[:, :, t, t - 1] for t in places]).mean(0)
    found = look.looks(model, tokenizer, told[:1])["pronoun"]["the token before it"]
    assert torch.allclose(found, by_hand, atol=1e-6)


def test_a_head_without_a_clear_aim_is_spread():
    def found(weight):
        return {"sum": {"itself": torch.full((1, 1), weight)}}

    assert look.label(found(0.49), 0, 0) == "spread"
    assert look.label(found(0.77), 0, 0) == "0.77 of its weight on itself, where the rule is sum"


def test_silencing_is_the_change_of_the_excess(starter, told):
    """The excess counts each word once, `silencing` each tale once; they agree where one tale has the rule."""
    model, tokenizer = starter
    found = silencing.silencing(model, tokenizer, told)
    assert set(found) == {(layer, head) for layer in range(2) for head in range(4)}
    for tale in told:
        whole = excess(model, tokenizer, [tale, tale]).by_rule
        with look.silenced(model, 1, 2):
            without = excess(model, tokenizer, [tale, tale]).by_rule
        one = silencing.silencing(model, tokenizer, [tale])[1, 2]
        for rule, nats in one.items():
            assert nats == pytest.approx([without[rule] - whole[rule]], abs=1e-4)
    for rule, nats in found[1, 2].items():
        assert len(nats) == sum(rule in tale.rules for tale in told)
    assert max(nats.mean() for rules in found.values() for nats in rules.values()) > 0.3


def test_a_head_silenced_by_its_mean_gives_the_mean(starter, told):
    model, tokenizer = starter
    rows = tale_rows(model, tokenizer, told[:2])
    means = silencing.mean_outputs(model, rows)
    outputs = []
    with look.looking(model) as watched:
        for row in rows:
            model(torch.tensor([row]))
            outputs.append(watched[1].mixed[0, 2])
    by_hand = torch.cat(outputs).mean(0)
    assert means.shape == (2, 4, 32) and torch.allclose(means[1, 2], by_hand, atol=1e-5) and by_hand.abs().max() > 0.05
    with look.looking(model, ((1, 2),), means) as watched:
        model(torch.tensor([rows[0]]))
    assert torch.equal(watched[1].mixed[0, 2], means[1, 2].expand(len(rows[0]), -1))
    by_mean, by_zeros = (silencing.silencing(model, tokenizer, told[:2], instead)[1, 3] for instead in (means, None))
    assert any(abs(by_mean[rule] - by_zeros[rule]).max() > 1e-3 for rule in by_mean)


def test_an_induction_head_is_found_and_a_distance_is_not(small, monkeypatch):
    """A head made by hand that attends to the token after an earlier copy has score 1, and 0 where nothing repeats."""
    repeated, different = (random_halves(list(range(3, 11)), 5, 4, 1, repeat) for repeat in (True, False))
    assert repeated.shape == (5, 9) and torch.equal(repeated[:, 1:5], repeated[:, 5:]) and repeated[0, 0] == 1
    assert all(len(set(text[1:].tolist())) == 8 for text in different), "nothing occurs twice"
    ids = repeated

    def induction(q, k, v):
        previous = torch.cat((ids.new_full((5, 1), -1), ids[:, :-1]), 1)
        after_a_copy = (previous[:, None] == ids[:, :, None]).tril().float()
        return causal_attention(q, k, v)[0], after_a_copy[:, None].expand(-1, 6, -1, -1)

    monkeypatch.setattr(look, "causal_attention", induction)
    assert torch.equal(induction_scores(small, ids), torch.ones(3, 6, 5))
    ids = different
    assert torch.equal(induction_scores(small, ids), torch.zeros(3, 6, 5))


def test_neurons_are_read_from_a_feed_forward_of_the_learner_s(starter, told):
    """It gets the three weights and calls no module, so nothing can be read from the modules' outputs."""
    model, tokenizer = starter

    class Own(type(model.layers[0].feed_forward)):
        def forward(self, x):
            return swiglu(x, self.w_gate.weight, self.w_up.weight, self.w_down.weight)

    def swiglu(x, gate, up, down):
        return (torch.nn.functional.silu(x @ gate.T) * (x @ up.T)) @ down.T

    own = copy.deepcopy(model)
    for layer in own.layers:
        layer.feed_forward.__class__ = Own
    texts = [told[0].text]
    assert torch.allclose(gather(own, tokenizer, texts).gate, gather(model, tokenizer, texts).gate, atol=1e-5)
