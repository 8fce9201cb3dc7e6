"""A figure as the output of a cell: the picture, and one sentence for a reader who cannot see it."""

import base64
import io

import matplotlib.pyplot as plt
from IPython.display import display
from matplotlib.figure import Figure


def show(figure: Figure, reading: str):
    """Display a figure with its reading, and close it.

    reading: one sentence that says what one sees. A screen reader and a page without pictures get it; a lesson's check
    compares it, so its numbers are exact or rounded far enough to be the same on every machine.
    """
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=100, bbox_inches="tight")
    data = {"text/plain": reading, "image/png": base64.b64encode(picture.getvalue()).decode()}
    display(data, raw=True, metadata={"image/png": {"alt": reading}})
    plt.close(figure)
