"""Text ↔ token ids, without loss: SentencePiece's byte-pair encoding with every setting that would lose text undone.

Its defaults are made for translation: they fold full-width letters, drop newlines and double spaces, put a space in
front, and silently skip training lines of more than 4,192 bytes. Here every string comes back as it went in.
(One exception: SentencePiece writes a space as U+2581, so a U+2581 in the text comes back as a space.)
"""

import codecs
import hashlib
import io
import json
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import sentencepiece

from ..errors import Notice, TokenizerError
from ..files import write_whole
from .corpus import Corpus
from .textfile import TextFile, pieces

UNK_ID, BOS_ID, EOS_ID = 0, 1, 2
SMALLEST_VOCAB = 3 + 256 + 2  # the three control ids, the 256 bytes, space and newline
DEFAULT_VOCAB = 1024  # on python-docs no other size gave fewer bits per byte in equal time
KNOWN_WORDS_VOCAB = 1536  # enough for each of the 500 words of the tales to be one piece
LONGEST_LINE = 4000  # bytes; SentencePiece drops training lines over 4,192
LARGEST_LESSON = 8 * 2**20  # bytes to learn pieces from, some seconds; with four times as many, on 64 MiB of program
# text, the pieces were longer by less than 0.1 %, and learning them took up to 700 MiB of memory and not 260
LINE_START = re.compile(r"\n+ +(?= )")  # newlines, and an indentation of at least two spaces but for its last
BLOCK = 2**20  # characters encoded at a time
SEGMENT = re.compile(r"\n{0,65536}[^\n]{1,65536}|\n{1,65536}")  # bounded: encoding takes 40 bytes of memory a character
RECIPE = dict(
    model_type="bpe",
    byte_fallback=True,
    character_coverage=1.0,
    normalization_rule_name="identity",
    add_dummy_prefix=False,
    remove_extra_whitespaces=False,
    required_chars="▁\n",
    allow_whitespace_only_pieces=True,  # a run of spaces may be one piece, as in indented code
    split_by_unicode_script=False,  # "__init__" and "don't" may be one piece: 4 to 10 % fewer tokens
    unk_id=UNK_ID,
    bos_id=BOS_ID,
    eos_id=EOS_ID,
    pad_id=-1,
    hard_vocab_limit=False,
    num_threads=1,
    minloglevel=2,
)


def segments(text: Iterable[str]) -> Iterator[str]:
    """A text, given in pieces, cut at line ends, newlines in front of the line that they begin, and within a line after
    65,536 characters at most. Each segment is encoded by itself: training sees the same segments, and a list of lines
    is encoded several times faster than one long string."""
    rest = ""
    for piece in text:
        found = SEGMENT.findall(rest + piece)
        yield from found[:-1]
        rest = found[-1] if found else ""  # which may go on in the next piece
    if rest:
        yield rest


