"""The token ruler of lesson 06: one sentence, cut by vocabularies of several sizes, and what each vocabulary costs."""

from functools import cache

from matplotlib.figure import Figure

from .. import plots
from ..corpus import Corpus, read_corpus
from ..errors import TokenizerError
from ..tokenizer import SMALLEST_VOCAB, Tokenizer
from .panel import Choice, Panel, Words

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


def cut(text: str, tokenizer: Tokenizer) -> list[str]:
    """The text of each token; a byte of a character that has no piece is written <E5>."""
    pieces = []
    for token in tokenizer.encode(text):
        spelled = tokenizer.token_bytes(token)
        try:
            pieces.append(spelled.decode("utf-8"))
        except UnicodeDecodeError:
            pieces.append(f"<{spelled.hex().upper()}>")
    return pieces


def width(piece: str) -> float:
    """How wide a piece is drawn, in the width of a Latin letter; a Chinese character takes about two."""
    return sum(1.9 if ord(character) > 0x2E7F else 1.0 for character in plots.visible(piece)) + 0.5


PER_LINE = 64  # letters
CHARACTERS = 110  # longer sentences would not be readable


def draw(figure: Figure, text: str = "", vocabulary: str = "1,024 pieces") -> str:
    """The pieces as boxes on a ruler, and beside it how many tokens each vocabulary needs for the sentence."""
    if not text.strip():
        raise TokenizerError("Write a sentence, and press Enter.")
    text = text[:CHARACTERS]
    counts = {name: len(tokenizer.encode(text)) for name, tokenizer in rulers().items()}
    pieces = cut(text, rulers()[vocabulary])
    left, right = figure.subplots(1, 2, width_ratios=[2.6, 1])
    x = line = 0
    for index, piece in enumerate(pieces):
        if x + width(piece) > PER_LINE:
            x, line = 0, line + 1
        colour, hatch = ((plots.SKY, ""), (plots.YELLOW, ".."))[index % 2]
        left.barh(-line, width(piece), 0.72, x, color=colour, hatch=hatch, edgecolor="white", alpha=0.75)
        left.text(x + width(piece) / 2, -line, plots.visible(piece), ha="center", va="center", fontsize=8)
        x += width(piece)
    left.set(xlim=(0, PER_LINE), ylim=(-max(line, 2) - 0.6, 0.6), title=f"{len(pieces)} tokens")
    left.axis("off")
    chosen = [name == vocabulary for name in counts]
    bars = right.barh(range(len(counts)), counts.values(), color=plots.SKY)
    for bar, mine, count in zip(bars, chosen, counts.values(), strict=True):
        bar.set(hatch="///" if mine else "", edgecolor="white", color=plots.BLUE if mine else plots.SKY)
        right.annotate(str(count), (count, bar.get_y() + 0.4), xytext=(3, 0), textcoords="offset points", va="center")
    right.set_yticks(range(len(counts)), counts, fontsize=8)
    right.set(xlim=(0, 1.2 * max(counts.values())), xlabel="tokens for this sentence")
    right.invert_yaxis()
    per_character = len(pieces) / len(text)
    return f"With {vocabulary}: {len(pieces)} tokens for {len(text)} characters, {per_character:.2f} a character."


def token_ruler(text: str) -> Panel:
    """The panel: a sentence of your own, in English or Chinese, and the vocabulary that cuts it."""
    names = list(rulers())
    return Panel(
        draw,
        width=9.5,
        height=2.8,
        name="token ruler",
        text=Words(text, label="sentence"),
        vocabulary=Choice(names[0], names),
    )
