"""The controls of a panel: sliders, choices, ticks and lines of text. All of them can be moved with the keyboard.

A control here is a plain value; its `widget` makes the ipywidget. `set_control` moves one by code.
"""

import math
from dataclasses import dataclass
from numbers import Real

import ipywidgets
from traitlets import TraitError

from ..errors import ConfigError

COLUMNS = "repeat(auto-fit, minmax(max({}px, 40%), 1fr))"  # two columns, or one where the page is narrower than two
FEW, BROAD, NARROW = 3, 300, 225  # so many controls or fewer are this broad; more are narrow and stay two in a row
WIDE = ipywidgets.Layout(width="auto", margin="0")
WHOLE_LINE = ipywidgets.Layout(width="auto", margin="0", grid_area="auto / 1 / auto / -1")
LONG = 40  # characters of a text that takes a whole line
LONG_NAME = 12  # and of the name of a choice
LOOK = {"description_width": "min(140px, 45%)"}
# the room for a slider's number: ipywidgets takes 72 pixels, which leaves a narrow slider a track of 25
STYLE = """<style>
.foundry-controls {--jp-widgets-inline-width-tiny: 44px}
.foundry-controls .widget-readout {flex-shrink: 0}
</style>"""


class ByHand:
    """A widget that knows whether its page or code is changing it: `by_hand` is True while it reads its page's message.

    ipywidgets calls the widget's method `set_state` for such a message and for nothing else.
    """

    by_hand = False

    def set_state(self, sync_data):
        self.by_hand = True
        try:
            super().set_state(sync_data)
        finally:
            self.by_hand = False


class WholeSlider(ByHand, ipywidgets.IntSlider):
    pass


class NumberSlider(ByHand, ipywidgets.FloatSlider):
    pass


class PowerSlider(ByHand, ipywidgets.FloatLogSlider):
    pass


class ChoiceSlider(ByHand, ipywidgets.SelectionSlider):
    pass


class TickBox(ByHand, ipywidgets.Checkbox):
    pass


class TextLine(ByHand, ipywidgets.Text):
    pass


def named(label: str) -> dict:
    """The look that all sliders share."""
    return dict(description=label, tooltip=label, layout=WIDE, style=LOOK)


def in_columns(widgets: list) -> ipywidgets.GridBox:
    """Controls in two columns, so that a picture below them stays in a low window.

    In a narrow page, FEW of them take one column: there is room, and a slider of 225 pixels has a short track.
    """
    columns = COLUMNS.format(BROAD if len(widgets) <= FEW else NARROW)
    layout = ipywidgets.Layout(grid_template_columns=columns, grid_gap="0 12px", max_width="900px", overflow="visible")
    style = ipywidgets.HTML(STYLE, layout=ipywidgets.Layout(display="none"))
    grid = ipywidgets.GridBox([*widgets, style], layout=layout)
    grid.add_class("foundry-controls")
    return grid


def rows(widgets) -> int:
    """How many lines these controls take in two columns."""
    whole = sum(widget.layout is WHOLE_LINE for widget in widgets)
    return whole + math.ceil((len(widgets) - whole) / 2)


@dataclass(frozen=True)
class Slider:
    """A number from low to high. A whole `step` allows whole numbers only. log: moves by powers of ten."""

    value: float
    low: float
    high: float
    step: float = 1
    log: bool = False
    label: str = ""

    def widget(self, name: str):
        common = named(self.label or name)
        if self.log:
            ends = dict(min=math.log10(self.low), max=math.log10(self.high), step=0.1)
            return PowerSlider(self.value, base=10, readout_format=".3g", **ends, **common)
        kind = WholeSlider if isinstance(self.step, int) else NumberSlider
        return kind(self.value, min=self.low, max=self.high, step=self.step, **common)


@dataclass(frozen=True)
class Choice:
    """One of several named values, on a slider with a stop for each.

    It is not a drop-down: in JupyterLab the arrow keys do not move a drop-down.
    """

    value: object
    options: list | dict
    label: str = ""

    def widget(self, name: str):
        pairs = list(self.options.items()) if isinstance(self.options, dict) else list(self.options)
        names = [str(option[0] if isinstance(option, tuple) else option) for option in pairs]
        look = named(self.label or name) | {"layout": WHOLE_LINE if max(map(len, names)) > LONG_NAME else WIDE}
        return ChoiceSlider(options=pairs, value=self.value, **look)


@dataclass(frozen=True)
class Tick:
    """On or off."""

    value: bool
    label: str = ""

    def widget(self, name: str):
        return TickBox(self.value, indent=False, **named(self.label or name))


@dataclass(frozen=True)
class Words:
    """A line of text. The panel reads it when the learner presses Enter or leaves the field."""

    value: str
    label: str = ""

    def widget(self, name: str):
        look = named(self.label or name) | {"layout": WHOLE_LINE if len(self.value) > LONG else WIDE}
        return TextLine(self.value, continuous_update=False, **look)


def set_control(controls: dict, name: str, value):
    """Move the control `name` by code. controls: name → widget.

    Raises ConfigError for an unknown name, and for a value that the control would round or clip.
    """
    if name not in controls:
        raise ConfigError(f"There is no control {name!r}; there are {', '.join(controls)}.")
    control = controls[name]
    decimals = isinstance(control, (ipywidgets.FloatSlider, ipywidgets.FloatLogSlider))
    if decimals or isinstance(control, ipywidgets.IntSlider):
        low, high = control.min, control.max
        if isinstance(control, ipywidgets.FloatLogSlider):
            low, high = control.base**low, control.base**high
        if not (isinstance(value, Real) and low <= value <= high):
            raise ConfigError(f"{name} goes from {low:g} to {high:g}, found {value!r}.")
        if not decimals and value != int(value):
            raise ConfigError(f"{name} is a whole number, found {value!r}.")
    try:
        # For a slider with decimals, a page answers a new value with a rounded one, such as 100.00000000000004. The
        # answer may come late and undo a newer value. A slider that is not continuous sends no answer.
        if decimals:
            control.continuous_update = False
        control.value = value
    except TraitError:
        offered = ", ".join(map(repr, getattr(control, "options", ()))) or f"a value like {control.value!r}"
        raise ConfigError(f"{name} takes {offered}; found {value!r}.") from None
    finally:
        if decimals:
            control.continuous_update = True
