"""Whether a part that has passed its check also runs in a model and in a training: the logits and gradients there.

A check compares results. A part with the right results may still have no gradient, or one that PyTorch refuses, or a
name that the model needs for itself.
"""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from ..config import ModelConfig, TrainConfig
from ..errors import FoundryError, Notice
from ..models.model import MiniLLM
from ..training.optimizer import make_optimizer
from ..training.pieces import ModelInStep, built_optimizer, checked_loss, checked_rate, checked_step, in_two_parameters
from .traceback_in_words import error_in_words

CONFIG = ModelConfig(vocab_size=40, dim=32, n_layers=2, n_heads=4, n_kv_heads=2, max_seq_len=16, tie_embeddings=True)
NO_GRADIENT = (
    "Its results are right, but it gives no gradient, so a training could not move the weights before it. Is there a "
    "`.detach()`, an `.item()` or a `torch.no_grad()` in it?"
)
OTHER_GRADIENT = "Its results are right, but its gradient is not: a training would move the weights elsewhere."
IN_PLACE = (
    "Its results are right, but PyTorch cannot take its gradient: a line changes in place (`+=`, `*=`, a name that "
    "ends in `_`) a tensor whose value the gradient needs."
)
OTHER_LOGITS = "In a whole model the logits are other than the library's."


def trouble_in_model(parts: dict[str, Callable], device: str) -> str | None:
    """What goes wrong in a small model with these keyword arguments of MiniLLM: a sentence, or None."""
    theirs, mine = MiniLLM(CONFIG, seed=3).to(device), MiniLLM(CONFIG, seed=4, **parts).to(device)
    mine.load_state_dict(theirs.state_dict())
    ids = torch.randint(CONFIG.vocab_size, (2, 10), generator=torch.Generator().manual_seed(0)).to(device)
    losses = [model.loss(ids[:, :-1], ids[:, 1:]) for model in (mine, theirs)]
    trouble = trouble_of_gradients(*losses, *(weights_of(model, theirs) for model in (mine, theirs)))
    with torch.inference_mode():
        cache = mine.new_cache()
        read = [mine(ids[:1, a:b], cache=cache)[0] for a, b in ((0, 1), (1, 2), (2, 9))]
        same = near(torch.cat(read, 1), theirs(ids[:1, :9])[0]) and near(mine.hidden(ids), theirs.hidden(ids))
        if not same:
            trouble = trouble or OTHER_LOGITS
    return trouble


def weights_of(model: MiniLLM, like: MiniLLM) -> list[Tensor]:
    """The weights in the order of another model: a learner's block may make its parts in another one."""
    weights = dict(model.named_parameters())
    return [weights[name] for name, _ in like.named_parameters()]


def trouble_of_gradients(mine: Tensor, theirs: Tensor, my_weights: list, their_weights: list) -> str | None:
    """What is wrong with the gradients of a loss, beside those of the library's loss: a sentence, or None."""
    if not mine.requires_grad:
        return NO_GRADIENT
    found = torch.autograd.grad(mine, my_weights, allow_unused=True)
    if None in found:
        return NO_GRADIENT
    pairs = zip(found, torch.autograd.grad(theirs, their_weights), strict=True)
    return None if all(near(a, b) for a, b in pairs) else OTHER_GRADIENT


def near(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors agree to a thousandth of the largest number in b: a GPU rounds in its own way."""
    return bool((a - b).abs().max() <= 1e-3 * b.abs().max() + 1e-6)


def trouble_in_training(piece: str, own: Callable, library: Callable, device: str) -> str | None:
    """What goes wrong with an own loss, schedule or step, as the Trainer calls it: a sentence, or None.

    Raises ConfigError for what such a function may not return.
    """
    model = MiniLLM(CONFIG, seed=3).to(device)
    ids = torch.randint(CONFIG.vocab_size, (2, 10), generator=torch.Generator().manual_seed(0)).to(device)
    x, y = ids[:, :-1], ids[:, 1:]
    if piece == "loss":
        logits = model(x)[0].detach().requires_grad_()
        losses = checked_loss(own, logits, y), library(logits, y)
        return trouble_of_gradients(*losses, [logits], [logits])
    if piece == "schedule":
        for step in (0, 1, TrainConfig().max_iters - 1):
            checked_rate(in_two_parameters(own), step, TrainConfig())
        return None
    optimizer = built_optimizer(make_optimizer, model, TrainConfig())
    for _ in range(2):
        checked_step(own, ModelInStep(model, None, device), optimizer, x, y, 1e-3, 1.0)
    return None


def in_words(run: Callable[[], str | None]) -> str | None:
    """What `run` says. An error in it, and the Notice that a part has failed, become a sentence."""
    with warnings.catch_warnings(), torch.inference_mode(False), torch.enable_grad():  # wherever it was called
        warnings.simplefilter("error", Notice)
        try:
            return run()
        except (FoundryError, Notice) as said:
            return str(said)
        except Exception as error:  # noqa: BLE001  whatever comes of the learner's code
            return IN_PLACE if "inplace operation" in str(error) else f"{error_in_words(error).rstrip('.')}."
