"""Colours, fonts and sizes of every figure, and how a token is written in one.

A stored picture cannot know whether the page is light or dark. A transparent one would need an ink that reads on both,
and no colour has more than 4.35 : 1 against white and against JupyterLab's #111111 at once, where small text needs
4.5 : 1. So every picture lies on a card of soft grey, which reads the same everywhere and glares in no dark page.

The colours are Okabe and Ito's, darkened until a line has 3 : 1 against the card; colour-blind readers can tell them
apart. A Chinese font follows the Latin one in matplotlib's list, so that it draws the characters that the Latin one
lacks.
"""

import warnings
from importlib.metadata import PackageNotFoundError, files

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

CARD, INK = "#E4E7EB", "#1A1A1A"  # what a picture lies on, and its text, axes and ticks
BLUE, ORANGE, GREEN, RED = "#0072B2", "#B37400", "#00805A", "#B92C1E"
PINK, GREY = "#A8508A", "#626262"
SKY, YELLOW = "#56B4E9", "#F0E442"  # for areas and faint lines only: too light for a line or a word
ROLES = {  # what a colour means, in every picture that shows such a thing
    "own model": BLUE, "training": BLUE, "after": BLUE, "kept": BLUE, "chosen": BLUE,
    "library": ORANGE, "validation": ORANGE, "before": ORANGE,  # what the model is compared with
    "no memory": PINK,
    "right": GREEN, "schedule": GREEN,
    "wrong": RED, "marked": RED,
    "floor": GREY, "baseline": GREY, "cut": GREY,
    "one batch": SKY, "not chosen": SKY,
    "truth": INK,
}  # fmt: skip
SYSTEM_CJK_FONTS = ("Noto Sans CJK SC", "Microsoft YaHei", "PingFang SC", "Hiragino Sans GB", "WenQuanYi Micro Hei")


def cjk_fonts() -> list[str]:
    """Names of the fonts with Chinese characters that matplotlib can use here, the course's own first."""
    try:
        for file in files("pylopdf-fonts-zh-cn") or []:
            if file.name.startswith("NotoSansSC-Regular"):
                font_manager.fontManager.addfont(str(file.locate()))
    except (PackageNotFoundError, OSError):
        pass  # the system may have another font; lesson 00 reports when there is none
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return [name for name in ("Noto Sans SC", *SYSTEM_CJK_FONTS) if name in installed]


def use_course_style():
    """Set fonts, colours and sizes for every figure that follows."""
    matplotlib.rcParams.update(
        {
            # font.family, not font.sans-serif: only this list falls back glyph by glyph. It names installed fonts
            # only, because matplotlib warns about a missing font at every draw.
            "font.family": ["DejaVu Sans", *cjk_fonts()],
            "text.hinting": "none",  # a third faster; a panel draws up to ten texts at each move
            "axes.prop_cycle": matplotlib.cycler(color=[BLUE, ORANGE, GREEN, RED, SKY, PINK]),
            "axes.spines.top": False,
            "axes.spines.right": False,
            **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), CARD),
            **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
            "axes.grid": True,
            "axes.axisbelow": True,  # the grid lies behind bars
            "grid.color": "white",
            "grid.linewidth": 1.0,
            "figure.figsize": (7, 3),
            "figure.dpi": 100,
            "figure.constrained_layout.use": True,
            "legend.frameon": False,
        }
    )


def glyphs_missing(text: str) -> list[str]:
    """The characters of `text` that no font in use can draw; a figure would show them as boxes."""
    missing = []
    for character in dict.fromkeys(text):
        figure = Figure(figsize=(1, 1))
        figure.text(0, 0, character)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            FigureCanvasAgg(figure).draw()
        if any("missing" in str(warning.message) for warning in caught):
            missing.append(character)
    return missing


def visible(token: str) -> str:
    """A token as a label: spaces and line ends become signs, so that " the" and "the" differ. Another character that
    cannot be drawn becomes its number.

    >>> visible(" the"), visible("a\\n"), visible(""), visible("\\x07")
    ('␣the', 'a↵', '∅', '‹07›')
    """
    signs = token.replace(" ", "␣").replace("\n", "↵").replace("\t", "⇥")
    return "".join(sign if sign.isprintable() else f"‹{ord(sign):02X}›" for sign in signs) or "∅"


def light(colour) -> float:
    """Relative luminance of a colour (r, g, b, …) from 0 to 1, as WCAG defines it: 0 for black, 1 for white."""
    rgb = np.asarray(colour[:3])
    return float(np.where(rgb <= 0.04, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722))


def ink_on(colour) -> str:
    """Black or white, whichever reads better on a colour (r, g, b, …) from 0 to 1, by the contrast rule of WCAG.

    >>> ink_on((1, 1, 1)), ink_on((0, 0, 0.5))
    ('black', 'white')
    """
    return "black" if light(colour) > 0.179 else "white"
