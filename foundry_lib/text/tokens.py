"""A text in tokens: the training part and the validation part, each an array. A document is BOS, its tokens, EOS."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import platformdirs

from ..errors import CorpusError
from ..files import write_whole
from .corpus import Corpus
from .tokenizer import Tokenizer


@dataclass(frozen=True)
class Tokens:
    """train, val: the ids of all tokens in order, 16 bits each where the vocabulary fits. tokenizer: made the ids."""

    tokenizer: Tokenizer
    train: np.ndarray
    val: np.ndarray


def tokenized(corpus: Corpus, train: Corpus, val: Corpus, tokenizer: Tokenizer, val_fraction: float) -> Tokens:
    """Both parts of a text in tokens. The tokens of a large text are stored in files and memory-mapped."""
    arrays = []
    for name, part in (("train", train), ("val", val)):
        file = f"{corpus.sha256[:16]}-{tokenizer.fingerprint[:16]}-{val_fraction:g}-{name}.tokens"
        arrays.append(tokenize(part, tokenizer, cache_folder() / file if corpus.is_large else None))
    return Tokens(tokenizer, *arrays)


def tokenize(part: Corpus, tokenizer: Tokenizer, file: Path | None = None) -> np.ndarray:
    """All tokens in one array. With `file`, the array is memory-mapped from that file, which is written if missing."""
    dtype = np.uint16 if tokenizer.vocab_size <= 2**16 else np.uint32
    blocks = (np.asarray(block, dtype=dtype) for block in tokenizer.encode_documents(part.documents))
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
            f"The tokens of this large text could not be stored in {file.parent}: {error.strerror or error}. Set the "
            f"environment variable FOUNDRY_CACHE to a folder with more room that you may write to."
        ) from error


def cache_folder() -> Path:
    """The folder for token files of large texts: $FOUNDRY_CACHE, or the user's cache folder."""
    if "FOUNDRY_CACHE" in os.environ:
        return Path(os.environ["FOUNDRY_CACHE"])
    return Path(platformdirs.user_cache_dir("llm-foundry", appauthor=False, opinion=False))
