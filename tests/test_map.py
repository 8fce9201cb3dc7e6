"""The map of the model: its parameters, its texts, and the cell at the head of every lesson that shows it."""

import base64
import io
import json

import nbformat
import pytest
from helpers import ROOT
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from foundry_lib.config import ModelConfig
from foundry_lib.lessons import here, lesson_map, progress
from foundry_lib.plots import model_map

LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CONFIGS = {
    "tales": lesson_map.TALES,
    "small": ModelConfig.preset("small"),
    "medium, tied": ModelConfig.preset("medium", tie_embeddings=True),
    "one kv head": ModelConfig.preset("tiny", n_kv_heads=1),
    "all kv heads": ModelConfig.preset("medium", n_kv_heads=8),
    "one layer": ModelConfig(vocab_size=90, dim=24, n_layers=1, n_heads=3, n_kv_heads=3, hidden_dim=7),
}
EVERY_OWN = tuple(box for boxes in lesson_map.BOXES.values() for box in boxes)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_boxes_hold_every_parameter(name):
    config = CONFIGS[name]
    assert model_map.counted(config) == config.n_params
    head = next(box for box in model_map.boxes(config) if box.part == "head")
    assert ("shared" in head.text) == config.tie_embeddings


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("own", [(), EVERY_OWN], ids=["library", "own"])
def test_no_text_lies_on_another_or_leaves_the_picture(name, own):
    figure = Figure(figsize=(9.5, 3.6), dpi=100)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    model_map.draw_map(axes, CONFIGS[name], tuple(model_map.PARTS), own)
    renderer = FigureCanvasAgg(figure).get_renderer()
    extents = [(text.get_text(), text.get_window_extent(renderer)) for text in axes.texts if text.get_text()]
    for number, (words, extent) in enumerate(extents):
        assert extent.x0 >= 0 and extent.x1 <= 950 and extent.y0 >= 0, f"{words} leaves the picture"
        for other, second in extents[:number]:
            across = min(extent.x1, second.x1) - max(extent.x0, second.x0)
            down = min(extent.y1, second.y1) - max(extent.y0, second.y0)  # the lines of a box may touch
            assert across <= 0 or down <= 3, f"{words!r} lies on {other!r}"
    assert min(text.get_fontsize() for text in axes.texts) >= 8


def test_what_is_lit_and_own_shows_without_colour_and_in_words():
    def marks(lit, own):
        axes = Figure().add_subplot()
        model_map.draw_map(axes, lesson_map.TALES, lit, own)
        triangles = sum(line.get_marker() == "v" for line in axes.lines)
        return triangles, sum("✓ yours" in text.get_text() for text in axes.texts)

    assert marks((), ()) == (0, 0)
    assert marks(("norm",), ("rope",)) == (3, 2), "three norms; RoPE, and the legend"
    text = model_map.map_text(lesson_map.TALES, ("norm",), ("rope", "sum"))
    assert text.endswith("This lesson: norm. Yours: RoPE, residual sums.") and "565,888 parameters" in text
    assert "This lesson: the whole model." in model_map.map_text(lesson_map.TALES, tuple(model_map.PARTS))


def test_the_map_shows_the_model_that_comes_with_the_course():
    stored = json.loads((ROOT / "data" / "starter-en" / "config.json").read_text(encoding="utf-8"))
    config = ModelConfig.from_dict(stored)
    assert model_map.map_text(config) == model_map.map_text(lesson_map.TALES)


# ---- At the head of a lesson


def test_a_lesson_shows_the_map_the_device_and_whose_the_parts_are(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(progress, "FILE", tmp_path / "progress.json")
    shown = []
    monkeypatch.setattr(here, "display", shown.append)
    here.you_are_here("03", "cpu")
    printed = capsys.readouterr().out
    assert printed.startswith("This lesson runs on: cpu\nYour model: so far every part comes from the library")
    links = shown[1]._repr_mimebundle_()
    assert links["text/plain"] == "Lessons before: 02_rope, next: 04_swiglu"
    assert 'href="04_swiglu.ipynb"' in links["text/html"] and "start page" not in links["text/html"]
    data, metadata = shown[0]._repr_mimebundle_()
    picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
    assert picture.size == (1900, 720) and metadata == {"image/png": {"width": 950}}
    assert data["text/plain"].endswith("This lesson: the projections of attention, attention.")
    for name in ("gqa", "rms_norm"):
        progress.keep("work", name, "def f(): pass")
    here.you_are_here("03", "cpu")
    assert (
        "Your model: norm and grouped attention are yours; the other parts are the library's."
        in capsys.readouterr().out
    )
    assert shown[2]._repr_mimebundle_()[0]["text/plain"].endswith("Yours: norm, attention.")


def test_every_lesson_lights_parts_of_the_map_and_every_part_is_lit_once():
    names = {path.stem[:2] for path in LESSONS}
    assert set(lesson_map.LIT) == names
    lit = [part for parts in lesson_map.LIT.values() if len(parts) < len(model_map.PARTS) for part in parts]
    assert set(lit) == set(model_map.PARTS) and set(EVERY_OWN) <= set(model_map.PARTS)
    assert list(progress.WORDS) == list(progress.PARTS), "every part of the learner's has its words"
    assert set(lesson_map.BOXES) <= set(progress.PARTS)


def test_every_lesson_begins_with_the_same_cell():
    sources = set()
    for path in LESSONS:
        number, notebook = path.stem[:2], nbformat.read(path, as_version=4)
        card, cell = notebook.cells[:2]
        assert card.cell_type == "markdown" and card.source.startswith(f"# {number} ")
        assert cell.id == f"{number}-here" and cell.cell_type == "code"
        assert f'you_are_here("{number}", device)' in cell.source
        sources.add(cell.source.replace(f'"{number}"', '"NN"'))
    assert len(sources) == 1


def test_without_the_library_the_cell_says_how_to_get_it(monkeypatch):
    cell = nbformat.read(LESSONS[0], as_version=4).cells[1]
    monkeypatch.setitem(__import__("sys").modules, "foundry_lib.lessons.here", None)
    with pytest.raises(ModuleNotFoundError) as caught:
        exec(cell.source, {})
    shown = caught.value._render_traceback_()  # what a notebook shows instead of the traceback
    assert len(shown) == 4 and all(words in "".join(shown) for words in ("git clone", "%pip install", "course.py lab"))
    commands = [line.strip() for line in shown[1:3]]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(command.split("#")[0].strip() in readme for command in commands), "README says the same"
