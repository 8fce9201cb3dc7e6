"""The functions for other folders: write tales, judge a text, exact probabilities of a tale and of the next word."""

from collections.abc import Iterator
from functools import cache
from importlib import import_module
from random import Random

from ..errors import CorpusError
from .grammar import Grammar
from .hands import Lost, Reader, Writer
from .verdict import Verdict, judge
from .walk import Tale, walk

LANGUAGES = {"en": "english", "zh": "chinese"}


@cache
def _built_in(language: str) -> Grammar:
    return import_module(f".{LANGUAGES[language]}", __package__).GRAMMAR


def grammar(language: str | Grammar = "en") -> Grammar:
    """The grammar of a language, "en" or "zh". Your own Grammar is returned unchanged."""
    if isinstance(language, Grammar):
        return language
    if language not in LANGUAGES:
        raise CorpusError(f"The tales exist in {' and '.join(LANGUAGES)}, not in {language!r}.")
    return _built_in(language)


def language_of(text: str) -> str:
    """The language of a text, "en" or "zh": "zh" where more characters are Chinese than Latin letters.

    >>> language_of("从前有个勇敢的小明"), language_of("Once there was Brave Ann")
    ('zh', 'en')
    """
    chinese = sum("\u4e00" <= character <= "\u9fff" for character in text)
    return "zh" if chinese > sum(character.isascii() and character.isalpha() for character in text) else "en"


def generate(language: str | Grammar = "en", seed: int = 0, n: int = 1, held_out: bool = False) -> list[Tale]:
    """n tales. The same seed gives the same tales on every platform, and a larger n adds to them.

    held_out: False gives training tales. True gives tales in which each friend has a thing that this friend has in no
    training tale. Everything else is the same.
    """
    return list(tell(language, seed, n, held_out))


def tell(language: str | Grammar = "en", seed: int = 0, n: int = 1, held_out: bool = False) -> Iterator[Tale]:
    """The tales of `generate`, one after the other."""
    rules, writer = grammar(language), Writer(Random(seed))
    for _ in range(n):
        yield walk(rules, writer, held_out)


def parse(text: str, language: str | Grammar = "en") -> Verdict:
    """Judge a text: whether it is a tale, and if not, the first broken rule and its position."""
    return judge(text, grammar(language))


def _tale(text: str, language: str | Grammar) -> Tale:
    verdict = parse(text, language)
    if not verdict.valid:
        raise CorpusError(f"This is not one of the tales, so it has no probability: {verdict.message}.")
    return verdict.tale


def log_prob(text: str, language: str | Grammar = "en") -> float:
    """The exact natural logarithm of a tale's probability. Raises CorpusError for any other text."""
    return _tale(text, language).log_prob


def forgetful_log_probs(text: str, language: str | Grammar = "en") -> list[float]:
    """For each word, the log-probability by the no-memory baseline: it knows the grammar and remembers no story."""
    return _tale(text, language).forgetful_log_probs


def prefix_distribution(text: str, language: str | Grammar = "en") -> dict[str, float]:
    """The true distribution of the next word after `text`, the beginning of a tale; {"": 1.0} after its end.

    An unfinished last word leaves only the words that begin with it. Raises CorpusError if no tale begins like this.

    >>> prefix_distribution("Once there was Brave Ann with")
    {'her': 1.0}
    """
    rules = grammar(language)
    for held_out in (False, True, None):
        reader = Reader(text, rules.spaced)
        try:
            walk(rules, reader, held_out)
            options = {"": 1.0}
        except Lost as lost:
            options = lost.options
        rest = reader.rest if isinstance(reader.rest, str) else " ".join(reader.rest)
        if rest and rules.spaced and text[-1:].isspace():
            rest += " "
        possible = {word: p for word, p in options.items() if word.startswith(rest)}
        if possible and not reader.breaks:
            total = sum(possible.values())
            return {word: p / total for word, p in possible.items()}
    raise CorpusError(f"No tale begins like this; it goes wrong at {rest[:20]!r}. parse(text) explains why.")
