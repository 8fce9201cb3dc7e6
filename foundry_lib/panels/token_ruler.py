"""The token ruler of lesson 06: one sentence, cut by vocabularies of several sizes, and the tokens that each needs."""

from functools import cache

from matplotlib.figure import Figure

from .. import plots
from ..errors import TokenizerError
from ..text.corpus import Corpus, read_corpus
from ..text.tokenizer import Tokenizer
from ..text.vocabulary import SMALLEST_VOCAB
from .controls import Choice, Words
from .panel import Panel
from .picture import Boxes, Picture

SIZES = (1024, 2048, 4096, 8192)
TALES = 1500


@cache
def ruler_corpus() -> Corpus:
    """English documentation and Chinese tales in one text, so that the tokenizers know both languages."""
    documents = read_corpus("python-docs").documents + read_corpus("tales-zh").documents[:TALES]
    return Corpus("documentation and tales", documents)


@cache
def rulers() -> dict[str, Tokenizer]:
    """Name → tokenizer: single characters, then vocabularies of rising size, all trained on the same text."""
    corpus = ruler_corpus()
    characters = SMALLEST_VOCAB + len(set("".join(corpus.documents)) - set(" \n\u2581"))
    smallest = {"characters": Tokenizer.train(corpus, characters)}
    return smallest | {f"{size:,} entries": Tokenizer.train(corpus, size) for size in SIZES}


PER_LINE = 48  # Latin letters
CHARACTERS = 110  # longer sentences would not be readable


def slots(text: str) -> list[tuple[int, float, float]]:
    """Line, left end and width of every byte of the text as it is drawn, in widths of a Latin letter.

    A Chinese character is twice as wide; the bytes of one character share its width.

    >>> slots("ab")
    [(0, 0.0, 1.0), (0, 1.0, 1.0)]
    """
    lines_and_ends, line, x = [], 0, 0.0
    for character in text:
        width, size = (2.0 if ord(character) > 0x2E7F else 1.0), len(character.encode())
        if x + width > PER_LINE:
            line, x = line + 1, 0.0
        lines_and_ends += [(line, x + width * byte / size, width / size) for byte in range(size)]
        x += width
    return lines_and_ends


def boxes(text: str, tokenizer: Tokenizer) -> list[list[tuple[int, float, float]]]:
    """For each token its box: line, left and right end; a token that continues in the next line has two boxes."""
    free, by_token = iter(slots(text)), []
    for token in tokenizer.encode(text):
        own = [next(free) for _ in tokenizer.token_bytes(token)]
        lines = [[slot for slot in own if slot[0] == line] for line in dict.fromkeys(slot[0] for slot in own)]
        by_token.append([(part[0][0], part[0][1], part[-1][1] + part[-1][2]) for part in lines])
    return by_token


class Ruler(Picture):
    """The sentence does not move, the cuts do. Right: the number of tokens that each vocabulary needs."""

    def key(self, text: str, **values):
        return text

    def build(self, figure: Figure, text: str, **values):
        if not text.strip():
            raise TokenizerError("Write a sentence, and press Enter.")
        text = text[:CHARACTERS]
        self.counts = {name: len(tokenizer.encode(text)) for name, tokenizer in rulers().items()}
        margins = dict(left=0.01, right=0.98, bottom=0.19, top=0.9, wspace=0.28)
        left, right = figure.subplots(1, 2, width_ratios=[2.6, 1], gridspec_kw=margins)
        free, line = iter(slots(text)), 0
        for character in text:
            own = [next(free) for _ in character.encode()]
            line, middle = own[0][0], (own[0][1] + own[-1][1] + own[-1][2]) / 2
            left.text(
                middle, -line, plots.visible(character).replace("$", r"\$"), ha="center", va="center", fontsize=11
            )
        left.set(xlim=(0, PER_LINE), ylim=(-max(line, 2) - 0.6, 0.6), title="the sentence, cut into tokens")
        left.axis("off")
        self.pieces = [
            left.add_patch(Boxes(lw=1, alpha=0.3, animated=True, **look))
            for look in (
                dict(facecolor=plots.SKY, edgecolor=plots.BLUE),
                dict(facecolor=plots.YELLOW, edgecolor=plots.RED, hatch=".."),
            )
        ]
        y = range(len(self.counts))
        self.bars = right.barh(y, self.counts.values(), edgecolor="white", animated=True)
        for row, count in zip(y, self.counts.values(), strict=True):
            right.annotate(str(count), (count, row), xytext=(3, 0), textcoords="offset points", va="center")
        right.set_yticks(y, self.counts, fontsize=8)
        right.set(xlim=(0, 1.2 * max(self.counts.values())), xlabel="tokens for this sentence")
        right.invert_yaxis()

    def move(self, text: str = "", vocabulary: str = "1,024 entries") -> str:
        text = text[:CHARACTERS]
        by_token = boxes(text, rulers()[vocabulary])
        for kind, pieces in enumerate(self.pieces):
            pieces.put([(x, -line - 0.36, end - x, 0.72) for box in by_token[kind::2] for line, x, end in box])
        for bar, name in zip(self.bars, self.counts, strict=True):
            chosen = name == vocabulary
            bar.set(hatch="///" if chosen else "", facecolor=plots.BLUE if chosen else plots.SKY)
        some = f"{'the first ' if len(text) == CHARACTERS else ''}{len(text)} characters"
        return f"With {vocabulary}: {len(by_token)} tokens for {some}, {len(by_token) / len(text):.2f} per character."


def token_ruler(text: str) -> Panel:
    """The panel: your sentence, in English or Chinese, and the vocabulary that cuts it."""
    names = list(rulers())
    return Panel(
        Ruler(),
        width=9.5,
        height=2.8,
        name="token ruler",
        text=Words(text, label="sentence"),
        vocabulary=Choice(names[0], names),
    )
