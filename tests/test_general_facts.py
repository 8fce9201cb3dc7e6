"""Facts about a wrong result that need no list of known mistakes: each is given where it is true, and not elsewhere."""

import dataclasses

import pytest
import torch

from foundry_lib.lessons import checks
from foundry_lib.lessons.checks.trials import next_numbers, other_values


def told(name, work):
    """The sentence after the first wrong number, with the list of known mistakes left out."""
    verdict = dataclasses.replace(checks.EXERCISES[name], mistakes={}).judge(work)
    assert verdict.status == "wrong"
    return " ".join(verdict.message.splitlines()[2:])


def norm(x, weight, eps):
    return checks.rms_norm.reference(x, weight, eps)


def scores(q, k):
    T = q.shape[2]
    hidden = ~torch.ones(T, T, dtype=torch.bool).tril()
    return (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(hidden, -torch.inf)


def window(q, k, v):
    T = q.shape[2]
    weights = scores(q, k).masked_fill(torch.ones(T, T, dtype=torch.bool).tril(-3), -torch.inf).softmax(-1)
    return weights @ v, weights


def soft_mask(q, k, v):
    weights = scores(q, k).clamp(min=-5).softmax(-1)
    return weights @ v, weights


def whole_mean(x, weight, eps):
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return (wide / (wide.pow(2).mean() + eps).sqrt()).to(x.dtype) * weight


@pytest.mark.parametrize(
    "name, work, words",
    [
        ("rms_norm", lambda x, w, eps: norm(x, w, 1e-7), "The result does not change when `eps` changes"),
        ("cache_bytes", lambda a, b, c, d, e: 2 * a * c * d * e, "does not change when `n_kv_heads` changes"),
        ("rotary", lambda q, k, t: (checks.rotary.reference(q, k, t)[0], k), "second returned value does not change"),
        ("rms_norm", whole_mean, "When only index 1 of `x` (first axis) changes, index 0 of the result changes too"),
        ("attention", soft_mask, "When only position 4 of `v` changes, the earlier position 3 of the result changes"),
        ("attention", window, "When only position 0 of `k` changes, the later position 3 of the result stays"),
        ("rms_norm", lambda x, w, eps: norm(x, 1 + w, eps), "the right result for 1 + `weight`"),
        ("attention", lambda q, k, v: checks.attention.reference(k, q, v), "`k` and `q` exchanged"),
        ("top_k", lambda x, k: checks.top_k.reference(x, k + 1), "the right result for `k` + 1"),
        ("silu", lambda x: x * torch.sigmoid(x) + x, "Every number is the expected one plus `x`"),
        ("silu", lambda x: 2 * x * torch.sigmoid(x) + 1, "2 times the expected one, plus 1"),
        ("rope_table", lambda d, T, b: checks.rope_table.reference(d, T, b).flip(1), "reverse order along the axis T"),
        ("mean_loss", lambda x, y: checks.mean_loss.reference(x, y.clamp(min=0)), "place of each −100 it is right"),
        ("mean_loss", lambda x, y: checks.mean_loss.reference(x[:, 1:], y[:, 1:]), "only the first index of axis 1"),
        ("temperature", lambda x, t: x / max(t, 1e-4), "It is wrong whenever `t` is 0, and right otherwise"),
        ("top_k", lambda x, k: checks.top_k.reference(x, k).clamp(min=-99), "In place of −∞ there is always -99"),
    ],
)  # fmt: skip
def test_a_general_fact_is_told(name, work, words):
    assert words in told(name, work)


def test_no_effect_is_not_claimed_where_order_or_size_hides_it():
    """The starts in order: the rows depend on `starts`, though not on its order."""

    def ordered(tokens, starts, block_size):
        return checks.next_token_batch.reference(tokens, starts.sort().values, block_size)

    assert "does not change" not in told("next_token_batch", ordered)


def test_a_mistake_that_fits_the_cases_by_chance_is_not_named():
    """64 channels in every head give the count of one key head per query head on three cases of four."""

    def my_count(vocab_size, dim, n_layers, n_heads, n_kv_heads, hidden_dim, tied):
        right = checks.count_parameters.reference(vocab_size, dim, n_layers, n_heads, n_kv_heads, hidden_dim, tied)
        return right + n_layers * 2 * dim * n_kv_heads * (64 - dim // n_heads)

    message = checks.count_parameters.judge(my_count).message
    assert "as if every query head had its own" not in message and "when `n_heads` changes" in message


def test_what_a_learner_prints_appears_once_per_case(capsys):
    def my_silu(x):
        print("called")
        return x + 3

    checks.silu.judge(my_silu)
    assert capsys.readouterr().out.count("called") == len(checks.silu.cases)


def test_changed_inputs_stay_allowed():
    y = torch.tensor([[3, -100, 0], [1, 2, -100]])
    assert next_numbers(y).tolist() == [[0, -100, 1], [2, 3, -100]]
    assert other_values([{"p": 0.5}, {"p": 0.9}], 0, "p") == [0.9, 0.01]
