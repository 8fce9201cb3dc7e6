"""The map of the model as an output of a cell: what each lesson lights, and which boxes the learner's parts mark."""

import base64
import io
from dataclasses import dataclass

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from ..config import ModelConfig
from ..plots import model_map
from . import own_parts, progress

TALES = ModelConfig.preset("tiny", vocab_size=1536, tie_embeddings=True)  # the model that lesson 07 trains on the tales
LIT = {  # lesson → the parts of the map that it is about
    "00": (),
    "01": ("norm",),
    "02": ("rope",),
    "03": ("projections", "attention"),
    "04": ("widths", "swiglu"),
    "05": ("embedding", "norm", "projections", "rope", "attention", "sum", "widths", "swiglu", "head"),
    "06": ("ids",),
    "07": ("loss",),
    "08": ("cache", "softmax", "next"),
    "09": tuple(model_map.PARTS),
    "10": ("loss",),
    "11": ("embedding", "attention", "swiglu", "sum", "head"),
}
BOXES = {  # a part of the learner's → its boxes on the map
    "rms_norm": ("norm",),
    "rotary": ("rope",),
    "gqa": ("attention",),
    "swiglu": ("swiglu",),
    "block": ("sum",),
    "model": ("embedding", "head"),
    "mean_loss": ("loss",),
    "temperature": ("softmax",),
    "generate": ("next",),
    "kv_cache": ("cache",),
}


@dataclass(frozen=True)
class Map:
    """The map as an output of a cell: a picture, and for a reader who cannot see it a paragraph."""

    lit: tuple[str, ...]
    own: tuple[str, ...]

    def png(self) -> bytes:
        """The picture, drawn twice as fine as it is shown, with 64 colours: a quarter of the bytes."""
        figure = Figure(figsize=(model_map.WIDTH / 100, model_map.HEIGHT / 100), dpi=200)
        figure.set_layout_engine("none")
        model_map.draw_map(figure.add_axes((0, 0, 1, 1)), TALES, self.lit, self.own)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        packed = io.BytesIO()
        Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").quantize(64).save(packed, "png", optimize=True)
        return packed.getvalue()

    def _repr_mimebundle_(self, **options):
        text = model_map.map_text(TALES, self.lit, self.own)
        data = {"image/png": base64.b64encode(self.png()).decode(), "text/plain": text}
        return data, {"image/png": {"width": model_map.WIDTH}}


def own_names() -> list[str]:
    """The parts that are the learner's now, in the order of the lessons."""
    return [name for name, _, whose_part in own_parts.status() if whose_part == "yours"]


def own_boxes() -> tuple[str, ...]:
    """The boxes of the map that the learner built."""
    return tuple(box for name in own_names() for box in BOXES.get(name, ()))


def whose(names: list[str]) -> str:
    """Which parts are the learner's, as a sentence.

    >>> whose(["norm", "RoPE", "attention"])
    "Your model: norm, RoPE and attention are yours; the other parts are the library's."
    """
    if not names:
        return (
            "Your model: so far every part comes from the library, foundry_lib. A part that you build takes its place "
            "when it passes its check."
        )
    if len(names) == len(progress.PARTS):
        return "Your model: every part is yours."
    listed = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    return f"Your model: {listed} {'are' if len(names) > 1 else 'is'} yours; the other parts are the library's."
