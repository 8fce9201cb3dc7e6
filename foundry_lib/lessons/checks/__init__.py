"""Checks of a learner's work, which name the mistake, and checks of a measured number, which print a fixed text.

checks.rms_norm(my_rms_norm)                          # judges any implementation, the learner's or the library's
checks.within("validation loss", loss, 3.4, 0.05)     # prints or raises
checks.check_equal("formula and nn.RMSNorm", y, z)    # prints the largest difference, or raises
"""

# ruff: noqa: F401  EXERCISES collects the exercises from what is imported here

from . import ladder
from .attention import attention, attention_order, cache_bytes, gqa
from .bpe import byte_fallback, decode, encode
from .experiments import bits_per_byte, equal_time_steps, verdict
from .feed_forward import selectivity, silu, swiglu
from .generation import generate, kv_cache
from .model import block, count_parameters, logit_lens
from .norm import rms_norm
from .plain_mlp import plain_mlp
from .rope import rope_table, rotary, rotate
from .sampling import min_p, temperature, top_k, top_p
from .tokens import loss_units, merge, most_common_pair, next_token_batch
from .training import accumulation, learning_rate, mean_loss, train_step
from .whole_model import model
from .words import below, check_equal, within

EXERCISES = {value.name: value for value in globals().values() if isinstance(value, ladder.Exercise)}

__all__ = ["EXERCISES", "below", "check_equal", "ladder", "within", *EXERCISES]
