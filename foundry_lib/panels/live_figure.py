"""A picture that is redrawn in place, on a screen or on a saved page."""

import base64
import struct
import time
import zlib

import ipywidgets
import numpy as np
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def png(pixels: np.ndarray) -> bytes:
    """Pixels (height, width, 3 or more channels of 8 bits) as a PNG in red, green and blue.

    It leaves out what makes a PNG slow: the search for the best filter of each line, and any effort to be small.
    """
    height, width = pixels.shape[:2]
    lines = np.zeros((height, 1 + 3 * width), dtype=np.uint8)  # each line begins with its filter: 0, none
    for channel in range(3):  # four times as fast as three bytes of four at once
        lines[:, 1 + channel :: 3] = pixels[:, :, channel]
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits, kind 2: red, green, blue
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 1)), (b"IEND", b""))
    packed = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


class Sheet:
    """A figure and its pixels: those of all that stands still are kept, and what moves is drawn on them."""

    def __init__(self, width: float, height: float):
        self.figure = Figure(figsize=(width, height), dpi=100)
        self.canvas = FigureCanvasAgg(self.figure)

    def draw(self):
        """Draw all but the animated artists, which are what moves."""
        self.canvas.draw()
        self.still = self.canvas.copy_from_bbox(self.figure.bbox)
        self.moving = sorted(self.figure.findobj(Artist.get_animated), key=lambda artist: artist.zorder)

    def pixels(self) -> np.ndarray:
        """(height, width, 4): what moves as it is now, and all the rest as `draw` left it."""
        self.canvas.restore_region(self.still)
        for artist in self.moving:
            artist.draw(self.canvas.get_renderer())
        return np.asarray(self.canvas.buffer_rgba())


class LiveFigure(ipywidgets.Image):
    """A matplotlib figure that is redrawn in place, in a running cell or from a slider's callback.

    Draw on `.axes`, then call `redraw()`. Where there is no live front end (a saved page, the regression check) the
    same output shows the picture as a PNG. It uses a canvas of its own and no pyplot, so any thread may draw it.

    What moves often can be an artist with animated=True: `redraw()` keeps the pixels of all the rest, and after a
    change of such artists `repaint()` puts them on those pixels, which costs a tenth of drawing everything.
    """

    def __init__(self, width: float = 7, height: float = 3, name: str = "live figure"):
        self.sheet = Sheet(width, height)
        self.axes = self.figure.add_subplot()
        self.name = name
        self.seconds_to_draw = 0.0
        super().__init__(format="png", layout=ipywidgets.Layout(width=f"{round(100 * width)}px", max_width="100%"))

    @property
    def figure(self) -> Figure:
        return self.sheet.figure

    def begin(self):
        """Go on with an empty figure. The sheet of the one before stays as it is, for whoever keeps it."""
        self.sheet = Sheet(*self.figure.get_size_inches())

    def redraw(self):
        """Send the figure as it is now, all of it drawn anew."""
        started = time.perf_counter()
        self.sheet.draw()
        self._send_pixels(started)

    def repaint(self):
        """Send the figure with its animated artists as they are now and all the rest as `redraw` left it."""
        self._send_pixels(time.perf_counter())

    def _send_pixels(self, started: float):
        self.value = png(self.sheet.pixels())
        self.seconds_to_draw = time.perf_counter() - started

    def _repr_mimebundle_(self, **options):
        bundle = super()._repr_mimebundle_(**options)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        fixed = {"text/plain": f"<{self.name}>", "image/png": base64.b64encode(self.value).decode()}
        return {**data, **fixed}, metadata
