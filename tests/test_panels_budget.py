"""The budget panel: its numbers are those of a real model and of a count by hand, and a bad choice gets a sentence."""

import json

import pytest
from matplotlib.figure import Figure

from foundry_lib import MiniLLM, ModelConfig
from foundry_lib.experiments import ablations
from foundry_lib.panels import budget as module
from foundry_lib.panels.budget import Budget, budget, short, training_seconds


def test_the_reading_counts_the_guides_model_as_by_hand():
    vocabulary = 2 * 8192 * 256
    attention, feed_forward, norms = 4 * (2 * 256 * 256 + 2 * 256 * 128), 4 * 3 * 256 * 704, 9 * 256
    total = vocabulary + attention + feed_forward + norms
    reading = Budget().draw(Figure())
    assert f"{total:,} parameters, {total - 8192 * 256:,} tied" in reading
    shares = [round(100 * n / total) for n in (vocabulary, attention, feed_forward)]
    assert "embedding and head hold {} %, attention {} %, feed-forward {} %".format(*shares) in reading
    assert "2,048 bytes of cache" in reading, "2 × 4 layers × 4 heads × 32 channels × 2 bytes"


def test_the_reading_counts_as_the_tensors_do():
    reading = Budget().draw(Figure(), preset="tiny", vocab_size=1536, n_kv_heads=2)
    for tied in (False, True):
        model = MiniLLM(ModelConfig.preset("tiny", vocab_size=1536, tie_embeddings=tied))
        assert f"{sum(p.numel() for p in model.parameters()):,}" in reading


def test_the_bars_are_the_counts():
    figure, most = Figure(), ModelConfig().n_params
    Budget().draw(figure)
    for patch, part in zip(figure.axes[0].patches, ModelConfig().params_by_part, strict=True):
        ends = [box.vertices[:4, 0] * most for box in patch.get_path()._iter_connected_components()]
        counts = [config.params_by_part.get(part, 0) for config in (ModelConfig(tie_embeddings=True), ModelConfig())]
        assert [end.max() - end.min() for end in ends] == pytest.approx(counts), part
    assert [bar.get_width() for bar in figure.axes[2].patches] == [1, 1]
    Budget().draw(figure := Figure(), preset="tiny", vocab_size=8192, n_kv_heads=1)
    tiny = ModelConfig.preset("tiny", n_kv_heads=1).kv_cache_bytes_per_token / ModelConfig().kv_cache_bytes_per_token
    assert [bar.get_width() for bar in figure.axes[2].patches] == [1, pytest.approx(tiny)]


@pytest.mark.parametrize("change", [{"preset": "medium"}, {"vocab_size": 512}, {"n_kv_heads": 1}], ids=str)
def test_moving_a_control_changes_picture_and_reading(change, capsys):
    panel = budget()
    before, picture = panel.reading, panel.live.value
    panel.set(**change)
    assert panel.reading != before and panel.live.value != picture and capsys.readouterr().out
    seconds = []
    for _ in range(3):
        panel.redraw()
        seconds.append(panel.live.seconds_to_draw)
    assert min(seconds) < 1.0, "0.2 s on a free machine"


def test_a_choice_that_no_model_can_have_gets_a_sentence():
    panel = budget()
    panel.set(preset="tiny", n_kv_heads=8)
    assert "Try n_kv_heads=1 or 2 or 4" in panel.reading
    panel.set(n_kv_heads=4)
    assert "tiny, vocabulary 8,192" in panel.reading


def test_the_speed_is_the_one_that_the_shipped_trainings_had():
    runs = [json.loads(line) for line in ablations.RUNS.read_text("utf-8").splitlines()]
    seconds = [run["seconds"] for run in runs if run["kind"] == "recipe" and run["row"] == "tales-en"]
    config = ModelConfig.preset("tiny", vocab_size=1536, tie_embeddings=True)
    assert 0.5 < training_seconds(config) / (sum(seconds) / len(seconds)) < 2


def test_an_estimate_grows_with_what_is_computed():
    small, medium = ModelConfig(), ModelConfig.preset("medium")
    factor = medium.flops_per_token / small.flops_per_token
    assert training_seconds(medium) / training_seconds(small) == pytest.approx(factor)
    assert set(module.LOOK) == set(small.params_by_part)


def test_short_numbers():
    assert [short(n) for n in (7_145_728, 786_432, 512, 3.2e9)] == ["7.15 M", "786 k", "512", "3.2 G"]
