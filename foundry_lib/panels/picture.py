"""A picture in two parts: the still part is drawn once, the moving part at each move, which is ten times as fast."""

from collections.abc import Hashable

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path


class Picture:
    """`build` makes everything; `move` changes only the artists that `build` made with animated=True.

    One object draws on one figure. A panel copies it for each of the last few figures that it built. `build` sets
    margins by hand, because an automatic layout draws everything twice.
    """

    def key(self, **values) -> Hashable:
        """Key of the part that does not move. `build` runs once for each key."""
        return None

    def build(self, figure: Figure, **values):
        """Make the axes, the still part, and the moving artists without their values."""
        raise NotImplementedError

    def move(self, **values) -> str:
        """Give the moving artists their values, and return the reading in words."""
        raise NotImplementedError

    def draw(self, figure: Figure, **values) -> str:
        """Build and move: the whole picture on an empty figure. Returns the reading."""
        figure.set_layout_engine("none")
        self.build(figure, **values)
        return self.move(**values)


class Boxes(PathPatch):
    """Any number of rectangles as one shape. Hatched, they cost as much to draw as a single rectangle."""

    def __init__(self, **look):
        super().__init__(Path(np.zeros((0, 2))), **look)

    def put(self, boxes: list[tuple[float, float, float, float]]):
        """Show these boxes: left, bottom, width and height of each."""
        corners = [[(x, y), (x + w, y), (x + w, y + h), (x, y + h)] for x, y, w, h in boxes]
        self.set_path(Path.make_compound_path_from_polys(np.array(corners).reshape(-1, 4, 2)))
