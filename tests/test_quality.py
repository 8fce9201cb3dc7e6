"""What a model writes, judged and counted; and the starter models that the course ships."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from foundry_lib import ConfigError, ModelConfig, SampleConfig, plots, sample_text, tales
from foundry_lib.analysis.quality import excess, measure, quality_curves, tale_losses, write_texts
from foundry_lib.models.kv_cache import KVCache
from foundry_lib.models.model import MiniLLM
from foundry_lib.text.corpus import told
from foundry_lib.text.tokenizer import Tokenizer
from foundry_lib.training.checkpoint import Checkpoint, load_checkpoint

DATA = Path(__file__).resolve().parent.parent / "data"
LANGUAGES = ["en", "zh"]
UNSEEN = 999_983  # as in benchmarks/starter.py


@pytest.fixture(scope="module", params=LANGUAGES)
def starter(request):
    folder = DATA / f"starter-{request.param}"
    model, tokenizer = load_checkpoint(folder)
    return request.param, model.eval(), tokenizer, Checkpoint.open(folder).values


class Reciter(torch.nn.Module):
    """Writes given texts word for word, one after another, whatever the seed."""

    def __init__(self, tokenizer: Tokenizer, texts: list[str]):
        super().__init__()
        self.config = ModelConfig(tokenizer.vocab_size, 8, 1, 1, 1, max_seq_len=256)
        self.device = torch.device("cpu")
        self.rows = [tokenizer.encode(text, eos=True) for text in texts]
        self.place = 0

    def new_cache(self, batch_size: int = 1, kind=KVCache) -> KVCache:
        return kind(self.config, batch_size)

    def forward(self, idx, cache=None):
        start = cache.length
        logits = torch.full((*idx.shape, self.config.vocab_size), -1e9)
        for row in range(idx.shape[0]):
            ids = self.rows[row % len(self.rows)]
            logits[row, -1, ids[min(start + idx.shape[1] - 1, len(ids) - 1)]] = 0.0
        cache.advance(idx.shape[1])
        return logits, None


def test_what_is_counted_is_what_was_written():
    corpus = told("en", 3)
    tokenizer = Tokenizer.train(corpus, None)
    good, other, third = corpus.documents
    bad = third.replace("home past", "home by") if "home past" in third else third.replace(".", " kite.", 1)
    found = measure(Reciter(tokenizer, [good, other, good, bad]), tokenizer, "en", 8, training=frozenset([good]))
    assert (found.n, found.valid, found.distinct, found.copied) == (8, 6, 3, 4)
    assert found.broken.total() == 2 and found.examples == [tales.parse(bad).message] * 2
    asked = sum((tales.parse(text).asked for text in (good, other, good, bad)), start=type(found.asked)())
    assert found.asked == asked + asked
    assert "75.0% of 8 tales valid" in str(found)


def test_the_margin_is_wilsons():
    found = measure_of(valid=50, n=100)
    assert found.margin == pytest.approx(0.0962, abs=2e-4)  # Wilson's interval for 50 of 100 is .404 to .596
    assert found.interval == pytest.approx((0.404, 0.596), abs=1e-3)
    assert measure_of(valid=0, n=100).margin > 0.01  # none of a hundred is not never
    assert measure_of(valid=100, n=100).interval == pytest.approx((0.963, 1), abs=1e-3)
    assert measure_of(valid=2, n=40).interval == pytest.approx((0.014, 0.165), abs=1e-3)


def measure_of(valid: int, n: int):
    from collections import Counter

    from foundry_lib.analysis.quality import Quality

    return Quality(n, valid, n, 0, Counter(a=10), Counter(a=9), Counter(), [])


def test_an_untrained_model_owes_ln_v_less_the_floor():
    corpus = told("en", 40)
    tokenizer = Tokenizer.train(corpus, None)
    model = MiniLLM(ModelConfig(tokenizer.vocab_size, 16, 1, 1, 1, max_seq_len=256))
    some = tales.generate("en", 5, 40)
    losses = tale_losses(model, tokenizer, some)
    assert [len(row) for row in losses] == [len(tokenizer.encode(tale.text)) + 1 for tale in some]
    assert np.concatenate(losses) == pytest.approx(math.log(tokenizer.vocab_size), abs=1e-5)
    tokens = np.mean([len(row) for row in losses])
    floor = -np.mean([tale.log_prob for tale in some])
    found = excess(model, tokenizer, some)
    assert found.nats_per_tale == pytest.approx(tokens * math.log(tokenizer.vocab_size) - floor, rel=1e-5)
    assert found.share == pytest.approx(found.nats_per_tale / floor)


def test_the_starter_is_small_and_its_loss_is_what_its_log_says(starter):
    language, model, tokenizer, log = starter
    assert (DATA / f"starter-{language}" / "model.safetensors").stat().st_size <= 5_000_000
    noted = log["1,000 unseen tales"]
    found = excess(model, tokenizer, tales.generate(language, UNSEEN, 1000))
    assert found.nats_per_tale == pytest.approx(noted["nats_per_tale"], abs=1e-3)
    assert found.share == pytest.approx(noted["share"], abs=1e-4) and found.share <= 0.03
    assert found.by_rule == pytest.approx(noted["by_rule"], abs=1e-3)
    assert max(nats for rule, nats in found.by_rule.items() if rule != "free") < 0.1
    assert log["log"][-1]["step"] == log["training"]["max_iters"]
    assert log["command"].endswith(language)
    json.dumps(log)


def test_nothing_has_leaked(starter):
    """Below the floor by more than noise no honest model can be, on tales it has not seen."""
    language, model, tokenizer, _ = starter
    for held_out in (False, True):
        found = excess(model, tokenizer, tales.generate(language, 77, 500, held_out=held_out))
        assert found.nats_per_tale > -3 * found.error
        assert found.nats_per_tale > 0.2 and found.error < 0.5  # so that a leak of a nat a tale would be seen


def test_a_leak_would_be_seen(starter):
    """A model that has read the very tales, as one with future tokens in sight has, falls below the floor."""
    language, _, tokenizer, _ = starter
    few = tales.generate(language, 78, 4)
    model = MiniLLM(ModelConfig.preset("tiny", vocab_size=tokenizer.vocab_size, n_layers=1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    rows = [torch.tensor([tokenizer.encode(tale.text, bos=True, eos=True)]) for tale in few]
    for step in range(200):
        ids = rows[step % 4]
        loss = model(ids[:, :-1], ids[:, 1:])[1]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = excess(model.eval(), tokenizer, few)
    assert found.nats_per_tale < -3 * found.error and found.nats_per_tale < -10


def test_the_starter_writes_tales(starter):
    language, model, tokenizer, log = starter
    noted = float(log["1,000 tales written at temperature 1"].split("%")[0]) / 100
    found = measure(model, tokenizer, language, 250, seed=3)
    assert abs(found.valid / found.n - noted) <= 1.5 * found.margin and found.distinct == 250
    assert min(found.kept_share.values()) > 0.95


@pytest.mark.parametrize(
    "prompt",
    [
        "Once there was",
        "",
        "从前有个",
        "人工智能",
        "深度学习",
        "def f(x):\n\treturn",
        "Ω≈ç√ 🙂",
        "The king's rocket",
        "…",
    ],
)
def test_any_prompt_gives_text(starter, prompt):
    language, model, tokenizer, _ = starter
    text = sample_text(model, tokenizer, prompt, 60, seed=1)
    assert text.startswith(prompt) and len(text) > len(prompt) and "\ufffd" not in text[len(prompt) + 4 :]


def test_the_chinese_starter_goes_on_about_deep_learning(starter):
    language, model, tokenizer, _ = starter
    if language == "zh":
        for prompt in ("人工智能", "深度学习"):
            texts = list(write_texts(model, tokenizer, 20, SampleConfig(temperature=0.7), seed=2, prompt=prompt))
            assert sum(tales.parse(text, "zh").valid for text in texts) >= 10, texts[:3]


def test_a_prompt_that_leaves_no_room_is_refused(starter):
    _, model, tokenizer, _ = starter
    with pytest.raises(ConfigError, match="no room in 256"):
        list(write_texts(model, tokenizer, 1, prompt="a b " * 200))


def test_one_call_one_plot(starter):
    language, model, tokenizer, _ = starter
    knobs = {"temperature": (0.5, 2.0), "min_p": (0.05,)}
    found = quality_curves(model, tokenizer, language, n=60, knobs=knobs)
    assert {knob: tuple(points) for knob, points in found.items()} == knobs
    cold, hot = found["temperature"].values()
    assert cold.valid - hot.valid > 30  # a hot model breaks the rules
    figure = Figure(figsize=(8, 3))
    plots.draw_quality(figure, found)
    assert [ax.get_xlabel() for ax in figure.axes] == list(knobs)
    assert all(q.copied is None for q in found["temperature"].values())  # nothing to compare with, nothing drawn
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["distinct", "valid"]
