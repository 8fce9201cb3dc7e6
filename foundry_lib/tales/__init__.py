"""Foundry Tales: short stories from a known grammar, so that the lowest expected loss is known too."""

from .floor import Floor
from .grammar import Grammar
from .tell import (
    LANGUAGES,
    forgetful_log_probs,
    generate,
    grammar,
    language_of,
    log_prob,
    parse,
    prefix_distribution,
    tell,
)
from .verdict import Verdict
from .walk import Tale

__all__ = [
    "LANGUAGES",
    "Floor",
    "Grammar",
    "Tale",
    "Verdict",
    "forgetful_log_probs",
    "generate",
    "grammar",
    "language_of",
    "log_prob",
    "parse",
    "prefix_distribution",
    "tell",
]
