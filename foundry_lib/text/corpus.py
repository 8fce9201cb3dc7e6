"""The one door for text. What comes through it is Unicode with "\\n" line ends, and known by its sha256.

It reads; it never downloads, guesses an encoding in silence, or writes to a learner's path.
"""

import hashlib
import os
import re
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import CorpusError, Notice, said_when_stopped
from ..paths import DATA
from .textfile import TextFile, pieces, progress, read_text

if TYPE_CHECKING:
    from ..tales import Grammar

MANY_TALES = 12_000  # 1.6 million tokens: a training of some minutes reads each nearly twice
TANG_POEMS = DATA / "tang-poems.txt"
LARGE_TEXT = 64 * 2**20  # bytes; a larger file is read in pieces, and the tokens of a larger text are kept in a file


@dataclass(frozen=True)
class Corpus:
    """A text: its name and its documents, each a string; `sha256` is taken over them all.

    A large file's one document is a TextFile instead; `textfile.pieces(document)` reads both.

    grammar: of a text of Foundry Tales, the grammar that told it, so that its floor can be computed; else None.
    words: of a text whose words are known, many of them in running order, for a tokenizer to learn from.
    path: of a text from a file, where that is.
    """

    name: str
    documents: tuple[str | TextFile, ...]
    grammar: "Grammar | None" = field(default=None, repr=False, compare=False)
    words: tuple[str, ...] = field(default=(), repr=False, compare=False)
    path: Path | None = field(default=None, repr=False, compare=False)

    @cached_property
    def _measured(self) -> tuple[str, int]:
        """The text's sha256, and its bytes in UTF-8."""
        digest, size = hashlib.sha256(), 0
        for document in self.documents:
            for piece in pieces(document):
                data = piece.encode("utf-8")
                digest.update(data)
                size += len(data)
            digest.update(b"\0")  # NUL is refused in a text, so it separates for certain
        return digest.hexdigest(), size

    @property
    def sha256(self) -> str:
        return self._measured[0]

    @property
    def n_bytes(self) -> int:
        """Bytes of the text in UTF-8."""
        return self._measured[1]

    @property
    def is_large(self) -> bool:
        return self.n_bytes > LARGE_TEXT


def read_corpus(source: str | Path) -> Corpus:
    """A text by the name of a built-in, or from a UTF-8 file.

    A byte-order mark is taken off and line ends become "\\n"; both are said by a Notice. A file of more than 64 MiB
    stays where it is and is read in pieces, with a bar. Raises CorpusError, which names the file, what was found and
    the next step, for anything else that is not plain UTF-8 text.
    """
    if isinstance(source, str) and source in BUILT_IN:
        return BUILT_IN[source]()
    path, mended, kept, length, blank = Path(source), Counter(), [], 0, True
    size = os.path.getsize(path) if os.path.isfile(path) else 0
    with said_when_stopped(f"Stopped while {path.name} was read; nothing was written."):
        try:
            with progress(path, "reading", size, hidden=size <= LARGE_TEXT) as bar:
                for piece in read_text(path, mended):
                    length += len(piece)
                    bar.update(len(piece.encode("utf-8")))
                    blank = blank and not piece.strip()
                    if size <= LARGE_TEXT:
                        kept.append(piece)
        except FileNotFoundError:
            raise CorpusError(
                f"There is no file {path}, and no built-in text of that name. Check the path (now in {Path.cwd()}); "
                f"the built-in texts are {', '.join(BUILT_IN)}."
            ) from None
    if mended["marks"]:
        warnings.warn(f"{path.name}: a byte-order mark at the start was taken off.", Notice, stacklevel=2)
    if mended["returns"]:
        warnings.warn(
            f"{path.name}: {mended['returns']:,} line ends of another system became \\n.", Notice, stacklevel=2
        )
    if not length and not mended["marks"]:
        raise CorpusError(f"{path} is empty (0 bytes). Put the text to learn into it.")
    if blank:
        raise CorpusError(f"{path} holds {length} characters, all of them blank. Put the text to learn into it.")
    text = "".join(kept) if size <= LARGE_TEXT else TextFile.whole(path.resolve(), length)
    return Corpus(path.name, (text,), path=path)


@cache
def python_docs() -> Corpus:
    """The Python language reference that CPython carries as `pydoc_data.topics`, one document a topic.

    Topics repeat each other: a section stands alone and inside the chapter that it belongs to. A paragraph that has
    occurred before, the longest topics being read first, is left out, so that no paragraph of the validation part is
    in the training part. Each Python has its own text: measured on 3.11, 3.12 and 3.13, repetition is 19 to 20 % of
    465 to 511 thousand characters, and in the last tenth of the raw text 8 to 9 % of all 80-character windows stand in
    the first nine; after it 0 % do.
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


@cache
def tang_poems() -> Corpus:
    """The Three Hundred Tang Poems in simplified characters, one document per poem: title, author, verses.

    In the file a blank line separates two poems. `data/README.md` has the source and what was changed.
    """
    poems = TANG_POEMS.read_text(encoding="utf-8").strip("\n").split("\n\n")
    return Corpus("tang-poems", tuple(f"{poem}\n" for poem in poems))


def told(grammar: "Grammar | str", n: int = MANY_TALES, seed: int = 0, name: str | None = None) -> Corpus:
    """n tales of a grammar, a document each: of yours, or of "en" or "zh"; the same seed tells the same tales."""
    from .. import tales

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
    "tang-poems": tang_poems,
}
