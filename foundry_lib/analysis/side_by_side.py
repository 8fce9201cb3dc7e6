"""One prompt and one seed under several settings, in columns: where two texts begin to differ, and the verdict on each.

Every column samples with the same random numbers, so two texts differ only where their settings choose another token.
"""

import html
import itertools
import textwrap
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from .. import tales
from ..config import SampleConfig
from ..errors import ConfigError
from ..inference.generation import stream

WIDTH = 88
NARROWEST = 160  # pixels of a column: room for a word of twenty letters
MARK = "‖"  # before the first difference from the first column


@dataclass(frozen=True)
class Column:
    """One text. pieces: the strings that `stream` gave after the prompt. differs_at: the index of the first one that
    differs from the first column's, None if all are equal. verdict: the parser's sentence, "" without a grammar.
    """

    name: str
    pieces: list[str]
    differs_at: int | None
    verdict: str

    @property
    def halves(self) -> tuple[str, str]:
        """The text that is the same as in the first column, and the rest."""
        cut = len(self.pieces) if self.differs_at is None else self.differs_at
        return "".join(self.pieces[:cut]), "".join(self.pieces[cut:])


@dataclass(frozen=True, repr=False)
class SideBySide:
    """The result of `compare_settings`. It prints as columns of text, and a notebook shows it as a table."""

    prompt: str
    columns: list[Column]

    @property
    def reading(self) -> str:
        """A sentence for each column but the first: where it begins to differ from the first, and by which pieces."""
        first, lines = self.columns[0], []
        for column in self.columns[1:]:
            index = column.differs_at
            if index is None:
                lines.append(f"{column.name} writes the same as {first.name}.")
                continue
            here, there = (repr(one.pieces[index]) if index < len(one.pieces) else "the end" for one in (column, first))
            lines.append(f"{column.name} parts from {first.name} at piece {index + 1}: {here}, not {there}.")
        return "\n".join(lines)

    def __repr__(self) -> str:
        wide = max(12, (WIDTH - 2 * (len(self.columns) - 1)) // len(self.columns))
        blocks = []
        for column in self.columns:
            same, other = column.halves
            text = self.prompt + same + (MARK + other if column.differs_at is not None else "")
            verdict = ["", *wrapped(f"[{column.verdict}]", wide)] if column.verdict else []
            blocks.append([column.name, "-" * wide, *wrapped(text, wide), *verdict])
        rows = itertools.zip_longest(*blocks, fillvalue="")
        return "\n".join("  ".join(padded_to(line, wide) for line in row).rstrip() for row in rows)

    def _repr_html_(self) -> str:
        wrapping = "white-space:pre-wrap; overflow-wrap:anywhere"  # a text may have a long line without a space
        cell = f'style="text-align:left; vertical-align:top; padding:4px 10px; {wrapping}"'
        names = "".join(f"<th {cell}>{html.escape(column.name)}</th>" for column in self.columns)
        texts = verdicts = ""
        for column in self.columns:
            same, other = (html.escape(half) for half in column.halves)
            if column.differs_at is not None:  # the common text is faint; the mark follows it
                same = f'<span style="opacity:0.6">{html.escape(self.prompt)}{same}</span>'
                texts += f'<td {cell}>{same}<b style="color:#D55E00">{MARK}</b>{other}</td>'
            else:
                texts += f"<td {cell}>{html.escape(self.prompt)}{same}</td>"
            verdicts += f"<td {cell}><i>{html.escape(column.verdict)}</i></td>"
        last = f"<tr>{verdicts}</tr>" if any(column.verdict for column in self.columns) else ""
        # In a narrow page the table scrolls sideways: no word of ordinary length is cut.
        wide = f"table-layout:fixed; width:100%; min-width:{NARROWEST * len(self.columns)}px"
        table = f'<table style="{wide}"><tr>{names}</tr><tr>{texts}</tr>{last}</table>'
        return f'<div style="overflow-x:auto">{table}</div>'


def compare_settings(
    model,
    tokenizer,
    prompt: str,
    settings: dict[str, SampleConfig | dict],
    seed: int = 1,
    n: int = 240,
    language: str | None = None,
    own: dict[str, Callable] | None = None,
) -> SideBySide:
    """Let the model continue `prompt` under each of the settings, up to n tokens, with the same seed.

    settings: name → a SampleConfig, or the fields of one. language: "en" or "zh" adds the parser's verdict on each.
    own: your parts of sampling, as `generate_tokens` takes them.
    Raises ConfigError for no settings, and for settings that make no sense.
    """
    if not settings:
        raise ConfigError("There is nothing to compare: give settings, a name and its values for each column.")
    columns = []
    for name, fields in settings.items():
        config = fields if isinstance(fields, SampleConfig) else SampleConfig.from_dict(fields)
        pieces = list(stream(model, tokenizer, prompt, n, config, seed, own=own))
        first = columns[0].pieces if columns else pieces
        verdict = "" if language is None else tales.parse(prompt + "".join(pieces), language).message
        columns.append(Column(name, pieces, first_difference(pieces, first), verdict))
    return SideBySide(prompt, columns)


def first_difference(one: list[str], other: list[str]) -> int | None:
    """The index at which two lists begin to differ; None where they are equal.

    >>> first_difference(["a", "b"], ["a", "c"]), first_difference(["a"], ["a", "b"]), first_difference([], [])
    (1, 1, None)
    """
    pairs = itertools.zip_longest(one, other)
    return next((index for index, (a, b) in enumerate(pairs) if a != b), None)


def columns_of(text: str) -> int:
    """The width of a text in a font of fixed width; a Chinese character takes two columns.

    >>> columns_of("从a")
    3
    """
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def padded_to(line: str, width: int) -> str:
    """The line with spaces up to `width` columns."""
    return line + " " * (width - columns_of(line))


def wrapped(text: str, width: int) -> list[str]:
    """Lines of at most `width` columns. Text with Chinese characters is cut between any two characters.

    >>> wrapped("one two three", 8), wrapped("从前有个", 5)
    (['one two', 'three'], ['从前', '有个'])
    """
    lines = []
    for paragraph in text.split("\n"):
        if columns_of(paragraph) == len(paragraph):
            lines += textwrap.wrap(paragraph, width) or [""]
            continue
        line = ""
        for character in paragraph:
            if columns_of(line + character) > width:
                lines.append(line)
                line = ""
            line += character
        lines.append(line)
    return lines
