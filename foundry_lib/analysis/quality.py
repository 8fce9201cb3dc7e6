"""How good are the texts of a model? The parser judges tales exactly, so validity and variety are counted."""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch

from .. import tales
from ..config import SampleConfig
from ..console import moving
from ..errors import ConfigError
from ..inference.generation import generate_tokens
from ..text.loader import EVAL_ROWS, padded
from ..text.tokenizer import EOS_ID, Tokenizer
from ..text.words import token_floor
from ..training.evaluate import token_losses
from .statistics import wilson

BATCH = 250  # tales per batch


@dataclass(frozen=True)
class Quality:
    """Counts over n tales of a model, made by `measure`.

    valid: whole tales that break no rule. distinct: different texts. copied: texts that are in the training text word
    for word, None where that was not given. asked[rule]: occasions to follow a rule. kept[rule]: those in which the
    text followed it.
    broken[rule]: invalid tales that broke this rule first. examples: some of the parser's messages.
    """

    n: int
    valid: int
    distinct: int
    copied: int | None
    asked: Counter
    kept: Counter
    broken: Counter
    examples: list[str] = field(repr=False)

    @property
    def kept_share(self) -> dict[str, float]:
        """Rule → the share of occasions in which the texts followed it."""
        return {rule: self.kept[rule] / asked for rule, asked in sorted(self.asked.items())}

    @property
    def interval(self) -> tuple[float, float]:
        """The ends of the 95 % interval of the valid share, because the n tales are a sample."""
        return wilson(self.valid, self.n)

    @property
    def margin(self) -> float:
        """Half the width of that interval. The middle of the interval is nearer to one half than the share is."""
        low, high = self.interval
        return (high - low) / 2

    def __str__(self) -> str:
        worst = min(self.kept_share, key=self.kept_share.get, default=None)
        least = "" if worst is None else f"; least kept is {worst}, {self.kept_share[worst]:.1%} of {self.asked[worst]}"
        copied = "" if self.copied is None else f", {self.copied / self.n:.1%} copied"
        return (
            f"{self.valid / self.n:.1%} of {self.n} tales valid (± {self.margin:.1%}), {self.distinct / self.n:.1%} "
            f"distinct{copied}{least}"
        )


def write_texts(
    model,
    tokenizer: Tokenizer,
    n: int,
    settings: SampleConfig = SampleConfig(),
    seed: int = 0,
    prompt: str = "",
    own: dict[str, Callable] | None = None,
) -> Iterator[str]:
    """n texts that begin with `prompt`. The model or its context length ends each; they are sampled in batches.

    own: your parts of sampling, as `generate_tokens` takes them. Raises ConfigError for a prompt that fills the
    context.
    """
    device = model.device
    generator = torch.Generator().manual_seed(seed)
    ids = tokenizer.encode(prompt, bos=True)
    room = model.config.max_seq_len - len(ids)
    if room < 1:
        raise ConfigError(f"The prompt has {len(ids)} tokens and leaves no room in {model.config.max_seq_len}; cut it.")
    for first in range(0, n, BATCH):
        rows = torch.tensor([ids] * min(BATCH, n - first), device=device)
        ended, columns = torch.zeros(len(rows), dtype=torch.bool, device=device), []
        for column in generate_tokens(model, rows, room, settings, generator, own):
            columns.append(column)
            ended |= column[:, 0] == EOS_ID
            if ended.all():
                break
        for row in torch.cat(columns, dim=1).tolist():
            yield prompt + tokenizer.decode(row[: row.index(EOS_ID)] if EOS_ID in row else row)


