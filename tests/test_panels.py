"""The skin of every panel, and the volume knob: controls, readings, the same cell without a front end."""

import base64
import math
import re

import pytest
from matplotlib.figure import Figure

from foundry_lib import ConfigError
from foundry_lib.panels import Choice, Panel, Slider, Tick, Words, controls
from foundry_lib.panels import panel as panel_module
from foundry_lib.panels import volume_knob as knob
from foundry_lib.panels.controls import set_control
from foundry_lib.panels.volume_knob import Knob, rms_by_layer, volume_knob


def drawing(figure, size, way="up", more=False, text="cat"):
    if size == 9:
        raise ConfigError("size 9 is too large")
    figure.subplots().plot([0, size])
    return f"size {size}, {way}, {more}, {text}"


def panel():
    return Panel(
        drawing,
        name="a drawing",
        size=Slider(2, 1, 9),
        way=Choice("up", ["up", "down"]),
        more=Tick(False),
        text=Words("cat"),
    )


def test_a_control_moves_picture_and_reading(capsys):
    one = panel()
    before = bytes(one.live.value)
    assert before.startswith(b"\x89PNG") and one.reading == "size 2, up, False, cat"
    one.controls["size"].value = 5  # what a hand on the slider does
    assert bytes(one.live.value) != before and one.reading == "size 5, up, False, cat" and "size 5" in one.words.value
    one.set(way="down", more=True, text="dog")
    assert capsys.readouterr().out == "size 5, down, True, dog\n"
    one.set(size=9)
    assert capsys.readouterr().out == "size 9 is too large\n"
    one.set(size=3)
    assert "size 3" in one.reading


NONSENSE = {
    "size": (7.5, "size is a whole number, found 7.5"),
    "way": ("sideways", "way takes .*; found 'sideways'"),
    "volume": (3, "There is no control 'volume'; there are size, "),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_a_value_that_a_slider_would_round_or_clip_is_refused_by_name(name):
    one = panel()
    before, (value, words) = one.values, NONSENSE[name]
    with pytest.raises(ConfigError, match=words):
        one.set(**{name: value})
    assert one.values == before


@pytest.mark.parametrize("value", ["loud", 20, -1, math.nan])
def test_a_slider_goes_on_live_after_a_value_that_is_none(value):
    slider = Slider(1.0, 0.1, 10.0, log=True).widget("gain")
    with pytest.raises(ConfigError, match="gain goes from 0.1 to 10, found"):
        set_control({"gain": slider}, "gain", value)
    assert slider.value == 1.0 and slider.continuous_update
    for end in (0.1, 10.0):
        set_control({"gain": slider}, "gain", end)
        assert slider.value == pytest.approx(end) and slider.continuous_update


def slipped(figure, size):
    if size == 3:
        size, _ = (1, 2, 3)  # a programming slip: Python raises ValueError, and the library refused nothing
    return f"size {size}"


def test_a_refusal_is_a_reading_and_a_slip_of_the_program_is_raised():
    one = Panel(slipped, size=Slider(2, 1, 9))
    for move in (lambda: one.set(size=3), lambda: setattr(one.controls["size"], "value", 3)):
        with pytest.raises(ValueError, match="too many values to unpack"):
            move()
        one.set(size=4)
        assert one.reading == "size 4"
    with pytest.raises(ValueError, match="too many values to unpack"):
        Panel(slipped, size=Slider(3, 1, 9))


def test_without_a_front_end_the_cell_shows_picture_and_reading():
    data, _ = panel()._repr_mimebundle_()
    assert data["text/plain"] == "<a drawing: size 2, up, False, cat>"
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")


def test_controls_can_be_reached_and_typed():
    one = panel()
    grid, reading, _ = one.children
    assert grid.children[:-1] == tuple(one.controls.values()) and reading is one.words and one.controls["size"].readout
    assert all(child.description for child in one.controls.values())
    assert volume_knob().controls["gain"].readout_format == ".3g"


def test_controls_stand_in_two_columns_and_a_picture_leaves_them_room():
    """What is long takes a whole line. The picture is as wide as its window leaves room for in height."""
    short, long, named = (
        Words("cat").widget("a"),
        Words("a sentence " * 9).widget("b"),
        Choice("up", ["up"]).widget("c"),
    )
    assert controls.rows([short, named]) == 1 and controls.rows([short, long, named]) == 2
    low, high = (Panel(drawing, size=Slider(2, 1, 9), text=Words(text)) for text in ("cat", "a sentence " * 9))
    taken = [int(re.search(r"100vh - (\d+)px", one.live.layout.width)[1]) for one in (low, high)]
    assert taken[1] - taken[0] == panel_module.CONTROL and low.live.layout.min_width == "460px"


def test_a_control_knows_whether_its_page_moves_it():
    """`set_state` is what ipywidgets calls for a message of the page."""
    for control in (Slider(1, 0, 9), Slider(1.0, 0, 9, 0.5), Slider(1.0, 0.1, 10, log=True), Choice(1, [1, 2])):
        widget, seen = control.widget("a"), []
        widget.observe(lambda change, seen=seen: seen.append(change["owner"].by_hand), names="value")
        widget.set_state({"index": 1} if isinstance(control, Choice) else {"value": 2})
        widget.value = 1
        assert seen == [True, False], control


def test_the_volume_knob_says_what_is_true():
    assert "RMS 71.3 before, 1.000 after" in Knob().draw(Figure(), gain=100)
    quiet = 0.000713
    assert f"{quiet / math.sqrt(quiet**2 + 1e-5):.3f} after" in Knob().draw(Figure(), gain=0.001)
    without, with_norm = rms_by_layer(False), rms_by_layer(True)
    assert without[-1] > 1e4 and with_norm[-1] < 10 and len(with_norm) == knob.DEPTH


def test_the_gradient_is_drawn_at_a_right_angle():
    ax = Figure().subplots()
    knob.draw_right_angle(ax)
    token, gradient = ([end - start for start, end in zip(a.xyann, a.xy, strict=True)] for a in ax.texts[::2])
    assert token == [2, 1] and abs(gradient[0] * 2 + gradient[1]) < 1e-6 and math.hypot(*gradient) > 0.5


@pytest.mark.parametrize("control", ["gain", "offset"])
def test_the_volume_knob_redraws_quickly(control):
    one = volume_knob()
    one.controls[control].value = 1.5
    assert one.live.seconds_to_draw < 2.0, "a fifth of a second on a free machine; tests run on busy ones"
