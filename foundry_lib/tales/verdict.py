"""The parser's judgement of a text, in a sentence that names the rule and the sentence of the text."""

from collections import Counter
from dataclasses import dataclass

from .hands import Lost, Reader
from .walk import Tale, walk

STOPS = set(".!?。！？")


@dataclass(frozen=True)
class Verdict:
    """The judgement of `parse`.

    valid: whether the text is a tale. rule: the first broken rule, "grammar" where no sentence continues like
    this, None for a tale. message: the same as a sentence.
    sentence, word: where the rule is broken, the number of the sentence, from 1, and the index of the word.
    tale: the tale, if the text is one.
    asked, kept: for each rule, how often the text had to follow it, and how often it did, up to the end of the reading.
    """

    valid: bool
    rule: str | None
    message: str
    sentence: int
    word: int
    tale: Tale | None
    asked: Counter
    kept: Counter


def judge(text: str, grammar) -> Verdict:
    """Read a text as a training tale, then as one with held-out pairs, then with any pairs."""
    for held_out in (False, True, None):
        tale = Tale(grammar.language, held_out, grammar.spaced)
        reader, lost = Reader(text, grammar.spaced), None
        try:
            walk(grammar, reader, held_out, tale)
        except Lost as error:
            lost = error
            if held_out is not None and stopped_at_a_pair(reader, lost, grammar):
                continue
        break
    words, asked = tale.words, Counter(rule for rule in tale.rules if rule)
    asked.update(broken.rule for broken in reader.breaks if broken.index == len(words))  # the break that ended the walk
    kept = asked - Counter(broken.rule for broken in reader.breaks)
    if reader.breaks:
        first = reader.breaks[0]
        number = sentence(words, first.index)
        message = grammar.messages.get(first.rule, grammar.messages["rule"]).format(
            expected=first.expected, found=first.actual, sentence=number, rule=first.rule
        )
        return Verdict(False, first.rule, message, number, first.index, None, asked, kept)
    number = sentence(words, len(words))
    if lost is not None:
        word = next_word(reader)
        kind = "unfinished" if not word else "grammar" if words else "begin"
        message = grammar.messages[kind].format(
            found=word, sentence=number, before=words[-1] if words else "", options=", ".join(list(lost.options)[:3])
        )
        return Verdict(False, "grammar", message, number, len(words), None, asked, kept)
    if reader.rest:
        message = grammar.messages["more"].format(found=next_word(reader), sentence=number)
        return Verdict(False, "grammar", message, number, len(words), None, asked, kept)
    return Verdict(True, None, grammar.messages["valid"], number, len(words), tale, asked, kept)


def sentence(words, index) -> int:
    """The number of the sentence, from 1, that word `index` is in."""
    return 1 + sum(word in STOPS for word in words[:index])


def next_word(reader) -> str:
    """The first word that was not read, or four characters of a language without spaces."""
    return "".join(reader.rest[:1] if reader.spaced else reader.rest[:4])


def stopped_at_a_pair(reader, lost, grammar):
    """Whether the text goes wrong at a thing that this owner may have in tales of the other kind."""
    return bool(set(lost.options) & set(grammar.lists["things"])) and reader.next_in(grammar.lists["things"])
