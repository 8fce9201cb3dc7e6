"""The sampling experiment: each setting is measured once, when it is first chosen, and drawn where it belongs."""

import pytest
from test_pictures import quality, unreadable

from foundry_lib import ConfigError
from foundry_lib.panels import sampling_experiment as module


@pytest.fixture
def asked(monkeypatch):
    configs = []

    def measure(model, tokenizer, grammar, n, config, seed):
        configs.append(config)
        return quality(10 * len(configs))

    monkeypatch.setattr(module, "measure", measure)
    return configs


def test_a_setting_is_measured_once(asked, capsys):
    panel, measured = module.sampling_experiment(None, None, "en", title="your model of lesson 07")
    assert panel.reading.startswith("temperature 0.5: 10 of 40 tales are valid, 95 % interval 14% to 40%; 10 are ")
    first = panel.reading
    panel.set(setting=("top_k", 5))
    assert "20 of 40" in panel.reading and panel.reading.endswith("2 of 10 settings.")
    panel.set(setting=("temperature", 0.5))
    assert panel.reading == first.replace("far: 1", "far: 2") and len(asked) == 2
    assert (asked[0].temperature, asked[1].top_k) == (0.5, 5) and list(measured) == [("temperature", 0.5), ("top_k", 5)]
    ax = panel.live.figure.axes[0]
    drawn = dict(zip(*ax.containers[0].lines[0].get_data(), strict=True))
    assert drawn == {0: 0.25, 4: 0.5}
    assert ax.get_title(loc="left") == "your model of lesson 07" in panel.stored_text()
    assert unreadable(panel.live.figure) == []


def test_a_model_of_no_tales_is_refused():
    with pytest.raises(ConfigError, match="Only the tales have a parser"):
        module.sampling_experiment(None, None, None)
