"""With the lessons' own solutions, the model, its training and the experiments run the learner's code."""

import math

import pytest
import torch
from helpers import OWL_TEXT, functions_that_ran

from foundry_lib import MiniLLM, ModelConfig, Notice, generate
from foundry_lib.errors import DivergedError
from foundry_lib.experiments.sweeps import sweep
from foundry_lib.instructor.solutions import solutions
from foundry_lib.lessons import as_parts, progress
from foundry_lib.lessons.as_parts import own_parts
from foundry_lib.lessons.own_parts import model_parts, training_parts, whose
from foundry_lib.training.checkpoint import Checkpoint, load_checkpoint
from foundry_lib.training.recipes import new_trainer
from foundry_lib.training.trainer import Trainer

SMALL = dict(max_iters=6, eval_interval=6, batch_size=2, block_size=16, vocab_size=300, dim=32, n_heads=4, n_kv_heads=2)
SMALL |= dict(n_layers=2, hidden_dim=64)


SOLUTIONS = solutions()


@pytest.fixture
def solved(tmp_path, monkeypatch):
    """A progress file in which the exercise of every part is solved."""
    monkeypatch.setattr(progress, "FILE", tmp_path / "progress.json")
    for name, text in SOLUTIONS.items():
        progress.keep("work", name, text)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "owls.txt"
    path.write_text(OWL_TEXT, encoding="utf-8")
    return path


def losses(trainer: Trainer) -> list[float]:
    list(trainer.run())
    return [record.train_loss for record in trainer.history if record.step] + [trainer.history[-1].val_loss]


@pytest.fixture(scope="module")
def expected(text):
    return losses(new_trainer(text, **SMALL))


def test_every_part_has_a_solution():
    assert set(SOLUTIONS) >= {name for name, lesson in progress.PARTS.items() if lesson <= "07"}


def test_the_whole_training_runs_the_learners_code_and_gives_our_losses(solved, text, expected):
    trainers, parts, own = [], model_parts(), training_parts()
    making = functions_that_ran(lambda: trainers.append(new_trainer(text, parts=parts, own=own, **SMALL)))
    trainer = trainers[0]
    training = functions_that_ran(lambda: list(trainer.run(2)))
    learners = {file for _, file in making | training if file.startswith("<your ")}
    assert learners == {f"<your {name}>" for name, lesson in progress.PARTS.items() if lesson <= "07"}
    ours = {name for name, file in training if "foundry_lib" in file}
    ours_alone = {"rms_norm", "rotate", "apply_rotary_emb", "fused_causal_attention", "hidden", "next_token_loss"}
    assert not ours & {*ours_alone, "learning_rate", "cross_entropy"}, "the library's parts of these do not run"
    assert type(trainer.model).__mro__[1].__module__ == "__main__", "the class is the learner's"
    assert {function.__module__ for function in trainer.own.values()} == {"__main__"}
    assert losses(trainer) == pytest.approx(expected, abs=1e-4)
    learners = "loss (mean_loss), learning rate (learning_rate), training step (train_step)"
    assert whose("07") == f"yours: {learners}"


def test_checkpoints_name_the_parts_and_load_with_them_or_without(solved, text, tmp_path):
    trainer = new_trainer(text, parts=model_parts(), own=training_parts(), **SMALL)
    list(trainer.run(2))
    saved = trainer.save(tmp_path / "run")
    names = Checkpoint.open(saved).part_names
    assert names["model"] == "MyModel" and names["block"] == "MyBlock" and names["norm"] == "my_rms_norm"
    assert names["attention"] == "my_rotary my_gqa" and names["rope_table"] == "my_rope_table"
    idx = torch.arange(9)[None]
    model, _ = load_checkpoint(saved, parts=model_parts())
    assert torch.equal(model(idx)[0], trainer.model(idx)[0])
    assert Trainer.load(saved, parts=model_parts(), **training_parts()).own.keys() == {"loss", "schedule", "step"}
    for name in ("rms_norm", "model", "train_step"):
        progress.switch_off(name)
    with pytest.warns(Notice, match="saved with norm=my_rms_norm; it is loaded with norm=the library's"):
        model, _ = load_checkpoint(saved, parts=model_parts())
    assert type(model) is MiniLLM and (model(idx)[0] - trainer.model(idx)[0]).abs().max() <= 1e-5
    with pytest.warns(Notice, match="had the step my_train_step; it goes on with the library's"):
        assert "step" not in Trainer.load(saved, parts=model_parts(), **training_parts()).own


def test_the_model_writes_with_a_cache_as_ours_does(solved):
    config = ModelConfig(60, 32, 2, 4, 2, max_seq_len=40, tie_embeddings=True)
    mine, theirs = MiniLLM(config, seed=3, **model_parts()), MiniLLM(config, seed=3)
    idx = torch.randint(60, (2, 12), generator=torch.Generator().manual_seed(1))
    assert (mine(idx, idx)[1] - theirs(idx, idx)[1]).abs() <= 1e-5
    texts = [generate(m, idx, 40, generator=torch.Generator().manual_seed(2)) for m in (mine, theirs)]
    assert torch.equal(*texts), "also where the window is full and the cache begins again"


