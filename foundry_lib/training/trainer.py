"""Training: a schedule, a step, and a loop that yields records. It prints and plots nothing; the caller may."""

import math
import shutil
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import TrainConfig
from ..errors import CheckpointError, ConfigError, DivergedError, FoundryError
from ..files import writing
from ..models.model import MiniLLM
from ..text.loader import IGNORED
from .checkpoint import load_checkpoint, read_json, read_tensors, save_checkpoint, verify
from .memory import out_of_memory


@dataclass(frozen=True)
class Record:
    """What is known after a step. `train_loss` is that step's batch before its update, in nats a token; it is None
    at step 0, where nothing has been trained. `val_loss` is None between evaluations. Times are in seconds;
    `elapsed` counts over all resumes, `remaining` is an estimate, None at step 0. For tales an evaluation also says
    how far the model is above the floor: `excess` in nats a token, `owed` by rule (`tales.Floor.by_rule`)."""

    step: int
    train_loss: float | None
    val_loss: float | None
    lr: float
    grad_norm: float
    tokens_per_s: float
    elapsed: float
    remaining: float | None
    excess: float | None = None
    owed: dict[str, float] | None = None


def learning_rate(step: int, config: TrainConfig) -> float:
    """The learning rate of update number `step`, counted from 0: linear warm-up, then a cosine down to its floor."""
    if step < config.warmup_iters:
        return config.learning_rate * (step + 1) / config.warmup_iters
    done = (step - config.warmup_iters) / max(1, config.max_iters - config.warmup_iters)
    floor = config.min_lr_ratio
    return config.learning_rate * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


