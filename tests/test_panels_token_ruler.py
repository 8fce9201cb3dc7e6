"""The token ruler cuts as the tokenizers do, and says what is wrong with an empty sentence."""

import matplotlib
import pytest
from matplotlib.figure import Figure

from foundry_lib import TokenizerError, plots
from foundry_lib.panels import token_ruler as ruler

SENTENCE = "The function returns 猫 and naïve 🙂"


def test_the_pieces_are_the_text():
    for name, tokenizer in ruler.rulers().items():
        pieces = tokenizer.spelled(SENTENCE)
        assert len(pieces) == len(tokenizer.encode(SENTENCE)), name
        assert tokenizer.spelled("A list.") and "".join(tokenizer.spelled("A list.")) == "A list."
        assert {"<F0>", "<9F>", "<99>", "<82>"} <= set(pieces), "the bytes of a character without a piece"
    counts = [len(t.encode(SENTENCE)) for t in ruler.rulers().values()]
    assert counts == sorted(counts, reverse=True) and counts[0] > 1.5 * counts[-1]


def test_moving_the_controls_changes_the_reading(capsys):
    panel = ruler.token_ruler(SENTENCE)
    before = panel.reading
    panel.set(vocabulary="8,192 entries")
    assert panel.reading != before and "8,192" in capsys.readouterr().out
    panel.set(text="猫")
    assert "tokens for 1 characters" in panel.reading
    panel.set(text="  ")
    assert panel.reading == "Write a sentence, and press Enter."
    with pytest.raises(TokenizerError):
        ruler.Ruler().draw(Figure(), text=" ")


def test_a_long_sentence_is_cut_and_nothing_leaves_the_ruler():
    figure = Figure(figsize=(9.5, 2.8))
    said = ruler.Ruler().draw(figure, text="wide 猫 sentence of words " * 40, vocabulary="characters")
    assert f"for the first {ruler.CHARACTERS} characters" in said
    left = figure.axes[0]
    for pieces in left.patches:
        x, y = pieces.get_path().vertices.T
        assert 0 <= x.min() and x.max() <= ruler.PER_LINE and left.get_ylim()[0] <= y.min() and y.max() <= 0.6


def test_the_boxes_lie_where_the_pieces_are_in_the_text():
    text = "The function returns 猫 and naïve 🙂" * 2
    characters = ruler.slots(text)
    for name, tokenizer in ruler.rulers().items():
        found, at = ruler.boxes(text, tokenizer), 0
        assert len(found) == len(tokenizer.encode(text)), name
        for token, places in zip(tokenizer.encode(text), found, strict=True):
            mine = characters[at : at + len(tokenizer.token_bytes(token))]
            at += len(mine)
            assert places[0][:2] == mine[0][:2] and places[-1][2] == pytest.approx(mine[-1][1] + mine[-1][2])
            assert len(places) == len({slot[0] for slot in mine})
        assert at == len(text.encode())
    assert ruler.slots("a猫")[1:] == [(0, 1 + 2 * byte / 3, 2 / 3) for byte in range(3)]


def test_chinese_is_drawn():
    assert not plots.glyphs_missing("猫在树下唱歌")
    assert matplotlib.rcParams["font.family"][0] == "DejaVu Sans"
