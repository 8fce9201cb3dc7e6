"""The head explorer of lesson 03: what a head attends to in your own sentence, and what is predicted without it."""

from functools import cached_property

import numpy as np
import torch
from matplotlib.figure import Figure

from .. import plots
from ..analysis.heads import attention_weights, label, silenced
from ..errors import ConfigError
from ..inference.generation import sample_text
from ..text.tokenizer import BOS_ID
from .controls import Choice, Tick, Words
from .panel import Panel
from .picture import Boxes, Picture

MOST = 48  # tokens whose names can still be read
NEXT = 6  # next words shown
SENTENCE = (
    "By the sea lived Clever Leo with his red hat. His best friend was Grumpy Puppy with its white mirror. They had "
    "always wished to free the snow bird. Clever Leo packed his red hat and Grumpy Puppy packed its"
)


def names_of(tokenizer, ids: list[int]) -> list[str]:
    """The names of tokens in the picture: without the space before them; the begin token is "start"."""
    spelled = [tokenizer.token_bytes(token).decode("utf-8", errors="replace") for token in ids]
    names = [plots.visible(piece.lstrip(" ") or piece) for piece in spelled]
    return ["start" if token == BOS_ID else name for token, name in zip(ids, names, strict=True)]


def room(model) -> int:
    """The most tokens of a text: the picture and the model's context limit it."""
    return min(MOST, model.config.max_seq_len)


