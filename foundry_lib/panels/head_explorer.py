"""The head explorer of lesson 03: what a head attends to in your own sentence, and what is predicted without it.

A text may fill the model's context. The picture shows one sentence of it at a time, with the keys that matter there.
"""

from functools import cached_property

import numpy as np
import torch
from matplotlib.figure import Figure

from .. import plots, tales
from ..analysis.heads import attention_weights, label, silenced
from ..errors import ConfigError
from ..inference.generation import sample_text
from ..lessons.own_model import grammar_of
from ..text.tokenizer import BOS_ID
from .controls import Choice, Slider, Tick, Words
from .panel import Panel
from .picture import Boxes, Picture

MOST = 16  # rows and columns whose names and numbers can be read
NEXT = 6  # next words shown
SENTENCE = (
    "By the sea lived Clever Leo with his red hat. His best friend was Grumpy Puppy with its white mirror. They had "
    "always wished to free the snow bird. Clever Leo packed his red hat and Grumpy Puppy packed its"
)
ENDS = (".", "。", "!", "！", "?", "？", "↵")  # a name with such an end closes a sentence
OWN = 24  # tokens that a model of another text writes as its first sentence


def names_of(tokenizer, ids: list[int]) -> list[str]:
    """The names of tokens in the picture: without the space before them; the begin token is "start"."""
    spelled = [tokenizer.token_bytes(token).decode("utf-8", errors="replace") for token in ids]
    names = [plots.visible(piece.lstrip(" ") or piece) for piece in spelled]
    return ["start" if token == BOS_ID else name for token, name in zip(ids, names, strict=True)]


def sentences(names: list[str], most: int = MOST) -> list[range]:
    """The positions of each sentence, of at most `most` tokens; a longer one is cut.

    >>> sentences(["A", "cat", ".", "It", "ran"]), sentences(["a"] * 5, most=3)
    ([range(0, 3), range(3, 5)], [range(0, 3), range(3, 5)])
    """
    found, start = [], 0
    for position, name in enumerate(names):
        if name.endswith(ENDS) or position + 1 - start == most or position + 1 == len(names):
            found.append(range(start, position + 1))
            start = position + 1
    return found


