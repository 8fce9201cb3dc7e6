"""Learn a vocabulary: SentencePiece's byte-pair encoding, with every setting that would lose text changed.

SentencePiece's defaults are made for translation. They replace full-width letters, drop newlines and double spaces, and
put a space before the text. They also skip training lines of more than 4,192 bytes, without a message.
"""

import io
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import sentencepiece

from ..errors import Notice, TokenizerError
from .textfile import Document

UNK_ID, BOS_ID, EOS_ID = 0, 1, 2
SMALLEST_VOCAB = 3 + 256 + 2  # the three control ids, the 256 bytes, space and newline
DEFAULT_VOCAB = 1024  # on python-docs no other size gave fewer bits per byte in equal time
KNOWN_WORDS_VOCAB = 1536  # enough for each of the 500 words of the tales to be one token
# A small text gets 261 tokens and one more per CHARACTERS_EACH characters, and a character gets a token if it occurs
# SEEN_OFTEN times. Best validation loss within 240 steps (tiny, one seed), in bits per byte, and in brackets with a
# token for every character and 512 more: Tang poems of 2 kB 4.60 (6.56), 19 kB 3.69 (4.54), 79 kB 3.23 (3.57); Chinese
# tales of 19 kB 1.13 (1.54). The numbers in brackets are above the unigram line of their tokens, the others below it.
CHARACTERS_EACH, SEEN_OFTEN = 20, 3
LONGEST_LINE = 4000  # bytes; SentencePiece drops training lines over 4,192
LARGEST_LESSON = 8 * 2**20  # bytes to learn a vocabulary from, in some seconds. With four times as many, on 64 MiB of
# program text, tokens were longer by less than 0.1 %, and learning took up to 700 MiB of memory instead of 260
SPACE = "\u2581"  # SentencePiece's own sign for a space
NOT_COUNTED = set(" \n" + SPACE + "\u2585")  # among the 261, or never in a token: SentencePiece skips lines with U+2585
LINE_START = re.compile(r"\n+ +(?= )")  # newlines and an indentation of two spaces or more, without its last space
SEGMENT = re.compile(r"\n{0,65536}[^\n]{1,65536}|\n{1,65536}")  # bounded: encoding takes 40 bytes per character
BLANK = ["\n ", " "]  # lines that give the smallest vocabulary; without any characters SentencePiece fails
RECIPE = dict(
    model_type="bpe",
    byte_fallback=True,
    character_coverage=1.0,
    normalization_rule_name="identity",
    add_dummy_prefix=False,
    remove_extra_whitespaces=False,
    required_chars="▁\n",
    allow_whitespace_only_pieces=True,  # a run of spaces may be one token, as in indented code
    split_by_unicode_script=False,  # "__init__" and "don't" may be one token: 4 to 10 % fewer tokens
    unk_id=UNK_ID,
    bos_id=BOS_ID,
    eos_id=EOS_ID,
    pad_id=-1,
    hard_vocab_limit=False,
    num_threads=1,
    minloglevel=2,
)


def segments(text: Iterable[str]) -> Iterator[str]:
    """A text, given in blocks, cut before the newlines that begin a line, and within a line after 65,536 characters.

    Each segment is encoded by itself. Training sees the same segments, and a list of lines is encoded several times
    faster than one long string. The segments do not depend on the blocks.

    >>> list(segments(["one\\ntw", "o\\n\\n  three"]))
    ['one', '\\ntwo', '\\n\\n  three']
    """
    rest = ""
    for block in text:
        parts = SEGMENT.findall(rest + block)
        yield from parts[:-1]
        rest = parts[-1] if parts else ""  # it may go on in the next block
    if rest:
        yield rest


