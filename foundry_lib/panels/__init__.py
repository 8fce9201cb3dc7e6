"""The interactive pictures of the lessons, one a file: each is a drawing function first, and a `Panel` over it."""

from .controls import Choice, Slider, Tick, Words
from .panel import Panel
from .picture import Picture

__all__ = ["Choice", "Panel", "Picture", "Slider", "Tick", "Words"]
