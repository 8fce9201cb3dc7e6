"""The playground: its bars are the filters', its truth is the grammar's, and a slider runs no model."""

import pytest
import torch
from matplotlib.figure import Figure

from foundry_lib import SampleConfig, next_token_distribution, tales
from foundry_lib.analysis.surprise import true_distribution
from foundry_lib.panels.playground import Playground, entropy, playground
from foundry_lib.paths import LESSONS
from foundry_lib.training.checkpoint import load_checkpoint


@pytest.fixture(scope="module", params=["en", "zh"])
def starter(request):
    model, tokenizer = load_checkpoint(LESSONS.parent / "data" / f"starter-{request.param}")
    return model, tokenizer, request.param


def test_the_truth_is_the_grammars_at_every_word(starter):
    _, tokenizer, language = starter
    tale = tales.generate(language, 11)[0]
    for place in range(len(tale.words) + 1):
        true = true_distribution("".join(tale.parts[:place]), tokenizer, language)
        assert true.sum().item() == pytest.approx(1, abs=1e-5)
        if place < len(tale.words):
            (token,) = tokenizer.encode(tale.parts[place])
            assert true[token].log().item() == pytest.approx(tale.word_log_probs[place], abs=1e-4)
    assert true_distribution("No tale begins so", tokenizer, language) is None


def test_the_bars_and_the_reading_are_the_filters(starter):
    model, tokenizer, language = starter
    prompt = "".join(tales.generate(language, 11)[0].parts[:4])
    play, figure = Playground(model, tokenizer, language), Figure()
    reading = play.draw(figure, prompt=prompt, temperature=1.5, top_k=6)
    with torch.no_grad():
        logits = model(torch.tensor([tokenizer.encode(prompt, bos=True)]))[0][0, -1]
    after = next_token_distribution(logits, SampleConfig(temperature=1.5, top_k=6))
    assert f"temperature 1.5, top-k 6: kept 6 of {tokenizer.vocab_size:,} tokens" in reading
    assert f"and {entropy(after):.2f} nats after" in reading
    bars = [bar.get_height() for bar in figure.axes[0].patches if not bar.get_hatch()]
    for wanted in after.topk(3).values.tolist():
        assert any(abs(bar - wanted) < 1e-5 for bar in bars)
    distance = 0.5 * (after - true_distribution(prompt, tokenizer, language)).abs().sum()
    assert f"Distance from the truth {distance:.2f}" in reading


def test_a_slider_runs_no_model(starter):
    model, tokenizer, language = starter
    calls = []
    panel = playground(model, tokenizer, tales.generate(language, 11)[0].parts[0], language)
    hook = model.register_forward_hook(lambda *given: calls.append(1))
    before = panel.reading
    panel.controls["top_k"].value = 3
    panel.controls["temperature"].value = 0.5
    panel.controls["repetition_penalty"].value = 1.5
    assert not calls and panel.reading != before
    panel.set(prompt="another text")
    assert len(calls) == 1 and "No tale begins like this" in panel.reading
    panel.set(prompt="", temperature=0.0)
    assert "kept 1 of" in panel.reading
    panel.set(prompt=" ".join(["word"] * 400), temperature=1.0, top_k=0)
    assert "kept" in panel.reading, "a text that is too long is read at its end"
    hook.remove()


def test_without_a_grammar_there_is_no_truth(starter):
    model, tokenizer, _ = starter
    assert "grammar" not in Playground(model, tokenizer).draw(Figure(), prompt="By")
