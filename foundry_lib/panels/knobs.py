"""The sampling settings as sliders. A new filter gets its field in `SampleConfig` and its line here."""

from ..config import SampleConfig
from .controls import Slider

OFF = vars(SampleConfig())  # setting → the value at which it changes nothing
KNOBS = dict(
    temperature=Slider(OFF["temperature"], 0.0, 3.0, 0.05),
    top_k=Slider(OFF["top_k"], 0, 50, label="top-k (0 off)"),
    top_p=Slider(OFF["top_p"], 0.05, 1.0, 0.05, label="top-p (1 off)"),
    min_p=Slider(OFF["min_p"], 0.0, 0.5, 0.01, label="min-p (0 off)"),
    repetition_penalty=Slider(OFF["repetition_penalty"], 1.0, 2.0, 0.05, label="penalty (1 off)"),
)


def changed(settings: dict[str, float]) -> str:
    """The settings that are not off, in words; "" when all are off.

    >>> changed({"temperature": 0.5, "top_k": 0, "min_p": 0.1})
    'temperature 0.5, min-p 0.1'
    """
    return ", ".join(f"{name.replace('_', '-')} {value:g}" for name, value in settings.items() if value != OFF[name])
