"""A model with the learner's own parts: work from lessons 01 to 05 becomes keyword arguments of MiniLLM.

    model = MiniLLM(config, **own_parts(rms_norm=my_rms_norm, swiglu=my_swiglu))
    model = MiniLLM(config, **kept_parts())      # everything that has passed its check so far

The weights have the same names and shapes as in the library's model, so a checkpoint fits both.
"""

from collections.abc import Callable
from functools import partial

from ..console import folded_lines, say
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
    """Keyword arguments for MiniLLM; for a part that is None the model uses the library's.

    rms_norm(x, weight, eps) → the shape of x. rotary(xq, xk, freqs_cis) → both rotated, (B, H, T, d), (B, K, T, d).
    gqa(q, k, v) → the attention's output (B, H, T, d), from k and v (B, K, S, d) with S ≥ T.
    swiglu(x, w_gate, w_up, w_down) → the shape of x; each weight is (out, in), as nn.Linear stores it.
    block: a class with the constructor and the forward of `Block`.
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
        defaults = {"attention": CausalSelfAttention, "feed_forward": MLP}  # the learner's block may have no defaults
        parts = {**defaults, **parts, "block": block}
    return parts


def norm_of(function: Callable) -> type[RMSNorm]:
    """A subclass of RMSNorm whose forward calls `function`."""

    class OwnNorm(RMSNorm):
        def forward(self, x):
            return function(x, self.weight, self.eps)

    return OwnNorm


def feed_forward_of(function: Callable) -> type[MLP]:
    """A subclass of MLP whose forward calls `function`."""

    class OwnFeedForward(MLP):
        def forward(self, x):
            return function(x, self.w_gate.weight, self.w_up.weight, self.w_down.weight)

    return OwnFeedForward


def kept_parts() -> dict[str, Callable]:
    """`own_parts` of the stored work; prints for each part whether it is the learner's or the library's.

    Each part is checked again, because the file may have been edited. If a part fails, its message is printed, and the
    model gets the library's part.
    """
    own = {}
    for name in ("rms_norm", "rotary", "gqa", "swiglu", "block"):
        lesson = progress.PARTS[name]
        work, exercise = progress.own_work(name), checks.EXERCISES.get(name)
        if work is None or exercise is None:
            passed = exercise is not None and name in progress.read()["work"]
            why = "could not be read back: run its check again in" if passed else "begins in"
            print(f"{name:<9} the library's; yours {why} lesson {lesson}")
            continue
        verdict = exercise.judge(work)
        if verdict.passed:
            print(f"{name:<9} yours")
            own[name] = work
        else:
            print(f"{name:<9} the library's; yours no longer passes the check of lesson {lesson}:")
            print(verdict.message)
    return own_parts(**own)


def status() -> list[tuple[str, str, str]]:
    """(name, lesson, "yours" or "the library's") of every part. It reads only the stored progress and runs nothing."""
    stored = progress.read()
    return [
        (name, lesson, "yours" if stored["work"].get(name) and not stored["off"].get(name) else "the library's")
        for name, lesson in progress.PARTS.items()
    ]


def stored(name: str):
    """The stored work `name`, if it is switched on and passes its check; else None."""
    if progress.read()["off"].get(name):
        return None
    work, exercise = progress.own_work(name), checks.EXERCISES.get(name)
    if work is None or exercise is None:
        return None
    verdict = exercise.judge(work)
    if verdict.passed:
        return work
    say(f"{name}: the library's part runs. Yours no longer passes the check of lesson {progress.PARTS[name]}:")
    print(folded_lines(verdict.message))
    return None