def measure(
    model,
    tokenizer: Tokenizer,
    grammar,
    n: int = 1000,
    settings: SampleConfig = SampleConfig(),
    seed: int = 0,
    training: frozenset[str] | None = None,
    own: dict[str, Callable] | None = None,
) -> Quality:
    """Let the model write n tales, and judge each.

    grammar: "en", "zh" or a Grammar. training: the tales that the model was trained on, to find copies. own: your
    parts of sampling, as `generate_tokens` takes them. Raises ConfigError for n below 1.
    """
    if n < 1:
        raise ConfigError(f"At least one tale must be written, found n={n!r}.")
    asked, kept, broken, examples, texts = Counter(), Counter(), Counter(), [], []
    for text in write_texts(model, tokenizer, n, settings, seed, own=own):
        verdict = tales.parse(text, grammar)
        asked.update(verdict.asked)
        kept.update(verdict.kept)
        texts.append(text)
        if not verdict.valid:
            broken[verdict.rule] += 1
            examples.append(verdict.message)
    copied = None if training is None else sum(text in training for text in texts)
    return Quality(n, n - broken.total(), len(set(texts)), copied, asked, kept, broken, examples[:10])


def quality_curves(
    model,
    tokenizer: Tokenizer,
    grammar,
    n: int,
    knobs: dict[str, tuple],
    seed: int = 0,
    training: frozenset[str] | None = None,
    own: dict[str, Callable] | None = None,
) -> dict[str, dict[float, Quality]]:
    """`measure` at each value of each knob: knob → value → Quality. `plots.draw_quality` draws the result.

    knobs: field of SampleConfig → the values to measure, with all other fields off. n: tales per value. own: your
    parts of sampling, as `generate_tokens` takes them.
    """
    curves, points = {}, [(knob, value) for knob, values in knobs.items() for value in values]
    for knob, value in moving(points, "writing and judging tales", len(points)):
        quality = measure(model, tokenizer, grammar, n, SampleConfig(**{knob: value}), seed, training, own)
        curves.setdefault(knob, {})[value] = quality
    return curves


def tale_rows(model, tokenizer: Tokenizer, stories: list) -> list[list[int]]:
    """The tokens of each tale, from BOS to the end token.

    Raises ConfigError for no tales, and for a tale that is longer than the model reads.
    """
    if not stories:
        raise ConfigError("There are no tales to compare on; tales.generate gives some.")
    rows = [tokenizer.encode(tale.text, bos=True, eos=True) for tale in stories]
    longest = max(map(len, rows)) - 1
    if longest > model.config.max_seq_len:
        raise ConfigError(
            f"A tale has {longest} tokens of this model's vocabulary, and the model reads {model.config.max_seq_len}. "
            f"It was made for another text ({tokenizer.corpus_name or 'without a name'}): measure a model of tales."
        )
    return rows


def tale_losses(model, tokenizer: Tokenizer, stories: list) -> list[np.ndarray]:
    """For each tale, the model's loss in nats at every token and the end token; the model reads the tale from BOS."""
    rows = tale_rows(model, tokenizer, stories)
    device = model.device
    batches = (padded(rows[first : first + EVAL_ROWS], device) for first in range(0, len(rows), EVAL_ROWS))
    return np.split(token_losses(model, batches), np.cumsum([len(row) - 1 for row in rows])[:-1])


@dataclass(frozen=True)
class Excess:
    """The excess loss of a model on some tales: its loss minus the floor.

    nats_per_tale: the mean. error: its standard error. share: the mean as a share of the floor. by_rule: nats per word
    that a rule fixes (`tales.Floor.by_rule`).
    """

    nats_per_tale: float
    error: float
    share: float
    by_rule: dict[str, float]


def excess(model, tokenizer: Tokenizer, stories: list) -> Excess:
    """Compare a model with the exact floor on the same tales (`tales.generate`).

    A model is below the floor by chance only. If it is below by several standard errors, it has read these tales in
    training. Raises ConfigError for no tales.
    """
    losses, floor = tale_losses(model, tokenizer, stories), token_floor(stories, tokenizer)
    above = np.array([row.sum() + tale.log_prob for row, tale in zip(losses, stories, strict=True)])
    return Excess(
        float(above.mean()),
        float(above.std(ddof=1) / math.sqrt(len(above))),
        float(above.mean()) / floor.nats_per_tale,
        floor.by_rule(np.concatenate(losses)),
    )
