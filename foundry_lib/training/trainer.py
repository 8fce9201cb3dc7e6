"""Training: a step, and a loop that yields records. It prints and plots nothing; the caller may."""

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
from .pieces import built_optimizer, checked_loss, checked_rate, in_two_parameters
from .record import Record


class Trainer:
    """The whole state of a training: model, optimizer, data position, random numbers and the step.

        trainer = Trainer(MiniLLM(config), loader, TrainConfig())
        for record in trainer.run():
            print(record.step, record.train_loss)

    ■ or Ctrl-C ends `run` after the present step. The training can then be saved, loaded in another process and run
    again; its weights end bit for bit the same as without the stop.
    loss, optimizer, schedule: functions of your own in place of the library's, see `training.pieces`. Validation losses
    are always the library's, so that trainings can be compared.

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
    ):
        _require_fit(model, loader, config)
        self.device = str(device or loader.device)
        self.model = model.to(self.device)
        self.loader, self.config = loader, config
        pieces = {"loss": loss, "optimizer": optimizer, "schedule": schedule}
        self.own = {name: function for name, function in pieces.items() if function is not None}
        self.loss = loss  # None: the model's own, which never holds all logits
        self.schedule = in_two_parameters(schedule or learning_rate)
        self.optimizer = built_optimizer(optimizer or make_optimizer, self.model, config)
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
        with mixed_precision(self.device):
            if self.loss is None:
                loss = self.model.loss(xb, yb)
            else:
                loss = checked_loss(self.loss, self.model(xb)[0], yb)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        grad_norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.grad_clip)
        if not (loss.isfinite() and grad_norm.isfinite()):
            raise DivergedError(
                f"The loss is {loss.item()} and the gradient's norm {grad_norm.item()} in step "
                f"{self.step + 1}: the training has diverged. Load an earlier checkpoint, or start "
                f"again with a lower learning_rate than {self.config.learning_rate:g}."
            )
        self.optimizer.step()
        self.step += 1
        return loss.item(), grad_norm.item()

    def _step_that_fits(self) -> tuple[float, float]:
        """`train_step`. When the device has no memory for it, the training returns to the state before the step, and
        the error gives advice.
        """
        position, first = self.loader.state(), not self.optimizer.state
        try:
            return self.train_step()
        except torch.OutOfMemoryError:
            self.optimizer.zero_grad(set_to_none=True)
            self.loader.load_state(position)  # the model has not learned from this batch
            if first:
                self.optimizer.state.clear()  # a first step that fails leaves entries without their averages
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
