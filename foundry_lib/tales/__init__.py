"""Foundry Tales: short stories from a grammar that is known, so that the best possible loss is known too."""

from .floor import Floor
from .grammar import Grammar
from .tell import forgetful_log_probs, generate, grammar, log_prob, parse, prefix_distribution, tell
from .verdict import Verdict
from .walk import Tale

__all__ = [
    "Floor", "Grammar", "Tale", "Verdict", "forgetful_log_probs", "generate", "grammar", "log_prob", "parse",
    "prefix_distribution", "tell",
]  # fmt: skip
