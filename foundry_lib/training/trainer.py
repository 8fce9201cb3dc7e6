"""Training: a step, and a loop that yields records. It prints and plots nothing; the caller may."""

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from ..config import TrainConfig
from ..errors import ConfigError, DivergedError
from ..models.model import MiniLLM
from ..text.loader import DataLoader
from . import saving, sentences
from .evaluate import Evaluation, evaluate, mixed_precision
from .interrupt import stop_request
from .memory import out_of_memory
from .optimizer import learning_rate, make_optimizer
from .pieces import (
    ModelInStep,
    built_optimizer,
    checked_loss,
    checked_rate,
    checked_step,
    in_two_parameters,
    name_of,
)
from .record import Record


class Trainer:
    """The whole state of a training: model, optimizer, data position, random numbers and the step.

        trainer = Trainer(MiniLLM(config), loader, TrainConfig())
        for record in trainer.run():
            print(record.step, record.train_loss)

    ■ or Ctrl-C ends `run` after the present step. The training can then be saved, loaded in another process and run
    again; its weights end bit for bit the same as without the stop.
    loss, optimizer, schedule, step: functions of your own in place of the library's, see `training.pieces`. Validation
    losses are always the library's, so that trainings can be compared.

    Raises ConfigError when model, loader, configuration and functions do not fit together, before any training.
    """

    def __init__(
        self,
        model: MiniLLM,
        loader: DataLoader,
        config: TrainConfig = TrainConfig(),
        device: str | None = None,
        *,
        loss: Callable | None = None,
        optimizer: Callable | None = None,
        schedule: Callable | None = None,
        step: Callable | None = None,
    ):
        _require_fit(model, loader, config)
        self.device = str(device or loader.device)
        self.model = model.to(self.device)
        self.loader, self.config = loader, config
        pieces = {"loss": loss, "optimizer": optimizer, "schedule": schedule, "step": step}
        self.own = {name: function for name, function in pieces.items() if function is not None}
        self.loss = loss  # None: the model's own, which never holds all logits
        self.schedule = in_two_parameters(schedule or learning_rate)
        self.optimizer = built_optimizer(optimizer or make_optimizer, self.model, config)
        if step is not None:
            self.optimizer.register_step_pre_hook(self._before_own_update)
        self.step = 0  # updates done
        self.elapsed = 0.0
        self.interrupted = False
        self.history: list[Record] = []
        self.saved_in: Path | None = None  # the folder that holds checkpoints of this training

    def run(self, until: int | None = None) -> Iterator[Record]:
        """Train to step `until` (None: to the end) and yield a Record after each step.

        Raises DivergedError when the loss is no longer a number; the weights are then those of the last good step.
        """
        end = self.config.max_iters if until is None else min(until, self.config.max_iters)
        self.interrupted = False
        with stop_request() as (stop, arm):
            if self.step == 0 and not self.history:
                yield self._record(None, self._evaluate(), 0.0, 0.0)
            while self.step < end and not stop.asked:
                arm()
                started = time.perf_counter()
                loss, grad_norm = self._step_that_fits()
                seconds = time.perf_counter() - started
                due = self.step % self.config.eval_interval == 0 or self.step == self.config.max_iters
                evaluation = self._evaluate() if due else Evaluation()
                self.elapsed += time.perf_counter() - started
                yield self._record(loss, evaluation, grad_norm, seconds)
            self.interrupted = self.step < end

    def train_step(self) -> tuple[float, float]:
        """One update: batch, forward, backward, step.

        Returns the loss and the gradient's norm before clipping.
        """
        lr = checked_rate(self.schedule, self.step, self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        xb, yb = self.loader.get_batch("train")
        if "step" in self.own:
            return self._own_step(xb, yb, lr)
        with mixed_precision(self.device):
            if self.loss is None:
                loss = self.model.loss(xb, yb)
            else:
                loss = checked_loss(self.loss, self.model(xb)[0], yb)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        grad_norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.grad_clip)
        if not (loss.isfinite() and grad_norm.isfinite()):
            numbers = f"The loss is {loss.item()} and the gradient's norm {grad_norm.item()}"
            raise self._diverged(numbers)
        self.optimizer.step()
        self.step += 1
        return loss.item(), grad_norm.item()

    def _own_step(self, xb: torch.Tensor, yb: torch.Tensor, lr: float) -> tuple[float, float]:
        """One update by the own step. The norm is that of the gradients which the optimizer was given."""
        self.grad_norm = 0.0
        model = ModelInStep(self.model, self.loss, self.device)
        loss = checked_step(self.own["step"], model, self.optimizer, xb, yb, lr, self.config.grad_clip)
        self.step += 1
        return loss, self.grad_norm

    def _before_own_update(self, optimizer: torch.optim.Optimizer, *given):
        """Note the gradients' norm before an own step changes the weights; refuse one that is not a number."""
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        self.grad_norm = torch.nn.utils.get_total_norm(gradients).item()
        if not math.isfinite(self.grad_norm):
            raise self._diverged(f"The gradient's norm is {self.grad_norm}")

    def _diverged(self, what: str) -> DivergedError:
        own = self.model.parts | self.own
        names = ", ".join(f"{name} ({name_of(part)})" for name, part in own.items())
        return DivergedError(
            f"{what} in step {self.step + 1}: the training has diverged. Load an earlier checkpoint, or start "
            f"again with a lower learning_rate than {self.config.learning_rate:g}."
            + f" Parts of your own run in it: {names}. See whether one of them gives a NaN."
            * bool(own)
        )

    def _step_that_fits(self) -> tuple[float, float]:
        """`train_step`. When it fails, the training returns to the state before the step and can go on from there.
        Where the device has no memory for the step, the error gives advice.
        """
        position, first = self.loader.state(), not self.optimizer.state
        try:
            return self.train_step()
        except DivergedError:
            raise
        except Exception as error:
            self.optimizer.zero_grad(set_to_none=True)
            self.loader.load_state(position)  # the model has not learned from this batch
            if first:
                self.optimizer.state.clear()  # a first step that fails leaves entries without their averages
            if not isinstance(error, torch.OutOfMemoryError):
                raise
        # Out here, where the traceback no longer holds the tensors.
        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()
        raise out_of_memory(self.model.config, self.loader.batch_size, self.loader.block_size)

    def _evaluate(self) -> Evaluation:
        return evaluate(self.model, self.loader, self.device)

    def _record(self, loss: float | None, evaluation: Evaluation, grad_norm: float, seconds: float) -> Record:
        tokens = self.loader.batch_size * self.loader.block_size
        lr = self.optimizer.param_groups[0]["lr"] if self.step else checked_rate(self.schedule, 0, self.config)
        record = Record(
            step=self.step,
            train_loss=loss,
            lr=lr,
            grad_norm=grad_norm,
            tokens_per_s=tokens / seconds if seconds else 0.0,
            elapsed=self.elapsed,
            remaining=(self.config.max_iters - self.step) * self.elapsed / self.step if self.step else None,
            **vars(evaluation),
        )
        self.history.append(record)
        return record

    status = sentences.status
    check_ended = sentences.check_ended
    save = saving.save_training
    load = classmethod(saving.load_training)


def _require_fit(model: MiniLLM, loader: DataLoader, config: TrainConfig):
    """Raise ConfigError unless model, loader and configuration agree in vocabulary, length and batch size."""
    if model.config.vocab_size != loader.vocab_size:
        raise ConfigError(
            f"The model has vocab_size={model.config.vocab_size}, the loader {loader.vocab_size} tokens; "
            f"make the model with vocab_size=loader.vocab_size."
        )
    if model.config.max_seq_len < loader.longest_row:
        raise ConfigError(
            f"The model reads max_seq_len={model.config.max_seq_len} tokens, the loader's sequences have up to "
            f"{loader.longest_row}; make the model with max_seq_len=loader.longest_row."
        )
    if config.batch_size != loader.batch_size:
        raise ConfigError(
            f"TrainConfig has batch_size={config.batch_size}, the loader {loader.batch_size}; give both the same."
        )
