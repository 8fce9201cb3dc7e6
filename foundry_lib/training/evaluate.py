"""The losses of a model on text that it does not learn from."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import IGNORED
from ..mode import eval_mode
from ..models.model import MiniLLM
from ..text.loader import DataLoader


def mixed_precision(device: str) -> torch.autocast:
    """A context: matrix products in bf16 on CUDA, everything in 32 bits elsewhere."""
    return torch.autocast("cuda", torch.bfloat16, enabled=device.startswith("cuda"))


@torch.no_grad()
def token_losses(model: MiniLLM, batches: Iterable[tuple[Tensor, Tensor]]) -> np.ndarray:
    """The loss at every target, nats, one sequence after the other; IGNORED targets are left out. Dropout is off.

    batches: pairs x, y (B, T) of token ids and targets. Returns an array of 64-bit floats, as long as the targets.
    """
    losses = []
    with eval_mode(model):
        for x, y in batches:
            logits, _ = model(x)
            loss = F.cross_entropy(logits.float().flatten(0, 1), y.flatten(), reduction="none")
            losses.append(loss[y.flatten() != IGNORED].cpu())
    return torch.cat(losses).double().numpy()


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation adds to a Record, in nats per token; all None in a step without one."""

    val_loss: float | None = None
    excess: float | None = None
    owed: dict[str, float] | None = None


def evaluate(model: MiniLLM, loader: DataLoader, device: str) -> Evaluation:
    """Mean loss over the validation targets, the same ones every time; for tales also the excess over the floor."""
    with mixed_precision(device):
        losses = token_losses(model, loader.val_batches())
    val_loss, floor = float(losses.mean()), loader.floor
    if floor is None:
        return Evaluation(val_loss)
    return Evaluation(val_loss, val_loss - floor.nats, floor.by_rule(losses))
