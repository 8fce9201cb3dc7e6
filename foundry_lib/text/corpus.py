"""Where text enters the library. A text is Unicode with "\\n" line ends, and its sha256 identifies it.

This file reads. It never downloads, never guesses an encoding, and never writes to a learner's path.
"""

import hashlib
import os
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from .. import tales
from ..console import command_line
from ..errors import CorpusError, Notice, explain_interrupt
from ..paths import DATA
from ..tales import Grammar
from .formats import markup
from .split import split_documents
from .textfile import Document, TextFile, document, progress, read_text

MANY_TALES = 12_000  # 1.6 million tokens: a training of some minutes reads each of them nearly twice
TALES_OF_WORDS = 2000  # tales whose words a tokenizer learns from; more tales add no word
TANG_POEMS = DATA / "tang-poems.txt"
LARGE_TEXT = 64 * 2**20  # bytes; a larger file is read in blocks, and the tokens of a larger text are stored in a file


@dataclass(frozen=True)
class Corpus:
    """A text: its name and its documents.

    documents: strings. The one document of a large file is a `textfile.TextFile`, which is read in blocks.
    grammar: of a text of Foundry Tales, the grammar that wrote it, so that the floor can be computed; else None.
    words: for each of the first documents, its words in order, where they are known; else empty.
    path: the file, for a text from a file.
    """

    name: str
    documents: tuple[Document, ...]
    grammar: Grammar | None = field(default=None, repr=False, compare=False)
    words: tuple[tuple[str, ...], ...] = field(default=(), repr=False, compare=False)
    path: Path | None = field(default=None, repr=False, compare=False)

    def __post_init__(self):
        documents = (self.documents,) if isinstance(self.documents, str) else self.documents
        object.__setattr__(self, "documents", tuple(map(document, documents)))

    def split(self, val_fraction: float) -> tuple["Corpus", "Corpus"]:
        """The training part and the validation part, each a Corpus; see `split_documents`.

        >>> train, val = Corpus("rhyme", ("one\\n" * 5,)).split(0.35)
        >>> train.documents, val.documents
        (('one\\none\\none\\n',), ('one\\none\\n',))
        """
        train, val = split_documents(self.documents, val_fraction)
        n_whole = sum(part == text for part, text in zip(train, self.documents, strict=False))  # the last may be cut
        return replace(self, documents=train, words=self.words[:n_whole]), replace(self, documents=val, words=())

    @cached_property
    def _measured(self) -> tuple[str, int]:
        """The text's sha256, and its bytes in UTF-8."""
        digest, size = hashlib.sha256(), 0
        for text in self.documents:
            for block in text.blocks():
                data = block.encode("utf-8")
                digest.update(data)
                size += len(data)
            digest.update(b"\0")  # no text contains NUL, so it separates documents
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
    """A text by name, or from a UTF-8 file.

    source: a built-in text, "400 tales-en" or "400 tales-en, seed 3" for another number of tales (see `told`), or a
    path. A byte-order mark is removed and line ends become "\\n"; a Notice says so. A file of more than 64 MiB stays
    where it is and is read in blocks, with a bar. Raises CorpusError for anything that is not plain UTF-8 text. The
    error names the file, what was found and the next step.
    """
    if isinstance(source, str) and source in BUILT_IN:
        return BUILT_IN[source]()
    if isinstance(source, str) and (tale_name := TALE_NAME.fullmatch(source)):
        n, language, seed = tale_name.groups(default="0")
        return told(language, int(n), int(seed))
    path, changes, blocks, length, blank = path_of(source), Counter(), [], 0, True
    size = os.path.getsize(path) if os.path.isfile(path) else 0
    with explain_interrupt(f"Stopped while {path.name} was read; nothing was written."):
        try:
            with progress(path, "reading", size, hidden=size <= LARGE_TEXT) as bar:
                for block in read_text(path, changes):
                    if not length and (kind := markup(block[:4000])):
                        say_markup(path, kind)
                    length += len(block)
                    bar.update(len(block.encode("utf-8")))
                    blank = blank and not block.strip()
                    if size <= LARGE_TEXT:
                        blocks.append(block)
        except FileNotFoundError:
            raise CorpusError(
                f"There is no file {path}, and no built-in text of that name. Check the path (now in {Path.cwd()}); "
                f"the built-in texts are {', '.join(BUILT_IN)}."
            ) from None
    say_changes(path, changes)
    if not length and not changes["marks"]:
        raise CorpusError(f"{path} is empty (0 bytes). Put the text to learn into it.")
    if blank:
        raise CorpusError(f"{path} holds {length} characters, all of them blank. Put the text to learn into it.")
    text = "".join(blocks) if size <= LARGE_TEXT else TextFile.whole(path.resolve(), length)
    return Corpus(path.name, (text,), path=path)


