"""Settings side by side: each column is what stream gives, and the mark stands where the first difference is."""

from pathlib import Path

import pytest
import torch

from foundry_lib import ConfigError, SampleConfig, stream, tales
from foundry_lib.analysis.side_by_side import MARK, WIDTH, Column, SideBySide, columns_of, compare_settings, wrapped
from foundry_lib.training.checkpoint import load_checkpoint

DATA = Path(__file__).resolve().parent.parent / "data"
SETTINGS = {"plain": {}, "the same": SampleConfig(), "top-k 5": {"top_k": 5}, "hot": {"temperature": 2.5}}


@pytest.fixture(scope="module", params=["en", "zh"])
def starter(request):
    return *load_checkpoint(DATA / f"starter-{request.param}"), request.param


def test_columns_are_those_of_stream_and_part_where_they_differ(starter):
    model, tokenizer, language = starter
    prompt = tales.generate(language, 3)[0].parts[0]
    found = compare_settings(model, tokenizer, prompt, SETTINGS, seed=3, n=150, language=language)
    assert [column.name for column in found.columns] == list(SETTINGS)
    plain = list(stream(model, tokenizer, prompt, 150, SampleConfig(), 3))
    for column, settings in zip(found.columns, SETTINGS.values(), strict=True):
        config = settings if isinstance(settings, SampleConfig) else SampleConfig(**settings)
        pieces = list(stream(model, tokenizer, prompt, 150, config, 3))
        assert column.pieces == pieces
        assert column.verdict == tales.parse(prompt + "".join(pieces), language).message
        if column.differs_at is None:
            assert pieces == plain
        else:
            assert pieces[: column.differs_at] == plain[: column.differs_at]
            assert pieces[column.differs_at : column.differs_at + 1] != plain[column.differs_at : column.differs_at + 1]
    assert (
        found.columns[0].differs_at is found.columns[1].differs_at is None and found.columns[3].differs_at is not None
    )
    assert found.reading.startswith("the same writes the same as plain.\n")
    hot = found.columns[3]
    assert f"hot parts from plain at piece {hot.differs_at + 1}: {hot.pieces[hot.differs_at]!r}" in found.reading
    again = compare_settings(model, tokenizer, prompt, SETTINGS, seed=3, n=150, language=language)
    assert repr(again) == repr(found) and again._repr_html_() == found._repr_html_()
    lines = repr(found).splitlines()
    assert max(map(columns_of, lines)) <= WIDTH and repr(found).count(MARK) == sum(
        column.differs_at is not None for column in found.columns
    )


def test_one_may_end_before_the_other():
    columns = [Column("long", ["a", "b", "c"], None, ""), Column("short", ["a", "b"], 2, "")]
    assert SideBySide("", columns).reading == "short parts from long at piece 3: the end, not 'c'."
    columns = [Column("short", ["a"], None, ""), Column("long", ["a", "b"], 1, "")]
    assert SideBySide("", columns).reading == "long parts from short at piece 2: 'b', not the end."


def test_text_is_shown_as_it_is_and_in_its_own_column():
    columns = [Column("<b>", ["x<script>", "& y"], 1, "a <i> cannot follow")]
    shown = SideBySide("<img> ", columns)._repr_html_()
    for wrong in ("<script>", "<img>", "<b>x", "<i> "):
        assert wrong not in shown
    assert "overflow-x:auto" in shown and "min-width:160px" in shown, "a narrow page cuts no word"
    assert "&lt;img&gt; x&lt;script&gt;" in shown and "&amp; y" in shown and "&lt;b&gt;</th>" in shown
    plain = repr(SideBySide("p ", [Column("one", ["a b"], None, ""), Column("two", ["a", "c"], 1, "")])).splitlines()
    assert plain[2] == "p a b" + " " * 38 + f"  p a{MARK}c"


def test_wrapping():
    assert wrapped("one two three", 8) == ["one two", "three"] and wrapped("a\n\nb", 8) == ["a", "", "b"]
    assert wrapped("从前有个小明", 5) == ["从前", "有个", "小明"] and columns_of("从a") == 3


def test_what_makes_no_sense_is_refused(starter):
    model, tokenizer, _ = starter
    with pytest.raises(ConfigError, match="nothing to compare"):
        compare_settings(model, tokenizer, "", {})
    with pytest.raises(ConfigError, match="top_q"):
        compare_settings(model, tokenizer, "", {"one": {"top_q": 3}})
    torch.manual_seed(0)
    wanted = torch.rand(1)
    torch.manual_seed(0)
    compare_settings(model, tokenizer, "", {"one": {}}, n=3)
    assert torch.equal(torch.rand(1), wanted)
