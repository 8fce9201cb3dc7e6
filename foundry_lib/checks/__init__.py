"""Checks: of a learner's work, which name the mistake, and of a measured number, which print words that stay the same.

checks.rms_norm(my_rms_norm)                          # judges any implementation, the learner's or ours
checks.within("validation loss", loss, 3.4, 0.05)     # prints or raises
"""

from . import ladder
from .norm import rms_norm
from .words import below, within

EXERCISES = {exercise.name: exercise for exercise in (rms_norm,)}

__all__ = ["EXERCISES", "below", "ladder", "within", *EXERCISES]
