"""A picture that is redrawn in place, on a screen or on a saved page."""

import struct
import sys
import time
import zlib

import ipywidgets
import numpy as np
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .stored import Stored

SMALLEST = 460  # pixels: the width of a cell in a window of 900 pixels with JupyterLab's file list open
BARS = 122  # pixels of the window that JupyterLab's menu, tabs, tool bar and status bar take
IN_COLAB = "google.colab" in sys.modules  # there a cell's output is a window of its own, as high as what it shows


def png(pixels: np.ndarray) -> bytes:
    """Pixels (height, width, 3 or more channels of 8 bits) as a PNG in red, green and blue.

    This is fast because it leaves out two slow things: the search for the best filter of each line, and strong
    compression.
    """
    height, width = pixels.shape[:2]
    lines = np.zeros((height, 1 + 3 * width), dtype=np.uint8)  # each line begins with its filter: 0, none
    for channel in range(3):  # four times as fast as copying three of the four channels at once
        lines[:, 1 + channel :: 3] = pixels[:, :, channel]
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits, kind 2: red, green, blue
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 1)), (b"IEND", b""))
    packed = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


class Sheet:
    """A figure, and the pixels of its still part; the moving part is drawn on top of them."""

    def __init__(self, width: float, height: float):
        self.figure = Figure(figsize=(width, height), dpi=100)
        self.canvas = FigureCanvasAgg(self.figure)

    def draw(self):
        """Draw the still part: every artist that is not animated."""
        self.canvas.draw()
        self.still = self.canvas.copy_from_bbox(self.figure.bbox)
        self.moving = sorted(self.figure.findobj(Artist.get_animated), key=lambda artist: artist.zorder)

    def pixels(self) -> np.ndarray:
        """(height, width, 4): the still part as `draw` left it, and the animated artists as they are now."""
        self.canvas.restore_region(self.still)
        for artist in self.moving:
            artist.draw(self.canvas.get_renderer())
        return np.asarray(self.canvas.buffer_rgba())


class LiveFigure(Stored, ipywidgets.Image):
    """A matplotlib figure that is redrawn in place, in a running cell or from a slider's callback.

    Draw on `.axes`, then call `redraw()`. A page without a live front end shows the same picture as a PNG. The figure
    has its own canvas and uses no pyplot, so any thread may draw it.

    An artist that moves often can have animated=True. `redraw()` saves the pixels of all other artists; after a change
    of the animated ones `repaint()` draws them on those pixels, in a tenth of the time.
    """

    moves = True

    def __init__(self, width: float = 7, height: float = 3, name: str = "live figure"):
        self.sheet = Sheet(width, height)
        self.axes = self.figure.add_subplot()
        self.name = name
        self.seconds_to_draw = 0.0
        self.natural = round(100 * width), round(100 * height)  # pixels
        super().__init__(format="png", layout=ipywidgets.Layout(width=f"{self.natural[0]}px", max_width="100%"))
        self.leave_room(0)

    def leave_room(self, pixels: int):
        """Shrink in a low window, so that `pixels` of the page above the picture stay in view with it.

        The picture never gets narrower than SMALLEST, because nobody could read it then.
        """
        width, height = self.natural
        self.layout.min_width = f"{min(width, SMALLEST)}px"
        if pixels and not IN_COLAB:
            self.layout.width = f"min({width}px, calc((100vh - {BARS + pixels}px) * {width / height:.3f}))"

    def scrolled(self) -> ipywidgets.Box:
        """The picture in a box that scrolls sideways where the page is narrower than the smallest picture."""
        return ipywidgets.Box([self], layout=ipywidgets.Layout(overflow="auto hidden", max_width="100%"))

    @property
    def figure(self) -> Figure:
        return self.sheet.figure

    def begin(self):
        """Start an empty figure of the same size. The old figure is not cleared; a caller may still hold its sheet."""
        self.sheet = Sheet(*self.figure.get_size_inches())

    def redraw(self):
        """Draw the whole figure and send it."""
        started = time.perf_counter()
        self.sheet.draw()
        self._send_pixels(started)

    def repaint(self):
        """Draw the animated artists on the pixels that `redraw` saved, and send the figure."""
        self._send_pixels(time.perf_counter())

    def _send_pixels(self, started: float):
        self.value = png(self.sheet.pixels())
        self.seconds_to_draw = time.perf_counter() - started

    def stored_text(self) -> str:
        return f"<{self.name}>"

    def stored_png(self) -> bytes:
        return self.value