def require_unicode(text: str) -> str:
    """The text as it is. Raises TokenizerError for half of a surrogate pair and for NUL."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise TokenizerError(
            f"The text is not valid Unicode: character {error.start} is half of a surrogate pair. "
            f"Read the file again with encoding='utf-8'."
        ) from None
    if "\0" in text:
        raise TokenizerError(f"The text holds a NUL character at {text.index(chr(0))}. Remove it.")
    return text


def training_lines(documents: Sequence[Document]) -> list[str]:
    """The segments of all documents, each cut to what SentencePiece accepts, so that it drops none.

    For a very large text only every second, third, … segment is taken, with a Notice.
    Raises TokenizerError for text that is not valid Unicode.
    """

    def text() -> Iterator[str]:
        for number, document in enumerate(documents):
            yield "\n" * (number > 0)
            yield from map(require_unicode, document.blocks())

    every = -(-sum(len(block.encode("utf-8")) for block in text()) // LARGEST_LESSON)
    if every > 1:
        warnings.warn(f"The text is large: the tokenizer learns from one line in {every}.", Notice, stacklevel=3)
    lines = []
    for segment in islice(segments(text()), 0, None, max(1, every)):
        while len(segment.encode("utf-8")) > LONGEST_LINE:
            lines.append(segment[: LONGEST_LINE // 4])  # a character has at most four bytes
            segment = segment[LONGEST_LINE // 4 :]
        lines.append(segment)
    return lines


def line_starts(lines: Sequence[str], most: int) -> list[str]:
    """The most common beginnings of indented lines, each to be one token: newlines, and all spaces but the last.

    At most `most` of them, each of at least one line in a hundred. SentencePiece begins a new word with a run of
    spaces, so none of its own tokens holds a newline and spaces after it. In program text (Python's own library) this
    saves 5 tokens of 100 with a vocabulary of 1,024, and 9 with 8,192. The last space of an indentation belongs to the
    word after it, which begins with a space everywhere else too.

    >>> line_starts(["\\n    if owl:", "\\n        sleep()"], most=1)
    ['\\n▁▁▁']
    """
    starts = Counter(match[0] for match in map(LINE_START.match, lines) if match)
    return [start.replace(" ", SPACE) for start, n in starts.most_common(most) if n >= len(lines) / 100]


def choose_size(lines: Sequence[str], vocab_size: int | None, words_known: bool = False) -> tuple[int, set[str]]:
    """The size of a vocabulary, and the characters that get a token. All others are spelled in bytes.

    vocab_size: None lets the text decide. Every character then gets a token, and at least 512 tokens are left for
    longer strings; the size is at least 1,024, or 1,536 where words are known. A small text gets fewer: 261 and one
    more per 20 characters, so that a model sees each token often enough to learn it.

    >>> choose_size(["aab" * 20], vocab_size=None)[0]
    264
    """
    counts = Counter("".join(lines))
    n_characters = counts.total()
    for sign in NOT_COUNTED:
        del counts[sign]
    if vocab_size is not None:
        size, least = vocab_size, 1
    elif words_known:
        size, least = KNOWN_WORDS_VOCAB, 1
    else:
        size, least = max(DEFAULT_VOCAB, SMALLEST_VOCAB + len(counts) + 512), 1
        if (supported := SMALLEST_VOCAB + n_characters // CHARACTERS_EACH) < size:
            size, least = supported, SEEN_OFTEN
    frequent = sorted((character for character, n in counts.items() if n >= least), key=lambda c: (-counts[c], c))
    return size, set(frequent[: size - SMALLEST_VOCAB])


def without(lines: Sequence[str], characters: set[str]) -> list[str]:
    """The lines, cut at some characters, which are left out.

    >>> without(["an owl", "a cat"], {"w", "c"})
    ['an o', 'l', 'a ', 'at']
    """
    if not characters:
        return list(lines)
    cut = re.compile("[" + "".join(map(re.escape, characters)) + "]")
    return [part for line in lines for part in cut.split(line) if part]


def learn(lines: Sequence[str], size: int, characters: set[str]) -> bytes:
    """SentencePiece's model, in bytes, of at most `size` tokens. Each of `characters` in the lines has a token."""
    file = io.BytesIO()
    lines = without(lines, set("".join(lines)) - characters - set(" \n")) if characters else BLANK
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=file,
        vocab_size=size,
        user_defined_symbols=line_starts(lines, (size - SMALLEST_VOCAB - len(characters)) // 64),  # few in a small one
        **RECIPE,
    )
    return file.getvalue()
