"""Settings that suit a text, chosen by measurement, and a training that is made from them in one call."""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ..config import PRESETS, ModelConfig, TrainConfig
from ..errors import ConfigError, Notice
from ..models.model import MiniLLM
from ..text.corpus import Corpus, read_corpus
from ..text.loader import DataLoader
from .trainer import Trainer

# A preset, a recipe or the text replaces these defaults of config.py, so editing one there has no effect.
# `say_what_has_no_effect` compares config.py with this table and says so.
DEFAULTS = {
    ModelConfig: dict(vocab_size=8192, dim=256, n_layers=4, n_heads=8, n_kv_heads=4, max_seq_len=256)
    | dict(rope_theta=10000.0, tie_embeddings=False, embedding_std=None),
    TrainConfig: dict(learning_rate=3e-3, max_iters=1500, weight_decay=1.0, seed=1337),
}


@dataclass(frozen=True)
class Recipe:
    """What differs from the defaults of DataLoader, ModelConfig and TrainConfig."""

    loader: dict = field(default_factory=dict)
    model: dict = field(default_factory=dict)
    train: dict = field(default_factory=dict)


# Prose: the defaults, measured on python-docs, and a weight decay that suits the text's size (`weight_decay` below).
PROSE = Recipe()

# Tales: the model must look things up in the story, and it reads the text nearly twice. Validation loss in per cent
# above the floor, one seed, 800 steps (benchmarks/tales_runs.md):
#     10.2  these settings with learning_rate 2.5e-3; each line below changes one thing
#     54    tie_embeddings=False
#     29    embedding_std=0.088 (dim ** -0.5);  31 with embedding_std=1
#     15.7  rope_theta=10,000
#     19.8  weight_decay=1
#      7.6  learning_rate=4e-3
#      6.2  batch_size=4 and twice the steps
# At full length (English, one seed) learning_rate=4e-3 gave 2.5 and batch_size=4 gave 3.1. The seeds of 4e-3 alone
# differ by that much, so the choice of 4e-3 is not certain.
TALES = Recipe(
    loader=dict(block_size=200),
    model=dict(tie_embeddings=True, embedding_std=0.3, rope_theta=500.0, max_seq_len=256),
    train=dict(learning_rate=4e-3, weight_decay=0.1, max_iters=1600),
)


def recipe(corpus: Corpus) -> Recipe:
    """The recipe for a text: TALES for a text from a grammar, PROSE for any other."""
    return PROSE if corpus.grammar is None else TALES


def weight_decay(n_tokens: int) -> float:
    """The weight decay for prose with `n_tokens` training tokens: the smaller the text, the larger the decay.

    With decay λ and learning rate η, a weight is roughly an average of its last 1/(η·λ) updates. This average should
    span one to three passes over the text. A pass over a larger text has more steps, so λ is smaller (Wang & Aitchison
    2024, "How to set AdamW's weight decay as you scale model and dataset size"). Measured with tiny, batch 8 × 128, as
    validation loss in bits per byte:
        python-docs, 117,000 tokens, 1,750 steps, three seeds: 1.854 at λ = 1, 1.810 at 2.
        program text, 316,000 tokens, 1,500 steps, one seed: 1.979 at 0.35, 1.969 at 0.7, 1.952 at 1, 1.954 at 2.
        other program text, 1,712,000 tokens, as before: 0.598 at 0.14, 0.616 at 0.3, 0.650 at 1, 0.707 at 2.

    >>> weight_decay(160_000), weight_decay(640_000), weight_decay(10**9)
    (2.0, 0.5, 0.1)
    """
    return min(2.0, max(0.1, 320_000 / n_tokens))


class Settings(NamedTuple):
    """Keyword arguments for DataLoader, ModelConfig and TrainConfig."""

    loader: dict
    model: dict
    train: dict


def sort_settings(changes: dict, where: str = "new_trainer", also: Iterable[str] = ()) -> Settings:
    """Settings by name, sorted by what they belong to; a value of None is left out.

    Raises ConfigError, which begins with `where`, for a name that is no setting; `also` is listed with the valid names.

    >>> sort_settings({"dim": 64, "max_iters": 10, "block_size": None})
    Settings(loader={}, model={'dim': 64}, train={'max_iters': 10})
    """
    homes = {
        "loader": {"block_size", "val_fraction", "vocab_size"},
        "model": set(ModelConfig.__dataclass_fields__) - {"vocab_size"},
        "train": set(TrainConfig.__dataclass_fields__) - {"seed"},
    }
    names = set().union(*homes.values())
    unknown = sorted(set(changes) - names)
    if unknown:
        valid = ", ".join(sorted({*names, *also}))
        raise ConfigError(f"{where}: there is no setting {unknown[0]!r}; there are {valid}.")
    given = {name: value for name, value in changes.items() if value is not None}
    return Settings(*({name: given[name] for name in given if name in home} for home in homes.values()))


def new_trainer(
    text: str | Path | Corpus = "tales-en",
    preset: str = "tiny",
    seed: int = 1337,
    device: str | None = None,
    parts: dict | None = None,
    own: dict | None = None,
    **changes,
) -> Trainer:
    """A training on `text`, ready to run, by the recipe that suits it.

        trainer = new_trainer("tales-en")
        for record in trainer.run(): ...

    text: a UTF-8 file, a built-in text or a Corpus. preset: size of the model. seed: of weights and batches.
    device: where it trains; None is the best there is.
    parts: your own parts of the model, as MiniLLM takes them: {"norm": MyRMSNorm}.
    own: your own loss, optimizer, schedule and step, as Trainer takes them: {"schedule": my_learning_rate}.
    changes: any field of ModelConfig or TrainConfig, or block_size, val_fraction, vocab_size; None leaves it to the
    recipe. Raises ConfigError for a name that is none of these. A default of config.py that was edited and has no
    effect here is named in a Notice.
    """
    given = sort_settings(changes)
    corpus = text if isinstance(text, Corpus) else read_corpus(text)
    found = recipe(corpus)
    config = TrainConfig(**{**found.train, **given.train}, seed=seed)  # refused before a text becomes tokens
    loader = DataLoader(
        corpus, batch_size=config.batch_size, device=device, seed=seed, **{**found.loader, **given.loader}
    )
    if "weight_decay" not in {**found.train, **given.train}:
        config = config.with_(weight_decay=weight_decay(len(loader.train_tokens)))
    values = {"max_seq_len": loader.longest_row, **found.model, **given.model, "vocab_size": loader.vocab_size}
    model = ModelConfig.preset(preset, **values)
    say_what_has_no_effect(model, config, preset, {*changes} - {name for name in changes if changes[name] is None})
    return Trainer(MiniLLM(model, seed=seed, **(parts or {})), loader, config, **(own or {}))


def say_what_has_no_effect(model: ModelConfig, config: TrainConfig, preset: str, given: set[str]):
    """Warn with one Notice that lists the edited defaults of config.py that this training does not use."""
    idle = []
    for used in (model, config):
        for name, shipped in DEFAULTS[type(used)].items():
            default, value = type(used).__dataclass_fields__[name].default, getattr(used, name)
            if default not in (shipped, value) and name not in given:
                by = f"the preset {preset}" if name in PRESETS[preset] else "the recipe for this text"
                idle.append(f"{name}={default!r} ({by} sets {value!r})")
    if idle:
        warnings.warn(
            f"Edited in config.py, without effect here: {', '.join(idle)}. Give the value to new_trainer, or on the "
            f"command line, where it has an effect.",
            Notice,
            stacklevel=3,
        )
