"""A model of one's own parts computes, caches and trains as the library's does; a broken part is left out."""

import inspect
import itertools
import json
import linecache
import sys

import pytest
import torch
from torch import nn

from foundry_lib import (
    MLP,
    Block,
    CausalSelfAttention,
    ConfigError,
    KVCache,
    MiniLLM,
    ModelConfig,
    apply_rotary_emb,
    generate,
)
from foundry_lib.lessons import checks, progress
from foundry_lib.lessons.as_parts import LIBRARY, own_parts
from foundry_lib.lessons.own_parts import model_parts, status, training_parts
from foundry_lib.training.recipes import new_trainer

CONFIG = ModelConfig(vocab_size=60, dim=32, n_layers=2, n_heads=4, n_kv_heads=2, max_seq_len=40, tie_embeddings=True)


def my_rms_norm(x, weight, eps):
    mean_square = (x * x).mean(dim=-1, keepdim=True)
    return x / torch.sqrt(mean_square + eps) * weight


def my_rotary(xq, xk, freqs_cis):
    turn = torch.complex(*freqs_cis)

    def turned(x):
        pairs = torch.complex(*x.chunk(2, -1)) * turn
        return torch.cat((pairs.real, pairs.imag), -1)

    return turned(xq), turned(xk)


def my_gqa(q, k, v):
    k, v = (t.repeat_interleave(q.shape[1] // t.shape[1], 1) for t in (k, v))
    scores = torch.einsum("bhtd,bhsd->bhts", q, k) / q.shape[-1] ** 0.5
    T, S = scores.shape[-2:]
    later = torch.arange(S)[None] > torch.arange(S - T, S)[:, None]
    return scores.masked_fill(later, -torch.inf).softmax(-1) @ v


def my_swiglu(x, w_gate, w_up, w_down):
    gate = x @ w_gate.T
    return (gate * torch.sigmoid(gate) * (x @ w_up.T)) @ w_down.T


MINE = {"rms_norm": my_rms_norm, "rotary": my_rotary, "gqa": my_gqa, "swiglu": my_swiglu}
CHOICES = [{name: MINE[name]} for name in MINE] + [MINE]


@pytest.mark.parametrize("chosen", CHOICES, ids="+".join)
def test_same_names_same_weights_same_logits(chosen):
    calls = []

    def heard(function):
        return lambda *given: calls.append(function) or function(*given)

    mine = MiniLLM(CONFIG, seed=3, **own_parts(**{name: heard(part) for name, part in chosen.items()}))
    theirs = MiniLLM(CONFIG, seed=3)
    state, other = mine.state_dict(), theirs.state_dict()
    assert list(state) == list(other) and all(torch.equal(state[name], other[name]) for name in state)
    idx = torch.randint(60, (3, 17), generator=torch.Generator().manual_seed(0))
    assert (mine(idx)[0] - theirs(idx)[0]).abs().max() <= 1e-5
    assert set(calls) == set(chosen.values()), "each part was really used"


def test_nothing_of_ones_own_is_the_library():
    assert own_parts() == {}


def test_one_wrong_part_shows():
    def unturned(xq, xk, freqs_cis):
        return xq, xk

    idx = torch.arange(12)[None]
    mine = MiniLLM(CONFIG, seed=3, **own_parts(rotary=unturned))
    assert (mine(idx)[0] - MiniLLM(CONFIG, seed=3)(idx)[0]).abs().max() > 1e-3


def test_cache_and_generation():
    mine, theirs = MiniLLM(CONFIG, seed=3, **own_parts(**MINE)), MiniLLM(CONFIG, seed=3)
    idx = torch.randint(60, (1, 12), generator=torch.Generator().manual_seed(1))
    cache = KVCache(CONFIG)
    pieces = [mine(idx[:, a:b], cache=cache)[0] for a, b in itertools.pairwise((0, 5, 6, 12))]  # also 6 of 12 at once
    assert (torch.cat(pieces, 1) - theirs(idx)[0]).abs().max() <= 1e-5
    written = [generate(m, idx, 20, generator=torch.Generator().manual_seed(2)) for m in (mine, theirs)]
    assert torch.equal(*written)


def test_a_training_gives_the_same_losses(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("".join(f"One, two, {n}: the cat sat on mat {n * n}.\n" for n in range(400)), encoding="utf-8")
    losses = []
    for parts in (None, own_parts(**MINE)):
        trainer = new_trainer(text, max_iters=20, batch_size=4, block_size=32, seed=5, parts=parts)
        losses.append([record.train_loss for record in trainer.run() if record.train_loss])
    assert len(losses[0]) == 20 and losses[0][-1] < losses[0][0]
    assert max(abs(a - b) for a, b in zip(*losses, strict=True)) <= 1e-4


# ---- What has been kept

KEPT = "def my_rms_norm(x, weight, eps):\n    wide = x.to(torch.promote_types(x.dtype, torch.float32))\n"
RIGHT = KEPT + "    return (wide / (wide.pow(2).mean(-1, keepdim=True) + eps).sqrt()).to(x.dtype) * weight\n"
WRONG = KEPT + "    return (wide / (wide.pow(2).sum(-1, keepdim=True) + eps).sqrt()).to(x.dtype) * weight\n"


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "FILE", tmp_path / "progress.json")
    return lambda **work: progress.FILE.write_text(json.dumps({"work": work}), encoding="utf-8")


def test_without_anything_kept_all_parts_are_the_librarys(kept, capsys):
    assert model_parts() == LIBRARY and training_parts() == {"loss": None, "schedule": None, "step": None}
    assert capsys.readouterr().out == "" and MiniLLM(CONFIG, **model_parts()).parts == {}


def test_a_kept_part_runs_in_the_model(kept, capsys):
    kept(rms_norm=RIGHT, silu=None)
    parts = model_parts()
    assert [name for name in parts if parts[name] is not LIBRARY[name]] == ["norm"]
    model, idx = MiniLLM(CONFIG, seed=3, **parts), torch.arange(9)[None]
    assert type(model.norm).__name__ == "my_rms_norm" and list(model.parts) == ["norm"]
    progress.switch_off("rms_norm")
    assert model_parts() == LIBRARY
    assert (model(idx)[0] - MiniLLM(CONFIG, seed=3)(idx)[0]).abs().max() <= 1e-5


def test_a_block_is_kept_with_its_text_although_it_is_a_class_of_a_notebook(kept, capsys, monkeypatch):
    cell = inspect.getsource(OtherOrder)
    source = "before = 1\n\n\n" + cell + "\n\nafter = 2\n"
    monkeypatch.setitem(linecache.cache, "<cell 9>", (len(source), None, source.splitlines(True), "<cell 9>"))
    monkeypatch.setattr(sys.modules["__main__"], "__file__", None, raising=False)  # as in a kernel
    names = {"__name__": "__main__", "nn": nn}
    exec(compile(source, "<cell 9>", "exec"), names)
    kept()
    checks.block(names["OtherOrder"])
    assert progress.read()["work"] == {"block": cell}
    parts, model_idx = model_parts(), torch.arange(9)[None]
    mine, theirs = MiniLLM(CONFIG, **parts), MiniLLM(CONFIG, seed=3)
    assert type(mine.layers[0]).__name__ == "OtherOrder"
    mine.load_state_dict(theirs.state_dict())
    assert (mine(model_idx)[0] - theirs(model_idx)[0]).abs().max() <= 1e-5


def test_a_part_that_fails_is_left_out_with_a_sentence(kept, capsys):
    kept(rms_norm=WRONG)
    assert model_parts() == LIBRARY
    said = " ".join(capsys.readouterr().out.split())
    assert "Yours no longer passes the check of lesson 01" in said and "M of RMS" in said


def test_a_part_whose_text_is_not_there_or_of_another_edition_is_left_out(kept, monkeypatch):
    kept(rms_norm=None, swiglu=RIGHT)
    monkeypatch.delitem(checks.EXERCISES, "swiglu")
    assert model_parts() == LIBRARY


@pytest.mark.parametrize("name", MINE)
def test_what_these_tests_use_passes_its_check(name):
    if name in checks.EXERCISES and name != "rms_norm":  # ours is for 32 bits alone
        verdict = checks.EXERCISES[name].judge(MINE[name])
        assert verdict.passed, verdict.message


# ---- The block of lesson 05


def test_a_class_that_is_still_to_be_written_is_not_yet():
    class Empty(nn.Module):
        def __init__(self, config, layer=0, norm=None, attention=None, feed_forward=None): ...

        def forward(self, x, freqs_cis, cache=None): ...

    class Begun(nn.Module):
        def __init__(self, config, layer=0, norm=None, attention=None, feed_forward=None):
            super().__init__()
            self.attention_norm = norm(config.dim, config.norm_eps)

        def forward(self, x, freqs_cis, cache=None): ...

    class Fresh(nn.Module):  # as the lesson gives it
        def __init__(self, config, layer=0, norm=None, attention=None, feed_forward=None):
            super().__init__()
            ...

        def forward(self, x, freqs_cis, cache=None): ...

    assert [checks.block.judge(c).status for c in (Empty, Begun, Fresh)] == ["not yet"] * 3
    assert "Write class MyBlock" in checks.block.judge(Fresh).message
    assert "not yet. Write the method forward too, then run" in checks.block.judge(Begun).message


class OtherOrder(nn.Module):
    """A right block that makes its parts in another order."""

    def __init__(self, config, layer=0, norm=None, attention=None, feed_forward=None):
        super().__init__()
        self.feed_forward, self.attention = feed_forward(config), attention(config, layer)
        self.ffn_norm, self.attention_norm = (norm(config.dim, config.norm_eps) for _ in range(2))

    def forward(self, x, freqs_cis, cache=None):
        x = x + self.attention(self.attention_norm(x), freqs_cis, cache)
        return x + self.feed_forward(self.ffn_norm(x))


def test_the_block_may_make_its_parts_in_any_order_and_fits_the_model():
    assert checks.block.judge(OtherOrder).passed
    theirs, idx = MiniLLM(CONFIG, seed=3), torch.arange(9)[None]
    mine = MiniLLM(CONFIG, block=OtherOrder, attention=CausalSelfAttention, feed_forward=MLP)
    mine.load_state_dict(theirs.state_dict())
    assert (mine(idx)[0] - theirs(idx)[0]).abs().max() <= 1e-5


def test_the_librarys_own_block_passes_and_other_names_are_said():
    assert checks.block.judge(Block).passed

    class Renamed(OtherOrder):
        def __init__(self, config, *parts):
            super().__init__(config, *parts)
            self.ln_1, self.attention_norm = self.attention_norm, None

        def forward(self, x, freqs_cis, cache=None):
            x = x + self.attention(self.ln_1(x), freqs_cis, cache)
            return x + self.feed_forward(self.ffn_norm(x))

    assert "stored under these names" in checks.block.judge(Renamed).message


def test_counts_and_lens_of_the_library_pass():
    def count(vocab_size, dim, n_layers, n_heads, n_kv_heads, hidden_dim, tied):
        return ModelConfig(vocab_size, dim, n_layers, n_heads, n_kv_heads, 64, hidden_dim, tie_embeddings=tied).n_params

    assert checks.count_parameters.judge(count).passed

    def lens(model, idx):
        x, found = model.tok_embeddings(idx), []
        for layer in [None, *model.layers]:
            x = x if layer is None else layer(x, model.freqs_cis[:, : idx.shape[1]])
            found.append(model.output(model.norm(x)))
        return torch.stack(found)

    assert checks.logit_lens.judge(lens).passed

    def walked(model, idx):  # as lesson 05 walks through the model
        x, table = model.tok_embeddings(idx), model.freqs_cis[:, : idx.shape[1]]
        found = [model.output(model.norm(x))]
        for layer in model.layers:
            h = x + layer.attention(layer.attention_norm(x), table)
            x = h + layer.feed_forward(layer.ffn_norm(h))
            found.append(model.output(model.norm(x)))
        return torch.stack(found)

    assert checks.logit_lens.judge(walked).passed
    model, idx = MiniLLM(CONFIG, seed=3), torch.arange(9)[None]
    assert torch.equal(lens(model, idx)[-1], model(idx)[0]), "the last guess is the model's own"


def test_rotary_here_is_the_librarys():
    q, k, table = torch.randn(2, 4, 5, 8), torch.randn(2, 2, 5, 8), MiniLLM(CONFIG).freqs_cis[:, :5]
    for a, b in zip(my_rotary(q, k, table), apply_rotary_emb(q, k, table), strict=True):
        assert (a - b).abs().max() <= 1e-6


def test_the_norms_own_eps_reaches_the_function():
    seen = []
    norm = own_parts(rms_norm=lambda x, weight, eps: seen.append(eps) or x)["norm"]
    norm(4, eps=0.25)(torch.ones(2, 4))
    assert seen == [0.25]


def test_the_status_says_whose_each_part_is_and_a_part_can_be_switched_off(kept, capsys):
    kept(rms_norm=RIGHT, silu="def my_silu(x): ...", gqa=None)
    assert ("rms_norm", "01", "yours") in status() and len(status()) == len(progress.PARTS)
    assert {whose for name, _, whose in status() if name != "rms_norm"} == {"the library's"}
    progress.switch_off("rms_norm")
    assert ("rms_norm", "01", "the library's") in status()
    assert "progress.switch_on('rms_norm') brings yours back" in " ".join(capsys.readouterr().out.split())
    progress.switch_on("rms_norm")
    assert ("rms_norm", "01", "yours") in status()
    with pytest.raises(ConfigError, match="no part 'norm'; the parts are rms_norm, rope_table"):
        progress.switch_off("norm")
