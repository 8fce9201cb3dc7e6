"""The token ruler of lesson 06: one sentence, cut by vocabularies of several sizes, and what each vocabulary costs."""

from functools import cache

from matplotlib.figure import Figure

from .. import plots
from ..errors import TokenizerError
from ..text.corpus import Corpus, read_corpus
from ..text.tokenizer import Tokenizer
from ..text.vocabulary import SMALLEST_VOCAB
from .panel import Boxes, Choice, Panel, Picture, Words

SIZES = (1024, 2048, 4096, 8192)
TALES = 1500


@cache
def ruler_corpus() -> Corpus:
    """English documentation and Chinese tales in one text, so that both languages can be cut."""
    documents = read_corpus("python-docs").documents + read_corpus("tales-zh").documents[:TALES]
    return Corpus("documentation and tales", documents)


@cache
def rulers() -> dict[str, Tokenizer]:
    """Name → tokenizer: single characters, then vocabularies of rising size, all learned from the same text."""
    corpus = ruler_corpus()
    characters = SMALLEST_VOCAB + len(set("".join(corpus.documents)) - set(" \n\u2581"))
    found = {"characters": Tokenizer.train(corpus, characters)}
    return found | {f"{size:,} pieces": Tokenizer.train(corpus, size) for size in SIZES}


PER_LINE = 48  # Latin letters
CHARACTERS = 110  # longer sentences would not be readable


def slots(text: str) -> list[tuple[int, float, float]]:
    """Line, left end and width of every byte of the text as it is drawn, in the width of a Latin letter.

    A Chinese character is twice as wide; the bytes of one character share its place.
    """
    found, line, x = [], 0, 0.0
    for character in text:
        width, size = (2.0 if ord(character) > 0x2E7F else 1.0), len(character.encode())
        if x + width > PER_LINE:
            line, x = line + 1, 0.0
        found += [(line, x + width * byte / size, width / size) for byte in range(size)]
        x += width
    return found


def boxes(text: str, tokenizer: Tokenizer) -> list[list[tuple[int, float, float]]]:
    """For each token where it lies: line, left and right end; two such places where it goes on in the next line."""
    free, found = iter(slots(text)), []
    for token in tokenizer.encode(text):
        mine = [next(free) for _ in tokenizer.token_bytes(token)]
        lines = [[slot for slot in mine if slot[0] == line] for line in dict.fromkeys(slot[0] for slot in mine)]
        found.append([(part[0][0], part[0][1], part[-1][1] + part[-1][2]) for part in lines])
    return found


class Ruler(Picture):
    """The sentence stands still and the cuts move; beside it how many tokens each vocabulary needs for it."""

    def still(self, text: str, **values):
        return text

    def build(self, figure: Figure, text: str, **values):
        if not text.strip():
            raise TokenizerError("Write a sentence, and press Enter.")
        text = text[:CHARACTERS]
        self.counts = {name: len(tokenizer.encode(text)) for name, tokenizer in rulers().items()}
        margins = dict(left=0.01, right=0.98, bottom=0.19, top=0.9, wspace=0.28)
        left, right = figure.subplots(1, 2, width_ratios=[2.6, 1], gridspec_kw=margins)
        places = iter(slots(text))
        for character in text:
            mine = [next(places) for _ in character.encode()]
            line, middle = mine[0][0], (mine[0][1] + mine[-1][1] + mine[-1][2]) / 2
            left.text(
                middle, -line, plots.visible(character).replace("$", r"\$"), ha="center", va="center", fontsize=11
            )
        left.set(xlim=(0, PER_LINE), ylim=(-max(mine[0][0], 2) - 0.6, 0.6), title="the sentence, cut into tokens")
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
        for place, count in zip(y, self.counts.values(), strict=True):
            right.annotate(str(count), (count, place), xytext=(3, 0), textcoords="offset points", va="center")
        right.set_yticks(y, self.counts, fontsize=8)
        right.set(xlim=(0, 1.2 * max(self.counts.values())), xlabel="tokens for this sentence")
        right.invert_yaxis()

    def move(self, text: str = "", vocabulary: str = "1,024 pieces") -> str:
        text = text[:CHARACTERS]
        found = boxes(text, rulers()[vocabulary])
        for kind, pieces in enumerate(self.pieces):
            pieces.put([(x, -line - 0.36, end - x, 0.72) for box in found[kind::2] for line, x, end in box])
        for bar, name in zip(self.bars, self.counts, strict=True):
            mine = name == vocabulary
            bar.set(hatch="///" if mine else "", facecolor=plots.BLUE if mine else plots.SKY)
        some = f"{'the first ' if len(text) == CHARACTERS else ''}{len(text)} characters"
        return f"With {vocabulary}: {len(found)} tokens for {some}, {len(found) / len(text):.2f} a character."


def token_ruler(text: str) -> Panel:
    """The panel: a sentence of your own, in English or Chinese, and the vocabulary that cuts it."""
    names = list(rulers())
    return Panel(
        Ruler(),
        width=9.5,
        height=2.8,
        name="token ruler",
        text=Words(text, label="sentence"),
        vocabulary=Choice(names[0], names),
    )
