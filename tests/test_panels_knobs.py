"""The sampling sliders: one for each setting, at rest where the setting changes nothing."""

import torch

from foundry_lib import SampleConfig, next_token_distribution
from foundry_lib.panels.knobs import KNOBS, OFF, changed

LOGITS = torch.randn(7, generator=torch.Generator().manual_seed(0))


def test_each_setting_has_a_slider_and_no_slider_is_without_a_setting():
    """A new filter touches two tables: the fields of SampleConfig, and KNOBS."""
    assert list(KNOBS) == list(vars(SampleConfig()))


def test_a_slider_at_rest_changes_nothing_and_each_one_moves_the_distribution():
    seen, plain = LOGITS.topk(2).indices, LOGITS.softmax(-1)
    at_rest = {name: knob.widget(name).value for name, knob in KNOBS.items()}
    assert at_rest == OFF and SampleConfig(**at_rest) == SampleConfig() and changed(at_rest) == ""
    assert torch.equal(next_token_distribution(LOGITS, SampleConfig(**at_rest), seen), plain)
    for name, knob in KNOBS.items():
        far = {"top_k": 1, "top_p": knob.low}.get(name, knob.high)
        moved = at_rest | {name: far}
        assert not torch.equal(next_token_distribution(LOGITS, SampleConfig(**moved), seen), plain), name
        assert changed(moved) == f"{name.replace('_', '-')} {far:g}"