def path_of(source: str | Path) -> Path:
    """The path that a person named. "~" is their home folder. Raises CorpusError unless it is the path of one file."""
    if isinstance(source, (list, tuple, set, frozenset)):
        raise CorpusError(
            f"read_corpus takes one text, found a {type(source).__name__} of {len(source)}. Join the files first, or "
            f"make a corpus of them: Corpus('my texts', tuple(Path(p).read_text('utf-8') for p in paths))"
        )
    if not isinstance(source, (str, os.PathLike)):
        raise CorpusError(f"A text is named by a path or by a built-in name, found {source!r}.")
    name = os.fspath(source)
    if name.startswith("file:"):
        path = url2pathname(urlsplit(name).path)
        raise CorpusError(f"{name} is the address of a file. Name its path: {path!r}")
    if re.match(r"[A-Za-z][A-Za-z+.-]+:/", name):
        raise CorpusError(
            f"{name} is an address, and this function only reads files. Save the page as plain text first, or choose a "
            f"text from: {command_line('download')}"
        )
    return Path(name).expanduser() if name.startswith("~") and not Path(name).exists() else Path(name)


def say_markup(path: Path, kind: str):
    """A Notice for a text that is written in a format."""
    advice = "To learn only its words, save it as plain text first."
    warnings.warn(f"{path.name} looks like {kind} and is learned without a change. {advice}", Notice, stacklevel=3)


def say_changes(path: Path, changes: Counter):
    """A Notice for what was changed in a text as it was read."""
    if changes["marks"]:
        warnings.warn(f"{path.name}: a byte-order mark at the start was removed.", Notice, stacklevel=3)
    if changes["returns"]:
        sentence = f"{path.name}: {changes['returns']:,} line ends of another system became \\n."
        warnings.warn(sentence, Notice, stacklevel=3)


@cache
def python_docs() -> Corpus:
    """The Python language reference that CPython carries as `pydoc_data.topics`, one document per topic.

    Topics repeat each other: a section is a topic, and is also part of the topic of its chapter. A paragraph that
    occurred before is left out, longest topics first, so that no paragraph of the validation part is in the training
    part. Each Python has its own text. Measured on 3.11, 3.12 and 3.13: 19 to 20 % of 465 to 511 thousand characters
    are repetition. With it, 8 to 9 % of all 80-character windows in the last tenth also occur in the first nine tenths;
    without it, none.
    Raises CorpusError on a Python that was installed without these topics.
    """
    try:
        from pydoc_data.topics import topics  # 700 kB that only this text needs
    except ImportError:
        raise CorpusError(
            "This Python carries no pydoc_data.topics, which is the text of python-docs. Use a text file of your own."
        ) from None
    seen, documents = set(), {}
    for name in sorted(topics, key=lambda name: (-len(topics[name]), name)):
        paragraphs = new_paragraphs(topics[name], seen)
        if paragraphs:
            documents[name] = "\n\n".join(paragraphs) + "\n"
    return Corpus("python-docs", tuple(documents[name] for name in sorted(documents)))


def new_paragraphs(topic: str, seen: set[str]) -> Iterable[str]:
    """The paragraphs of a topic whose words are not yet in `seen`. Adds their words to `seen`.

    >>> new_paragraphs("one\\n\\ntwo\\n\\none", seen={"two"})
    ['one']
    """
    paragraphs = []
    for paragraph in re.split(r"\n\s*\n", topic.strip("\n")):
        words = " ".join(paragraph.split())
        if words not in seen:
            seen.add(words)
            paragraphs.append(paragraph)
    return paragraphs


@cache
def tang_poems() -> Corpus:
    """The Three Hundred Tang Poems in simplified characters, one document per poem: title, author, verses.

    In the file a blank line separates two poems. `data/README.md` has the source and what was changed.
    """
    poems = TANG_POEMS.read_text(encoding="utf-8").strip("\n").split("\n\n")
    return Corpus("tang-poems", tuple(f"{poem}\n" for poem in poems))


TALE_NAME = re.compile(rf"(\d+) tales-({'|'.join(tales.LANGUAGES)})(?:, seed (\d+))?")


def told(grammar: Grammar | str, n: int = MANY_TALES, seed: int = 0, name: str | None = None) -> Corpus:
    """n tales of a grammar, one document each. The same seed gives the same tales.

    grammar: "en", "zh", or your own Grammar. name: None gives "tales-en" for 12,000 tales with seed 0, else "400
    tales-en, seed 3". `read_corpus` makes the same tales from such a name, except for your own grammar.

    >>> told("en", 2).name, told("zh", 2, seed=3).name
    ('2 tales-en', '2 tales-zh, seed 3')
    """
    grammar = tales.grammar(grammar)
    if n < 1:
        raise CorpusError(f"A text has at least one tale, found n={n}.")
    if name is None:
        name = f"tales-{grammar.language}"
        if (n, seed) != (MANY_TALES, 0):
            name = f"{n} {name}" + f", seed {seed}" * (seed != 0)
        if grammar is not tales.grammar(grammar.language):
            name += " of your own grammar"
    texts, words, once = [], [], {}
    for number, tale in enumerate(tales.tell(grammar, seed, n)):  # one tale in memory at a time: it has many objects
        texts.append(tale.text)
        if number < TALES_OF_WORDS:
            words.append(tuple(once.setdefault(part, part) for part in tale.parts))
    return Corpus(name, tuple(texts), grammar, tuple(words))


@cache
def foundry_tales(language: str) -> Corpus:
    """The tales of the course, always the same. Each process writes them again, in some seconds."""
    return told(language)


# name → the text that comes with the course
BUILT_IN: dict[str, Callable[[], Corpus]] = {
    "tales-en": partial(foundry_tales, "en"),
    "tales-zh": partial(foundry_tales, "zh"),
    "python-docs": python_docs,
    "tang-poems": tang_poems,
}
