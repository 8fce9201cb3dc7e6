"""A picture with controls: a function that draws numbers and returns its reading, and a thin skin of widgets over it.

    def draw(figure, gain, offset):       # draws on the figure, returns one sentence
        ...
    panel = Panel(draw, gain=Slider(1, 0.001, 1000, log=True), offset=Slider(0, -2, 2, 0.1))
    panel.set(gain=100)                   # what the slider does, by code; prints the reading

Such a function draws everything at each move. A `Picture` in its place draws most of it once, and is ten times as fast.

Every control can be moved with the keyboard (Tab, arrows), and its number can be typed. Without a live front end the
cell shows the picture and the reading of the present values.
"""

import asyncio
import base64
import copy
import html
import math
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from numbers import Real

import ipywidgets
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from traitlets import TraitError

from ..console import say
from ..errors import ConfigError
from .live_figure import LiveFigure

WIDE = ipywidgets.Layout(width="450px", max_width="100%")


def named(label: str) -> dict:
    """What all sliders share."""
    return dict(description=label, layout=WIDE, style={"description_width": "150px"})


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
        style = {"description_width": "150px"}
        return ipywidgets.Text(
            self.value, description=self.label or name, continuous_update=False, layout=wide, style=style
        )


def place(controls: dict, name: str, value):
    """Move a control by code. Raises ConfigError for a name or a value that there is not, which a slider would bend.

    A page answers a new value of a slider of decimals with its own rounding of it, 100.00000000000004; come late, that
    would undo what was set since. While it is not continuous it is silent.
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
        if decimals:
            control.continuous_update = False
        control.value = value
    except TraitError:
        offered = ", ".join(map(repr, getattr(control, "options", ()))) or f"a value like {control.value!r}"
        raise ConfigError(f"{name} takes {offered}; found {value!r}.") from None
    finally:
        if decimals:
            control.continuous_update = True


class Picture:
    """A picture that is built once and then moved. What moves is an artist that `build` makes with animated=True.

    One object draws on one figure; a panel keeps a copy of it for each of the last few figures that were built.
    Margins are set by hand: a layout that is worked out draws everything twice.
    """

    def still(self, **values) -> Hashable:
        """What the part depends on that stands still; for each such value everything is built anew, once."""
        return None

    def build(self, figure: Figure, **values):
        """Make axes, all that stands still, and the artists that move, without their values."""
        raise NotImplementedError

    def move(self, **values) -> str:
        """Put the moving artists where the values say, and return the reading."""
        raise NotImplementedError

    def draw(self, figure: Figure, **values) -> str:
        """Build and move: the whole picture on an empty figure, and its reading."""
        figure.set_layout_engine("none")
        self.build(figure, **values)
        return self.move(**values)


class Boxes(PathPatch):
    """Any number of rectangles as one shape: hatched, they cost as much as a single one."""

    def __init__(self, **look):
        super().__init__(Path(np.zeros((0, 2))), **look)

    def put(self, boxes: list[tuple[float, float, float, float]]):
        """boxes: left, bottom, width, height of each."""
        corners = [[(x, y), (x + w, y), (x + w, y + h), (x, y + h)] for x, y, w, h in boxes]
        self.set_path(Path.make_compound_path_from_polys(np.array(corners).reshape(-1, 4, 2)))


QUICK, LONGEST = 0.03, 0.6  # seconds between two pictures while a hand moves a slider, and at most in a storm
KEPT = 6  # built pictures, some megabytes each; the playground has so many for one prompt
STORM = 80  # moves a second: more than a hand and a screen make, so they have piled up


class Panel(ipywidgets.VBox):
    """Controls above, the picture below them, and under it the reading in words."""

    def __init__(self, picture: Picture | Callable, width: float = 8, height: float = 3.4, name: str = "panel",
                 **controls):  # fmt: skip
        self.picture, self.draw = (picture, None) if isinstance(picture, Picture) else (None, picture)
        self.name = name
        self.controls = {key: control.widget(key) for key, control in controls.items()}
        self.live = LiveFigure(width, height, name=name)
        self.words = ipywidgets.HTML(layout=ipywidgets.Layout(max_width="800px"))
        self.reading = ""
        self.lock = threading.RLock()  # JupyterLab may move a slider from a thread of its own while a cell runs
        self.kept = {}  # what stands still → the picture as built for it, and its sheet; the last shown comes last
        self.waiting, self.pause, self.drawn = 0, QUICK, 0.0
        self.held = False  # while several controls are set
        self.redraw()
        for widget in self.controls.values():
            widget.observe(self.moved, names="value")
        super().__init__([*self.controls.values(), self.live, self.words])

    @property
    def values(self) -> dict:
        return {key: widget.value for key, widget in self.controls.items()}

    def redraw(self):
        """Draw the present values; an error of the drawing is said in the place of the reading."""
        with self.lock:
            try:
                reading = self.paint(**self.values)
            except ValueError as error:  # the library refuses, for example, a text that is too long
                self.empty(str(error))
            else:
                self.say(reading)

    def paint(self, **values) -> str:
        """Show these values and return their reading; a picture that was built for them before is only moved."""
        still = self.picture.still(**values) if self.picture else None
        known = self.kept.pop(still, None)  # an error below leaves it out, and it is built again
        if known:
            picture, self.live.sheet = known
            reading = picture.move(**values)
            self.live.repaint()
        else:
            picture = copy.copy(self.picture)
            self.live.begin()
            reading = (picture.draw if picture else self.draw)(self.live.figure, **values)
            self.live.redraw()
        if picture:
            self.kept[still] = picture, self.live.sheet
            for oldest in list(self.kept)[:-KEPT]:
                del self.kept[oldest]
        return reading

    def empty(self, reading: str):
        """No picture, and words that say why."""
        self.live.begin()
        self.live.redraw()
        self.say(reading)

    def say(self, reading: str):
        self.reading = reading
        self.words.value = f'<p style="max-width:800px">{html.escape(reading, quote=False)}</p>'

    def moved(self, change):
        """A control has another value. Set by code, it is drawn at once, and an error is raised where it was set.

        Moved by a hand, it is drawn when the moves that came with it have been read: of many that wait, only some
        are drawn, and the last one always is.
        """
        if self.held:
            return
        by_hand = change.owner._property_lock  # holds something only while a message of the front end is read
        try:
            loop = asyncio.get_running_loop() if by_hand else None
        except RuntimeError:
            loop = None
        if loop is None:
            self.redraw()
            return
        self.waiting += 1
        if self.waiting == 1:
            loop.call_later(max(0.0, self.drawn + self.pause - time.monotonic()), self.catch_up)

    def catch_up(self):
        """Draw for all moves that came since the last picture; while they come in a storm, pause longer each time."""
        in_storm = self.waiting > STORM * (time.monotonic() - self.drawn)
        self.pause = min(LONGEST, max(0.1, 2 * self.pause)) if in_storm else QUICK
        self.waiting = 0
        try:
            self.redraw()
        except Exception as error:  # no cell can show it, so it is said where the learner looks, and logged
            self.empty(f"The picture broke off with {type(error).__name__}: {error}")
            raise
        finally:
            self.drawn = time.monotonic()

    def set(self, **values):
        """Move controls by code, draw once, and print the reading. Raises ConfigError as `place` does."""
        self.held = True
        try:
            for key, value in values.items():
                place(self.controls, key, value)
        finally:
            self.held = False
            self.redraw()
        say(self.reading)

    def _repr_mimebundle_(self, **options):
        bundle = super()._repr_mimebundle_(**options)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        picture = base64.b64encode(self.live.value).decode()
        return {**data, "text/plain": f"<{self.name}: {self.reading}>", "image/png": picture}, metadata