def make_optimizer(model: MiniLLM, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW in one fused kernel; weight decay on the matrices only, not on norms and embeddings (the decay pulls
    towards zero, which means something for a map and nothing for a scale or a look-up)."""
    embedding = model.tok_embeddings.weight
    matrices = [p for p in model.parameters() if p.dim() >= 2 and p is not embedding]
    others = [p for p in model.parameters() if p.dim() < 2 or p is embedding]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(config.beta1, config.beta2), fused=True)


@torch.no_grad()
def token_losses(model: MiniLLM, batches: Iterable[tuple[Tensor, Tensor]]) -> np.ndarray:
    """The model's loss at every target of the batches that counts, nats, one row behind the other."""
    losses = []
    for x, y in batches:
        logits, _ = model(x)
        loss = F.cross_entropy(logits.float().flatten(0, 1), y.flatten(), reduction="none")
        losses.append(loss[y.flatten() != IGNORED].cpu())
    return torch.cat(losses).double().numpy()


@contextmanager
def _stop_request():
    """A flag that Ctrl-C, or the notebook's ■, sets instead of raising in the middle of a step.

    Yields (flag, arm); `arm` is called before every step, because a notebook puts its own handler back between cells.
    Only the main thread can receive the signal; elsewhere the flag stays down. The flag is a plain attribute: setting
    a threading.Event takes a lock, and a second ■ that comes inside the first's `set` would wait for it for ever.
    """
    flag = SimpleNamespace(asked=False)
    if threading.current_thread() is not threading.main_thread():
        yield flag, lambda: None
        return
    before = signal.getsignal(signal.SIGINT)

    def ask(number, frame):
        flag.asked = True

    def arm():
        signal.signal(signal.SIGINT, ask)

    try:
        arm()
        yield flag, arm
    finally:
        signal.signal(signal.SIGINT, before)


class Trainer:
    """The whole state of a training: model, optimizer, data position, random numbers and the step.

        trainer = Trainer(MiniLLM(config), loader, TrainConfig())
        for record in trainer.run():
            print(record.step, record.train_loss)

    `run` may be stopped (■ or Ctrl-C ends it after the present step), saved, loaded in another process and run again:
    the weights come out bit for bit as if it had never stopped.

    Raises ConfigError when model, loader and configuration do not fit together, before anything is trained.
    """

    def __init__(self, model: MiniLLM, loader, config: TrainConfig = TrainConfig(), device: str | None = None):
        if model.config.vocab_size != loader.vocab_size:
            raise ConfigError(
                f"The model has vocab_size={model.config.vocab_size}, the loader {loader.vocab_size} pieces; "
                f"make the model with vocab_size=loader.vocab_size."
            )
        if model.config.max_seq_len < loader.longest_row:
            raise ConfigError(
                f"The model reads max_seq_len={model.config.max_seq_len} tokens, the loader's rows have up to "
                f"{loader.longest_row}; make the model with max_seq_len=loader.longest_row."
            )
        if config.batch_size != loader.batch_size:
            raise ConfigError(
                f"TrainConfig has batch_size={config.batch_size}, the loader {loader.batch_size}; give both the same."
            )
        self.device = str(device or loader.device)
        self.model = model.to(self.device)
        self.loader, self.config = loader, config
        self.optimizer = make_optimizer(self.model, config)
        self.step = 0  # updates done
        self.elapsed = 0.0
        self.interrupted = False
        self.history: list[Record] = []

    def run(self, until: int | None = None) -> Iterator[Record]:
        """Train to step `until` (None: to the end) and yield a Record after each step.

        Raises DivergedError when the loss is no longer a number; the weights are then those of the last good step.
        """
        end = min(self.config.max_iters, self.config.max_iters if until is None else until)
        self.interrupted = False
        with _stop_request() as (stop, arm):
            if self.step == 0 and not self.history:
                yield self._record(None, self.token_losses(), 0.0, 0.0)
            while self.step < end:
                arm()
                started = time.perf_counter()
                loss, grad_norm = self._step_that_fits()
                seconds = time.perf_counter() - started
                due = self.step % self.config.eval_interval == 0 or self.step == self.config.max_iters
                losses = self.token_losses() if due else None
                self.elapsed += time.perf_counter() - started
                yield self._record(loss, losses, grad_norm, seconds)
                if stop.asked:
                    self.interrupted = self.step < end
                    return

    def _train_step(self) -> tuple[float, float]:
        """One update: batch, forward, backward, step.

        Returns the loss and the gradient's norm before clipping.
        """
        lr = learning_rate(self.step, self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        xb, yb = self.loader.get_batch("train")
        with self._autocast():
            loss = self.model.loss(xb, yb)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        grad_norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.grad_clip)
        if not (loss.isfinite() and grad_norm.isfinite()):
            raise DivergedError(
                f"The loss is {loss.item()} and the gradient's norm {grad_norm.item()} in step "
                f"{self.step + 1}: the training has diverged. Load an earlier checkpoint, or start "
                f"anew with a lower learning_rate than {self.config.learning_rate:g}."
            )
        self.optimizer.step()
        self.step += 1
        return loss.item(), grad_norm.item()

    def _step_that_fits(self) -> tuple[float, float]:
        """`_train_step`. Where the device has no memory for it, all is as before and the error gives advice."""
        position = self.loader.state()
        try:
            return self._train_step()
        except torch.OutOfMemoryError:
            self.optimizer.zero_grad(set_to_none=True)
            self.loader.load_state(position)  # the batch was not learned from
        # Out here, where the traceback no longer holds the tensors.
        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()
        raise out_of_memory(self.model.config, self.loader.batch_size, self.loader.block_size)

    def _autocast(self):
        """bf16 products on CUDA; plain fp32 elsewhere."""
        return torch.autocast("cuda", torch.bfloat16, enabled=self.device.startswith("cuda"))

    def token_losses(self) -> np.ndarray:
        """The loss at every validation target, nats, in the order of `loader.val_pairs`; the same tokens every time."""
        with self._autocast():
            return token_losses(self.model, self.loader.val_batches())

    def evaluate(self) -> float:
        """Mean loss in nats a token over the validation text."""
        return float(self.token_losses().mean())

    def _record(self, loss, losses, grad_norm, seconds) -> Record:
        """`losses`: those of the validation targets, or None."""
        floor, val_loss = self.loader.floor, None if losses is None else float(losses.mean())
        compare = floor is not None and losses is not None
        left = (self.config.max_iters - self.step) * self.elapsed / self.step if self.step else None
        tokens = self.loader.batch_size * self.loader.block_size
        record = Record(
            self.step,
            loss,
            val_loss,
            learning_rate(max(0, self.step - 1), self.config),
            grad_norm,
            tokens / seconds if seconds else 0.0,
            self.elapsed,
            left,
            val_loss - floor.nats if compare else None,
            floor.by_rule(losses) if compare else None,
        )
        self.history.append(record)
        return record

    def status(self, how: str = "call run() again") -> str:
        """One sentence: where the training stands, and how to go on."""
        if self.step >= self.config.max_iters:
            return f"Finished: {self.step} steps in {self.elapsed:.0f} s."
        state = "Stopped" if self.interrupted else "Standing"
        return f"{state} at step {self.step} of {self.config.max_iters}; {how} to go on from here."

    def check_ended(self):
        """Raise FoundryError, which says how to go on, unless all steps are done: for what is said of the end."""
        if self.step < self.config.max_iters:
            raise FoundryError(
                f"This looks at the end of a training of {self.config.max_iters} steps, which stands at step "
                f"{self.step}. Let the training go on from there, to its last step, and then run this again."
            )

    def save(self, folder: Path | str) -> Path:
        """Write everything to `folder/step-NNNNNN`, whole or not at all; return that path.

        Raises CheckpointError when that cannot be done, or when another process is writing into `folder`.
        """
        position = {id(p): name for name, p in self.model.named_parameters()}
        tensors = {
            f"optimizer.{position[id(p)]}.{key}": value.detach().cpu().clone(memory_format=torch.contiguous_format)
            for p, state in self.optimizer.state.items()
            for key, value in state.items()
        }
        tensors |= {f"loader.{key}": value for key, value in self.loader.state().items()}
        tensors["rng.torch"] = torch.get_rng_state()
        if self.device.startswith("cuda"):
            tensors["rng.cuda"] = torch.cuda.get_rng_state()
        values = {
            "step": self.step,
            "elapsed": self.elapsed,
            "config": self.config.to_dict(),
            "loader": self.loader.spec(),
            "history": [list(vars(record).values()) for record in self.history],
        }
        with writing(folder):
            for leftover in Path(folder).glob("step-??????.new"):  # of a save that was cut off
                shutil.rmtree(leftover, ignore_errors=True)
            return save_checkpoint(
                Path(folder) / f"step-{self.step:06d}", self.model, self.loader.tokenizer, tensors, values
            )

    @classmethod
    def load(cls, folder: Path | str, loader=None, device: str | None = None) -> "Trainer":
        """Go on from a checkpoint. `loader` is made from the checkpoint's own note when it is not given.

        Raises CheckpointError when the checkpoint is damaged or holds no training, TokenizerError when the text has
        changed since, CorpusError when it is gone.
        """
        from ..text.loader import DataLoader

        model, tokenizer = load_checkpoint(folder)
        files = verify(folder)
        values, tensors = read_json(files, "trainer.json"), read_tensors(files, "trainer.safetensors")
        try:
            config = TrainConfig.from_dict(values["config"])
            if loader is None:
                loader = DataLoader(**values["loader"], tokenizer=tokenizer, **({"device": device} if device else {}))
        except (KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{folder} holds no training that can be gone on with: {error!r}.") from error
        if loader.tokenizer.fingerprint != tokenizer.fingerprint:
            raise CheckpointError(f"{folder} was trained with another tokenizer than this loader's.")
        trainer = cls(model, loader, config, device)
        try:
            trainer._restore(tensors, values)
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, OverflowError) as error:
            raise CheckpointError(f"{folder} holds no training that can be gone on with: {error!r}.") from error
        return trainer

    def _restore(self, tensors: dict[str, Tensor], values: dict):
        parameters = dict(self.model.named_parameters())
        state = {}
        for key, tensor in tensors.items():
            if key.startswith("optimizer."):
                name, field = key.removeprefix("optimizer.").rsplit(".", 1)
                p = parameters[name]
                if field != "step":
                    if tensor.shape != p.shape or not tensor.isfinite().all():
                        raise ValueError(f"the optimizer's {field} of {name} does not fit the weights")
                    tensor = torch.empty_like(p).copy_(tensor)  # the fused AdamW needs it to lie as the weight does
                state.setdefault(p, {})[field] = tensor.to(p.device)
        self.optimizer.state.update(state)
        self.loader.load_state(
            {key.removeprefix("loader."): t for key, t in tensors.items() if key.startswith("loader.")}
        )
        torch.set_rng_state(tensors["rng.torch"])
        if self.device.startswith("cuda") and "rng.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["rng.cuda"])
        self.step, self.elapsed = int(values["step"]), float(values["elapsed"])
        self.history = [Record(*row) for row in values["history"]]
