"""A text file, read in pieces: strict UTF-8, or a refusal that says what the bytes look like and how to convert them.

No more of it than a piece is in memory at a time, so a text may be larger than the memory.
"""

import codecs
import io
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from pathlib import Path

from tqdm import tqdm

from ..errors import CorpusError

PIECE = 2**20  # bytes read at a time


@dataclass(frozen=True)
class TextFile:
    """Characters `start` to `stop` of a UTF-8 text file, read anew each time they are asked for.

    It stands where a string would, among the documents of a Corpus: it has a length in characters and can be cut,
    `text[a:b]`. `pieces` has its characters.

    length: characters of the whole file. size, changed: the file's bytes and time after it was read first.
    """

    path: Path
    start: int
    stop: int
    length: int
    size: int
    changed: int

    @classmethod
    def whole(cls, path: Path, length: int) -> "TextFile":
        return cls(path, 0, length, length, *state(path))

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, part: slice) -> "TextFile":
        start, stop, _ = part.indices(len(self))
        return replace(self, start=self.start + start, stop=self.start + max(start, stop))

    def __str__(self) -> str:
        return "".join(pieces(self))

    def read(self, doing: str) -> Iterator[str]:
        """The characters in pieces, with a bar for the bytes. Raises CorpusError when the file has changed since."""
        if not self.path.is_file() or (self.size, self.changed) != state(self.path):
            raise CorpusError(f"{self.path} is not as it was when it was read first. Read it anew.")
        at, bytes_each = 0, self.size / self.length
        with progress(self.path, doing, self.stop * bytes_each, self.start * bytes_each) as bar:
            for piece in read_text(self.path):
                mine = piece[max(0, self.start - at) : self.stop - at]
                if mine:
                    yield mine
                    bar.update(len(mine) * bytes_each)
                at += len(piece)
                if at >= self.stop:
                    return


def state(path: Path) -> tuple[int, int]:
    """By which a change of a file is seen: its bytes, and when it was written."""
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns


def pieces(text: str | TextFile, doing: str = "reading") -> Iterable[str]:
    """The characters of a document: a string as it is, a TextFile piece by piece."""
    return [text] if isinstance(text, str) else text.read(doing)


def progress(path: Path, doing: str, size: float, begin: float = 0, hidden: bool = False) -> tqdm:
    """A bar for the bytes of a file from `begin` to `size`, which is there while it lasts."""
    words = dict(desc=f"{path.name}, {doing}", unit="B", unit_scale=True, leave=False, dynamic_ncols=True)
    return tqdm(total=size, initial=begin, disable=hidden, **words)


def read_text(path: Path, mended: Counter | None = None) -> Iterator[str]:
    """The text of a UTF-8 file in pieces, without a byte-order mark and with "\\n" line ends.

    mended: counts "marks" and "returns", which line ends of other systems have.
    Raises CorpusError, which names the file, what was found and the next step, for anything that is not such a text,
    and FileNotFoundError.
    """
    mended = Counter() if mended is None else mended
    newlines = io.IncrementalNewlineDecoder(None, translate=True)
    for number, piece in enumerate(decode(read_bytes(path), path)):
        if number == 0 and piece.startswith("\ufeff"):
            piece = piece.removeprefix("\ufeff")
            mended["marks"] += 1
        mended["returns"] += piece.count("\r")
        yield newlines.decode(piece)
    yield newlines.decode("", final=True)


def read_bytes(path: Path) -> Iterator[bytes]:
    try:
        with open(path, "rb") as file:
            while block := file.read(PIECE):
                yield block
    except FileNotFoundError:
        raise
    except IsADirectoryError:
        raise CorpusError(f"{path} is a folder. Name one text file in it.") from None
    except (OSError, ValueError) as error:  # on Windows a folder ends here too; ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise CorpusError(f"{str(path)[:200]} cannot be read: {reason}. Name a text file that you may read.") from error


def decode(blocks: Iterable[bytes], path: Path) -> Iterator[str]:
    """Strict UTF-8, or a CorpusError that says what the bytes look like and how to convert them."""
    before, lines, rest = 0, 0, b""  # bytes and line ends of the pieces so far; bytes of a character that was cut
    for block, following in pairwise(chain(blocks, [b""])):
        data, ends = rest + block, not following
        if not before:
            refuse_wide(data, ends, path)
        try:
            text, used = codecs.utf_8_decode(data, "strict", ends)
        except UnicodeDecodeError as error:
            raise not_utf8(data, ends, path, before, error.start) from None
        nul = text.find("\0")
        if nul >= 0:
            raise CorpusError(
                f"{path} holds a NUL character in line {lines + text.count(chr(10), 0, nul) + 1:,}, so it is not plain "
                f"text. Remove it, or export the text anew."
            )
        if not before:
            refuse_binary(text[:20_000], path)
        yield text
        before, lines, rest = before + used, lines + text.count("\n"), data[used:]