def training_lines(documents: Sequence[str | TextFile]) -> list[str]:
    """Segments cut to what SentencePiece accepts, so that none is dropped in silence; of a very large text, every
    second, third, … segment, which is said. Raises TokenizerError for text that is not valid Unicode."""

    def text() -> Iterator[str]:
        for number, document in enumerate(documents):
            yield "\n" * (number > 0)
            yield from map(_require_unicode, pieces(document))

    every = -(-sum(len(piece.encode("utf-8")) for piece in text()) // LARGEST_LESSON)
    if every > 1:
        warnings.warn(f"The text is large: the tokenizer learns from one line in {every}.", Notice, stacklevel=3)
    lines = []
    for segment in islice(segments(text()), 0, None, max(1, every)):
        while len(segment.encode("utf-8")) > LONGEST_LINE:
            lines.append(segment[: LONGEST_LINE // 4])  # a character has at most four bytes
            segment = segment[LONGEST_LINE // 4 :]
        lines.append(segment)
    skipped = sum("\u2585" in line for line in lines)  # SentencePiece's own sign for "unknown"; it skips such lines
    if skipped:
        warnings.warn(f"{skipped} lines with the character U+2585 taught the tokenizer nothing.", Notice, stacklevel=3)
    return lines


def line_starts(lines: Sequence[str], most: int) -> list[str]:
    """The commonest beginnings of indented lines, newlines and spaces, each to be one piece: at most `most`, and each
    of at least one line in a hundred.

    SentencePiece begins a new word with a run of spaces, so that no piece of its own holds a newline and spaces behind
    it. In program text (Python's own library) this saves 5 tokens of 100 with 1,024 pieces, and 9 with 8,192. The last
    space of an indentation is left to the word behind it, which begins with a space wherever else it stands.
    """
    found = Counter(start[0] for start in map(LINE_START.match, lines) if start)
    return [start.replace(" ", "▁") for start, n in found.most_common(most) if n >= len(lines) / 100]


class Tokenizer:
    """A trained tokenizer, bound to the text that it was trained on.

    vocab_size: number of pieces. fingerprint: sha256 over pieces and scores. corpus_sha256, corpus_name: its text.
    """

    def __init__(self, proto: bytes, corpus_name: str = "", corpus_sha256: str = ""):
        self._proto = proto
        try:
            self._model = sentencepiece.SentencePieceProcessor(model_proto=proto)
        except RuntimeError as error:
            raise TokenizerError(f"The tokenizer cannot be read ({error}); train it again.") from error
        self.corpus_name, self.corpus_sha256 = corpus_name, corpus_sha256
        self.vocab_size: int = self._model.vocab_size()
        ids = range(self.vocab_size)
        self.pieces: list[str] = [self._model.id_to_piece(i) for i in ids]
        self._bytes = [self._spell(i) for i in ids]
        scored = "\n".join(
            f"{piece!r} {self._model.get_score(i):.6g}" for i, piece in zip(ids, self.pieces, strict=True)
        )
        self.fingerprint = hashlib.sha256(scored.encode("utf-8")).hexdigest()

    def _spell(self, token: int) -> bytes:
        if token in (BOS_ID, EOS_ID):
            return b""
        if token == UNK_ID:
            return "\ufffd".encode()
        piece = self.pieces[token]
        return bytes([int(piece[3:5], 16)]) if self._model.is_byte(token) else piece.replace("▁", " ").encode("utf-8")

    @classmethod
    def train(
        cls,
        corpus: Corpus | str,
        vocab_size: int | None = None,
        documents: Sequence[str | TextFile] | None = None,
    ) -> "Tokenizer":
        """Learn up to `vocab_size` pieces.

        corpus: the text that the tokenizer belongs to. documents: those to learn from; None means all. Where the
        words of a text are known (`Corpus.words`), it learns from those instead, so that no piece crosses a word.
        vocab_size: None means 1024, or for a text of many characters, such as a Chinese novel, 773 more than those, or
        where the words are known as many pieces as they support up to 1536.
        More pieces than the text supports are lowered to what it does, with a Notice where you gave the number.
        Raises TokenizerError for fewer than the 261 that any text may need, and for text that is not valid Unicode.
        """
        if isinstance(corpus, str):
            corpus = Corpus("text", (corpus,))
        lines = corpus.words or training_lines(corpus.documents if documents is None else documents)
        alphabet = SMALLEST_VOCAB + len(set().union(*lines) - set(" \n\u2581"))
        given = vocab_size is not None
        if not given:
            vocab_size = KNOWN_WORDS_VOCAB if corpus.words else max(DEFAULT_VOCAB, alphabet + 512)
        if not isinstance(vocab_size, int) or vocab_size < SMALLEST_VOCAB:
            raise TokenizerError(
                f"vocab_size must be a whole number of at least {SMALLEST_VOCAB} (256 bytes, 3 control ids, space and "
                f"newline), found {vocab_size!r}."
            )
        if vocab_size < alphabet:
            raise TokenizerError(
                f"{corpus.name} has {alphabet - SMALLEST_VOCAB} different characters, each a piece: vocab_size must "
                f"be at least {alphabet}, found {vocab_size}."
            )
        file = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(lines),
                model_writer=file,
                vocab_size=vocab_size,
                user_defined_symbols=line_starts(lines, (vocab_size - alphabet) // 64),  # few, where pieces are few
                **RECIPE,
            )
        except RuntimeError as error:
            raise TokenizerError(f"SentencePiece found nothing to learn in {corpus.name} ({error}).") from error
        tokenizer = cls(file.getvalue(), corpus.name, corpus.sha256)
        if given and tokenizer.vocab_size < vocab_size:
            warnings.warn(
                f"{corpus.name} supports {tokenizer.vocab_size} pieces, so the vocabulary is {tokenizer.vocab_size} "
                f"and not {vocab_size}.",
                Notice,
                stacklevel=2,
            )
        return tokenizer

    def encode(self, text: str, bos: bool = False, eos: bool = False) -> list[int]:
        """Token ids of a text, with the begin or end sign where asked. Typed signs such as "<s>" stay plain text."""
        _require_unicode(text)
        ids = [i for part in self._model.encode(list(segments([text]))) for i in part]
        return [BOS_ID] * bos + ids + [EOS_ID] * eos

    def encode_documents(self, documents: Iterable[str | TextFile]) -> Iterator[list[int]]:
        """`encode(document, bos=True, eos=True)` of all documents, one behind the other, as a stream of blocks:
        faster than document by document, and a large text never stands in memory as Python integers."""
        block, size = [], 0
        for part in _signed(documents):
            block.append(part)
            size += len(part) if isinstance(part, str) else 0
            if size >= BLOCK:
                yield self._encode_block(block)
                block, size = [], 0
        if block:
            yield self._encode_block(block)

    def _encode_block(self, block: list[str | int]) -> list[int]:
        """Segments are encoded, all in one call; signs, which are ids already, stay in their places."""
        parts, ids = iter(self._model.encode([part for part in block if isinstance(part, str)])), []
        for part in block:
            ids += next(parts) if isinstance(part, str) else [part]
        return ids

    def decode(self, ids) -> str:
        """The text of token ids (a list, an array or a 1-D tensor); begin and end signs are left out."""
        if getattr(ids, "ndim", 1) != 1:
            raise TokenizerError(f"decode takes one row of ids, found the shape {tuple(ids.shape)}; decode row by row.")
        ids = ids.tolist() if hasattr(ids, "tolist") else ids
        return b"".join(self.token_bytes(int(i)) for i in ids).decode("utf-8", errors="replace")

    def token_bytes(self, token: int) -> bytes:
        """The UTF-8 bytes of one token: a piece's text, one byte of a spelled-out character, nothing for a sign."""
        if not 0 <= token < self.vocab_size:
            raise TokenizerError(f"Token id {token} is outside the vocabulary of {self.vocab_size} pieces.")
        return self._bytes[token]

    def spelled(self, text: str) -> list[str]:
        """The text of each token of `text`; one byte of a character that is no token of its own is written <E5>."""
        spellings = []
        for token in self.encode(text):
            data = self.token_bytes(token)
            try:
                spellings.append(data.decode("utf-8"))
            except UnicodeDecodeError:
                spellings.append(f"<{data.hex().upper()}>")
        return spellings

    def save(self, folder: Path | str):
        """Write tokenizer.model and tokenizer.json into `folder`, each whole or not at all."""
        note = {"corpus_name": self.corpus_name, "corpus_sha256": self.corpus_sha256, "fingerprint": self.fingerprint}
        write_whole(Path(folder) / "tokenizer.model", self._proto)
        write_whole(Path(folder) / "tokenizer.json", json.dumps(note, indent=1))

    @classmethod
    def load(cls, folder: Path | str, corpus: Corpus | None = None) -> "Tokenizer":
        """Read a saved tokenizer; with `corpus`, only if it was trained on that very text. Raises TokenizerError."""
        folder = Path(folder)
        try:
            note = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
            tokenizer = cls((folder / "tokenizer.model").read_bytes(), note["corpus_name"], note["corpus_sha256"])
            intact = tokenizer.fingerprint == note["fingerprint"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TokenizerError(f"{folder} holds no whole tokenizer ({error}); train it again.") from error
        if not intact:
            raise TokenizerError(f"{folder}: tokenizer.model and tokenizer.json do not belong together; train again.")
        if corpus is not None:
            tokenizer.require_corpus(corpus)
        return tokenizer

    def require_corpus(self, corpus: Corpus):
        """Raise TokenizerError unless this tokenizer was trained on `corpus`."""
        if self.corpus_sha256 != corpus.sha256:
            raise TokenizerError(
                f"The tokenizer belongs to another text: it was trained on {self.corpus_name} with sha256 "
                f"{self.corpus_sha256[:12]}…, and {corpus.name} has {corpus.sha256[:12]}…. Train one for this text."
            )


class TextStream:
    """Decode token by token: `push` returns the characters that are now complete, `finish` what is left.

    A rare character is spelled in bytes, one token each; half a character is never returned.
    """

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token: int) -> str:
        return self._decoder.decode(self.tokenizer.token_bytes(token))

    def finish(self) -> str:
        return self._decoder.decode(b"", final=True)


def _signed(documents: Iterable[str | TextFile]) -> Iterator[str | int]:
    """The segments of each document, between its begin and end sign."""
    for document in documents:
        yield BOS_ID
        yield from segments(map(_require_unicode, pieces(document, "tokenizing")))
        yield EOS_ID


def _require_unicode(text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise TokenizerError(
            f"The text is not valid Unicode: character {error.start} is half of a surrogate pair. "
            f"Read the file again with encoding='utf-8'."
        ) from None
    if "\0" in text:
        raise TokenizerError(
            f"The text holds a NUL character at {text.index(chr(0))}, which SentencePiece cannot keep."
        )
    return text
