"""Work that passes its check: it is kept in whatever form it is written, and it trains, or a sentence says why not."""

import json
import linecache
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from foundry_lib import MiniLLM, ModelConfig, Notice
from foundry_lib.instructor.solutions import solutions
from foundry_lib.lessons import as_parts, checks, progress
from foundry_lib.lessons.as_parts import LIBRARY
from foundry_lib.lessons.own_parts import model_parts, status, training_parts
from foundry_lib.lessons.own_sampling import sampling_parts
from foundry_lib.training.pieces import in_two_parameters

CONFIG = ModelConfig(vocab_size=60, dim=32, n_layers=2, n_heads=4, n_kv_heads=2, max_seq_len=40, tie_embeddings=True)
BODY = "(x, weight, eps):\n    return F.rms_norm(x, x.shape[-1:], None, eps) * weight\n"
NORM = "def mine" + BODY
SOLUTIONS = solutions()


@pytest.fixture
def cell(tmp_path, monkeypatch):
    """Check the work `mine` of a cell in a notebook of its own, in which `names` are known."""
    monkeypatch.setattr(progress, "FILE", tmp_path / "progress.json")
    monkeypatch.setattr(sys.modules["__main__"], "__file__", None, raising=False)  # as in a kernel

    def run(check: str, text: str, **names):
        file = f"<cell {len(linecache.cache)}>"
        linecache.cache[file] = len(text), None, text.splitlines(True), file
        notebook = {"__name__": "__main__", "torch": torch, "nn": nn, "F": F} | names
        exec(compile(text, file, "exec"), notebook)
        checks.EXERCISES[check](notebook["mine"])
        return progress.read()["work"][check] if check in progress.read()["work"] else None

    return run


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_work_that_is_checked_without_gradients_is_tried_with_them(mode, cell):
    with mode():
        assert cell("rms_norm", NORM + f"# {mode.__name__}\n") is not None


def indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


WAYS = {
    "closure": f"def made(power):\n{indented(NORM.replace('return', 'eps = power * eps; return'))}    return mine\n"
    "mine = made(1)\n",
    "decorator": f"def heard(f):\n    def inside(*given):\n        return f(*given)\n    return inside\n@heard\n{NORM}",
    "condition": f"if True:\n{indented(NORM)}",
    "method": f"class Mine:\n    @staticmethod\n{indented(NORM)}mine = Mine.mine\n",
    "builtin": f"mul = torch.Tensor.mul\n{NORM.replace('return', 'torch.ones(()) if 1 else mul; return')}",
}


@pytest.mark.parametrize("way", WAYS)
def test_work_is_kept_in_whatever_form_it_was_written(way, cell, capsys):
    assert cell("rms_norm", WAYS[way]) and "there it fails" not in capsys.readouterr().out
    assert model_parts()["norm"] is not LIBRARY["norm"]


BLOCK = """class mine(nn.Module):
    def __init__(self, config, layer, one, two, three):
        super().__init__()
        self.attention_norm, self.ffn_norm = (one(config.dim, config.norm_eps) for _ in range(2))
        self.attention, self.feed_forward = two(config, layer), three(config)

    def forward(self, x, table, cache):
        x = x + self.attention(self.attention_norm(x), table, cache)
        return x + self.feed_forward(self.ffn_norm(x))
"""
BLOCKS = {
    "last of two": BLOCK.replace("return x +", "return 0 * x +") + "\n\n" + BLOCK,
    "condition": f"if True:\n{indented(BLOCK)}",
    "decorator": "def same(kind):\n    return kind\n\n\n@same\n" + BLOCK,
}


@pytest.mark.parametrize("way", BLOCKS)
def test_a_class_is_kept_as_it_stands_and_its_arguments_may_have_any_names(way, cell):
    assert cell("block", BLOCKS[way]).endswith(BLOCK)
    idx = torch.arange(9)[None]
    mine, theirs = MiniLLM(CONFIG, seed=3, **model_parts()), MiniLLM(CONFIG, seed=3)
    mine.load_state_dict(theirs.state_dict())
    assert type(mine.layers[0]).__name__ == "mine" and (mine(idx)[0] - theirs(idx)[0]).abs().max() <= 1e-5


