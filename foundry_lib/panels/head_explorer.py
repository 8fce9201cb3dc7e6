"""The head explorer of lesson 03: where a head looks in your own sentence, and what the model says without it."""

from functools import cached_property

import numpy as np
import torch
from matplotlib.figure import Figure

from .. import plots
from ..analysis.heads import attention_weights, label, silenced
from ..errors import ConfigError
from ..text.tokenizer import BOS_ID
from .controls import Choice, Tick, Words
from .panel import Panel
from .picture import Boxes, Picture

MOST = 48  # tokens whose names can still be read
SAID = 6  # next words shown
SENTENCE = (
    "By the sea lived Clever Leo with his red hat. His best friend was Grumpy Puppy with its white mirror. They had "
    "always wished to free the snow bird. Clever Leo packed his red hat and Grumpy Puppy packed its"
)


def names_of(tokenizer, ids: list[int]) -> list[str]:
    """How tokens are called in the picture: without the space in front, the start sign in words."""
    spelled = [tokenizer.token_bytes(token).decode("utf-8", errors="replace") for token in ids]
    names = [plots.visible(piece.lstrip(" ") or piece) for piece in spelled]
    return ["start" if token == BOS_ID else name for token, name in zip(ids, names, strict=True)]


@torch.no_grad()
def next_words(model, ids: torch.Tensor) -> torch.Tensor:
    """Probabilities of the next token after ids (1, T): (V,)."""
    return model(ids)[0][0, -1].softmax(-1)


class Text:
    """A text as one model reads it: its tokens, what all heads look at, and the next words; each is worked out once."""

    def __init__(self, text: str, model, tokenizer):
        if not text.strip():
            raise ConfigError("There is no text: write some words.")
        self.text, self.model = text, model
        self.ids = torch.tensor([tokenizer.encode(text, bos=True)])
        self.names = names_of(tokenizer, self.ids[0].tolist())
        if len(self.names) > MOST:
            raise ConfigError(f"The picture has room for {MOST} tokens, found {len(self.names)}; shorten the text.")
        self.without: dict[tuple[int, int], torch.Tensor] = {}

    @cached_property
    def weights(self) -> torch.Tensor:
        return attention_weights(self.model, self.ids)

    @cached_property
    def before(self) -> torch.Tensor:
        return next_words(self.model, self.ids)

    def after(self, head: tuple[int, int]) -> torch.Tensor:
        """The next words when this head is silent."""
        if head not in self.without:
            with silenced(self.model, *head):
                self.without[head] = next_words(self.model, self.ids)
        return self.without[head]


class Explorer(Picture):
    """Left: the weights of one head (layer, head). Right: the next words, with the head and without it.

    found: the measurement `look.looks`, which gives the head its label.
    """

    def __init__(self, model, tokenizer, found: dict):
        self.model, self.tokenizer, self.found, self.read = model, tokenizer, found, None

    def key(self, text: str, silent: bool, **values):
        return text, silent

    def build(self, figure: Figure, text: str, silent: bool, **values):
        if self.read is None or self.read.text != text:
            self.read = Text(text, self.model, self.tokenizer)
        names = self.read.names
        # with this many labels the automatic margins would take as long again
        self.left, right = figure.add_axes((0.07, 0.17, 0.48, 0.77)), figure.add_axes((0.67, 0.17, 0.3, 0.77))
        plots.draw_weights(self.left, self.read.weights[0, 0], names, size=8 if len(names) <= 30 else 6)
        self.left.set(xlabel="is looked at", ylabel="looks")
        moving = [*self.left.collections, *self.left.lines]
        above = dict(fontsize=12, transform=self.left.transAxes)
        self.left.text(0.56, 1.02, "layer · head ", ha="right", **above)
        self.title = self.left.text(0.56, 1.02, "", **above)
        y = np.arange(SAID)
        self.bars = [right.add_patch(Boxes(color=plots.BLUE, lw=0, label="whole model"))]
        if silent:
            hatched = dict(facecolor=plots.ORANGE, hatch="///", edgecolor="white", label="head silent")
            self.bars.append(right.add_patch(Boxes(**hatched)))
            right.legend(fontsize=8, loc="lower right")
        right.set_yticks(y, [""] * SAID)
        beside = dict(ha="right", va="center", transform=right.get_yaxis_transform())
        self.words = [right.text(-0.025, place, "", **beside) for place in y]
        if silent:
            moving += self.words  # without a silent head they are the same for all heads
        right.set(xlim=(0, 1), ylim=(SAID - 0.4, -0.6), xlabel="probability", title="the next word")
        right.grid(visible=False, axis="y")
        right.spines.left.set_visible(False)  # the bars would lie on it
        for artist in (*moving, self.title, *self.bars):
            artist.set_animated(True)

    def move(self, head: tuple[int, int], silent: bool, **values) -> str:
        weights, before, (layer, number) = self.read.weights[head], self.read.before, head
        after = self.read.after(head) if silent else before
        plots.move_weights(self.left, weights)
        self.title.set_text(f"{layer} · {number}")
        shown = torch.maximum(before, after).topk(SAID).indices
        thick = 0.7 / len(self.bars)
        for row, (bars, probabilities) in enumerate(zip(self.bars, (before, after), strict=False)):
            above = thick * (row - len(self.bars) / 2)
            bars.put([(0, y + above, chance, thick) for y, chance in enumerate(probabilities[shown].tolist())])
        for text, word in zip(self.words, names_of(self.tokenizer, shown.tolist()), strict=True):
            text.set_text(word.replace("$", r"\$"))

        share, place = weights[-1].max(0)
        names = self.read.names
        reading = f"Head {layer}·{number}, measured on tales: {label(self.found, layer, number)}. "
        reading += f"Here ‘{names[-1]}’ looks most at ‘{names[place]}’ ({share:.2f}). "
        reading += f"The model says {likeliest(self.tokenizer, before)}"
        return reading + (f"; without the head {likeliest(self.tokenizer, after)}." if silent else ".")


def likeliest(tokenizer, probabilities: torch.Tensor) -> str:
    chance, token = probabilities.max(0)
    return f"‘{names_of(tokenizer, [token.item()])[0]}’ ({chance:.2f})"


def head_explorer(model, tokenizer, found: dict, text: str = SENTENCE) -> Panel:
    """The panel for a model: a text, one of its heads, and whether that head is silent."""
    layers, heads = range(model.config.n_layers), range(model.config.n_heads)
    names = {f"layer {layer}, head {head}": (layer, head) for layer in layers for head in heads}
    return Panel(
        Explorer(model, tokenizer, found),
        width=9.5,
        height=5.2,
        name="head explorer",
        text=Words(text, label="your sentence"),
        head=Choice((model.config.n_layers - 1, 0), names),
        silent=Tick(False, label="silence this head"),
    )
