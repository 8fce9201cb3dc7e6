"""A picture that is redrawn in place, on a screen or on a saved page."""

import base64
import io
import time

import ipywidgets
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imsave


class LiveFigure(ipywidgets.Image):
    """A matplotlib figure that is redrawn in place, in a running cell or from a slider's callback.

    Draw on `.axes`, then call `redraw()`. Where there is no live front end (a saved page, the regression check) the
    same output shows the picture as a PNG. It uses a canvas of its own and no pyplot, so any thread may draw it.
    """

    def __init__(self, width: float = 7, height: float = 3, name: str = "live figure"):
        self.figure = Figure(figsize=(width, height), dpi=100)
        self.canvas = FigureCanvasAgg(self.figure)
        self.axes = self.figure.add_subplot()
        self.name = name
        self.seconds_to_draw = 0.0
        super().__init__(format="png", layout=ipywidgets.Layout(width=f"{round(100 * width)}px", max_width="100%"))

    def redraw(self):
        """Send the figure as it is now."""
        started = time.perf_counter()
        file = io.BytesIO()
        self.canvas.draw()
        # not print_png, which would draw everything a second time
        imsave(file, np.asarray(self.canvas.buffer_rgba()), format="png", pil_kwargs={"compress_level": 1})
        self.value = file.getvalue()
        self.seconds_to_draw = time.perf_counter() - started

    def _repr_mimebundle_(self, **options):
        bundle = super()._repr_mimebundle_(**options)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        fixed = {"text/plain": f"<{self.name}>", "image/png": base64.b64encode(self.value).decode()}
        return {**data, **fixed}, metadata
