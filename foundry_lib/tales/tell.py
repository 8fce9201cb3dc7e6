"""What others use: generate tales, judge a text, weigh it word by word, ask what may come next."""

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
def _built_in(language):
    return import_module(f".{LANGUAGES[language]}", __package__).GRAMMAR


def grammar(language="en") -> Grammar:
    """The grammar of a language, "en" or "zh"; a Grammar of your own is returned as it is."""
    if isinstance(language, Grammar):
        return language
    if language not in LANGUAGES:
        raise CorpusError(f"The tales are told in {' and '.join(LANGUAGES)}, not in {language!r}.")
    return _built_in(language)


def generate(language="en", seed: int = 0, n: int = 1, held_out: bool = False) -> list[Tale]:
    """n tales. The same seed gives the same tales on every platform, and a larger n only adds to them.

    held_out: False tells training tales. True tells tales in which each friend has a thing that this friend
    has in no training tale; otherwise they are the same.
    """
    return list(tell(language, seed, n, held_out))


def tell(language="en", seed: int = 0, n: int = 1, held_out: bool = False) -> Iterator[Tale]:
    """The tales of `generate`, one after the other."""
    told, hand = grammar(language), Writer(Random(seed))
    for _ in range(n):
        yield walk(told, hand, held_out)


def parse(text: str, language="en") -> Verdict:
    """Judge a text: whether it is a tale, and if not, which rule it breaks first, and where."""
    return judge(text, grammar(language))


def _tale(text, language) -> Tale:
    verdict = parse(text, language)
    if not verdict.valid:
        raise CorpusError(f"This is not one of the tales, so it has no probability: {verdict.message}.")
    return verdict.tale


def log_prob(text: str, language="en") -> float:
    """The exact natural logarithm of a tale's probability. Raises CorpusError for any other text."""
    return _tale(text, language).log_prob


def forgetful_log_probs(text: str, language="en") -> list[float]:
    """Per word, the log-probability for a reader who knows the grammar but forgets the story."""
    return _tale(text, language).forgetful_log_probs


def prefix_distribution(text: str, language="en") -> dict[str, float]:
    """The true distribution of the next word after `text`, the beginning of a tale; {"": 1.0} after its end.

    An unfinished last word narrows it to the words that begin so.
    Raises CorpusError if no tale begins like this.
    """
    told = grammar(language)
    for held_out in (False, True, None):
        reader = Reader(text, told.spaced)
        try:
            walk(told, reader, held_out)
            options = {"": 1.0}
        except Lost as lost:
            options = lost.options
        rest = reader.rest if isinstance(reader.rest, str) else " ".join(reader.rest)
        if rest and told.spaced and text[-1:].isspace():
            rest += " "
        begun = {word: p for word, p in options.items() if word.startswith(rest)}
        if begun and not reader.breaks:
            total = sum(begun.values())
            return {word: p / total for word, p in begun.items()}
    raise CorpusError(f"No tale begins like this; it goes wrong at {rest[:20]!r}. parse(text) tells why.")
