"""The work of generation with and without a KV cache: which keys and values the model computes when it reads a text."""

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from .style import CARD, ROLES

LOOKS = {  # what happens to the key and value of a position in one call of the model
    "computed": dict(facecolor=ROLES["after"], edgecolor=CARD),
    "computed again": dict(facecolor=ROLES["wrong"], edgecolor=CARD, hatch="xxx"),
    "read from the cache": dict(facecolor="#CDD1D7", edgecolor=ROLES["cut"], hatch="..."),
}


def draw_cache(figure: Figure, prompt: int = 3, new: int = 5) -> str:
    """Two grids, without and with a cache: a row for each call of the model, a column for each position of the text.

    prompt: tokens of the prompt, which the first call reads. new: tokens that are generated. Returns the reading.
    """
    totals = {}
    for ax, cached in zip(figure.subplots(1, 2, sharey=True), (False, True), strict=True):
        lengths = range(prompt, prompt + new)  # of the text at each call
        before = "read from the cache" if cached else "computed again"
        for call, length in enumerate(lengths):
            old = 0 if call == 0 else length - 1  # positions that an earlier call has read
            for position in range(length):
                look = LOOKS[before if position < old else "computed"]
                ax.barh(call, 0.9, 0.84, position - 0.45, align="center", **look)
        total = sum(prompt if call == 0 else 1 for call in range(new)) if cached else sum(lengths)
        name = "with the cache" if cached else "without a cache"
        totals[name] = total
        ax.set_title(f"{name}: {total} computed", fontsize=10, loc="left")
        ax.set(xlabel="position", xticks=range(prompt + new - 1), xlim=(-0.6, prompt + new - 1.4))
        ax.set(ylim=(new - 0.4, -0.6))
        ax.set_yticks(range(new), [f"token {call + 1}" for call in range(new)])
        ax.grid(visible=False)
    handles = [Patch(label=name, **look) for name, look in LOOKS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8.5)
    words = "; ".join(f"{name} {total}" for name, total in totals.items())
    return f"Keys and values computed in one layer for {new} new tokens after a prompt of {prompt}: {words}."
