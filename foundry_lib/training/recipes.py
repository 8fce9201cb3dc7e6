"""Settings that suit a text, found by measurement, and a training that is made from them in one call."""

from dataclasses import dataclass, field
from pathlib import Path

from ..config import ModelConfig, TrainConfig
from ..errors import ConfigError
from ..models.model import MiniLLM
from ..text.corpus import Corpus, read_corpus
from ..text.loader import DataLoader
from .trainer import Trainer


@dataclass(frozen=True)
class Recipe:
    """What differs from the defaults of DataLoader, ModelConfig and TrainConfig."""

    loader: dict = field(default_factory=dict)
    model: dict = field(default_factory=dict)
    train: dict = field(default_factory=dict)


# Prose: the defaults, measured on python-docs, and a weight decay that suits the text's size (`weight_decay` below).
PROSE = Recipe()

# Tales: what counts is to look things up in the story, and the text is read nearly twice. In per cent above
# the floor, one seed, 800 steps at a learning rate of 2.5e-3 (benchmarks/tales_runs.md): these settings 10.2; a head of
# its own instead of tied embeddings 54; embedding_std at fan-in, 0.088, 29, and at 1, 31; rope_theta 10,000 15.7;
# weight_decay 1 19.8; a learning rate of 4e-3 7.6; twice the steps of 4 rows 6.2. At full length (English, one seed)
# the learning rate of 4e-3 ended at 2.5 and the 4 rows at 3.1, so the first became the recipe's, though its own seeds
# reach from 2.5 to 3.1.
TALES = Recipe(
    loader=dict(block_size=200),
    model=dict(tie_embeddings=True, embedding_std=0.3, rope_theta=500.0, max_seq_len=256),
    train=dict(learning_rate=4e-3, weight_decay=0.1, max_iters=1600),
)


def recipe(corpus: Corpus) -> Recipe:
    """The recipe for a text: that of the tales for text from a grammar, that of prose for any other."""
    return PROSE if corpus.grammar is None else TALES


def weight_decay(n_tokens: int) -> float:
    """For prose of `n_tokens` to train on: the smaller the text, the more of a weight is forgotten at every step.

    With decay λ and learning rate η a weight is an average of its last 1/(η·λ) updates or so. What suits is an average
    over one to three readings of the text, and a reading of a larger text has more steps (Wang & Aitchison 2024, "How
    to set AdamW's weight decay as you scale model and dataset size"). Measured (tiny, 8 × 128, bits a byte):
    python-docs, 117,000 tokens, 1,750 steps, three seeds: λ = 1 ends at 1.854, 2 at 1.810. Program text, 1,500 steps,
    one seed, 316,000 tokens: 0.35 at 1.979, 0.7 at 1.969, 1 at 1.952, 2 at 1.954; other files, 1,712,000 tokens: 0.14
    at 0.598, 0.3 at 0.616, 1 at 0.650, 2 at 0.707.
    """
    return min(2.0, max(0.1, 320_000 / n_tokens))


def new_trainer(
    text: str | Path | Corpus = "tales-en",
    preset: str = "tiny",
    seed: int = 1337,
    device: str = "cpu",
    parts: dict | None = None,
    **changes,
) -> Trainer:
    """A training on `text`, ready to run, by the recipe that suits it.

        trainer = new_trainer("tales-en")
        for record in trainer.run(): ...

    text: a UTF-8 file, a built-in text or a Corpus. preset: size of the model. seed: of weights and batches.
    parts: parts of one's own for the model, as MiniLLM takes them: {"norm": MyRMSNorm}.
    changes: any field of ModelConfig or TrainConfig, or block_size, val_fraction, vocab_size; None leaves it to the
    recipe. Raises ConfigError for a name that is none of these.
    """
    corpus = text if isinstance(text, Corpus) else read_corpus(text)
    found = recipe(corpus)
    homes = {
        "loader": (dict(found.loader), {"block_size", "val_fraction", "vocab_size"}),
        "model": (dict(found.model), set(ModelConfig.__dataclass_fields__) - {"vocab_size"}),
        "train": ({**found.train}, set(TrainConfig.__dataclass_fields__) - {"seed"}),
    }
    for name, value in changes.items():
        found_in = [values for values, names in homes.values() if name in names]
        if not found_in:
            known = sorted(set().union(*(names for _, names in homes.values())))
            raise ConfigError(f"new_trainer has no setting {name!r}; there are {', '.join(known)}.")
        if value is not None:
            found_in[0][name] = value
    loader_values, model_values, train_values = (values for values, _ in homes.values())
    config = TrainConfig(**train_values, seed=seed)  # refused early, before a text is cut into tokens
    loader = DataLoader(corpus, batch_size=config.batch_size, device=device, seed=seed, **loader_values)
    if "weight_decay" not in train_values:
        config = config.with_(weight_decay=weight_decay(len(loader.train_tokens)))
    model = ModelConfig.preset(
        preset, **{"max_seq_len": loader.longest_row, **model_values}, vocab_size=loader.vocab_size
    )
    return Trainer(MiniLLM(model, seed=seed, **(parts or {})), loader, config)
