"""The panels of the lessons. Each is a function of numbers first; the widget is a thin skin over it."""

import base64
import io
import time

import ipywidgets
import numpy as np
from IPython.display import display
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imsave

from . import plots
from .tales.floor import FREE


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


class LossFigure(LiveFigure):
    """The loss curve of a Trainer with the lines to compare it with (`baselines.reference_lines`).

    For tales a second picture beside it shows what is still owed, rule by rule, at the last evaluation.
    """

    def __init__(self, trainer, lines: dict[str, float]):
        with_rules = trainer.loader.floor is not None
        super().__init__(9.5 if with_rules else 7.5, 3.6, name="loss curve")
        self.trainer, self.lines = trainer, lines
        if with_rules:
            self.figure.clear()
            self.axes, self.owed_axes = self.figure.subplots(1, 2, width_ratios=[2, 1])
        self.update()

    def update(self):
        history, total = self.trainer.history, self.trainer.config.max_iters
        trained = [r for r in history if r.train_loss is not None]
        evaluated = [r for r in history if r.val_loss is not None]
        plots.draw_losses(
            self.axes,
            [r.step for r in trained],
            [r.train_loss for r in trained],
            [r.step for r in evaluated],
            [r.val_loss for r in evaluated],
            self.lines,
            total,
        )
        floor = self.trainer.loader.floor
        if floor is not None and evaluated:
            last = evaluated[-1]
            rules = [rule for rule in floor.rules if rule != FREE]
            plots.draw_owed(self.owed_axes, {rule: last.owed[rule] for rule in rules}, floor.forgetful_by_rule)
            self.owed_axes.set_title(f"step {last.step}: {last.excess / floor.nats:.1%} above the floor", fontsize=9)
        if trained:
            last = trained[-1]
            self.axes.set_title(
                f"step {last.step} of {total}    {last.tokens_per_s:,.0f} tokens/s    "
                f"about {last.remaining:.0f} s left",
                fontsize=9,
                loc="left",
            )
        self.redraw()


# A redraw waits until at least this many times its own cost has passed, so that watching costs at most 1/40.
PATIENCE = 40


def watch(trainer, lines: dict[str, float]):
    """Train to the end, or until ■ is pressed, and show the loss curve as it grows; then say where it stands.

    ■ (Kernel → Interrupt) lets the present step finish and loses nothing: run the cell again to go on.
    """
    figure = LossFigure(trainer, lines)
    display(figure)
    drawn = time.perf_counter()
    for _ in trainer.run():
        if time.perf_counter() - drawn > max(0.5, PATIENCE * figure.seconds_to_draw):
            figure.update()
            drawn = time.perf_counter()
    figure.update()
    print(trainer.status())
