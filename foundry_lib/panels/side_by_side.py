"""One prompt and one seed under several settings, in columns: where two texts part, and what the parser says of each.

Each draw takes the same random numbers, so two texts part only where their settings choose another token.
"""

import html
import itertools
import textwrap
import unicodedata
from dataclasses import dataclass

from .. import tales
from ..config import SampleConfig
from ..errors import ConfigError
from ..inference.generation import stream

WIDTH = 88
PARTS = "‖"  # stands where a text first differs from the first column's


@dataclass(frozen=True)
class Column:
    """pieces: the text behind the prompt, as it was streamed. parts: the index of the first that differs from the first
    column's; None where all are the same. verdict: the parser's sentence, "" without a grammar."""

    name: str
    pieces: list[str]
    parts: int | None
    verdict: str

    @property
    def halves(self) -> tuple[str, str]:
        """The text up to where it parts, and from there on."""
        cut = len(self.pieces) if self.parts is None else self.parts
        return "".join(self.pieces[:cut]), "".join(self.pieces[cut:])


@dataclass(frozen=True, repr=False)
class SideBySide:
    """What `compare` found. It prints as columns of text, and a notebook shows it as a table."""

    prompt: str
    columns: list[Column]

    @property
    def reading(self) -> str:
        """A sentence for each column but the first: where it parts from the first, and with which pieces."""
        first, lines = self.columns[0], []
        for column in self.columns[1:]:
            if column.parts is None:
                lines.append(f"{column.name} writes the same as {first.name}.")
                continue
            mine, other = (
                repr(one.pieces[column.parts]) if column.parts < len(one.pieces) else "the end"
                for one in (column, first)
            )
            lines.append(f"{column.name} parts from {first.name} at piece {column.parts + 1}: {mine}, not {other}.")
        return "\n".join(lines)

    def __repr__(self) -> str:
        wide = max(12, (WIDTH - 2 * (len(self.columns) - 1)) // len(self.columns))
        blocks = []
        for column in self.columns:
            same, other = column.halves
            text = self.prompt + same + (PARTS + other if column.parts is not None else "")
            verdict = ["", *wrapped(f"[{column.verdict}]", wide)] if column.verdict else []
            blocks.append([column.name, "-" * wide, *wrapped(text, wide), *verdict])
        rows = itertools.zip_longest(*blocks, fillvalue="")
        return "\n".join("  ".join(filled(line, wide) for line in row).rstrip() for row in rows)

    def _repr_html_(self) -> str:
        wrapping = "white-space:pre-wrap; overflow-wrap:anywhere"  # a text may have a line of eighty equal signs
        cell = f'style="text-align:left; vertical-align:top; padding:4px 10px; {wrapping}"'
        names = "".join(f"<th {cell}>{html.escape(column.name)}</th>" for column in self.columns)
        texts = verdicts = ""
        for column in self.columns:
            same, other = (html.escape(half) for half in column.halves)
            if column.parts is not None:  # what is common is faint, and the mark stands between
                same = f'<span style="opacity:0.6">{html.escape(self.prompt)}{same}</span>'
                texts += f'<td {cell}>{same}<b style="color:#D55E00">{PARTS}</b>{other}</td>'
            else:
                texts += f"<td {cell}>{html.escape(self.prompt)}{same}</td>"
            verdicts += f"<td {cell}><i>{html.escape(column.verdict)}</i></td>"
        last = f"<tr>{verdicts}</tr>" if any(column.verdict for column in self.columns) else ""
        return f'<table style="table-layout:fixed; width:100%"><tr>{names}</tr><tr>{texts}</tr>{last}</table>'


def compare(
    model,
    tokenizer,
    prompt: str,
    settings: dict[str, SampleConfig | dict],
    seed: int = 1,
    n: int = 240,
    language: str | None = None,
) -> SideBySide:
    """Let the model go on from `prompt` under each of the settings, up to n tokens, with the same seed.

    settings: name → a SampleConfig, or the fields of one. language: "en" or "zh" adds the parser's verdict on each.
    Raises ConfigError where there is nothing to compare, or a setting makes no sense.
    """
    if not settings:
        raise ConfigError("There is nothing to compare: give settings, a name and its values for each column.")
    columns = []
    for name, given in settings.items():
        config = given if isinstance(given, SampleConfig) else SampleConfig.from_dict(given)
        pieces = list(stream(model, tokenizer, prompt, n, config, seed))
        first = columns[0].pieces if columns else pieces
        pairs = itertools.zip_longest(pieces, first)
        parts = next((place for place, (mine, other) in enumerate(pairs) if mine != other), None)
        verdict = "" if language is None else tales.parse(prompt + "".join(pieces), language).message
        columns.append(Column(name, pieces, parts, verdict))
    return SideBySide(prompt, columns)


def spread(text: str) -> int:
    """Columns that a text takes where letters have one width; a Chinese character takes two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def filled(line: str, wide: int) -> str:
    return line + " " * (wide - spread(line))


def wrapped(text: str, wide: int) -> list[str]:
    """Lines of at most `wide` columns; text of Chinese characters is cut between any two."""
    lines = []
    for paragraph in text.split("\n"):
        if spread(paragraph) == len(paragraph):
            lines += textwrap.wrap(paragraph, wide) or [""]
            continue
        line = ""
        for character in paragraph:
            if spread(line + character) > wide:
                lines.append(line)
                line = ""
            line += character
        lines.append(line)
    return lines
