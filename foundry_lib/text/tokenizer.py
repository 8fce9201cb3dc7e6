"""Text ↔ token ids, without loss: every string comes back as it went in.

What the vocabulary does not hold is spelled in bytes, one token each.
"""

import codecs
import hashlib
import json
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import sentencepiece

from ..errors import Notice, TokenizerError
from ..files import write_whole
from .corpus import Corpus
from .textfile import Document, document
from .vocabulary import (
    BOS_ID,
    EOS_ID,
    NOT_COUNTED,
    SMALLEST_VOCAB,
    SPACE,
    UNK_ID,
    choose_size,
    learn,
    require_unicode,
    segments,
    training_lines,
)

BLOCK = 2**20  # characters per call of SentencePiece, about


def say_changes(tokenizer: "Tokenizer", vocab_size: int, left_out: set[str]):
    """A Notice where the vocabulary is smaller than asked for, or too small for all characters of the text."""
    name, size = tokenizer.corpus_name, tokenizer.vocab_size
    if size < vocab_size:
        sentence = f"{name} supports {size} tokens, so the vocabulary is {size} and not {vocab_size}."
        warnings.warn(sentence, Notice, stacklevel=3)
    if left_out:
        enough = f"With vocab_size={vocab_size + len(left_out)} or more, each would have a token."
        sentence = f"{len(left_out):,} characters of {name} have no token and are spelled in bytes. {enough}"
        warnings.warn(sentence, Notice, stacklevel=3)


def spell_signs(segments: Iterable[str], spelling: list[int]) -> Iterator[str | int]:
    """The segments, with the ids of its three bytes for each U+2581, which SentencePiece would take for a space.

    >>> list(spell_signs(["one", "a▁b"], spelling=[7, 8, 9]))
    ['one', 'a', 7, 8, 9, 'b']
    """
    for segment in segments:
        if SPACE not in segment:
            yield segment
            continue
        for number, part in enumerate(segment.split(SPACE)):
            if number:
                yield from spelling
            if part:
                yield part


class Tokenizer:
    """A trained tokenizer. It belongs to one text.

    vocab_size: number of tokens. pieces: the spelling of each, with ▁ for a space. fingerprint: sha256 over spellings
    and scores. corpus_sha256, corpus_name: its text.
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
        self._space_sign = [self._model.piece_to_id(f"<0x{byte:02X}>") for byte in SPACE.encode("utf-8")]
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
        cls, documents: Corpus | str | Sequence[str], vocab_size: int | None = None, corpus: Corpus | None = None
    ) -> "Tokenizer":
        """Learn a vocabulary from the documents, and from nothing else.

        documents: a Corpus, the part of one that is for training, a string, or strings. Where the words of a text are
        known (`Corpus.words`), it learns from these, so that no token crosses a word.
        vocab_size: tokens in the vocabulary; None lets the text decide, see `vocabulary.choose_size`. A size that the
        text does not support is lowered, and characters that find no room are spelled in bytes, both with a Notice.
        corpus: the whole text, to which the tokenizer belongs; None means the documents.
        Raises TokenizerError for a vocab_size below 261, for no text, and for text that is not valid Unicode.
        """
        if not isinstance(documents, Corpus):
            documents = Corpus("text", documents)
        corpus = documents if corpus is None else corpus
        if vocab_size is not None and (not isinstance(vocab_size, int) or vocab_size < SMALLEST_VOCAB):
            raise TokenizerError(
                f"vocab_size must be a whole number of at least {SMALLEST_VOCAB} (256 bytes, 3 control ids, space and "
                f"newline), found {vocab_size!r}."
            )
        if not any(map(len, documents.documents)):
            raise TokenizerError(f"{corpus.name} is empty, so there is nothing to learn from. Give some text.")
        lines = [word for words in documents.words for word in words] or training_lines(documents.documents)
        size, characters = choose_size(lines, vocab_size, words_known=bool(documents.words))
        tokenizer = cls(learn(lines, size, characters), corpus.name, corpus.sha256)
        if vocab_size is not None:
            say_changes(tokenizer, vocab_size, set("".join(lines)) - characters - NOT_COUNTED)
        return tokenizer

    def encode(self, text: str, bos: bool = False, eos: bool = False) -> list[int]:
        """Token ids of a text, with the begin or end sign where asked. Typed signs such as "<s>" stay plain text."""
        require_unicode(text)
        ids = self._encode_parts(spell_signs(segments([text]), self._space_sign))
        return [BOS_ID] * bos + ids + [EOS_ID] * eos

    def encode_documents(self, documents: Iterable[str | Document]) -> Iterator[list[int]]:
        """`encode(text, bos=True, eos=True)` of all documents, one after the other, in blocks of ids.

        This is faster than document by document, and a large text is never in memory as Python integers.
        """
        block, size = [], 0
        for part in self._parts(map(document, documents)):
            block.append(part)
            size += len(part) if isinstance(part, str) else 0
            if size >= BLOCK:
                yield self._encode_parts(block)
                block, size = [], 0
        if block:
            yield self._encode_parts(block)

    def _parts(self, documents: Iterable[Document]) -> Iterator[str | int]:
        """The segments of each document, between the ids of its begin and end sign."""
        for text in documents:
            yield BOS_ID
            yield from spell_signs(segments(map(require_unicode, text.blocks("tokenizing"))), self._space_sign)
            yield EOS_ID

    def _encode_parts(self, parts: Iterable[str | int]) -> list[int]:
        """The ids of all parts. Strings are encoded in one call; ids keep their position among them."""
        parts, ids = list(parts), []
        encoded = iter(self._model.encode([part for part in parts if isinstance(part, str)]))
        for part in parts:
            ids += next(encoded) if isinstance(part, str) else [part]
        return ids

    def decode(self, ids) -> str:
        """The text of token ids (a list, an array or a 1-D tensor). Begin and end signs have no text."""
        if getattr(ids, "ndim", 1) != 1:
            raise TokenizerError(f"decode takes one row of ids, found the shape {tuple(ids.shape)}; decode row by row.")
        ids = ids.tolist() if hasattr(ids, "tolist") else ids
        return b"".join(self.token_bytes(int(i)) for i in ids).decode("utf-8", errors="replace")

    def token_bytes(self, token: int) -> bytes:
        """The UTF-8 bytes of one token. A begin or end sign has no bytes; a token for a byte has one."""
        if not 0 <= token < self.vocab_size:
            raise TokenizerError(f"Token id {token} is outside the vocabulary of {self.vocab_size} tokens.")
        return self._bytes[token]

    def spelled(self, text: str) -> list[str]:
        """The text of each token of `text`. A single byte of a character is written <E5>."""
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
        """Read a saved tokenizer. Raises TokenizerError when it is damaged or, with `corpus`, of another text."""
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
        """Raise TokenizerError unless this tokenizer belongs to `corpus`."""
        if self.corpus_sha256 != corpus.sha256:
            raise TokenizerError(
                f"The tokenizer belongs to another text: it was trained on {self.corpus_name} with sha256 "
                f"{self.corpus_sha256[:12]}…, and {corpus.name} has {corpus.sha256[:12]}…. Train one for this text."
            )


class TextStream:
    """Decode token by token: `push` returns the characters that are now complete, `finish` the rest.

    A rare character has a token for each of its bytes. `push` returns it after the last of them.
    """

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token: int) -> str:
        return self._decoder.decode(self.tokenizer.token_bytes(token))

    def finish(self) -> str:
        return self._decoder.decode(b"", final=True)
