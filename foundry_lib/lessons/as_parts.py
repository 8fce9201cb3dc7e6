"""The learner's functions and classes as parts of a model and of a training.

    parts = own_parts(rms_norm=my_rms_norm)        # keyword arguments of MiniLLM
    step = guarded("train_step", my_train_step)    # an argument of Trainer

A part that fails is replaced by the library's in the middle of a training, which goes on. The weights have the same
names and shapes in both, so a checkpoint fits both.
"""

import functools
import inspect
import re
import warnings
from collections.abc import Callable
from functools import cache, partial

import torch
import torch.nn.functional as F
from torch import nn

from .. import runtime
from ..config import IGNORED, TrainConfig
from ..errors import FoundryError, Notice
from ..inputs import check_parts, checked_start
from ..models.attention import CausalSelfAttention, fused_causal_attention
from ..models.feed_forward import MLP
from ..models.model import Block, MiniLLM
from ..models.norm import RMSNorm, rms_norm
from ..models.rope import apply_rotary_emb, rope_table
from ..training.optimizer import learning_rate
from . import part_trial, progress
from .part_speed import examples, slow_line
from .traceback_in_words import error_in_words, name_of

LIBRARY = dict(model=None, block=Block, norm=RMSNorm, attention=CausalSelfAttention, feed_forward=MLP)
LIBRARY |= dict(rope_table=rope_table)
MODEL_PARTS = ("rms_norm", "rope_table", "rotary", "gqa", "swiglu", "block", "model")
TAKEN = (
    "loss",
    "hidden",
    "tables",
    "new_cache",
    "init_weights",
    "device",
    "n_params",
    "residual",
    "logits",
)  # MiniLLM's
TRAINING_PARTS = {"mean_loss": "loss", "learning_rate": "schedule", "train_step": "step"}  # → argument of Trainer


# ---- The parts of a model


def own_parts(
    rms_norm: Callable | None = None,
    rope_table: Callable | None = None,
    rotary: Callable | None = None,
    gqa: Callable | None = None,
    swiglu: Callable | None = None,
    block: type | None = None,
    model: type | None = None,
) -> dict[str, Callable]:
    """Keyword arguments for MiniLLM; for a part that is None the model uses the library's.

    rms_norm(x, weight, eps) → the shape of x. rope_table(head_dim, max_seq_len, theta) → (2, T, d/2).
    rotary(xq, xk, freqs_cis) → both rotated, (B, H, T, d), (B, K, T, d).
    gqa(q, k, v) → the attention's output (B, H, T, d), from k and v (B, K, S, d) with S ≥ T.
    swiglu(x, w_gate, w_up, w_down) → the shape of x; each weight is (out, in), as nn.Linear stores it.
    block: a class with the constructor and the forward of `Block`.
    model: a class made as model(config, block, norm, rope_table), with the forward of `MiniLLM`.
    A part that raises an error is replaced by the library's, with a Notice (`guarded`).
    """
    parts = {}
    if rms_norm is not None:
        parts["norm"] = norm_of(rms_norm)
    if rope_table is not None:
        parts["rope_table"] = guarded("rope_table", rope_table)
    if rotary is not None or gqa is not None:
        turn = rotary and guarded("rotary", rotary)
        attend = gqa and guarded("gqa", gqa)
        parts["attention"] = attention_of(turn or apply_rotary_emb, attend or fused_causal_attention)
    if swiglu is not None:
        parts["feed_forward"] = feed_forward_of(swiglu)
    if block is not None:
        defaults = {"attention": CausalSelfAttention, "feed_forward": MLP}  # the learner's block may have no defaults
        parts = {**defaults, **parts, "block": block_of(block)}
    if model is not None:
        parts["model"] = model_of(model)
    return parts


def norm_of(function: Callable) -> type[RMSNorm]:
    """A subclass of RMSNorm whose forward calls `function`."""
    norm = guarded("rms_norm", function)

    class OwnNorm(RMSNorm):
        def forward(self, x):
            return norm(x, self.weight, self.eps)

    return named(OwnNorm, function)


def attention_of(turn: Callable, attend: Callable) -> type[CausalSelfAttention]:
    """A subclass of CausalSelfAttention with these functions."""

    class OwnAttention(CausalSelfAttention):
        def __init__(self, config, layer=0):
            super().__init__(config, layer, turn, attend)

    return named(OwnAttention, turn, attend)


def feed_forward_of(function: Callable) -> type[MLP]:
    """A subclass of MLP whose forward calls `function`."""
    swiglu = guarded("swiglu", function)

    class OwnFeedForward(MLP):
        def forward(self, x):
            return swiglu(x, self.w_gate.weight, self.w_up.weight, self.w_down.weight)

    return named(OwnFeedForward, function)


def block_of(work: type) -> type:
    """The learner's block. Its parts have the names of the library's, so the library's forward can stand in."""

    class OwnBlock(work):
        def __init__(self, config, layer=0, norm=RMSNorm, attention=CausalSelfAttention, feed_forward=MLP):
            super().__init__(
                config, layer, norm, attention, feed_forward
            )  # by place: its arguments may have other names

        forward = guarded("block", work.forward)

    return named(OwnBlock, work)


class Foundation(MiniLLM):
    """What a model from an empty file lies on: MiniLLM's methods, without the weights that its constructor makes."""

    def __init__(self):
        nn.Module.__init__(self)


