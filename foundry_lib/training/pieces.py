"""A learner's own loss, optimizer, schedule and step, as the Trainer calls them.

    Trainer(model, loader, config, loss=my_loss, optimizer=my_optimizer, schedule=my_learning_rate, step=my_train_step)

my_loss(logits, targets) → a scalar, nats per token; targets of IGNORED (-100) do not count.
my_optimizer(model, config) → a torch.optim.Optimizer over the model's parameters.
my_learning_rate(step, config) → the learning rate of update number `step`, counted from 0. With five parameters it is
called as my_learning_rate(step, peak, warmup, total, lowest), as in lesson 07; `lowest` is a share of the peak. The
Trainer gives this rate to every group of the optimizer.
my_train_step(model, optimizer, x, y, lr, grad_clip) → the batch's loss, a number, after one update of the weights. Its
`model(x, y)` is (logits, loss) and its `model.loss(x, y)` the loss: of the own loss function, where there is one.
The Trainer does not catch an error inside such a function: the traceback shows the function's own line.
"""

import functools
import inspect
import linecache
import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..config import TrainConfig
from ..errors import ConfigError
from ..models.model import MiniLLM
from ..runtime import hold_interrupts
from .evaluate import mixed_precision


def name_of(function: Callable) -> str:
    """The function's name in checkpoints and errors."""
    if isinstance(function, functools.partial):
        return f"partial({name_of(function.func)})"
    return getattr(function, "__name__", type(function).__name__)


def _with_line(function: Callable) -> str:
    """The function's name and its first line, for an error."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    line = linecache.getline(code.co_filename, code.co_firstlineno).strip() if code else ""
    return f"{name_of(function)} (line {code.co_firstlineno}: {line})" if line else name_of(function)


def built_optimizer(make: Callable, model: MiniLLM, config: TrainConfig) -> torch.optim.Optimizer:
    """`make(model, config)`. Raises ConfigError unless it is an optimizer of this model's parameters.

    The first optimizer of a process imports several hundred modules of torch; Ctrl-C waits for them.
    """
    with hold_interrupts():
        optimizer = make(model, config)
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise ConfigError(
            f"optimizer={_with_line(make)} must return a torch.optim.Optimizer, found {type(optimizer).__name__}."
        )
    weights = {id(p) for p in model.parameters()}
    if not all(id(p) in weights for group in optimizer.param_groups for p in group["params"]):
        raise ConfigError(
            f"optimizer={_with_line(make)} holds parameters that are not this model's; make it from model.parameters()."
        )
    return optimizer


def in_two_parameters(schedule: Callable) -> Callable[[int, TrainConfig], float]:
    """The schedule as a function of (step, config), whichever of its two forms it has."""
    try:
        parameters = inspect.signature(schedule).parameters.values()
    except (TypeError, ValueError):  # a function written in C has no signature
        return schedule
    if sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters) != 5:
        return schedule

    @functools.wraps(schedule)
    def of_config(step: int, config: TrainConfig) -> float:
        return schedule(step, config.learning_rate, config.warmup_iters, config.max_iters, config.min_lr_ratio)

    return of_config


def checked_rate(schedule: Callable, step: int, config: TrainConfig) -> float:
    """schedule(step, config). Raises ConfigError unless it is a finite number of at least 0."""
    rate = schedule(step, config)
    try:
        number = float(rate)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number < math.inf:
        raise ConfigError(
            f"schedule={_with_line(schedule)} must return the learning rate, a number of at least 0; for step {step} "
            f"it returned {rate!r}."
        )
    return number


def checked_loss(function: Callable, logits: Tensor, targets: Tensor) -> Tensor:
    """`function(logits, targets)`. Raises ConfigError unless it is a scalar tensor that has a gradient."""
    loss = function(logits, targets)
    if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.requires_grad:
        shape = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        shape += " without a gradient" if isinstance(loss, Tensor) and not loss.requires_grad else ""
        raise ConfigError(
            f"loss={_with_line(function)} must return the mean loss as a tensor of one number, with its gradient; it "
            f"returned {shape}. Return the tensor itself: no .item(), no .detach()."
        )
    return loss.reshape(())


class ModelInStep:
    """The model as an own step sees it: in the precision of the training, and with the training's loss."""

    def __init__(self, model: MiniLLM, own_loss: Callable | None, device: str):
        self.model, self.own_loss, self.device_name = model, own_loss, device

    def __call__(self, idx: Tensor, targets: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        with mixed_precision(self.device_name):
            if self.own_loss is None or targets is None:
                return self.model(idx, targets)
            logits, _ = self.model(idx)
            return logits, checked_loss(self.own_loss, logits, targets)

    def loss(self, idx: Tensor, targets: Tensor) -> Tensor:
        if self.own_loss is not None:
            return self(idx, targets)[1]
        with mixed_precision(self.device_name):
            return self.model.loss(idx, targets)

    def __getattr__(self, name: str):
        return getattr(self.model, name)


def checked_step(step: Callable, *given) -> float:
    """`step(model, optimizer, x, y, lr, grad_clip)`. Raises ConfigError unless it returns a number."""
    loss = step(*given)
    try:
        return float(loss)
    except (TypeError, ValueError, RuntimeError):
        raise ConfigError(
            f"step={_with_line(step)} must return the batch's loss, a number; it returned {type(loss).__name__}."
        ) from None
