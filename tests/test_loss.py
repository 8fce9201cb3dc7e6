"""The loss in chunks against PyTorch's cross-entropy of all scores at once: the same value, the same gradients."""

import pytest
import torch
import torch.nn.functional as F
from helpers import CONFIG, random_model, tokens

from foundry_lib.config import IGNORED
from foundry_lib.models import loss as module
from foundry_lib.models.loss import CHUNK, next_token_loss


def batch(ignored: int = 0, dtype=torch.float64):
    """Hidden states (3, 7, 16), a head (40, 16) and targets (3, 7), the last `ignored` of which do not count."""
    generator = torch.Generator().manual_seed(ignored)
    hidden, head = (torch.randn(shape, generator=generator, dtype=dtype) for shape in ((3, 7, 16), (40, 16)))
    targets = torch.randint(40, (3, 7), generator=generator)
    targets.view(-1)[21 - ignored :] = IGNORED
    return hidden.requires_grad_(), head.requires_grad_(), targets


def whole(hidden, head, targets):
    return F.cross_entropy((hidden @ head.T).flatten(0, 1), targets.flatten(), ignore_index=IGNORED)


@pytest.mark.parametrize("rows", [1, 5, 7, 21, 1000])  # chunks that divide the 21 rows and that do not
@pytest.mark.parametrize("ignored", [0, 4, 20])
def test_value_and_gradients_are_those_of_cross_entropy(rows, ignored, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 40 * rows)
    hidden, head, targets = batch(ignored)
    ours = next_token_loss(hidden, head, targets)
    found = torch.autograd.grad(3 * ours, (hidden, head))
    theirs = whole(hidden, head, targets)
    expected = torch.autograd.grad(3 * theirs, (hidden, head))
    assert abs(ours - theirs).item() < 1e-12
    assert max((a - b).abs().max().item() for a, b in zip(found, expected, strict=True)) < 1e-12


def test_32_bits_lose_nothing():
    hidden, head, targets = batch(dtype=torch.float32)
    with torch.no_grad():
        head *= 100  # some targets have a probability of e^-400, which 32 bits cannot hold
    loss = next_token_loss(hidden, head, targets)
    assert loss.isfinite() and abs(loss - whole(hidden, head, targets)) < 1e-5 * loss


@pytest.mark.parametrize("bad", [-1, 40, -99])
def test_a_target_that_is_no_token_is_refused(bad):
    hidden, head, targets = batch(1)
    targets[1, 2] = bad
    with pytest.raises((RuntimeError, IndexError), match="out of bounds"):
        next_token_loss(hidden, head, targets)


def test_no_more_scores_than_a_chunk_are_held(monkeypatch):
    held, softmax = [], torch.Tensor.softmax
    monkeypatch.setattr(module, "CHUNK", 5 * 40)
    monkeypatch.setattr(torch.Tensor, "softmax", lambda x, dim: (held.append(x.numel()), softmax(x, dim))[1])
    next_token_loss(*batch()).backward()
    assert max(held) == 200 and sum(held) == 21 * 40
    assert 2**18 <= CHUNK <= 2**24


def test_a_model_in_16_bits_sums_in_32():
    hidden, head, targets = batch(dtype=torch.bfloat16)
    loss = next_token_loss(hidden, head, targets)
    scores = (hidden @ head.T).float().flatten(0, 1)
    assert loss.dtype == torch.float32 and abs(loss - F.cross_entropy(scores, targets.flatten())) < 1e-5


def test_16_bits_are_summed_in_32():
    hidden, head, targets = batch(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        loss = next_token_loss(hidden, head, targets)
    grads = torch.autograd.grad(loss, (hidden, head))
    expected = torch.autograd.grad(whole(hidden, head, targets), (hidden, head))
    assert loss.dtype == torch.float32 and abs(loss - whole(hidden, head, targets)) < 0.05
    for ours, theirs in zip(grads, expected, strict=True):
        assert ours.dtype == torch.float32 and (ours - theirs).norm() < 0.02 * theirs.norm()


def test_without_gradients_none_are_made(monkeypatch):
    hidden, head, targets = batch()
    monkeypatch.setattr(torch.Tensor, "scatter_add_", lambda *_: pytest.fail("a gradient is computed"))
    with torch.no_grad():
        loss = next_token_loss(hidden, head, targets)
    assert not loss.requires_grad and abs(loss - whole(hidden, head, targets)) < 1e-12


@pytest.mark.parametrize("tied", [False, True])
def test_the_models_two_ways_to_the_loss_are_one(tied):
    """`model(x, y)` and `model.loss(x, y)`: the same number, and gradients as if through the logits."""
    model = random_model(CONFIG.with_(tie_embeddings=tied), dtype=torch.float64)
    x, y = tokens(2, 9), tokens(2, 9).flip(0)
    logits, loss = model(x, y)
    assert torch.equal(loss, model.loss(x, y))
    found = torch.autograd.grad(model.loss(x, y), list(model.parameters()))
    expected = torch.autograd.grad(F.cross_entropy(logits.flatten(0, 1), y.flatten()), list(model.parameters()))
    assert max((a - b).abs().max().item() for a, b in zip(found, expected, strict=True)) < 1e-12
