"""The one door for text. What comes through it is Unicode with "\\n" line ends, and known by its sha256.

It reads; it never downloads, guesses an encoding in silence, or writes to a learner's path.
"""

import hashlib
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import CorpusError, Notice

if TYPE_CHECKING:
    from .tales import Grammar

MANY_TALES = 12_000  # 1.6 million tokens: a training of some minutes reads each about once and a half


@dataclass(frozen=True)
class Corpus:
    """A text: its name and its documents, each a string; `sha256` is taken over them all.

    grammar: of a text of Foundry Tales, the grammar that told it, so that its floor can be computed; else None.
    words: of a text whose words are known, many of them in running order, for a tokenizer to learn from.
    """

    name: str
    documents: tuple[str, ...]
    grammar: "Grammar | None" = field(default=None, repr=False, compare=False)
    words: tuple[str, ...] = field(default=(), repr=False, compare=False)

    @cached_property
    def sha256(self) -> str:
        digest = hashlib.sha256()
        for document in self.documents:
            digest.update(document.encode("utf-8") + b"\0")  # NUL is refused in a text, so it separates for certain
        return digest.hexdigest()

    @cached_property
    def n_bytes(self) -> int:
        """Bytes of the text in UTF-8."""
        return sum(len(document.encode("utf-8")) for document in self.documents)


def read_corpus(source: str | Path) -> Corpus:
    """A text by the name of a built-in, or from a UTF-8 file.

    A byte-order mark is taken off and line ends become "\\n"; both are said by a Notice. Raises CorpusError, which
    names the file, what was found and the next step, for anything else that is not plain UTF-8 text.
    """
    if isinstance(source, str) and source in BUILT_IN:
        return BUILT_IN[source]()
    path = Path(source)
    text = decode(read_bytes(path), path)
    if text.startswith("\ufeff"):
        text = text.removeprefix("\ufeff")
        warnings.warn(f"{path.name}: a byte-order mark at the start was taken off.", Notice, stacklevel=2)
    carriage_returns = text.count("\r")
    if carriage_returns:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        warnings.warn(
            f"{path.name}: {carriage_returns:,} line ends of another system became \\n.", Notice, stacklevel=2
        )
    if not text.strip():
        raise CorpusError(f"{path} holds {len(text)} characters, all of them blank. Put the text to learn into it.")
    return Corpus(path.name, (text,))


def read_bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise CorpusError(
            f"There is no file {path}, and no built-in text of that name. Check the path (now in {Path.cwd()}); "
            f"the built-in texts are {', '.join(BUILT_IN)}."
        ) from None
    except IsADirectoryError:
        raise CorpusError(f"{path} is a folder. Name one text file in it.") from None
    except (OSError, ValueError) as error:  # on Windows a folder ends here too; ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise CorpusError(f"{str(path)[:200]} cannot be read: {reason}. Name a text file that you may read.") from error
    if not data:
        raise CorpusError(f"{path} is empty (0 bytes). Put the text to learn into it.")
    return data


def decode(data: bytes, path: Path) -> str:
    """Strict UTF-8, or a CorpusError that says what the bytes look like and how to convert them."""
    wide = wide_encoding(data)
    if wide:
        try:
            first = first_line(data.decode(wide))
        except UnicodeDecodeError:
            raise CorpusError(f"{path} is not text: it holds NUL bytes. Export it as plain text in UTF-8.") from None
        raise CorpusError(not_utf8(path, wide.upper(), wide, first))
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        readings = {name: attempt(data, name) for name in ("gb18030", "big5", "utf-16-le", "utf-16-be")}
        name = max(readings, key=lambda name: likeness(readings[name]))
        if likeness(readings[name]) > 0.05:
            label = {"gb18030": "GB18030 (or GBK)", "big5": "Big5"}.get(name, name.upper())
            raise CorpusError(not_utf8(path, label, name, first_line(readings[name]))) from None
        raise CorpusError(
            f"{path} is not UTF-8: byte {error.start:,} is 0x{data[error.start]:02x}, and no Chinese encoding fits. "
            f"Open it in an editor and save it as plain text in UTF-8."
        ) from None
    nul = text.find("\0")
    if nul >= 0:
        raise CorpusError(
            f"{path} holds a NUL character in line {text.count(chr(10), 0, nul) + 1}, so it is not plain text. "
            f"Remove it, or export the text anew."
        )
    control = sum(c < " " and c not in "\t\n\r\f" for c in text[:20_000])
    if control > len(text[:20_000]) // 50:
        raise CorpusError(f"{path} looks binary: {control} control characters at its start. Export it as plain text.")
    return text


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


