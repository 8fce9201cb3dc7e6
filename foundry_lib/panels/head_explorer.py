"""The head explorer of lesson 03: where a head looks in your own sentence, and what the model says without it."""

import numpy as np
import torch
from matplotlib.figure import Figure

from .. import plots
from ..errors import ConfigError
from ..look import attention_weights, label, silenced
from ..tokenizer import BOS_ID
from .panel import Choice, Panel, Tick, Words

MOST = 48  # tokens whose names can still be read
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


def draw(figure: Figure, text: str, head: tuple[int, int], silent: bool, model, tokenizer, found: dict) -> str:
    """Left: the weights of one head (layer, head). Right: the next words, with the head and without it.

    found: the measurement `look.looks`, which gives the head its label.
    """
    if not text.strip():
        raise ConfigError("There is no text: write some words.")
    ids = torch.tensor([tokenizer.encode(text, bos=True)])
    names = names_of(tokenizer, ids[0].tolist())
    if len(names) > MOST:
        raise ConfigError(f"The picture has room for {MOST} tokens, found {len(names)}; shorten the text.")
    layer, number = head
    weights, before = attention_weights(model, ids)[layer, number], next_words(model, ids)
    with silenced(model, layer, number):
        after = next_words(model, ids)
    shown = (torch.maximum(before, after) if silent else before).topk(6).indices

    figure.set_layout_engine("none")  # fixed margins: with this many labels the automatic ones take as long again
    left, right = figure.add_axes((0.07, 0.17, 0.48, 0.77)), figure.add_axes((0.67, 0.17, 0.3, 0.77))
    plots.draw_weights(left, weights, names, size=8 if len(names) <= 30 else 6)
    left.set(title=f"layer {layer}, head {number}", xlabel="is looked at", ylabel="looks")
    said = names_of(tokenizer, shown.tolist())
    y = np.arange(len(said))
    width = 0.4 if silent else 0.7
    right.barh(y - 0.2 * silent, before[shown].numpy(), width, color=plots.BLUE, label="whole model")
    if silent:
        right.barh(
            y + 0.2,
            after[shown].numpy(),
            width,
            color=plots.ORANGE,
            hatch="///",
            edgecolor="white",
            label="head silent",
        )
        right.legend(fontsize=8, loc="lower right")
    right.set_yticks(y, [word.replace("$", r"\$") for word in said])
    right.invert_yaxis()
    right.set(xlim=(0, 1), xlabel="probability", title="the next word")
    right.grid(visible=False, axis="y")

    share, place = weights[-1].max(0)
    reading = f"Head {layer}·{number}, measured on tales: {label(found, layer, number)}. "
    reading += f"Here ‘{names[-1]}’ looks most at ‘{names[place]}’ ({share:.2f}). "
    reading += f"The model says {likeliest(tokenizer, before)}"
    return reading + (f"; without the head {likeliest(tokenizer, after)}." if silent else ".")


def likeliest(tokenizer, probabilities: torch.Tensor) -> str:
    chance, token = probabilities.max(0)
    return f"‘{names_of(tokenizer, [token.item()])[0]}’ ({chance:.2f})"


def head_explorer(model, tokenizer, found: dict, text: str = SENTENCE) -> Panel:
    """The panel for a model: a text, one of its heads, and whether that head is silent."""
    layers, heads = range(model.config.n_layers), range(model.config.n_heads)
    names = {f"layer {layer}, head {head}": (layer, head) for layer in layers for head in heads}
    return Panel(
        lambda figure, **values: draw(figure, **values, model=model, tokenizer=tokenizer, found=found),
        width=9.5,
        height=5.2,
        name="head explorer",
        text=Words(text, label="your sentence"),
        head=Choice((model.config.n_layers - 1, 0), names),
        silent=Tick(False, label="silence this head"),
    )