MODEL = SOLUTIONS["model"].replace("MyModel", "mine")
START = "super().__init__()"
OWN_LOSS = MODEL.replace("nn.functional.cross_entropy(", "self.loss(")
LOSS = SOLUTIONS["mean_loss"].replace("def my_loss", "def mine")
SWIGLU = "def mine(x, w_gate, w_up, w_down):\n    a = x @ w_gate.T\n    g = a.sigmoid()\n    g *= a\n"
UNTRAINED = {
    "gives no gradient": [
        ("rms_norm", "@torch.no_grad()\n" + NORM),
        ("rms_norm", NORM.replace("norm(x,", "norm(x.detach(),")),
        ("model", MODEL.replace("x = layer(x,", "x = layer(x.detach(),")),
        ("block", BLOCK.replace("    def forward", "    @torch.no_grad()\n    def forward")),
    ],
    "a line changes in place": [("swiglu", SWIGLU + "    return (g * (x @ w_up.T)) @ w_down.T\n")],
    "must return the mean loss as a tensor": [
        ("mean_loss", LOSS + "\n\nwhole = mine\ndef mine(logits, y):\n    return whole(logits, y).item()\n"),
        ("mean_loss", LOSS.replace("logits.log_softmax", "logits.detach().log_softmax")),
    ],
    "The lessons use loss of a model": [
        (
            "model",
            OWN_LOSS.replace(START, START + "\n        self.loss = nn.CrossEntropyLoss()"),
        )
    ],
    "The lessons use n_params of a model": [("model", MODEL.replace(START, START + "\n        self.n_params = 3"))],
    "expected (1, 1, 32)": [
        (
            "swiglu",
            "def mine(x, a, b, c):\n    y = F.linear(F.silu(x @ a.T) * (x @ b.T), c)\n"
            "    return y.squeeze() if x.numel() == 32 else y\n",
        )
    ],
}


@pytest.mark.parametrize(("says", "check", "text"), [(says, *case) for says, of in UNTRAINED.items() for case in of])
def test_work_that_cannot_be_trained_is_told_so_and_the_librarys_runs(says, check, text, cell, capsys):
    assert cell(check, text) is None and check in progress.read()["work"], "the pass counts"
    said = " ".join(capsys.readouterr().out.split())
    assert f"✓ {check}" in said and "it does not run yet" in said and says in said
    assert (check, progress.PARTS[check], "the library's") in status()
    progress.keep("work", check, text)  # as an earlier edition stored it
    assert model_parts() == LIBRARY and set(training_parts().values()) == {None}
    said = " ".join(capsys.readouterr().out.split())
    assert f"{check}: the library's part runs." in said and says in said


@pytest.mark.parametrize(("name", "text"), SOLUTIONS.items(), ids=list(SOLUTIONS))
def test_the_lessons_own_solutions_are_trained(name, text, tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "FILE", tmp_path / "progress.json")
    progress.keep("work", name, text)
    assert as_parts.trouble_in_words(name, text) is None


NOT_KEPT = {
    "Python has no text of it": f"exec({NORM!r})",
    "Work without a name is not kept": f"import functools\n{NORM}mine = functools.partial(mine)\n",
    "It uses ONE of this notebook": "ONE = torch.ones(())\n" + NORM.replace("eps)", "eps, one=ONE)", 1),
}


@pytest.mark.parametrize("says", NOT_KEPT)
@pytest.mark.filterwarnings("ignore::foundry_lib.errors.Notice")
def test_work_that_passes_and_cannot_be_kept_is_told_so(says, cell, capsys):
    assert not cell("rms_norm", NOT_KEPT[says]) and says in " ".join(capsys.readouterr().out.split())
    assert ("rms_norm", "01", "the library's") in status()


@pytest.mark.parametrize("arguments", ["*given", "step, peak, warmup, total, lowest, told=False", "step, *rest"])
def test_a_schedule_may_name_its_arguments_as_it_likes(arguments, tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "FILE", tmp_path / "progress.json")
    passed = arguments.replace(", told=False", "")
    text = SOLUTIONS["learning_rate"] + f"\n\ndef mine({arguments}):\n    return my_learning_rate({passed})\n"
    progress.keep("work", "learning_rate", text)
    own, theirs = training_parts()["schedule"], as_parts.learning_rate
    config = as_parts.TrainConfig()
    assert in_two_parameters(own)(7, config) == pytest.approx(theirs(7, config))


def test_a_part_that_gives_another_dtype_later_is_named():
    parts = as_parts.own_parts(swiglu=lambda x, a, b, c: as_parts.swiglu(x, a, b, c).float())
    model = MiniLLM(CONFIG, **parts)
    model(torch.arange(5)[None])
    with pytest.warns(Notice, match=r"Your swiglu failed.*gave .* in float32 on cpu, expected .* in bfloat16 on"):
        model.bfloat16()(torch.arange(5)[None])


STRANGE = ['{"work": {"rms_norm": 5}}', '{"work": {"rms_norm": ["def f(): pass"]}}', '{"work": {"rms_norm": {"a": 1}}}']
STRANGE += ['{"work": {"rms_norm": "raise SystemExit"}}', '{"work": {"rms_norm": "def f(*given):\\n    exit()"}}']


@pytest.mark.parametrize("text", STRANGE)
@pytest.mark.filterwarnings("ignore::foundry_lib.errors.Notice")
def test_a_file_that_was_edited_by_hand_stops_no_lesson(text, tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "FILE", tmp_path / "progress.json")
    progress.FILE.write_text(text, encoding="utf-8")
    assert len(status()) == len(progress.PARTS) and model_parts() == LIBRARY and sampling_parts() == {}


def test_a_file_that_begins_with_the_mark_of_some_editors_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "FILE", tmp_path / "progress.json")
    progress.FILE.write_text(json.dumps({"work": {"silu": "def f(): pass"}}), encoding="utf-8-sig")
    assert list(progress.read()["work"]) == ["silu"]
