"""Tokens as pictures: the distribution of the next one, and the loss of a reader at each token of a text."""

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from .style import CARD, ROLES, ink_on, visible

REMOVED = dict(facecolor="#CDD1D7", edgecolor=ROLES["cut"], hatch="///", lw=0.5, label="removed")


def draw_distribution(ax: Axes, labels: list[str], probs, kept=None, outline=None):
    """Bars of the next token's probabilities; removed tokens are grey and hatched, at their height before the filters.

    labels, probs: the n tokens that are shown. kept: a boolean for each; None means all. outline: the probabilities
    before the filters, drawn as a line.
    """
    ax.clear()
    x = np.arange(len(labels))
    kept = np.ones(len(labels), dtype=bool) if kept is None else np.asarray(kept)
    if outline is not None and not kept.all():  # the legend shows an empty series with a wrong sign
        ax.bar(x[~kept], np.asarray(outline)[~kept], **REMOVED)
    ax.bar(x[kept], np.asarray(probs)[kept], color=ROLES["kept"], label="kept")
    if outline is not None:
        edges, heights = np.append(x - 0.5, len(labels) - 0.5), np.append(outline, outline[-1])
        ax.step(edges, heights, where="post", color=ROLES["before"], lw=1.2, label="before")
        ax.legend(loc="upper right", fontsize=8)
    ax.set_xticks(x, [label.replace("$", r"\$") for label in labels], rotation=60, ha="right", fontsize=8)
    ax.set(ylabel="probability", xlim=(-0.6, len(labels) - 0.4))
    ax.grid(visible=False, axis="x")


def letters(token: str) -> float:
    """The width of a token as it is drawn, in Latin letters; a Chinese character takes about two.

    >>> letters(" cat"), letters("猫")
    (4.0, 1.9)
    """
    return sum(1.9 if ord(character) > 0x2E7F else 1.0 for character in visible(token))


def draw_strip(figure: Figure, tokens: list[str], nats, grammar=None, title: str = ""):
    """A text as a strip of its tokens, brighter where they surprise. It wraps, and the figure gets the height it needs.

    nats: the model's surprise at each token. grammar: the surprise of a reader who knows the grammar; ∞ is forbidden,
    None unknown. A token with 1 nat or more from either reader carries the model's number. The most surprising one has
    a frame, and after its number, in brackets, the grammar's. title: whose surprise it is.
    """
    figure.clear()
    nats, (width, _) = np.asarray(nats, dtype=float), figure.get_size_inches()
    norm = Normalize(0, max(4.0, float(np.ceil(nats.max()))))
    colours = matplotlib.colormaps["cividis"](norm(nats))
    per_line, x, line, boxes = 11.5 * width, 0.0, 0, []  # at 8 points a letter takes about 1/11.5 inch
    for index, token in enumerate(tokens):
        wide = max(letters(token) + 0.6, 7.0 if index == nats.argmax() else 3.6)
        if x and x + wide > per_line:
            x, line = 0.0, line + 1
        boxes.append((x, -line, wide))
        x += wide
    figure.set_size_inches(width, 0.46 * (line + 1) + 0.75)
    ax = figure.subplots()
    for index, (x, y, wide) in enumerate(boxes):
        first = index == nats.argmax()
        frame = dict(edgecolor=ROLES["marked"], lw=2.5, zorder=3) if first else dict(edgecolor=CARD, lw=0.8)
        ax.barh(y, wide, 0.94, x, align="center", color=colours[index], **frame)
        least = None if grammar is None else grammar[index]
        numbered = nats[index] >= 1 or (least is not None and least >= 1)
        middle = dict(ha="center", va="center", color=ink_on(colours[index]), zorder=4, parse_math=False)
        ax.text(x + wide / 2, y + 0.16 * numbered, visible(tokens[index]), fontsize=8, **middle)
        if numbered:
            beside = "" if least is None else " (∞)" if np.isinf(least) else f" ({least:.1f})"
            ax.text(x + wide / 2, y - 0.26, f"{nats[index]:.1f}{beside if first else ''}", fontsize=8, **middle)
    ax.set(xlim=(-0.3, per_line + 0.3), ylim=(-line - 0.6, 0.6))
    ax.set_title(title, fontsize=9, loc="left")
    ax.axis("off")
    scale = ScalarMappable(norm, "cividis")
    bar = figure.colorbar(scale, ax=ax, orientation="horizontal", fraction=0.12, aspect=60, pad=0.02)
    beside = "" if grammar is None else ", in brackets the grammar's surprise"
    bar.set_label(f"surprise (nats); red frame: the largest{beside}", fontsize=8)


def draw_costs(ax: Axes, words: list[str], best, forgetful):
    """The loss of two models at each word, in nats: bars for one that remembers, an outline for one without memory.

    words: n words of a text. best, forgetful: n numbers each.
    """
    ax.clear()
    x = np.arange(len(words))
    ax.bar(x, forgetful, 0.8, color="none", edgecolor=ROLES["no memory"], hatch="///", lw=1.2, label="no memory")
    ax.bar(x, best, 0.5, color=ROLES["floor"], label="best possible model")
    ax.set_xticks(x, words, rotation=40, ha="right")
    ax.set(ylabel="loss (nats)", ylim=(0, 1.2 * max(*best, *forgetful)))
    ax.grid(visible=False, axis="x")
    ax.legend(fontsize=8, ncols=2, loc="upper right")
