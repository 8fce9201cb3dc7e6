"""A model of one's own parts: what lessons 01 to 05 have built becomes the keyword arguments that MiniLLM takes.

    model = MiniLLM(config, **own_parts(rms_norm=my_rms_norm, swiglu=my_swiglu))
    model = MiniLLM(config, **kept_parts())      # whatever has passed its check so far

The weights stand where the library keeps them and have the same names, so a checkpoint fits either model.
"""

from collections.abc import Callable
from functools import partial

from ..models.attention import CausalSelfAttention, fused_causal_attention
from ..models.feed_forward import MLP
from ..models.norm import RMSNorm
from ..models.rope import apply_rotary_emb
from . import checks, progress


def own_parts(
    rms_norm: Callable | None = None,
    rotary: Callable | None = None,
    gqa: Callable | None = None,
    swiglu: Callable | None = None,
    block: Callable | None = None,
) -> dict[str, Callable]:
    """Keyword arguments for MiniLLM; a part that is None stays the library's.

    rms_norm(x, weight, eps) → x's shape. rotary(xq, xk, freqs_cis) → both turned, (B, H, T, d) and (B, K, T, d).
    gqa(q, k, v) → mixed values (B, H, T, d), from k, v (B, K, S, d) with S ≥ T.
    swiglu(x, w_gate, w_up, w_down) → x's shape, the weights as nn.Linear stores them, (out, in).
    block: a class that is built and called as `Block` is.
    """
    parts = {}
    if rms_norm is not None:
        parts["norm"] = norm_of(rms_norm)
    if rotary is not None or gqa is not None:
        turn, attend = rotary or apply_rotary_emb, gqa or fused_causal_attention
        parts["attention"] = partial(CausalSelfAttention, rotary=turn, attend=attend)
    if swiglu is not None:
        parts["feed_forward"] = feed_forward_of(swiglu)
    if block is not None:
        standing = {"attention": CausalSelfAttention, "feed_forward": MLP}  # where its own defaults are others
        parts = {**standing, **parts, "block": block}
    return parts


def norm_of(function: Callable) -> type[RMSNorm]:
    """RMSNorm whose forward is `function`."""

    class OwnNorm(RMSNorm):
        def forward(self, x):
            return function(x, self.weight, self.eps)

    return OwnNorm


def feed_forward_of(function: Callable) -> type[MLP]:
    """MLP whose forward is `function`."""

    class OwnFeedForward(MLP):
        def forward(self, x):
            return function(x, self.w_gate.weight, self.w_up.weight, self.w_down.weight)

    return OwnFeedForward


def kept_parts() -> dict[str, Callable]:
    """`own_parts` of what the learner has kept; says for each part whose it is.

    Each is judged once more, because a file may have been changed by hand; what fails is left out, with a sentence.
    """
    found = {}
    for name, lesson in progress.PARTS.items():
        work, exercise = progress.own_work(name), checks.EXERCISES.get(name)
        if work is None or exercise is None:
            passed = exercise is not None and name in progress.read()["work"]
            why = "could not be read back: run its check again in" if passed else "begins in"
            print(f"{name:<9} the library's; yours {why} lesson {lesson}")
            continue
        verdict = exercise.judge(work)
        if verdict.passed:
            print(f"{name:<9} yours")
            found[name] = work
        else:
            print(f"{name:<9} the library's; yours no longer passes the check of lesson {lesson}:")
            print(verdict.message)
    return own_parts(**found)
