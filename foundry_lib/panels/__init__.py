"""The interactive pictures of the lessons, one a file; each is a drawing function first and a `Panel` over it."""

from .panel import Choice, Panel, Picture, Slider, Tick, Words

__all__ = ["Choice", "Panel", "Picture", "Slider", "Tick", "Words"]
