"""Text → tokens → batches. A document is BOS, its tokens, EOS; a batch is rows of tokens, and for each the next.

Where documents are short enough to fit into a row, as tales are, a row begins with a document and the next ones follow
behind it: a row that began in the middle of a tale would ask for what it does not show. Elsewhere it begins anywhere.
"""

import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..config import IGNORED, require_ints
from ..errors import ConfigError, CorpusError, said_when_stopped
from ..files import write_whole
from ..runtime import usable_device
from .corpus import Corpus, read_corpus
from .textfile import TextFile
from .tokenizer import BOS_ID, EOS_ID, Tokenizer

MANY_DOCUMENTS = 20  # from here on the split falls between documents
NEAR = 2**20  # characters, within which a line end is looked for where a text is to be split
SPLITS = ("train", "val")
EVAL_ROWS = 8  # rows of an evaluation at a time: all scores of more would take more memory than a training step
VAL_TOKENS = 2**15  # of a longer validation part the beginning is used, for the losses and the lines beside them alike


def split_documents(documents: tuple[str | TextFile, ...], val_fraction: float) -> tuple[list, list]:
    """Training and validation documents: the last `val_fraction` of the characters are validation.

    With many documents the cut falls between two of them, as near as can be; otherwise at a line end near the place,
    or, if there is none within a tenth of the text or a million characters before it, exactly there.
    """
    ends = np.cumsum([len(document) for document in documents])
    total = int(ends[-1])
    place = min(int(total * (1 - val_fraction)), total - 1)
    if len(documents) >= MANY_DOCUMENTS:
        index = 1 + int(np.abs(ends[:-1] - place).argmin())
        return list(documents[:index]), list(documents[index:])
    index = int(np.searchsorted(ends, place, side="right"))
    place -= int(ends[index]) - len(documents[index])
    document = documents[index]
    first = max(0, place - max(1, min(total // 10, NEAR)))
    line_end = str(document[first:place]).rfind("\n") + 1
    cut = first + line_end if line_end else place
    train, val = [*documents[:index], document[:cut]], [document[cut:], *documents[index + 1 :]]
    return [d for d in train if d], [d for d in val if d]


def tokenize(documents: list[str | TextFile], tokenizer: Tokenizer, file: Path | None = None) -> np.ndarray:
    """All tokens in one array, 16 bits each where the vocabulary fits; with `file`, memory-mapped from there."""
    dtype = np.uint16 if tokenizer.vocab_size <= 2**16 else np.uint32
    blocks = (np.asarray(block, dtype=dtype) for block in tokenizer.encode_documents(documents))
    if file is None:
        return np.concatenate(list(blocks))
    if not file.exists():
        write_blocks(blocks, file)
    return np.memmap(file, dtype=dtype, mode="r")


def write_blocks(blocks: Iterator[np.ndarray], file: Path):
    """Write a file that is either whole or not there. Raises CorpusError when the folder does not take it."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, (block.tobytes() for block in blocks))
    except OSError as error:
        raise CorpusError(
            f"The tokens of this large text could not be kept in {file.parent}: {error.strerror or error}. Set the "
            f"environment variable FOUNDRY_CACHE to a folder with more room that you may write to."
        ) from error


def cache_folder() -> Path:
    """Where token files of large texts are kept: $FOUNDRY_CACHE, or the user's cache folder."""
    if "FOUNDRY_CACHE" in os.environ:
        return Path(os.environ["FOUNDRY_CACHE"])
    home = Path.home()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local")) / "llm-foundry"
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "llm-foundry"


def documents_fit(tokens: np.ndarray, block_size: int) -> bool:
    """Whether rows that begin with a document show nearly all of the text, 95 % of it: of a document that is longer
    than a row they show no more than the first row."""
    lengths = np.diff([*np.flatnonzero(tokens == BOS_ID), len(tokens)])
    return bool(np.minimum(lengths, block_size + 1).sum() >= 0.95 * len(tokens))


def validation_rows(tokens: np.ndarray, block_size: int, by_document: bool) -> list[tuple[int, int]]:
    """Where the rows of the validation text start and stop, together about VAL_TOKENS targets.

    By document: whole documents, one a row; one of more than two blocks is cut, so that a row stays readable.
    Otherwise `block_size` tokens a row and the next; each row begins with the last target of the one before.
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
    """x, y of rows of tokens of unequal length. A shorter row is filled with end signs, whose targets, -100, the loss
    leaves out."""
    x = np.full((len(rows), max(map(len, rows)) - 1), EOS_ID, dtype=np.int64)
    y = np.full_like(x, IGNORED)
    for index, row in enumerate(rows):
        x[index, : len(row) - 1], y[index, : len(row) - 1] = row[:-1], row[1:]
    return torch.from_numpy(x).to(device), torch.from_numpy(y).to(device)


class DataLoader:
    """Batches from a text.

        loader = DataLoader("my_text.txt", batch_size=8, block_size=128, device="cpu")
        x, y = loader.get_batch("train")       # (B, T) token ids each; y is x moved on by one

    file_path: a UTF-8 file, a built-in text, or a Corpus. tokenizer: one that was trained on this text; None trains
    one with `vocab_size` pieces (None: see `Tokenizer.train`), on the training part only. val_fraction: share of the
    text that is kept for validation.
    by_document: whether rows begin with a document (see above). longest_row: tokens that a model must be able to read.
    floor: for tales, by document, the `tales.Floor` of the validation targets, so that no loss can be mistaken; else
    None.
    A text of more than 64 MiB is read in pieces, with a bar, and its tokens are kept in a file, from which the next
    loader takes them; ■ or Ctrl-C ends that and leaves nothing half-written.
    Raises CorpusError for a text that cannot be used or is too short for one row of either part.
    """

    def __init__(
        self,
        file_path: str | Path | Corpus = "tales-en",
        batch_size: int = 8,
        block_size: int = 128,
        device: str = "cpu",
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
        with said_when_stopped(f"Stopped before {name} was in tokens; nothing half-written is left."):
            self.corpus: Corpus = file_path if isinstance(file_path, Corpus) else read_corpus(file_path)
            self._cut(tokenizer, vocab_size)
        self._generators = {split: torch.Generator().manual_seed(seed + i) for i, split in enumerate(SPLITS)}

    def _cut(self, tokenizer: Tokenizer | None, vocab_size: int | None):
        """Split the text, cut it into tokens, and find the rows."""
        train, val = split_documents(self.corpus.documents, self.val_fraction)
        self._require_length(
            sum(map(len, train)), sum(map(len, val)), "characters", "more text, or a smaller block_size"
        )
        if tokenizer is None:
            tokenizer = Tokenizer.train(self.corpus, vocab_size, train)
        tokenizer.require_corpus(self.corpus)
        self.tokenizer, self.vocab_size = tokenizer, tokenizer.vocab_size
        self.train_tokens, self.val_tokens = self._tokenize("train", train), self._tokenize("val", val)
        shorter = min(len(self.train_tokens), len(self.val_tokens))
        self._require_length(
            len(self.train_tokens),
            len(self.val_tokens),
            "tokens",
            f"a block_size of at most {shorter - 1}, or more text",
        )
        self.by_document = len(train) >= MANY_DOCUMENTS and documents_fit(self.train_tokens, self.block_size)
        self._val_rows = validation_rows(self.val_tokens, self.block_size, self.by_document)
        self.val_tokens = self.val_tokens[: self._val_rows[-1][1]]
        self.longest_row = max(self.block_size, *(stop - start - 1 for start, stop in self._val_rows))
        n_bytes = sum(len(tokenizer.token_bytes(i)) for i in self.val_pairs()[1].tolist())
        self.val_bytes_per_token = n_bytes / len(self.val_pairs()[1])
        self.floor = self._floor(val)
        self._starts = {split: self._document_starts(split) for split in SPLITS} if self.by_document else {}

    def _tokenize(self, split: str, documents: list[str]) -> np.ndarray:
        name = f"{self.corpus.sha256[:16]}-{self.tokenizer.fingerprint[:16]}-{self.val_fraction:g}-{split}.tokens"
        return tokenize(documents, self.tokenizer, cache_folder() / name if self.corpus.is_large else None)

    def _document_starts(self, split: str) -> np.ndarray:
        """Places where a document begins that has a whole row before the end of the tokens."""
        tokens = self._tokens(split)
        return np.flatnonzero(tokens[: len(tokens) - self.block_size] == BOS_ID)

    def _require_length(self, train: int, val: int, unit: str, advice: str):
        """A row needs block_size + 1 tokens. Characters are counted before a tokenizer is trained (a token has at
        least one), tokens after."""
        if min(train, val) < self.block_size + 1:
            text = self.corpus.path or self.corpus.name
            raise CorpusError(
                f"{text} is too short: {train} {unit} for training and {val} for validation, and each needs "
                f"at least block_size + 1 = {self.block_size + 1} tokens. Use {advice}."
            )

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
        """x, y (B, T) int64 on the device: rows from random places of "train" or "val"; y is x moved on by one."""
        tokens, starts = self._tokens(split), self._starts.get(split)
        places = len(tokens) - self.block_size if starts is None else len(starts)
        first = torch.randint(places, (self.batch_size, 1), generator=self._generators[split]).numpy()
        if starts is not None:
            first = starts[first]
        return self._to_device(tokens[first + np.arange(self.block_size + 1)])

    def val_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The validation text in order, each token but the first of a row the target of exactly one row.

        Up to EVAL_ROWS rows at a time, each a whole document or `block_size` tokens, see `padded`.
        """
        for first in range(0, len(self._val_rows), EVAL_ROWS):
            yield padded([self.val_tokens[a:b] for a, b in self._val_rows[first : first + EVAL_ROWS]], self.device)

    def val_pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """The validation targets, in the order of `val_batches`, and before them the token that each one follows."""
        rows = [self.val_tokens[start:stop] for start, stop in self._val_rows]
        return np.concatenate([row[:-1] for row in rows]), np.concatenate([row[1:] for row in rows])

    def state(self) -> dict[str, Tensor]:
        """Where the random numbers stand, for a checkpoint."""
        return {split: generator.get_state() for split, generator in self._generators.items()}

    def load_state(self, state: dict[str, Tensor]):
        for split, generator in self._generators.items():
            generator.set_state(state[split])

    def spec(self) -> dict:
        """What a checkpoint notes to make the same loader again, beside the tokenizer."""
        return {
            "file_path": str(self.corpus.path.resolve()) if self.corpus.path else self.corpus.name,
            "batch_size": self.batch_size,
            "block_size": self.block_size,
            "val_fraction": self.val_fraction,
            "seed": self.seed,
        }

    def _floor(self, documents: list[str]):
        """The floor of the documents in the validation rows; None where no grammar is known, or where the rows are too
        short to hold whole tales: in the middle of one a reader has not seen what the floor takes for known."""
        if self.corpus.grammar is None or not self.by_document:
            return None
        from .. import tales

        told = documents[: int((self.val_tokens == BOS_ID).sum())]
        return tales.Floor([tales.parse(text, self.corpus.grammar).tale for text in told], self.tokenizer)

    def describe(self) -> str:
        """Two lines about text, vocabulary and split, for a person."""
        n_train, n_val = len(self.train_tokens), len(self.val_tokens)
        return (
            f"{self.corpus.name}: {self.corpus.n_bytes:,} bytes in {len(self.corpus.documents):,} documents, "
            f"vocabulary {self.vocab_size:,}\n"
            f"  {n_train:,} tokens for training, {n_val:,} for validation, {self.val_bytes_per_token:.2f} bytes a token"
        )
