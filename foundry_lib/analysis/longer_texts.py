"""Texts longer than a model was trained on: tales one after the other, and the model's loss at each position."""

import torch
from matplotlib.axes import Axes
from torch import Tensor

from .. import plots, tales
from ..models.model import MiniLLM
from ..shape import Shape
from ..text.tokenizer import Tokenizer
from ..training.evaluate import token_losses
from .statistics import mean_interval

ROWS = 8  # per forward pass


def tales_in_a_row(tokenizer: Tokenizer, count: int, length: int, seed: int, language: str = "en") -> Tensor:
    """Token ids (count, length + 1). Each row begins with a tale, and other tales follow until the row is full."""
    grammar = tales.grammar(language)
    shortest = 60  # tokens: far fewer than any tale has, so the tales are enough
    texts = iter(tales.generate(grammar, seed, count * (length // shortest + 2)))
    rows = []
    for _ in range(count):
        row = []
        while len(row) <= length:
            row += tokenizer.encode(next(texts).text, bos=True, eos=True)
        rows.append(row[: length + 1])
    return torch.tensor(rows)


def with_table(model: MiniLLM, table: Shape("2 T d/2")) -> MiniLLM:
    """The same weights with another table of angles, on the model's device. It reads up to T tokens."""
    config = model.config.with_(max_seq_len=table.shape[1])
    longer = MiniLLM(config, rope_table=lambda *sizes: table)
    longer.load_state_dict(model.state_dict())
    return longer.to(model.device)


def losses(model: MiniLLM, ids: Tensor) -> Tensor:
    """The loss at each target, nats: (count, T) for ids (count, T + 1)."""
    batches = ((rows[:, :-1].to(model.device), rows[:, 1:].to(model.device)) for rows in ids.split(ROWS))
    return torch.from_numpy(token_losses(model, batches)).view(len(ids), -1)


def by_position(losses: Tensor, width: int = 50) -> tuple[list[float], list[float], list[float], list[float]]:
    """Middle of each window of `width` positions, the mean loss in it, and the ends of its 95 % interval.

    The interval is over the rows of `losses` (count, T), which are separate texts.
    """
    means = losses.unfold(1, width, width).mean(-1)  # (count, windows)
    middles = [width * (window + 0.5) for window in range(means.shape[1])]
    ends = [mean_interval(column) for column in means.T.tolist()]
    return middles, means.mean(0).tolist(), *map(list, zip(*ends, strict=True))


def draw_by_position(ax: Axes, curves: dict[str, Tensor], trained: int):
    """A line for each name: its mean loss by position and the 95 % intervals. Dashed: the trained length."""
    for (name, values), marker in zip(curves.items(), "osD^v", strict=False):
        middles, means, low, high = by_position(values)
        (line,) = ax.plot(middles, means, marker=marker, ms=4, lw=1.5, label=name)
        ax.vlines(middles, low, high, color=line.get_color())
    ax.axvline(trained, color=plots.GREY, ls="--", lw=1)
    ax.set(xlabel="position", ylabel="loss, nats per token")


def last_quarter(curves: dict[str, Tensor]) -> str:
    """A table: the mean loss in the last quarter of the texts, and for each later row the difference from the first.

    The difference is taken text by text; in brackets is its 95 % interval.
    """
    late = {name: values[:, values.shape[1] * 3 // 4 :].mean(1) for name, values in curves.items()}
    first, lines = next(iter(late)), [f"{'last quarter':<16}{'nats per token':>16}{'difference to the first row':>30}"]
    for name, values in late.items():
        change = values - late[first]
        low, high = mean_interval(change.tolist())
        difference = "" if name == first else f"{change.mean():+.2f} ({low:+.2f} to {high:+.2f})".replace("-", "−")
        lines.append(f"{name:<16}{values.mean():>16.2f}{difference:>30}".rstrip())
    return "\n".join(lines)
