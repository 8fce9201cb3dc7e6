"""The interactive pictures of the lessons, one per file: each is a drawing function, and a `Panel` around it."""

from .controls import Choice, Slider, Tick, Words
from .panel import Panel
from .picture import Picture

__all__ = ["Choice", "Panel", "Picture", "Slider", "Tick", "Words"]
