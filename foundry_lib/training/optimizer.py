"""The learning rate of each step, and the optimizer that moves the weights."""

import math

import torch

from ..config import TrainConfig
from ..models.model import MiniLLM


def learning_rate(step: int, config: TrainConfig) -> float:
    """The learning rate of update number `step`, counted from 0: linear warm-up, then a cosine down to its floor.

    >>> config = TrainConfig(learning_rate=1.0, max_iters=100, warmup_iters=10, min_lr_ratio=0.1)
    >>> [round(learning_rate(step, config), 3) for step in (0, 9, 55, 100)]
    [0.1, 1.0, 0.55, 0.1]
    """
    if step < config.warmup_iters:
        return config.learning_rate * (step + 1) / config.warmup_iters
    done = (step - config.warmup_iters) / max(1, config.max_iters - config.warmup_iters)
    floor = config.min_lr_ratio
    return config.learning_rate * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


def make_optimizer(model: MiniLLM, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW in one fused kernel, with weight decay on the matrices only.

    Norms and embeddings have no decay: it pulls towards zero, which makes sense for a matrix and not for a scale or a
    table of vectors.
    """
    embedding = model.tok_embeddings.weight
    matrices = [p for p in model.parameters() if p.dim() >= 2 and p is not embedding]
    others = [p for p in model.parameters() if p.dim() < 2 or p is embedding]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(config.beta1, config.beta2), fused=True)