def model_of(work: type) -> type[MiniLLM]:
    """The learner's model as a MiniLLM: its own constructor and forward, and the other methods of the library's."""
    forward = guarded("model", work.forward)

    class OwnModel(work, Foundation):
        def __init__(self, config, seed=1337, *, model=None, block=Block, norm=RMSNorm, rope_table=rope_table, **parts):
            made_of = dict(model=model, block=block, norm=norm, rope_table=rope_table, **parts)
            check_parts(made_of, LIBRARY)
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(seed)
                super().__init__(config, partial(block, norm=norm, **parts), norm, rope_table)
            self.config, self.residual, self.logits = config, None, None
            self.parts = {name: part for name, part in made_of.items() if part is not LIBRARY[name]}
            self.init_weights(seed)

        def forward(self, idx, targets=None, cache=None):
            checked_start(self.config, self.tok_embeddings.weight, idx, cache)
            return forward(self, idx, targets, cache)

        def loss(self, idx, targets):
            return self(idx, targets)[1]

    return named(OwnModel, work)


def named(part: type, *works: Callable) -> type:
    """The class with the names of the learner's functions in it: checkpoints store it, and print(model) shows it."""
    part.__name__ = part.__qualname__ = " ".join(work.__name__ for work in works)
    return part


# ---- The library's functions, in the form in which the learner writes them


def swiglu(x, w_gate, w_up, w_down):
    return F.linear(F.silu(F.linear(x, w_gate)) * F.linear(x, w_up), w_down)


def cross_entropy(logits, targets):
    return F.cross_entropy(logits.flatten(0, -2), targets.flatten(), ignore_index=IGNORED)


def rate(step, peak, warmup, total, lowest):
    """The schedule of lesson 07 from its five numbers; see `training.optimizer.learning_rate`."""
    config = TrainConfig(learning_rate=peak, warmup_iters=warmup, max_iters=total, min_lr_ratio=lowest)
    return learning_rate(step, config)


def step(model, optimizer, x, y, lr, grad_clip):
    for group in optimizer.param_groups:
        group["lr"] = lr
    loss = model.loss(x, y)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
    optimizer.step()
    return loss.item()


FUNCTIONS = dict(rms_norm=rms_norm, rope_table=rope_table, rotary=apply_rotary_emb, gqa=fused_causal_attention)
FUNCTIONS |= dict(swiglu=swiglu, block=Block.forward, model=MiniLLM.forward)
FUNCTIONS |= dict(mean_loss=cross_entropy, learning_rate=rate, train_step=step)


# ---- When a part fails


def guarded(name: str, own: Callable) -> Callable:
    """`own`, until it fails: from then on the library's function, with a Notice that names the line.

    It fails when it raises an error or gives a wrong shape or dtype. So a training goes on with the same weights. The
    library's own errors and a full memory are raised as they are.
    """
    failed = False

    @functools.wraps(own)
    def part(*given, **more):
        nonlocal failed
        if not failed:
            try:
                result = own(*given, **more)
                why = wrong_form(name, result, given)
                if not why:
                    return result
            except (FoundryError, torch.OutOfMemoryError):
                raise
            except Exception as error:  # noqa: BLE001  whatever the learner's code raises
                why = error_in_words(error)
            failed = True
            message = (
                f"Your {name} failed, and the library's part runs from here on; nothing is lost. {why}. Mend it and "
                f"run its check in lesson {progress.PARTS[name]}, or leave it out: progress.switch_off({name!r})."
            )
            warnings.warn(message, Notice, stacklevel=2)
        return FUNCTIONS[name](*given, **more)

    if name == "learning_rate":  # the Trainer asks for the number of arguments, and some learners write *args
        part.__signature__ = inspect.signature(rate)
    return part


LIKE = dict(rms_norm=[0], rotary=[0, 1], gqa=[0], swiglu=[0], block=[1])  # → the arguments that the results are like


def wrong_form(name: str, result, given: tuple) -> str | None:
    """How the results of a part of the model differ from its inputs in shape, dtype or device; None if in nothing."""
    inputs = [given[place] for place in LIKE.get(name, ())]
    results = [result] if len(inputs) == 1 else result
    for like, found in zip(inputs, results if inputs else (), strict=False):
        if not isinstance(found, torch.Tensor):
            return f"It gave a {type(found).__name__}, expected a tensor"
        in_one_dtype = found.dtype == like.dtype or torch.is_autocast_enabled(like.device.type)
        if found.shape != like.shape or found.device != like.device or not in_one_dtype:
            return f"It gave {form_of(found)}, expected {form_of(like)}"
    return None


def form_of(tensor: torch.Tensor) -> str:
    return f"{tuple(tensor.shape)} in {name_of(tensor.dtype)} on {tensor.device}"


# ---- Whether a stored part runs in a model or a training, and how fast


@cache
def trouble_in_words(name: str, source: str) -> str | None:
    """What goes wrong with the stored work in a model or a training, tried once per source; None if nothing does."""
    work, device = progress.own_work(name), runtime.best_device()
    if name in MODEL_PARTS:
        trial = partial(part_trial.trouble_in_model, LIBRARY | own_parts(**{name: work}), device)
    elif name in TRAINING_PARTS:
        given = TRAINING_PARTS[name], guarded(name, work), FUNCTIONS[name], device
        trial = partial(part_trial.trouble_in_training, *given)
    else:
        return None
    trouble = part_trial.in_words(trial)
    taken = {word for pair in re.findall(r"self\.(\w+) *=|def (\w+)\(self", source) for word in pair} & set(TAKEN)
    if trouble and name == "model" and taken:
        return f"The lessons use {', '.join(sorted(taken))} of a model in their own way: give yours another name."
    return trouble


@cache
def slow_in_words(name: str, source: str) -> str | None:
    """What to say of the stored work if it is slow, measured once per source on the best device; None if it is not."""
    given = examples(runtime.best_device()).get(name)
    try:
        return given and slow_line(progress.own_work(name), FUNCTIONS[name], given)
    except Exception:  # noqa: BLE001  a part that fails is named when it runs, by `guarded`
        return None
