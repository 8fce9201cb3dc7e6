"""The pictures of lesson 08. Each function gets numbers, draws them, and shows them with their reading."""

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import Tensor

from .. import plots
from ..inference.sampling import apply_temperature
from ..text.tokenizer import Tokenizer

BARS = 16  # of the most probable tokens


def labels_of(tokenizer: Tokenizer, tokens: Tensor) -> list[str]:
    return [plots.visible(tokenizer.decode([token])) for token in tokens.tolist()]


def distribution(tokenizer: Tokenizer, probs: Tensor):
    """Bars of the most probable next tokens; probs (V,)."""
    top = probs.topk(BARS).indices
    figure, ax = plt.subplots()
    plots.draw_distribution(ax, labels_of(tokenizer, top), probs[top])
    plots.show(figure, f"Bars of the {BARS} most probable next tokens, the highest on the left.")


def filtered(tokenizer: Tokenizer, before: Tensor, after: Tensor):
    """The same bars after some filters, and their heights before; before and after (V,)."""
    top = before.topk(BARS).indices
    figure, ax = plt.subplots()
    plots.draw_distribution(ax, labels_of(tokenizer, top), after[top], kept=after[top] > 0, outline=before[top])
    reading = "Bars of the most probable tokens: those that are kept grow above the line of their height before."
    plots.show(figure, f"{reading} Removed ones are hatched.")


def temperatures(tokenizer: Tokenizer, logits: Tensor, values: tuple[float, ...], names: int = 12) -> list[float]:
    """The distribution of logits (V,) at some temperatures, in one scale: the most probable tokens, and all others as
    one bar. Returns the probability of all others at each temperature."""
    top, others = logits.topk(names).indices, []
    figure, axes = plt.subplots(1, len(values), figsize=(9, 2.6), sharey=True)
    for ax, temperature in zip(axes, values, strict=True):
        probs = apply_temperature(logits, temperature).softmax(-1)
        others.append(1 - probs[top].sum().item())
        plots.draw_distribution(ax, [*labels_of(tokenizer, top), "all others"], [*probs[top].tolist(), others[-1]])
        entropy = torch.special.entr(probs).sum().item()
        ax.set_title(f"T = {temperature:g}: H = {entropy:.2f} nats", fontsize=10)
        ax.label_outer()
    reading = f"The {names} most probable tokens, and the sum of all others, as bars at T = "
    plots.show(figure, f"{reading}{', '.join(f'{value:g}' for value in values)}.")
    return others


def times(without: list[float], cached: list[float], marks: tuple[int, ...] = (25, 50, 100, 200)):
    """Seconds from the start to each token, without and with a KV cache, and their quotient at some tokens."""
    figure = Figure(figsize=(8, 2.6))
    left, right = figure.subplots(1, 2)
    count = range(1, len(without) + 1)
    left.plot(count, without, color=plots.RED, ls="--", label="without a cache")
    left.plot(count, cached, color=plots.BLUE, label="with the cache")
    left.set(xlabel="tokens generated", ylabel="seconds")
    left.legend(fontsize=8)
    ratios = [without[mark - 1] / cached[mark - 1] for mark in marks]
    bars = right.bar([str(mark) for mark in marks], ratios, color=plots.BLUE)
    right.bar_label(bars, [f"{ratio:.1f} ×" for ratio in ratios])
    right.set(xlabel="tokens generated", ylabel="without / with", ylim=(0, 1.2 * max(ratios)))
    right.grid(visible=False, axis="x")
    plots.show(figure, "Left, seconds by tokens generated, without and with the cache. Right, their quotient.")
