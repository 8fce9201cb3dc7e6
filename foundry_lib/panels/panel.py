"""A picture with controls: a function that draws numbers and returns its reading, and a thin skin of widgets over it.

    def draw(figure, gain, offset):       # draws on the figure, returns one sentence
        ...
    panel = Panel(draw, gain=Slider(1, 0.001, 1000, log=True), offset=Slider(0, -2, 2, 0.1))
    panel.set(gain=100)                   # what the slider does, by code; prints the reading

Every control can be moved with the keyboard (Tab, arrows), and its number can be typed. Without a live front end the
cell shows the picture and the reading of the present values.
"""

import base64
import math
import textwrap
from collections.abc import Callable
from dataclasses import dataclass

import ipywidgets

from ..widgets import LiveFigure

WIDE = ipywidgets.Layout(width="420px", max_width="100%")


def named(label: str) -> dict:
    """What all sliders share."""
    return dict(description=label, layout=WIDE, style={"description_width": "120px"})


@dataclass(frozen=True)
class Slider:
    """A number from low to high; whole numbers when step is whole. log: moves by powers of ten."""

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

    Not a drop-down: JupyterLab takes the arrow keys away from one, so that it could not be moved by keyboard.
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
    """A line of text; it counts when Enter is pressed or the field is left."""

    value: str
    label: str = ""

    def widget(self, name: str):
        wide = ipywidgets.Layout(width="640px", max_width="100%")
        style = {"description_width": "120px"}
        return ipywidgets.Text(
            self.value, description=self.label or name, continuous_update=False, layout=wide, style=style
        )


class Panel(ipywidgets.VBox):
    """Controls above, the picture below them, and under it the reading in words."""

    def __init__(self, draw: Callable, width: float = 8, height: float = 3.4, name: str = "panel", **controls):
        self.draw, self.name = draw, name
        self.controls = {key: control.widget(key) for key, control in controls.items()}
        self.live = LiveFigure(width, height, name=name)
        self.words = ipywidgets.HTML(layout=ipywidgets.Layout(max_width="800px"))
        self.reading = ""
        self.redraw()
        for widget in self.controls.values():
            widget.observe(lambda change: self.redraw(), names="value")
        super().__init__([*self.controls.values(), self.live, self.words])

    @property
    def values(self) -> dict:
        return {key: widget.value for key, widget in self.controls.items()}

    def redraw(self):
        """Draw the present values; an error of the drawing is said in the place of the reading."""
        self.live.figure.clear()
        try:
            self.reading = self.draw(self.live.figure, **self.values)
        except ValueError as error:  # the library refuses, for example, a text that is too long
            self.reading = str(error)
        self.live.redraw()
        self.words.value = f'<p style="max-width:800px">{self.reading}</p>'

    def set(self, **values):
        """Move controls by code, and print the reading."""
        with self.hold_trait_notifications():
            for key, value in values.items():
                self.controls[key].value = value
        print(textwrap.fill(self.reading, 88))

    def _repr_mimebundle_(self, **options):
        bundle = super()._repr_mimebundle_(**options)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        picture = base64.b64encode(self.live.value).decode()
        return {**data, "text/plain": f"<{self.name}: {self.reading}>", "image/png": picture}, metadata
