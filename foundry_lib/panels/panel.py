"""A picture with controls: a function that draws numbers and returns its reading, with widgets around it.

    def draw(figure, gain, offset):       # draws on the figure, returns one sentence
        ...
    panel = Panel(draw, gain=Slider(1, 0.001, 1000, log=True), offset=Slider(0, -2, 2, 0.1))
    panel.set(gain=100)                   # what the slider does, by code; prints the reading

Such a function draws everything at each move. A `Picture` draws its still part once, and moves ten times as fast.

Tab and the arrow keys reach and move every control, and its number can be typed. Without a live front end the cell
shows the picture and the reading of the present values.
"""

import asyncio
import copy
import html
import threading
import time
from collections.abc import Callable

import ipywidgets

from ..console import say
from ..errors import FoundryError
from .controls import in_columns, rows, set_control
from .live_figure import LiveFigure
from .picture import Picture
from .stored import Stored

QUICK, LONGEST = 0.03, 0.6  # seconds between two pictures while a person moves a slider; the most when moves pile up
MOST_BUILT = 6  # built pictures, some megabytes each; the playground needs six for one prompt
CONTROL, READING = 28, 90  # pixels of a row of controls, and of a long reading in a narrow window
WORDS = "max-width:900px; margin:2px 0; line-height:1.35; min-height:2.7em"  # two lines: the picture seldom jumps
STORM = 80  # moves per second: more than a person makes, so these moves have piled up


class Panel(Stored, ipywidgets.VBox):
    """Controls in two columns, below them the reading in words, and then the picture: all three in one window.

    A FoundryError of the drawing becomes the reading. Any other error is a fault of the program, and is raised.
    """

    def __init__(self, picture: Picture | Callable, width: float = 8, height: float = 3.4, name: str = "panel",
                 **controls):  # fmt: skip
        self.picture, self.draw = (picture, None) if isinstance(picture, Picture) else (None, picture)
        self.name = name
        self.controls = {key: control.widget(key) for key, control in controls.items()}
        self.live = LiveFigure(width, height, name=name)
        self.live.leave_room(CONTROL * rows(self.controls.values()) + READING)
        self.words = ipywidgets.HTML(layout=ipywidgets.Layout(max_width="900px"))
        self.reading = ""
        self.lock = threading.RLock()  # JupyterLab may move a slider from its own thread while a cell runs
        self.built = {}  # key of a picture → the picture that was built for it, and its sheet; the last shown is last
        self.waiting, self.pause, self.drawn = 0, QUICK, 0.0
        self.paused = False  # True while `set` moves several controls
        self.redraw()
        for widget in self.controls.values():
            widget.observe(self.moved, names="value")
        super().__init__([in_columns([*self.controls.values()]), self.words, self.live.scrolled()])

    @property
    def values(self) -> dict:
        return {key: widget.value for key, widget in self.controls.items()}

    def redraw(self):
        """Draw the present values. A FoundryError, for example for a text that is too long, becomes the reading."""
        with self.lock:
            try:
                reading = self.paint(**self.values)
            except FoundryError as error:
                self.show_empty(str(error))
            else:
                self.show_reading(reading)

    def paint(self, **values) -> str:
        """Show these values and return their reading. A picture that was built for their key is only moved."""
        key = self.picture.key(**values) if self.picture else None
        built = self.built.pop(key, None)  # after an error below the picture is built again
        if built:
            picture, self.live.sheet = built
            reading = picture.move(**values)
            self.live.repaint()
        else:
            picture = copy.copy(self.picture)
            self.live.begin()
            reading = (picture.draw if picture else self.draw)(self.live.figure, **values)
            self.live.redraw()
        if picture:
            self.built[key] = picture, self.live.sheet
            for oldest in list(self.built)[:-MOST_BUILT]:
                del self.built[oldest]
        return reading

    def show_empty(self, reading: str):
        """Show a blank picture, and the reason in words."""
        self.live.begin()
        self.live.redraw()
        self.show_reading(reading)

    def show_reading(self, reading: str):
        self.reading = reading
        self.words.value = f'<p style="{WORDS}">{html.escape(reading, quote=False)}</p>'

    def moved(self, change):
        """A control has a new value. If code set it, draw at once, and raise an error where the code set it.

        If a person moved it, first read the other moves that came with it. When many wait, only some of them are drawn,
        always including the last.
        """
        if self.paused:
            return
        try:
            loop = asyncio.get_running_loop() if change["owner"].by_hand else None
        except RuntimeError:
            loop = None
        if loop is None:
            self.redraw()
            return
        self.waiting += 1
        if self.waiting == 1:
            loop.call_later(max(0.0, self.drawn + self.pause - time.monotonic()), self.catch_up)

    def catch_up(self):
        """Draw for all moves since the last picture. In a storm of moves, pause longer each time."""
        in_storm = self.waiting > STORM * (time.monotonic() - self.drawn)
        self.pause = min(LONGEST, max(0.1, 2 * self.pause)) if in_storm else QUICK
        self.waiting = 0
        try:
            self.redraw()
        except Exception as error:  # no cell shows this error: the picture's text and the log do
            self.show_empty(f"The picture broke off with {type(error).__name__}: {error}")
            raise
        finally:
            self.drawn = time.monotonic()

    def set(self, **values):
        """Move controls by code, draw once, and print the reading. Raises ConfigError as `set_control` does."""
        self.paused = True
        try:
            for name, value in values.items():
                set_control(self.controls, name, value)
        finally:
            self.paused = False
            self.redraw()
        say(self.reading)

    def stored_text(self) -> str:
        return f"<{self.name}: {self.reading}>"

    def stored_png(self) -> bytes:
        return self.live.value
