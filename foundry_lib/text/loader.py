"""Tokens → batches. A batch is sequences of tokens, called rows here, and for each token the next one.

Where most documents fit into a row, as tales do, a row begins with a document and the next documents follow in it. If a
row began in the middle of a tale, its targets would depend on words before it. In other texts a row begins anywhere.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .. import tales
from ..config import IGNORED, require_ints
from ..errors import ConfigError, CorpusError, explain_interrupt
from ..runtime import usable_device
from .corpus import Corpus, read_corpus
from .split import MANY_DOCUMENTS
from .tokenizer import Tokenizer
from .tokens import Tokens, tokenized
from .vocabulary import BOS_ID, EOS_ID, SMALLEST_VOCAB
from .words import token_floor

SPLITS = ("train", "val")
EVAL_ROWS = 8  # rows per forward pass of an evaluation: the logits of more would take more memory than a training step
VAL_TOKENS = 2**15  # only the beginning of a longer validation part is used, for the losses and their reference lines


def documents_fit(tokens: np.ndarray, block_size: int) -> bool:
    """Whether rows that begin with a document show at least 95 % of the text.

    A document that is longer than a row counts only with its first row.
    """
    lengths = np.diff([*np.flatnonzero(tokens == BOS_ID), len(tokens)])
    return bool(np.minimum(lengths, block_size + 1).sum() >= 0.95 * len(tokens))


def validation_rows(tokens: np.ndarray, block_size: int, by_document: bool) -> list[tuple[int, int]]:
    """Start and stop of each row of the validation text, together about VAL_TOKENS targets.

    By document: each document is a row; a document of more than two blocks is cut, because a model must be able to read
    a row. Otherwise: `block_size` targets per row. Each row begins with the last target of the row before.

    >>> validation_rows(np.array([1, 5, 6, 7, 8, 2]), block_size=2, by_document=False)
    [(0, 3), (2, 5), (4, 6)]
    """
    bounds, longest = [0, min(len(tokens), VAL_TOKENS + 1)], block_size
    if by_document:
        bounds, longest = [*np.flatnonzero(tokens == BOS_ID).tolist(), len(tokens)], 2 * block_size
        bounds = [bound for bound in bounds if bound <= max(VAL_TOKENS, bounds[1])]
    return [
        (start, min(start + longest + 1, end))
        for begin, end in itertools.pairwise(bounds)
        for start in range(begin, end - 1, longest)
    ]


def padded(rows: list, device="cpu") -> tuple[Tensor, Tensor]:
    """x, y (B, T) of rows of tokens of unequal length. y is x moved on by one token.

    A shorter row is filled with end signs. Their targets are -100, which the loss ignores.

    >>> padded([[1, 5, 2], [1, 2]])
    (tensor([[1, 5],
            [1, 2]]), tensor([[   5,    2],
            [   2, -100]]))
    """
    x = np.full((len(rows), max(map(len, rows)) - 1), EOS_ID, dtype=np.int64)
    y = np.full_like(x, IGNORED)
    for index, row in enumerate(rows):
        x[index, : len(row) - 1], y[index, : len(row) - 1] = row[:-1], row[1:]
    return torch.from_numpy(x).to(device), torch.from_numpy(y).to(device)


def require_length(train: Corpus, val: Corpus, block_size: int, tokens: Tokens | None = None, free: bool = True):
    """Raise CorpusError unless both parts of a text have block_size + 1 tokens. The error names what would work.

    tokens: None before there is a tokenizer. A text then has at most one token per byte and two per document, as
    with the smallest vocabulary. free: whether the caller may choose the vocabulary.
    """
    counts = [len(tokens.train), len(tokens.val)] if tokens else [sum(map(len, p.documents)) for p in (train, val)]
    if min(counts) > block_size:
        return
    most, unit, advice = min(part.n_bytes + 2 * len(part.documents) for part in (train, val)), "tokens", ""
    if tokens is None and most > block_size:
        return
    if tokens is None:
        counts, unit = [train.n_bytes, val.n_bytes], "bytes"
        if most > 1:
            advice = f", or block_size={most - 1} with vocab_size={SMALLEST_VOCAB}, a token per byte"
    else:
        advice = f", or block_size={min(counts) - 1}"
        advice += f", or vocab_size={SMALLEST_VOCAB}, a token per byte, which gives {most:,} tokens or more" * free
    raise CorpusError(
        f"{train.path or train.name} is too short: {counts[0]:,} {unit} for training and {counts[1]:,} for validation, "
        f"and each needs at least block_size + 1 = {block_size + 1:,} tokens. Use more text{advice}."
    )


class DataLoader:
    """Batches from a text.

        loader = DataLoader("my_text.txt", batch_size=8, block_size=128, device="cpu")
        x, y = loader.get_batch("train")       # (B, T) token ids each; y is x moved on by one

    file_path: a UTF-8 file, a built-in text, or a Corpus. tokenizer: one that belongs to this text. None trains one on
    the training part only, with `vocab_size` tokens (see `Tokenizer.train`). val_fraction: share of the text that is
    for validation. device: where the batches go; None is the best there is.
    by_document: whether rows begin with a document (see above). longest_row: tokens that a model must be able to read.
    floor: for tales, by document, the `tales.Floor` of the validation targets; else None.
    A text of more than 64 MiB is read in blocks, with a bar. Its tokens are stored in a file for the next loader. ■ or
    Ctrl-C stops this and leaves no incomplete file.
    Raises CorpusError for a text that cannot be used or is too short for one row of either part.
    """

    def __init__(
        self,
        file_path: str | Path | Corpus = "tales-en",
        batch_size: int = 8,
        block_size: int = 128,
        device: str | None = None,
        tokenizer: Tokenizer | None = None,
        vocab_size: int | None = None,
        val_fraction: float = 0.1,
        seed: int = 1337,
    ):
        self.device, self.val_fraction, self.seed = usable_device(device), val_fraction, seed
        self.batch_size, self.block_size = batch_size, block_size
        require_ints(self, "batch_size block_size")
        require_ints(self, "seed", minimum=0)
        if not isinstance(val_fraction, float) or not 0 < val_fraction < 1:
            raise ConfigError(f"val_fraction must lie between 0 and 1, found {val_fraction!r}.")
        name = file_path.name if isinstance(file_path, Corpus) else file_path
        with explain_interrupt(f"Stopped before {name} was in tokens; nothing half-written is left."):
            self.corpus: Corpus = file_path if isinstance(file_path, Corpus) else read_corpus(file_path)
            self._prepare(tokenizer, vocab_size)
        self._generators = {split: torch.Generator().manual_seed(seed + i) for i, split in enumerate(SPLITS)}

    def _prepare(self, tokenizer: Tokenizer | None, vocab_size: int | None):
        """Text → tokenizer → tokens → rows."""
        train, val = self.corpus.split(self.val_fraction)
        require_length(train, val, self.block_size)
        free = tokenizer is None
        if tokenizer is None:
            tokenizer = Tokenizer.train(train, vocab_size, self.corpus)
        tokenizer.require_corpus(self.corpus)
        tokens = tokenized(self.corpus, train, val, tokenizer, self.val_fraction)
        require_length(train, val, self.block_size, tokens, free)
        self.tokenizer, self.vocab_size, self.train_tokens = tokenizer, tokenizer.vocab_size, tokens.train
        self.by_document = len(train.documents) >= MANY_DOCUMENTS and documents_fit(tokens.train, self.block_size)
        self._val_rows = validation_rows(tokens.val, self.block_size, self.by_document)
        self.val_tokens = tokens.val[: self._val_rows[-1][1]]
        self.longest_row = max(self.block_size, *(stop - start - 1 for start, stop in self._val_rows))
        targets = self.val_pairs()[1]
        self.val_bytes_per_token = sum(len(tokenizer.token_bytes(i)) for i in targets.tolist()) / len(targets)
        self.floor = self._floor(val)
        self._starts = {split: self._document_starts(split) for split in SPLITS} if self.by_document else {}

    def _document_starts(self, split: str) -> np.ndarray:
        """Positions where a document begins and a whole row is left before the end of the tokens."""
        tokens = self._tokens(split)
        return np.flatnonzero(tokens[: len(tokens) - self.block_size] == BOS_ID)

    def _tokens(self, split: str) -> np.ndarray:
        if split not in SPLITS:
            raise ConfigError(f"There is no split {split!r}; the splits are 'train' and 'val'.")
        return self.train_tokens if split == "train" else self.val_tokens

    def _to_device(self, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        rows = torch.from_numpy(rows.astype(np.int64))
        if str(self.device).startswith("cuda"):
            rows = rows.pin_memory().to(self.device, non_blocking=True)
        else:
            rows = rows.to(self.device)
        return rows[:, :-1], rows[:, 1:]

    def get_batch(self, split: str = "train") -> tuple[Tensor, Tensor]:
        """x, y (B, T) int64 on the device: random rows of "train" or "val". y is x moved on by one token."""
        tokens, starts = self._tokens(split), self._starts.get(split)
        n_starts = len(tokens) - self.block_size if starts is None else len(starts)
        first = torch.randint(n_starts, (self.batch_size, 1), generator=self._generators[split]).numpy()
        if starts is not None:
            first = starts[first]
        return self._to_device(tokens[first + np.arange(self.block_size + 1)])

    def val_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The validation text in order: x, y of up to EVAL_ROWS rows at a time, see `validation_rows` and `padded`.

        Each token but the first of a document, or of the text, is a target exactly once.
        """
        for first in range(0, len(self._val_rows), EVAL_ROWS):
            yield padded([self.val_tokens[a:b] for a, b in self._val_rows[first : first + EVAL_ROWS]], self.device)

    def val_pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """The token before each validation target, and the targets, in the order of `val_batches`."""
        rows = [self.val_tokens[start:stop] for start, stop in self._val_rows]
        return np.concatenate([row[:-1] for row in rows]), np.concatenate([row[1:] for row in rows])

    def state(self) -> dict[str, Tensor]:
        """State of the random generators, for a checkpoint."""
        return {split: generator.get_state() for split, generator in self._generators.items()}

    def load_state(self, state: dict[str, Tensor]):
        for split, generator in self._generators.items():
            generator.set_state(state[split])

    def spec(self) -> dict:
        """The arguments that make the same loader again, without the tokenizer; a checkpoint stores both."""
        return {
            "file_path": str(self.corpus.path.resolve()) if self.corpus.path else self.corpus.name,
            "batch_size": self.batch_size,
            "block_size": self.block_size,
            "val_fraction": self.val_fraction,
            "seed": self.seed,
        }

    def _floor(self, val: Corpus) -> tales.Floor | None:
        """The floor of the documents in the validation rows; None for text without a grammar.

        None also where rows are too short for whole tales: a row that begins in the middle of a tale lacks words that
        the floor assumes as known.
        """
        if self.corpus.grammar is None or not self.by_document:
            return None
        documents = val.documents[: int((self.val_tokens == BOS_ID).sum())]
        return token_floor([tales.parse(text, self.corpus.grammar).tale for text in documents], self.tokenizer)

    def describe(self) -> str:
        """Two lines about text, vocabulary and split, for a person."""
        n_train, n_val = len(self.train_tokens), len(self.val_tokens)
        return (
            f"{self.corpus.name}: {self.corpus.n_bytes:,} bytes in {len(self.corpus.documents):,} documents, "
            f"vocabulary {self.vocab_size:,}\n"
            f"  {n_train:,} tokens for training, {n_val:,} for validation, {self.val_bytes_per_token:.2f} bytes a token"
        )
