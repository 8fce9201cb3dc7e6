"""Arrays → matplotlib Axes. Nothing here knows a model. Importing it sets the course's style.

A line style, a hatch or a marker always means the same as the colour, so that no reader needs the colour.
"""

from .attention import draw_looking, draw_weights, move_weights
from .cache import draw_cache
from .losses import LINE_STYLES, draw_losses, draw_runs, running_mean
from .output import show, show_table
from .style import (
    BLUE,
    CARD,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PINK,
    RED,
    ROLES,
    SKY,
    YELLOW,
    cjk_fonts,
    glyphs_missing,
    ink_on,
    use_course_style,
    visible,
)
from .tables import draw_quality, draw_rows
from .tokens import REMOVED, draw_costs, draw_distribution, draw_strip

__all__ = [
    "BLUE", "CARD", "GREEN", "GREY", "INK", "LINE_STYLES", "ORANGE", "PINK", "RED", "REMOVED", "ROLES", "SKY", "YELLOW",
    "cjk_fonts", "draw_cache", "draw_costs", "draw_distribution", "draw_looking", "draw_losses", "draw_quality",
    "draw_rows", "draw_runs", "draw_strip", "draw_weights", "glyphs_missing", "ink_on", "move_weights", "running_mean",
    "show", "show_table", "use_course_style", "visible",
]  # fmt: skip

use_course_style()
