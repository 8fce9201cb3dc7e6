"""The controls of a panel: sliders, choices, ticks and lines of text. All of them can be moved with the keyboard.

A control here is a plain value; its `widget` makes the ipywidget. `set_control` moves one by code.
"""

import math
from dataclasses import dataclass
from numbers import Real

import ipywidgets
from traitlets import TraitError

from ..errors import ConfigError

WIDE = ipywidgets.Layout(width="450px", max_width="100%")


def named(label: str) -> dict:
    """The look that all sliders share."""
    return dict(description=label, layout=WIDE, style={"description_width": "150px"})


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
            return ipywidgets.FloatLogSlider(self.value, base=10, readout_format=".3g", **ends, **common)
        kind = ipywidgets.IntSlider if isinstance(self.step, int) else ipywidgets.FloatSlider
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
        return ipywidgets.SelectionSlider(options=pairs, value=self.value, **named(self.label or name))


@dataclass(frozen=True)
class Tick:
    """On or off."""

    value: bool
    label: str = ""

    def widget(self, name: str):
        return ipywidgets.Checkbox(self.value, description=self.label or name, indent=True, layout=WIDE)


@dataclass(frozen=True)
class Words:
    """A line of text. The panel reads it when the learner presses Enter or leaves the field."""

    value: str
    label: str = ""

    def widget(self, name: str):
        wide = ipywidgets.Layout(width="640px", max_width="100%")
        style = {"description_width": "150px"}
        return ipywidgets.Text(
            self.value, description=self.label or name, continuous_update=False, layout=wide, style=style
        )


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
