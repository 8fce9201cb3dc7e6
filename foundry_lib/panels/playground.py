"""The playground of lesson 08: the next token's distribution, reshaped by the filters, beside the grammar's own."""

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from .. import plots
from ..analysis.surprise import true_distribution
from ..config import SampleConfig
from ..inference.sampling import next_token_distribution
from ..text.tokenizer import EOS_ID
from .panel import Boxes, Panel, Picture, Slider, Words

SHOWN = 24  # bars
TOPS = (0.1, 0.2, 0.35, 0.5, 0.75, 1.0)  # where the axis may end
AT_REST = dict(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, repetition_penalty=1.0)


def entropy(probs: Tensor) -> float:
    """Nats; e to this is the number of equally likely tokens that would be as uncertain."""
    return torch.special.entr(probs).sum().item()


class Playground(Picture):
    """Bars of the likeliest tokens: before (outline), removed (hatched), after (full); diamonds are the truth.

    Draws for a model, a tokenizer and, for tales, the language of their grammar. The model reads a prompt once;
    moving a slider only reshapes the scores that are kept. They are kept from the likeliest token on: the filters look
    for the likeliest ones, and find them sooner there.
    """

    def __init__(self, model, tokenizer, language: str | None = None):
        self.model, self.tokenizer, self.language = model, tokenizer, language
        self.read: tuple[str, Tensor, Tensor, Tensor | None, Tensor, Tensor] | None = None

    @torch.no_grad()
    def scores(self, prompt: str) -> tuple[Tensor, Tensor, Tensor | None, Tensor, Tensor]:
        """Logits of the next token (V,), from the largest on; where the ids read (T,) stand among them; the true
        distribution and the probabilities before the filters, in the same order; and the order, token ids (V,). Kept
        until the prompt changes."""
        if self.read is None or self.read[0] != prompt:
            device = self.model.device
            ids = torch.tensor(self.tokenizer.encode(prompt, bos=True))[-self.model.config.max_seq_len :]
            logits = self.model(ids[None].to(device))[0][0, -1].float().cpu()
            logits, order = logits.sort(descending=True, stable=True)
            true = None if self.language is None else true_distribution(prompt, self.tokenizer, self.language)
            true = None if true is None else true[order]
            self.read = prompt, logits, order.argsort()[ids], true, logits.softmax(-1), order
        return self.read[1:]

    @torch.inference_mode()
    def distributions(self, prompt: str, **settings) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
        """The next token's probabilities before the filters, after them, in truth, (V,) each, and the order in which
        the tokens stand in them, the likeliest first."""
        logits, seen, true, before, order = self.scores(prompt)
        after = next_token_distribution(logits, SampleConfig(**settings), seen=seen)
        return before, after, true, order

    def still(self, prompt: str, **settings):
        *all_three, _ = self.distributions(prompt, **settings)
        largest = max(probs[:SHOWN].max().item() for probs in all_three if probs is not None)
        return prompt, next((end for end in TOPS if largest <= end), 1.0)

    def build(self, figure: Figure, prompt: str, **settings):
        before, _, true, order = self.distributions(prompt, **settings)
        _, end = self.still(prompt, **settings)
        labels = [plots.visible(self.tokenizer.decode([i])) if i != EOS_ID else "end" for i in order[:SHOWN].tolist()]
        x = np.arange(len(labels))
        ax = figure.add_axes((0.07, 0.27, 0.92, 0.71))
        grey = dict(facecolor="#dddddd", edgecolor=plots.GREY, hatch="///", lw=0.5, label="removed")
        self.removed = ax.add_patch(Boxes(animated=True, **grey))
        self.bars = ax.bar(x, np.zeros(len(x)), color=plots.BLUE, label="kept", animated=True)
        shown = before[:SHOWN]
        steps = np.append(shown, shown[-1])
        ax.step(
            np.append(x - 0.5, x[-1] + 0.5), steps, where="post", color=plots.ORANGE, lw=1.2, label="before",
            animated=True,
        )  # fmt: skip
        if true is not None:
            look = dict(color="black", mec="white", ms=5, ls="", label="grammar's own")
            ax.plot(x, true[:SHOWN], "D", animated=True, **look)
        ax.legend(loc="upper right", fontsize=8)
        ax.set_xticks(x, [label.replace("$", r"\$") for label in labels], rotation=60, ha="right", fontsize=8)
        ax.set(ylabel="probability", xlim=(-0.6, len(x) - 0.4), ylim=(0, 1.05 * end))
        ax.grid(visible=False, axis="x")

    def move(self, prompt: str, **settings) -> str:
        before, after, true, _ = self.distributions(prompt, **settings)
        columns, heights = [], zip(self.bars, before[:SHOWN].tolist(), after[:SHOWN].tolist(), strict=True)
        for x, (bar, old, new) in enumerate(heights):
            bar.set(visible=new > 0, height=new)
            if new == 0:
                columns.append((x - 0.4, 0, 0.8, old))
        self.removed.put(columns)
        changed = [f"{name.replace('_', '-')} {value:g}" for name, value in settings.items() if value != AT_REST[name]]
        held = before[after > 0].sum()
        kept = int((after > 0).sum())
        reading = (
            f"{', '.join(changed) or 'nothing changed'}: kept {kept:,} of {len(after):,} tokens, which "
            f"held {held:.3f} of the probability; "
            f"entropy {entropy(before):.2f} before and {entropy(after):.2f} nats after."
        )
        if true is not None:
            legal = true > 0
            reading += (
                f" The grammar allows {int(legal.sum())}; {int((legal & (after == 0)).sum())} of them are removed, and "
                f"{after[~legal].sum():.4f} of the probability lies on words that it forbids. "
                f"Distance from the truth {0.5 * (after - true).abs().sum():.2f} (0 the same, 1 nothing in common)."
            )
        elif self.language is not None:
            reading += " No tale begins like this, so there is no truth to compare with."
        return reading


def playground(model, tokenizer, prompt: str, language: str | None = None) -> Panel:
    """The panel. language: "en" or "zh" draws the truth of the tales beside it; None for any other text."""
    return Panel(
        Playground(model, tokenizer, language),
        width=9,
        height=3.4,
        name="playground",
        prompt=Words(prompt),
        temperature=Slider(1.0, 0.0, 3.0, 0.05),
        top_k=Slider(0, 0, 50, label="top-k (0 is off)"),
        top_p=Slider(1.0, 0.05, 1.0, 0.05, label="top-p (1 is off)"),
        min_p=Slider(0.0, 0.0, 0.5, 0.01, label="min-p (0 is off)"),
        repetition_penalty=Slider(1.0, 1.0, 2.0, 0.05, label="repetition (1 is off)"),
    )
