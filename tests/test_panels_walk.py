"""The walk's panel draws and says the model's own numbers: for tales, for another text, for a block of one's own."""

import pytest
import torch
from helpers import ROOT

from foundry_lib import MLP, CausalSelfAttention, MiniLLM
from foundry_lib.analysis.heads import attention_weights
from foundry_lib.analysis.surprise import true_distribution
from foundry_lib.panels.walk import MOST, walk
from foundry_lib.training.checkpoint import load_checkpoint


@pytest.fixture(scope="module", params=["en", "zh"])
def starter(request):
    return *load_checkpoint(ROOT / "data" / f"starter-{request.param}", "cpu"), request.param


def test_it_opens_on_the_last_attention_and_ends_on_the_grammars_own_words(starter, capsys):
    model, tokenizer, grammar = starter
    panel = walk(model, tokenizer, grammar)
    text = panel.values["text"]
    ids = torch.tensor([tokenizer.encode(text, bos=True)])
    assert ids.shape[1] <= MOST and true_distribution(text, tokenizer, grammar) is not None
    weights = attention_weights(model, ids)
    drawn = panel.picture.walk.stops[24].tensor[0]
    assert torch.allclose(drawn, weights[-1], atol=1e-6)
    assert panel.reading.startswith("Stop 25 of 37, layer 1, attention weights: (B, H, T, T) = (1, 4, ")
    panel.set(stop="probabilities", token=16)
    said = capsys.readouterr().out.replace("\n", " ")
    with torch.no_grad():
        probabilities = model(ids)[0][0, -1].softmax(-1)
    truth = true_distribution(text, tokenizer, grammar)
    assert f"({probabilities.max():.2f})" in said and "The grammar allows" in said
    assert f"gives them {probabilities[truth > 0].sum():.3f} of the probability" in said
    picture = next(iter(reversed(panel.built.values())))[0]
    right, longest = picture.truth.get_xdata(), picture.chances.get_path().vertices[:, 0].max()
    assert max(right) == pytest.approx(truth.max().item()) and longest == pytest.approx(probabilities.max().item())


def test_every_stop_of_every_token_can_be_reached(starter):
    model, tokenizer, grammar = starter
    panel = walk(model, tokenizer, grammar)
    seen = set()
    for _, title in panel.controls["stop"].options:
        panel.controls["stop"].value = title
        assert f"{title}: (" in panel.reading
        seen.add(panel.live.value)
    assert len(seen) == len(panel.controls["stop"].options), "each stop has a picture of its own"


def test_a_text_may_be_long_or_empty_or_no_tale(starter):
    panel = walk(*starter)
    panel.controls["stop"].value = "probabilities"
    panel.controls["text"].value = 40 * "What a $day. "
    assert "the walk takes the first 16" in panel.reading and "No tale begins like this" in panel.reading
    panel.controls["text"].value = ""
    assert "After ‘start’ the model predicts" in panel.reading and "(1, 1, " in panel.reading


def test_a_model_of_another_text_writes_its_own_first_words(starter):
    model, tokenizer, _ = starter
    panel = walk(model, tokenizer)
    assert 1 < len(panel.picture.walk.ids) <= MOST
    panel.controls["stop"].value = "probabilities"
    assert "grammar" not in panel.reading and "No tale" not in panel.reading


class OtherNames(torch.nn.Module):
    """A block that hides its parts."""

    def __init__(self, config, layer=0, **parts):
        super().__init__()
        self.mix = CausalSelfAttention(config, layer)

    def forward(self, x, freqs_cis, cache=None):
        return x + self.mix(x, freqs_cis, cache)


def test_it_says_what_a_block_of_ones_own_hides(starter):
    model, tokenizer, _ = starter
    panel = walk(MiniLLM(model.config, block=OtherNames, attention=CausalSelfAttention, feed_forward=MLP), tokenizer)
    assert "This model's own parts do not show: norm before attention, queries," in panel.reading
    assert len(panel.controls["stop"].options) == 2 + 2 + 3
