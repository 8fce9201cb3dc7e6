"""A document of a text: a string, or a file that is too large for the memory and is read in blocks.

Both are a `Document`: they have a length in characters, can be cut like a string, and give their characters by
`blocks`. Code outside this file treats both alike.
"""

import codecs
import io
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from pathlib import Path
from typing import Protocol

from tqdm import tqdm

from ..errors import CorpusError
from .encodings import Stretch, not_utf8, refuse_wide
from .formats import refuse_control, refuse_other_formats

BLOCK = 2**20  # bytes read at a time


class Document(Protocol):
    """A text that may be larger than the memory."""

    def __len__(self) -> int:
        """Characters."""

    def __getitem__(self, part: slice) -> "Document": ...

    def blocks(self, doing: str = "reading") -> Iterable[str]:
        """The characters, block by block. doing: the word beside the bar, where there is one."""


class Text(str):
    """A document in memory: a string, which is one block.

    >>> Text("two owls")[:3].blocks()
    ['two']
    """

    def __getitem__(self, part: slice | int) -> "Text":
        return Text(super().__getitem__(part))

    def blocks(self, doing: str = "reading") -> list[str]:
        return [str(self)]


@dataclass(frozen=True)
class TextFile:
    """Characters `start` to `stop` of a UTF-8 text file. Each call of `blocks` reads the file again.

    length: characters of the whole file. stamp: the file's size and time of change when it was first read.
    """

    path: Path
    start: int
    stop: int
    length: int
    stamp: tuple[int, int]

    @classmethod
    def whole(cls, path: Path, length: int) -> "TextFile":
        return cls(path, 0, length, length, stamp(path))

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, part: slice) -> "TextFile":
        start, stop, _ = part.indices(len(self))
        return replace(self, start=self.start + start, stop=self.start + max(start, stop))

    def __str__(self) -> str:
        return "".join(self.blocks())

    def blocks(self, doing: str = "reading") -> Iterator[str]:
        """The characters in blocks, with a bar. Raises CorpusError when the file has changed since it was opened."""
        if not self.path.is_file() or self.stamp != stamp(self.path):
            raise CorpusError(f"{self.path} has changed since it was first read. Read it again.")
        position, bytes_each = 0, self.stamp[0] / self.length
        with progress(self.path, doing, self.stop * bytes_each, self.start * bytes_each) as bar:
            for block in read_text(self.path):
                part = block[max(0, self.start - position) : self.stop - position]
                if part:
                    yield part
                    bar.update(len(part) * bytes_each)
                position += len(block)
                if position >= self.stop:
                    return


def document(text: "str | Document") -> Document:
    """A string as a Document; a Document as it is."""
    return Text(text) if type(text) is str else text


def stamp(path: Path) -> tuple[int, int]:
    """Size and time of change, to notice an edited file."""
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns


def progress(path: Path, doing: str, size: float, begin: float = 0, hidden: bool = False) -> tqdm:
    """A bar for the bytes of a file from `begin` to `size`. It disappears at its end."""
    words = dict(desc=f"{path.name}, {doing}", unit="B", unit_scale=True, leave=False, dynamic_ncols=True)
    return tqdm(total=size, initial=begin, disable=hidden, **words)


def read_text(path: Path, changes: Counter | None = None) -> Iterator[str]:
    """The text of a UTF-8 file in blocks, without a byte-order mark and with "\\n" line ends.

    changes: counts "marks" and "returns", the line ends of other systems.
    Raises FileNotFoundError, and CorpusError for anything that is not such a text. The error names the file, what was
    found and the next step.
    """
    changes = Counter() if changes is None else changes
    newlines = io.IncrementalNewlineDecoder(None, translate=True)
    for number, block in enumerate(decode(read_bytes(path), path)):
        if number == 0 and block.startswith("\ufeff"):
            block = block.removeprefix("\ufeff")
            changes["marks"] += 1
        changes["returns"] += block.count("\r")
        yield newlines.decode(block)
    yield newlines.decode("", final=True)


def read_bytes(path: Path) -> Iterator[bytes]:
    """The bytes of a file, block by block. Raises FileNotFoundError, and CorpusError when the file cannot be read."""
    try:
        with open(path, "rb") as file:
            while block := file.read(BLOCK):
                yield block
    except FileNotFoundError:
        raise
    except IsADirectoryError:
        raise CorpusError(f"{path} is a folder. Name one text file in it.") from None
    except (OSError, ValueError) as error:  # on Windows a folder ends here too; ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise CorpusError(f"{str(path)[:200]} cannot be read: {reason}. Name a text file that you may read.") from error


def decode(blocks: Iterable[bytes], path: Path) -> Iterator[str]:
    """Decode as strict UTF-8. Raises CorpusError, which names a likely encoding and the next step."""
    before, lines, rest = 0, 0, b""  # bytes and line ends so far; the first bytes of a character that a block cuts
    for block, following in pairwise(chain(blocks, [b""])):
        data, ends = rest + block, not following
        if not before:
            refuse_other_formats(data, path)
            refuse_wide(data, ends, path)
        try:
            text, used = codecs.utf_8_decode(data, "strict", ends)
        except UnicodeDecodeError as error:
            stretch = Stretch(path, data, error.start, before, lines, ends)
            raise not_utf8(stretch, lambda: count_wrong(path)) from None
        refuse_control(text, path, lines)
        yield text
        before, lines, rest = before + used, lines + text.count("\n"), data[used:]


def count_wrong(path: Path) -> int:
    """How many bytes of a file are not UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    texts = chain((decoder.decode(block) for block in read_bytes(path)), [decoder.decode(b"", final=True)])
    return sum(len(re.findall("[\udc80-\udcff]", text)) for text in texts)
