"""What a cell shows with a twin in words: a figure and its reading, a table that no narrow page folds and its text."""

import base64
import html
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


def show_table(text: str):
    """Display a table of text whose columns stay in line: in a narrow page it scrolls sideways and folds no line.

    The regression check compares the text.
    """
    lines = f'<pre style="white-space:pre; overflow-x:auto; margin:0">{html.escape(text)}</pre>'
    display({"text/plain": text, "text/html": lines}, raw=True)