def first_sentence(model, tokenizer) -> str:
    """A text that suits the model: SENTENCE for English tales, the beginning of a tale for Chinese ones.

    A model of another text, or with too short a context for these, writes one. A model that writes nothing visible gets
    the beginning of SENTENCE.
    """

    def fits(text: str) -> bool:
        return bool(text.strip()) and len(tokenizer.encode(text, bos=True)) <= model.config.max_seq_len

    grammar = grammar_of(tokenizer.corpus_name)
    text = SENTENCE if grammar == "en" else ""
    if grammar == "zh":
        text = tokenizer.decode(tokenizer.encode(tales.generate("zh", 5, 1)[0].text)[: MOST + 10])
    if fits(text):
        return text
    own = sample_text(model, tokenizer, "", min(OWN, model.config.max_seq_len // 2), seed=1, temperature=0.0)
    return own if fits(own) else SENTENCE[: model.config.max_seq_len // 4]


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
        if len(ids) > model.config.max_seq_len:
            raise ConfigError(f"The model reads {model.config.max_seq_len} tokens, found {len(ids)}; shorten the text.")
        self.names = names_of(tokenizer, ids)
        self.sentences = sentences(self.names)
        self.ids = torch.tensor([ids], device=model.device)
        self.without: dict[tuple[int, int], torch.Tensor] = {}

    def rows(self, sentence: int) -> range:
        """The positions of a sentence, counted from the end: 0 is the last one. Beyond the first it is the first."""
        return self.sentences[max(-1 - sentence, -len(self.sentences))]

    def keys(self, rows: range) -> list[int]:
        """The at most MOST positions that matter to these rows, in their order: the largest weight in any head."""
        strongest = self.weights[:, :, list(rows)].amax((0, 1, 2))
        return sorted(strongest.topk(min(MOST, rows.stop)).indices.tolist())

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
    """Left: the weights of one head (layer, head) in one sentence. Right: the next words, with the head and without it.

    looks: the measurement `heads.looks`, which gives each head its label; empty for a model that reads no tales. title:
    which model is shown.
    """

    def __init__(self, model, tokenizer, looks: dict, title: str = ""):
        self.model, self.tokenizer, self.looks, self.title, self.read = model, tokenizer, looks, title, None

    def key(self, text: str, sentence: int, silent: bool, **values):
        if self.read is None or self.read.text != text:
            self.read = Text(text, self.model, self.tokenizer)
        return text, self.read.rows(sentence), silent

    def build(self, figure: Figure, text: str, sentence: int, silent: bool, **values):
        _, self.rows, _ = self.key(text, sentence, silent)
        self.keys = self.read.keys(self.rows)
        self.past = np.array(self.keys) <= np.array(self.rows)[:, None]
        # margins by hand: with so many labels, automatic ones would double the time of drawing
        self.left, right = figure.add_axes((0.1, 0.18, 0.5, 0.71)), figure.add_axes((0.74, 0.18, 0.24, 0.71))
        figure.text(0.01, 0.985, self.title, va="top", fontsize=9)
        moving = [*self.build_weights(), *self.build_words(right, silent)]
        for artist in moving:
            artist.set_animated(True)

    def shown(self, head: tuple[int, int]) -> torch.Tensor:
        """The weights of a head at the rows and keys of the picture."""
        return self.read.weights[head][list(self.rows)][:, self.keys]

    def build_weights(self) -> list:
        """The left half. Returns the artists that move."""
        rows, keys = ([self.read.names[position] for position in axis] for axis in (self.rows, self.keys))
        plots.draw_weights(self.left, self.shown((0, 0)), rows, keys, self.past)
        left_out = self.rows.stop - len(self.keys)
        others = f" ({left_out} weaker ones left out)" if left_out else ""
        self.left.set(ylabel="attends", xlabel=f"is attended to{others}", anchor="N")
        above = dict(fontsize=12, transform=self.left.transAxes)
        self.left.text(0.56, 1.02, "layer · head ", ha="right", **above)
        self.number = self.left.text(0.56, 1.02, "", **above)
        return [*self.left.collections, *self.left.lines, self.number]

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

    def move(self, head: tuple[int, int], silent: bool, sentence: int, **values) -> str:
        weights, before, (layer, number) = self.read.weights[head], self.read.before, head
        after = self.read.after(head) if silent else before
        plots.move_weights(self.left, self.shown(head), self.past)
        self.number.set_text(f"{layer} · {number}")
        shown = torch.maximum(before, after).topk(NEXT).indices
        thick = 0.7 / len(self.bars)
        for row, (bars, probabilities) in enumerate(zip(self.bars, (before, after), strict=False)):
            above = thick * (row - len(self.bars) / 2)
            bars.put([(0, y + above, chance, thick) for y, chance in enumerate(probabilities[shown].tolist())])
        for text, word in zip(self.words, names_of(self.tokenizer, shown.tolist()), strict=True):
            text.set_text(word.replace("$", r"\$"))

        last = self.rows[-1]
        share, position = weights[last].max(0)
        names = self.read.names
        measured = f", measured on tales: {label(self.looks, layer, number)}" if self.looks else ""
        reading = f"Head {layer}·{number}{measured}. "
        reading += f"Here ‘{names[last]}’ attends most to ‘{names[position]}’ ({share:.2f}). "
        reading += f"The model predicts {most_probable(self.tokenizer, before)}"
        reading += f"; without the head {most_probable(self.tokenizer, after)}." if silent else "."
        number = len(self.read.sentences)
        return reading + (f" The text has {number} sentences; this is the first." if sentence >= number > 1 else "")


def most_probable(tokenizer, probabilities: torch.Tensor) -> str:
    """The most probable token of (V,) and its probability, in words."""
    chance, token = probabilities.max(0)
    return f"‘{names_of(tokenizer, [token.item()])[0]}’ ({chance:.2f})"


def head_explorer(model, tokenizer, looks: dict | None = None, text: str | None = None, title: str = "") -> Panel:
    """The panel for a model: a text, one of its sentences, a head, and whether that head is silent.

    looks: the measurement `heads.looks` on tales, which labels the heads; None for a model in which nothing was
    measured. text: the first text; None takes one that suits the model. title: the model's name, from `learners_model`.
    """
    layers, heads = range(model.config.n_layers), range(model.config.n_heads)
    names = {f"layer {layer}, head {head}": (layer, head) for layer in layers for head in heads}
    return Panel(
        Explorer(model, tokenizer, looks or {}, title),
        width=9.5,
        height=5,
        name=f"head explorer, {title}" if title else "head explorer",
        text=Words(first_sentence(model, tokenizer) if text is None else text, label="your text"),
        sentence=Slider(0, 0, 15, label="sentences back"),
        silent=Tick(False, label="silence this head"),  # beside the slider before it: a row fewer in a low window
        head=Choice((model.config.n_layers - 1, 0), names),
    )
