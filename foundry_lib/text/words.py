"""Tales in tokens: which word each token belongs to, and the floor per token."""

import bisect
import itertools

from ..tales import Floor, Tale
from .tokenizer import Tokenizer


def token_words(tale: Tale, tokenizer: Tokenizer) -> list[int]:
    """For each token of the tale and for its end sign, the index of the word that it belongs to.

    The end sign belongs to an index after the last word. A token that covers several words belongs to the first of them
    that a rule fixes, or else to the last; a tokenizer that learned from the words has no such token.
    """
    ends = list(itertools.accumulate(len(part.encode("utf-8")) for part in tale.parts))
    owners, start = [], 0
    for token in tokenizer.encode(tale.text):
        end = start + len(tokenizer.token_bytes(token))
        touched = range(bisect.bisect_right(ends, start), bisect.bisect_left(ends, end) + 1)
        owners.append(next((word for word in touched if tale.rules[word]), touched[-1]))
        start = end
    return [*owners, len(ends)]


def token_floor(tales: list[Tale], tokenizer: Tokenizer) -> Floor:
    """The exact floor of some tales under a tokenizer, for whole tales from BOS to EOS."""
    return Floor(tales, [token_words(tale, tokenizer) for tale in tales])