def test_experiments_run_the_learners_code(solved, text, tmp_path):
    mine = dict(parts=model_parts(), own=training_parts())
    few = dict(text=text, root=tmp_path, seeds=(0,), **{**SMALL, "max_iters": 2})
    called = functions_that_ran(lambda: sweep("mine", {"row": {}}, **few, **mine))
    assert {"<your swiglu>", "<your model>", "<your mean_loss>", "<your train_step>"} <= {file for _, file in called}
    (run,) = sweep("mine", {"row": {}}, **few, **mine)  # done before, skipped
    assert run.config["decides"]["parts"]["model"] == "MyModel"
    (ours,) = sweep("ours", {"row": {}}, **few)
    assert run.result["val_loss"] == pytest.approx(ours.result["val_loss"], abs=1e-4)


@pytest.mark.parametrize("name", [name for name, lesson in progress.PARTS.items() if lesson <= "07"])
def test_one_part_that_no_longer_passes_is_the_librarys(name, solved, text, expected, capsys):
    broken = "def broken(*given):\n    return {}['forgotten']\n"
    if name in ("block", "model"):
        broken = "class Broken(nn.Module):\n    def __init__(self, *given):\n        raise KeyError('forgotten')\n"
    progress.keep("work", name, broken)
    trainer = new_trainer(text, parts=model_parts(), own=training_parts(), **SMALL)
    assert f"{name}: the library's part runs" in capsys.readouterr().out
    list(trainer.run(2))
    assert [r.train_loss for r in trainer.history[1:]] == pytest.approx(expected[:2], abs=1e-4)


def breaking(name: str, after: int):
    """The part of the solution, which raises an error from call number `after` on."""
    calls, work = [], progress.own_work(name)

    def breaks(*given):
        calls.append(name)
        if len(calls) > after:
            raise IndexError("out of luck")
        return work(*given)

    return breaks


@pytest.mark.parametrize("name", ["rms_norm", "rotary", "gqa", "swiglu"])
def test_a_part_that_breaks_in_a_training_is_replaced_and_nothing_is_lost(name, solved, text, expected):
    trainer = new_trainer(text, parts=own_parts(**{name: breaking(name, 9)}), **SMALL)
    with pytest.warns(Notice) as notices:
        assert losses(trainer) == pytest.approx(expected, abs=1e-4)
    (said,) = {str(notice.message) for notice in notices}
    assert f"Your {name} failed" in said and 'raise IndexError("out of luck")' in said
    assert f"progress.switch_off('{name}')" in said


def test_a_part_that_gives_nan_after_a_while_is_named_among_the_suspects(solved, text):
    turns = []

    def my_swiglu(x, w_gate, w_up, w_down):
        turns.append(1)
        return as_parts.swiglu(x, w_gate, w_up, w_down) * (math.nan if len(turns) > 8 else 1)

    with pytest.raises(DivergedError, match=r"Parts of your own run in it: feed_forward \(my_swiglu\)\."):
        losses(new_trainer(text, parts=own_parts(swiglu=my_swiglu), **SMALL))
    with pytest.raises(DivergedError) as plain:
        losses(new_trainer(text, learning_rate=1e9, **SMALL))
    assert "own" not in str(plain.value)


def my_gqa_on_the_processor(q, k, v):
    k, v = (t.repeat_interleave(q.shape[1] // t.shape[1], 1) for t in (k, v))
    mask = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool).tril(k.shape[2] - q.shape[2])
    return torch.where(mask, q @ k.mT / q.shape[-1] ** 0.5, torch.zeros(1) - torch.inf).softmax(-1) @ v


def my_norm_without_inference_mode(x, weight, eps):
    x.add_(0.0) if x.is_inference() else x.requires_grad_()
    if x.is_inference():
        raise RuntimeError("Inference tensors cannot be saved for backward")
    return x / (x.pow(2).mean(-1, keepdim=True) + eps).sqrt() * weight


def my_rotary_in_32_bits(xq, xk, freqs_cis):
    return tuple(torch.view_as_real(torch.complex(*x.chunk(2, -1))).mT.flatten(-2) for x in (xq, xk))


@pytest.mark.parametrize(
    "name, work, change",
    [
        ("gqa", my_gqa_on_the_processor, lambda model, idx: model.to("meta")(idx.to("meta"))),
        ("rms_norm", my_norm_without_inference_mode, lambda model, idx: generate(model, idx, 3)),
        ("rotary", my_rotary_in_32_bits, lambda model, idx: model.bfloat16()(idx)),
    ],
    ids=["another device", "inference mode", "16 bits"],
)
def test_a_part_that_breaks_elsewhere_is_named_with_its_line(name, work, change):
    config = ModelConfig(60, 32, 2, 4, 2, max_seq_len=40)
    model = MiniLLM(config, seed=3, **own_parts(**{name: work}))
    with pytest.warns(Notice, match=rf"Your {name} failed(.|\n)*in .*, line \d+: ") as notices:
        change(model, torch.arange(9)[None])
    assert f"progress.switch_off('{name}')" in str(notices[0].message)


def test_a_slow_part_is_named_with_its_line_and_a_fast_one_is_not(solved, capsys):
    text = "def my_swiglu(x, w_gate, w_up, w_down):\n    rows = x.flatten(0, -2)\n    out = torch.stack([\n"
    text += "        (F.silu(w_gate @ row) * (w_up @ row)) @ w_down.T for row in rows])\n    return out.view(x.shape)\n"
    progress.keep("work", "swiglu", text)
    assert model_parts()["feed_forward"].__name__ == "my_swiglu"
    said = " ".join(capsys.readouterr().out.split())
    assert "Your swiglu takes" in said and "times as long as the library's, most of it in line" in said
    assert "for row in rows" in said and "progress.switch_off('swiglu') lets the library's run" in said
    assert "rms_norm" not in said