def first_sentence(model, tokenizer) -> str:
    """A sentence that the model's tokenizer cuts into few enough tokens.

    It is SENTENCE where that fits. A model of another language, or of a small vocabulary, writes its own; a model that
    writes nothing visible gets the beginning of SENTENCE.
    """
    most = room(model)

    def fits(sentence: str) -> bool:
        return bool(sentence.strip()) and len(tokenizer.encode(sentence, bos=True)) <= most

    if fits(SENTENCE):
        return SENTENCE
    own = sample_text(model, tokenizer, "", most // 2, seed=1, temperature=0.0)
    return own if fits(own) else SENTENCE[: most // 4]


@torch.no_grad()
def next_words(model, ids: torch.Tensor) -> torch.Tensor:
    """Probabilities (V,) of the next token after ids (1, T)."""
    return model(ids)[0][0, -1].softmax(-1).cpu()


class Text:
    """A text as one model reads it: its tokens, the weights of all heads, and the next words, each computed once."""

    def __init__(self, text: str, model, tokenizer):
        if not text.strip():
            raise ConfigError("There is no text: write some words.")
        self.text, self.model = text, model
        ids = tokenizer.encode(text, bos=True)
        self.names = names_of(tokenizer, ids)
        if len(ids) > room(model):
            raise ConfigError(f"The picture has room for {room(model)} tokens, found {len(ids)}; shorten the text.")
        self.ids = torch.tensor([ids], device=model.device)
        self.without: dict[tuple[int, int], torch.Tensor] = {}

    @cached_property
    def weights(self) -> torch.Tensor:
        return attention_weights(self.model, self.ids).cpu()

    @cached_property
    def before(self) -> torch.Tensor:
        return next_words(self.model, self.ids)

    def after(self, head: tuple[int, int]) -> torch.Tensor:
        """Probabilities (V,) of the next word while this head is silent."""
        if head not in self.without:
            with silenced(self.model, *head):
                self.without[head] = next_words(self.model, self.ids)
        return self.without[head]


class Explorer(Picture):
    """Left: the weights of one head (layer, head). Right: the next words, with the head and without it.

    looks: the measurement `heads.looks`, which gives each head its label; empty for a model that reads no tales.
    """

    def __init__(self, model, tokenizer, looks: dict):
        self.model, self.tokenizer, self.looks, self.read = model, tokenizer, looks, None

    def key(self, text: str, silent: bool, **values):
        return text, silent

    def build(self, figure: Figure, text: str, silent: bool, **values):
        if self.read is None or self.read.text != text:
            self.read = Text(text, self.model, self.tokenizer)
        # margins by hand: with so many labels, automatic ones would double the time of drawing
        self.left, right = figure.add_axes((0.07, 0.17, 0.48, 0.77)), figure.add_axes((0.67, 0.17, 0.3, 0.77))
        moving = [*self.build_weights(), *self.build_words(right, silent)]
        for artist in moving:
            artist.set_animated(True)

    def build_weights(self) -> list:
        """The left half. Returns the artists that move."""
        names = self.read.names
        plots.draw_weights(self.left, self.read.weights[0, 0], names, size=8 if len(names) <= 30 else 6)
        self.left.set(xlabel="is looked at", ylabel="looks")
        above = dict(fontsize=12, transform=self.left.transAxes)
        self.left.text(0.56, 1.02, "layer · head ", ha="right", **above)
        self.title = self.left.text(0.56, 1.02, "", **above)
        return [*self.left.collections, *self.left.lines, self.title]

    def build_words(self, right, silent: bool) -> list:
        """The right half: one bar per word, or two when a head is silent. Returns the artists that move."""
        self.bars = [right.add_patch(Boxes(color=plots.BLUE, lw=0, label="whole model"))]
        if silent:
            hatched = dict(facecolor=plots.ORANGE, hatch="///", edgecolor="white", label="head silent")
            self.bars.append(right.add_patch(Boxes(**hatched)))
            right.legend(fontsize=8, loc="lower right")
        right.set_yticks(np.arange(NEXT), [""] * NEXT)
        beside = dict(ha="right", va="center", transform=right.get_yaxis_transform())
        self.words = [right.text(-0.025, y, "", **beside) for y in range(NEXT)]
        right.set(xlim=(0, 1), ylim=(NEXT - 0.4, -0.6), xlabel="probability", title="the next word")
        right.grid(visible=False, axis="y")
        right.spines.left.set_visible(False)  # the bars would lie on it
        return [*self.bars, *(self.words if silent else [])]  # for the whole model the words are the same for all heads

    def move(self, head: tuple[int, int], silent: bool, **values) -> str:
        weights, before, (layer, number) = self.read.weights[head], self.read.before, head
        after = self.read.after(head) if silent else before
        plots.move_weights(self.left, weights)
        self.title.set_text(f"{layer} · {number}")
        shown = torch.maximum(before, after).topk(NEXT).indices
        thick = 0.7 / len(self.bars)
        for row, (bars, probabilities) in enumerate(zip(self.bars, (before, after), strict=False)):
            above = thick * (row - len(self.bars) / 2)
            bars.put([(0, y + above, chance, thick) for y, chance in enumerate(probabilities[shown].tolist())])
        for text, word in zip(self.words, names_of(self.tokenizer, shown.tolist()), strict=True):
            text.set_text(word.replace("$", r"\$"))

        share, position = weights[-1].max(0)
        names = self.read.names
        measured = f", measured on tales: {label(self.looks, layer, number)}" if self.looks else ""
        reading = f"Head {layer}·{number}{measured}. "
        reading += f"Here ‘{names[-1]}’ looks most at ‘{names[position]}’ ({share:.2f}). "
        reading += f"The model says {most_probable(self.tokenizer, before)}"
        return reading + (f"; without the head {most_probable(self.tokenizer, after)}." if silent else ".")


def most_probable(tokenizer, probabilities: torch.Tensor) -> str:
    """The most probable token of (V,) and its probability, in words."""
    chance, token = probabilities.max(0)
    return f"‘{names_of(tokenizer, [token.item()])[0]}’ ({chance:.2f})"


def head_explorer(model, tokenizer, looks: dict | None = None, text: str | None = None) -> Panel:
    """The panel for a model: a text, one of its heads, and whether that head is silent.

    looks: the measurement `heads.looks` on tales, which labels the heads; None for a model of another text. text: the
    first sentence; None takes one that fits the model.
    """
    layers, heads = range(model.config.n_layers), range(model.config.n_heads)
    names = {f"layer {layer}, head {head}": (layer, head) for layer in layers for head in heads}
    return Panel(
        Explorer(model, tokenizer, looks or {}),
        width=9.5,
        height=5.2,
        name="head explorer",
        text=Words(first_sentence(model, tokenizer) if text is None else text, label="your sentence"),
        head=Choice((model.config.n_layers - 1, 0), names),
        silent=Tick(False, label="silence this head"),
    )
