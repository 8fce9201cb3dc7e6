"""The lines of attention in any order: what each faulty list is told; the library's own parts pass the checks."""

from itertools import permutations

import pytest
import torch

from foundry_lib import ModelConfig, causal_attention, fused_causal_attention
from foundry_lib.lessons import checks, progress
from foundry_lib.lessons.checks.attention import LINES, assembled, too_early


@pytest.mark.parametrize("order", ["hcgfdaeb", "hfcgdaeb", list("chfdgaeb"), "h, c, f, g, d, a, e, b"])
def test_every_order_that_works_is_right(order):
    assert checks.attention_order.judge(order).passed, checks.attention_order.judge(order).message


@pytest.mark.parametrize(
    "order, said",
    [
        ("hcgfaebd", "Line 8, d, stands below `return`"),
        ("acghfdeb", "Line 1, a, uses scores, and no line above it makes scores"),
        ("fhcgdaeb", "Line 1, f, uses T"),
        ("hcgfdeab", "uses weights"),
        ("hcgfdabe", "Line 7, b, uses mixed"),
        ("hcgfdae", "Each line is used once; missing: b"),
        ("hcgfdaebh", "Each line is used once; more than once: h"),
        ("hcgfdaez", "There is no line 'z'"),
        (["h", "c", "g", "f", "a", "d", "e", "b"], "when nobody reads them any more"),
    ],
)
def test_a_faulty_order_is_told_its_line(order, said):
    verdict = checks.attention_order.judge(order)
    assert verdict.status == "wrong" and said in verdict.message, verdict.message


@pytest.mark.parametrize("order", ["", "?", [], None, ["?"]])
def test_no_order_yet(order):
    assert checks.attention_order.judge(order).status == "not yet"


def test_every_order_that_runs_is_right_or_a_known_mistake():
    """All 40,320 lists: those that Python can run give one of four results, and each is judged for what it is."""
    found = {}
    for order in permutations(LINES):
        if too_early(order) is None:
            shape = tuple("".join(letter for letter in order if letter in pair) for pair in ("da", "ga"))
            found.setdefault(shape, order)
    said = {shape: checks.attention_order.judge(order) for shape, order in found.items()}
    assert len(said) == 4 and said["da", "ga"].passed
    for shape, verdict in said.items():
        known = [text for text in checks.attention_order.mistakes if text in verdict.message]
        assert shape == ("da", "ga") or (verdict.status == "wrong" and len(known) == 1), (shape, verdict)


def test_an_order_that_passes_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "FILE", tmp_path / "progress.json")
    checks.attention_order(list("hcgfadeb"))
    assert not progress.FILE.exists()
    checks.attention_order(list("hcgfdaeb"))
    assert progress.read()["work"]["attention_order"].startswith("def in_your_order")


def test_the_librarys_own_attention_passes():
    assert checks.attention.judge(causal_attention).passed
    assert checks.gqa.judge(fused_causal_attention).passed
    assert checks.gqa.judge(lambda q, k, v: causal_attention(q, k, v)[0]).passed
    assert checks.attention.judge(assembled("hcgfdaeb")).passed


@pytest.mark.parametrize("forgotten", ["k", "v", "both"])
def test_heads_that_were_not_shared_out_are_named(forgotten):
    def my_gqa(q, k, v):
        group = q.shape[1] // k.shape[1]
        k, v = (t if forgotten in (name, "both") else t.repeat_interleave(group, 1) for name, t in (("k", k), ("v", v)))
        may_look = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool).tril(k.shape[2] - q.shape[2])
        scores = (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(~may_look, -torch.inf)
        return scores.softmax(-1) @ v

    assert "keys or values still have K heads" in checks.gqa.judge(my_gqa).message


def test_the_cache_is_counted_as_the_library_counts_it():
    c = ModelConfig.preset("small")
    counted = checks.cache_bytes.reference(c.n_layers, c.n_kv_heads, c.head_dim, 1, 2)
    assert counted == c.kv_cache_bytes_per_token
