"""The model's plugs: residual stream, logits, positions. Off, they change no bit; on, they equal the work by hand."""

import copy

import pytest
import torch
import torch.nn.functional as F
from test_model import CONFIG, random_model, tokens
from torch import nn

from foundry_lib import KVCache, MiniLLM, generate, rope_table
from foundry_lib.models import loss as loss_module

SAME = {
    "residual": lambda x, x0, layer: x,
    "logits": lambda scores: scores,
    "positions": lambda layer: rope_table(CONFIG.head_dim, CONFIG.max_seq_len, CONFIG.rope_theta),
}


def softcap(scores):
    return 3 * torch.tanh(scores / 3)


def mixed(x, x0, layer):
    return (1 + 0.1 * layer) * x + 0.3 * x0


def other_bases(layer):
    """Layer 0 turns as ever, layer 1 not at all, layer 2 with another base."""
    table = rope_table(CONFIG.head_dim, CONFIG.max_seq_len, theta=100 if layer == 2 else CONFIG.rope_theta)
    return torch.stack((torch.ones_like(table[0]), torch.zeros_like(table[1]))) if layer == 1 else table


PLUGS = {"residual": mixed, "logits": softcap, "positions": other_bases}


def plugged(dtype=torch.float64, **plugs) -> MiniLLM:
    """The random model of test_model with plugs."""
    model = MiniLLM(CONFIG, **plugs)
    model.load_state_dict(random_model().state_dict())
    return model.to(dtype)


def gradients(model, x, y):
    return torch.autograd.grad(model.loss(x, y), list(model.parameters()))


@pytest.mark.parametrize("plug", SAME)
def test_a_plug_that_changes_nothing_gives_the_plain_model_to_the_last_bit(plug):
    plain, same = plugged(torch.float32), plugged(torch.float32, **{plug: SAME[plug]})
    x, y = tokens(2, 20), tokens(2, 20, seed=1)
    for one, other in zip(plain(x, y), same(x, y), strict=True):
        assert torch.equal(one, other)
    assert all(torch.equal(a, b) for a, b in zip(gradients(plain, x, y), gradients(same, x, y), strict=True))
    assert torch.equal(*(generate(model, x[:, :4], 60, temperature=0) for model in (plain, same)))


@torch.no_grad()
def test_a_residual_scale_equals_the_work_by_hand():
    model, idx = plugged(residual=lambda x, x0, layer: 2 * x + layer * x0), tokens(2, 9)
    x = x0 = model.tok_embeddings(idx)
    for i, layer in enumerate(model.layers):
        x = layer(2 * x + i * x0, model.freqs_cis[:, :9])
    assert torch.equal(model(idx)[0], model.output(model.norm(x)))


def test_weights_in_the_residual_plug_are_trained():
    class Scales(nn.Module):
        def __init__(self):
            super().__init__()
            self.x, self.x0 = nn.Parameter(torch.ones(CONFIG.n_layers)), nn.Parameter(torch.zeros(CONFIG.n_layers))

        def forward(self, x, x0, layer):
            return self.x[layer] * x + self.x0[layer] * x0

    model, plain = MiniLLM(CONFIG, seed=3, residual=Scales()), MiniLLM(CONFIG, seed=3)
    assert all(torch.equal(p, model.state_dict()[name]) for name, p in plain.state_dict().items())
    assert model.n_params == plain.n_params + 2 * CONFIG.n_layers
    assert torch.equal(model.hidden(tokens(1, 5)), plain.hidden(tokens(1, 5)))
    nn.init.normal_(model.output.weight, std=0.2)
    model.loss(tokens(2, 9), tokens(2, 9, seed=1)).backward()
    assert model.residual.x0.grad.abs().min() > 0


def test_a_scale_of_2_doubles_the_logits_and_enters_the_loss():
    x, y = tokens(2, 9), tokens(2, 9, seed=1)
    plain, double = plugged(), plugged(logits=lambda scores: 2 * scores)
    logits, loss = double(x, y)
    assert torch.equal(logits, 2 * plain(x)[0])
    assert abs(loss - F.cross_entropy(logits.flatten(0, 1), y.flatten())) < 1e-12
    assert abs(loss - plain(x, y)[1]) > 1e-3


@pytest.mark.parametrize("rows", [1, 5, 100])
@pytest.mark.parametrize("logits_of", [softcap, lambda scores: 2 * scores])
def test_the_loss_in_chunks_has_the_gradients_of_the_plug(rows, logits_of, monkeypatch):
    monkeypatch.setattr(loss_module, "CHUNK", rows * CONFIG.vocab_size)
    model, x, y = plugged(logits=logits_of), tokens(2, 9), tokens(2, 9, seed=1)
    y[0, 3] = -100
    logits, loss = model(x, y)
    exact = F.cross_entropy(logits.flatten(0, 1), y.flatten())
    assert abs(loss - exact) < 1e-12 and torch.equal(loss, model.loss(x, y))
    expected = torch.autograd.grad(exact, list(model.parameters()))
    for ours, theirs in zip(gradients(model, x, y), expected, strict=True):
        assert (ours - theirs).abs().max() < 1e-12
    with torch.inference_mode():
        assert torch.equal(model.loss(x, y), loss)


@torch.no_grad()
def test_each_layer_has_its_own_positions():
    model, idx = plugged(positions=other_bases), tokens(2, 24)
    x = model.tok_embeddings(idx)
    for i, layer in enumerate(model.layers):
        x = layer(x, other_bases(i).double())
    assert torch.equal(model(idx)[0], model.output(model.norm(x)))
    assert (model(idx)[0] - plugged()(idx)[0]).abs().max() > 1e-3
    assert "freqs_cis" not in model.state_dict()


@torch.no_grad()
@pytest.mark.parametrize("plugs", [*({name: plug} for name, plug in PLUGS.items()), PLUGS], ids=[*PLUGS, "all"])
def test_a_cache_with_plugs_equals_the_full_pass(plugs):
    model, idx = plugged(**plugs), tokens(2, 24)
    full, _ = model(idx)
    cache = KVCache(CONFIG, batch_size=2, dtype=torch.float64)
    parts = [model(part, cache=cache)[0] for part in idx.split([5, 1, 1, 9, 8], dim=1)]
    assert (torch.cat(parts, 1) - full).abs().max() < 1e-12
    assert torch.equal(copy.deepcopy(model)(idx)[0], full)