def attempt(data: bytes, encoding: str) -> str:
    """The beginning of the bytes in an encoding, or nothing where they are not valid in it."""
    try:
        return data.decode(encoding)[:5000]
    except UnicodeDecodeError:
        return ""


def likeness(text: str) -> float:
    """Share of the most common Chinese characters among all that are not ASCII."""
    foreign = [c for c in text if ord(c) > 127]
    return sum(c in COMMON for c in foreign) / len(foreign) if foreign else 0.0


def not_utf8(path: Path, name: str, encoding: str, line: str) -> str:
    return (
        f"{path} is not UTF-8; it looks like {name}. If its first line is {line!r}, convert it to a new file: "
        f"from pathlib import Path; Path('new.txt').write_text(Path({str(path)!r}).read_text('{encoding}'), 'utf-8')"
    )


@cache
def python_docs() -> Corpus:
    """The Python language reference that CPython carries as `pydoc_data.topics`, one document a topic.

    Topics repeat each other: a section stands alone and inside the chapter that it belongs to. A paragraph that has
    occurred before, the longest topics being read first, is left out, so that no paragraph of the validation part is
    in the training part. Each Python has its own text: measured on 3.11, 3.12 and 3.13, repetition is 19 to 20 % of
    465 to 511 kB, and in the last tenth of the raw text 8 to 9 % of all 80-character windows stand in the first nine;
    after it 0 % do.
    Raises CorpusError on a Python that was installed without it.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise CorpusError(
            "This Python carries no pydoc_data.topics, which is the text of python-docs. Use a text file of your own."
        ) from None
    seen, documents = set(), {}
    for name in sorted(topics, key=lambda name: (-len(topics[name]), name)):
        kept = []
        for paragraph in re.split(r"\n\s*\n", topics[name].strip("\n")):
            words = " ".join(paragraph.split())
            if words not in seen:
                seen.add(words)
                kept.append(paragraph)
        if kept:
            documents[name] = "\n\n".join(kept) + "\n"
    return Corpus("python-docs", tuple(documents[name] for name in sorted(documents)))


def told(grammar: "Grammar | str", n: int = MANY_TALES, seed: int = 0, name: str | None = None) -> Corpus:
    """n tales of a grammar, a document each: of yours, or of "en" or "zh"; the same seed tells the same tales."""
    from . import tales

    grammar = tales.grammar(grammar)
    texts, words, once = [], [], {}
    for number, tale in enumerate(tales.tell(grammar, seed, n)):  # one in memory at a time: a tale is many objects
        texts.append(tale.text)
        if number < 2000:
            words += [once.setdefault(part, part) for part in tale.parts]
    return Corpus(name or f"tales-{grammar.language}", tuple(texts), grammar, tuple(words))


@cache
def foundry_tales(language: str) -> Corpus:
    """The tales that come with the course: always the same ones, told anew in some seconds, once a process."""
    return told(language)


# name → the text that comes with the course
BUILT_IN: dict[str, Callable[[], Corpus]] = {
    "tales-en": partial(foundry_tales, "en"),
    "tales-zh": partial(foundry_tales, "zh"),
    "python-docs": python_docs,
}
