"""The playground of lesson 08: the next token's distribution, reshaped by the filters, beside the grammar's own."""

from collections.abc import Callable

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from .. import plots
from ..analysis.surprise import true_distribution
from ..config import SampleConfig
from ..inference.generation import parts_of_sampling
from ..inference.sampling import next_token_distribution
from ..text.tokenizer import EOS_ID
from .controls import Words
from .knobs import KNOBS, changed
from .panel import Panel
from .picture import Boxes, Picture

SHOWN = 24  # bars
TOPS = (0.1, 0.2, 0.35, 0.5, 0.75, 1.0)  # where the axis may end


def entropy(probs: Tensor) -> float:
    """Entropy of probs (V,) in nats; e to this power is the number of equally likely tokens that are as uncertain.

    >>> round(entropy(torch.tensor([0.5, 0.5, 0.0])), 4)
    0.6931
    """
    return torch.special.entr(probs).sum().item()


class Playground(Picture):
    """Bars of the most probable tokens: before (outline), removed (hatched), after (full); diamonds are the truth.

    Draws for a model, a tokenizer and, for tales, the language of their grammar. The model reads a prompt once; a
    slider only reshapes the logits that it gave. These are sorted, the largest first: the filters search among the
    most probable tokens, and find them sooner there.
    """

    def __init__(
        self, model, tokenizer, language: str | None = None, own: dict[str, Callable] | None = None, title: str = ""
    ):
        self.model, self.tokenizer, self.language, self.title = model, tokenizer, language, title
        self.filters = parts_of_sampling(own)
        self.read: tuple[str, Tensor, Tensor, Tensor | None, Tensor, Tensor] | None = None

    @torch.no_grad()
    def scores(self, prompt: str) -> tuple[Tensor, Tensor, Tensor | None, Tensor, Tensor]:
        """The model's predictions after a prompt, computed once per prompt; all but the second in order of the logits.

        Logits of the next token (V,), the largest first; ranks of the T tokens that were read (T,); the grammar's
        distribution (V,), or None; the probabilities before the filters (V,); token ids (V,).
        """
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
        """The next token's probabilities before the filters, after them, and by the grammar, (V,) each; token ids (V,).

        All in one order, the most probable token before the filters first.
        """
        logits, seen, true, before, order = self.scores(prompt)
        after = next_token_distribution(logits, SampleConfig(**settings), seen=seen, filters=self.filters)
        return before, after, true, order

    def key(self, prompt: str, **settings):
        *all_three, _ = self.distributions(prompt, **settings)
        largest = max(probs[:SHOWN].max().item() for probs in all_three if probs is not None)
        return prompt, next((end for end in TOPS if largest <= end), 1.0)

    def build(self, figure: Figure, prompt: str, **settings):
        before, _, true, order = self.distributions(prompt, **settings)
        _, end = self.key(prompt, **settings)
        labels = [plots.visible(self.tokenizer.decode([i])) if i != EOS_ID else "end" for i in order[:SHOWN].tolist()]
        ax = figure.add_axes((0.07, 0.26, 0.92, 0.66))
        plots.draw_distribution(ax, labels, np.zeros(len(labels)), outline=before[:SHOWN])
        ax.set_title(self.title, fontsize=9, loc="left")
        self.bars = ax.containers[0]
        self.removed = ax.add_patch(Boxes(**plots.REMOVED))
        if true is not None:
            look = dict(color="black", mec="white", ms=5, ls="", label="grammar's own")
            ax.plot(range(len(labels)), true[:SHOWN], "D", **look)
        for artist in (self.removed, *self.bars, *ax.lines):
            artist.set_animated(True)
        ax.legend(handles=[self.removed, *ax.lines, self.bars], loc="upper right", fontsize=8)
        ax.set_ylim(0, 1.05 * end)

    def move(self, prompt: str, **settings) -> str:
        before, after, true, _ = self.distributions(prompt, **settings)
        boxes, heights = [], zip(self.bars, before[:SHOWN].tolist(), after[:SHOWN].tolist(), strict=True)
        for x, (bar, old, new) in enumerate(heights):
            bar.set(visible=new > 0, height=new)
            if new == 0:
                boxes.append((x - 0.4, 0, 0.8, old))
        self.removed.put(boxes)
        remaining = after > 0
        reading = (
            f"{changed(settings) or 'nothing changed'}: kept {int(remaining.sum()):,} of {len(after):,} tokens, which "
            f"held {before[remaining].sum():.3f} of the probability; "
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


def playground(
    model,
    tokenizer,
    prompt: str,
    language: str | None = None,
    own: dict[str, Callable] | None = None,
    title: str = "",
) -> Panel:
    """The panel. language: "en" or "zh" draws the truth of the tales beside it; None for any other text. own: your
    filters, as `generate_tokens` takes them. title: the model's name, from `learners_model`."""
    return Panel(
        Playground(model, tokenizer, language, own, title),
        width=9,
        height=3.5,
        name=f"playground, {title}" if title else "playground",
        prompt=Words(prompt),
        **KNOBS,
    )