def refuse_binary(start: str, path: Path):
    control = sum(c < " " and c not in "\t\n\r\f" for c in start)
    if control > len(start) // 50:
        raise CorpusError(f"{path} looks binary: {control} control characters at its start. Export it as plain text.")


def refuse_wide(data: bytes, ends: bool, path: Path):
    wide = wide_encoding(data)
    if wide:
        try:
            first = first_line(attempt(data, ends, wide))
        except UnicodeDecodeError:
            raise CorpusError(f"{path} is not text: it holds NUL bytes. Export it as plain text in UTF-8.") from None
        raise convert(path, wide.upper(), wide, f"its first line is {first!r}")


def wide_encoding(data: bytes) -> str | None:
    """UTF-16 or UTF-32, by the byte-order mark or by where NUL bytes stand; None for anything else."""
    if data.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "utf-32"
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    nul = [data[i:4000:4].count(0) / (len(data[:4000]) / 4) for i in range(4)]  # share of NUL in each place of four
    if min(nul[2:]) > 0.9 or min(nul[:2]) > 0.9:
        return "utf-32-le" if nul[3] > nul[0] else "utf-32-be"
    low, high = sorted((nul[0] + nul[2], nul[1] + nul[3]))
    if high > 0.1 and high > 4 * low:
        return "utf-16-le" if nul[1] + nul[3] == high else "utf-16-be"
    return None


def first_line(text: str) -> str:
    """The first line that says something, without its mark, and not too long to print."""
    return next((line.strip("\ufeff \t\r") for line in text.splitlines() if line.strip("\ufeff \t\r")), "")[:40]


# Bytes read in a wrong encoding decode too, but to rare characters; a tenth and more of real Chinese is among these.
COMMON = set(
    "，。！？：；、“”的一是不了在人有我他她它这這个個们們来來上大中国國到说說时時要就出会會也你对對生能子那得于於着著下自之年过過"
)


def attempt(data: bytes, ends: bool, encoding: str) -> str:
    """The data in an encoding; unless it `ends` here, a character may be cut at its end. Raises UnicodeDecodeError."""
    return codecs.getincrementaldecoder(encoding)().decode(data, final=ends)


def likeness(text: str) -> float:
    """Share of the most common Chinese characters among all that are not ASCII."""
    foreign = [c for c in text[:5000] if ord(c) > 127]
    return sum(c in COMMON for c in foreign) / len(foreign) if foreign else 0.0


def not_utf8(data: bytes, ends: bool, path: Path, before: int, place: int) -> CorpusError:
    """The error to raise: `data`, which stands `before` bytes after the file's start, is not UTF-8 from `place` on."""
    line = data.rfind(b"\n", 0, place) + 1 if before else 0  # far from the start the first line may be plain ASCII
    readings = {}
    for name in ("gb18030", "big5", "utf-16-le", "utf-16-be"):
        try:
            readings[name] = attempt(data[line:], ends, name)
        except UnicodeDecodeError:
            readings[name] = ""
    name = max(readings, key=lambda name: likeness(readings[name]))
    if likeness(readings[name]) > 0.05:
        label = {"gb18030": "GB18030 (or GBK)", "big5": "Big5"}.get(name, name.upper())
        where = f"the line at byte {before + line:,}" if before else "its first line"
        return convert(path, label, name, f"{where} is {first_line(readings[name])!r}")
    return CorpusError(
        f"{path} is not UTF-8: byte {before + place:,} is 0x{data[place]:02x}, and no Chinese encoding fits. "
        f"Open it in an editor and save it as plain text in UTF-8."
    )


def convert(path: Path, name: str, encoding: str, seen: str) -> CorpusError:
    """The error to raise for a text in another encoding, with the line of Python that converts it."""
    return CorpusError(
        f"{path} is not UTF-8; it looks like {name}. If {seen}, convert it to a new file: "
        f"from pathlib import Path; Path('new.txt').write_text(Path({str(path)!r}).read_text('{encoding}'), 'utf-8')"
    )
