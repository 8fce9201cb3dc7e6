"""The loss of the next token, computed without ever holding the logits of a whole batch."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..config import IGNORED
from ..errors import ConfigError
from ..shape import Shape

CHUNK = 2**20  # scores at a time, 4 MiB in 32 bits: the fastest of 2^18 to 2^24 on a CPU with V = 8,192
GPU_CHUNK = 2**25  # 128 MiB: a GPU waits for calls, not for memory; on an H200 a step of small took 22 ms, not 40


def next_token_loss(hidden: Shape("... D"), head: Shape("V D"), targets: Shape("..."), logits=None) -> Tensor:
    """Mean cross-entropy in nats per token of the scores `hidden @ head.T`, equal to `F.cross_entropy` of them.

    hidden: the output of the last norm. head: the output head's weight. targets: token ids, of which IGNORED ones do
    not count. logits: the model's function from scores to logits, or None.
    Returns a scalar in at least 32 bits. Raises ConfigError for targets of another shape, and RuntimeError (on a GPU
    later, and less clearly) for a target outside the vocabulary.
    >>> next_token_loss(torch.ones(1, 2), torch.zeros(4, 2), torch.tensor([3]))  # a uniform guess: ln 4
    tensor(1.3863)
    """
    if hidden.shape[:-1] != targets.shape:
        raise ConfigError(
            f"Each token needs one target: found tokens {tuple(hidden.shape[:-1])}, targets {tuple(targets.shape)}."
        )
    return _NextTokenLoss.apply(hidden.flatten(0, -2), head, targets.flatten(), logits, torch.is_grad_enabled())


class _NextTokenLoss(torch.autograd.Function):
    """The scores, V numbers per token, are the largest tensor of a training. But the gradient of one token's loss by
    its logits is softmax(logits) − onehot(target) and needs no other token. So `forward` takes a few rows at a time
    from scores to gradients, in the processor's cache; `backward` scales those.
    """

    @staticmethod
    def forward(ctx, hidden: Tensor, head: Tensor, targets: Tensor, logits_of: Callable | None, need_grad: bool):
        need_grad = need_grad and any(ctx.needs_input_grad)
        counts = targets != IGNORED
        wide = torch.promote_types(hidden.dtype, torch.float32)  # a sum over V terms needs 32 bits or more
        total = torch.zeros((), dtype=wide, device=hidden.device)
        grad_hidden = torch.empty_like(hidden) if need_grad else None
        # stored row by row although the head is stored by columns: adding the products takes a quarter less time
        grad_head = torch.zeros_like(head, memory_format=torch.contiguous_format) if need_grad else None
        rows = max(1, (CHUNK if hidden.device.type == "cpu" else GPU_CHUNK) // len(head))
        for start in range(0, len(hidden), rows):
            part = slice(start, start + rows)
            x, count = hidden[part], counts[part, None]  # (rows, D) and (rows, 1)
            target = targets[part, None].masked_fill(~count, 0)
            product = x @ head.T  # (rows, V), in 16 bits under autocast
            logits, to_scores = _logits(product.to(wide), logits_of, need_grad)
            probs, top = logits.softmax(-1), logits.amax(-1, keepdim=True)
            # −ln p(target) = top − logit(target) − ln p(top): p(target) may round to 0, p(top) cannot
            losses = top - logits.gather(-1, target) - probs.amax(-1, keepdim=True).log()
            total += (losses * count).sum()
            if need_grad:
                grad = to_scores(probs.scatter_add_(-1, target, probs.new_full(target.shape, -1.0))).to(product.dtype)
                grad_hidden[part] = (grad @ head) * count
                if grad.dtype == head.dtype:
                    grad_head.addmm_(grad.T, x * count)  # adds while it multiplies: no second matrix of that size
                else:
                    grad_head += grad.T @ (x * count)  # products of 16 bits, added in 32
        n = counts.sum()
        if need_grad:
            ctx.save_for_backward(grad_hidden.div_(n), grad_head.div_(n))
        return total / n

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_loss: Tensor):
        grad_hidden, grad_head = ctx.saved_tensors
        return grad_loss * grad_hidden, grad_loss * grad_head, None, None, None


def _logits(scores: Tensor, logits_of: Callable | None, need_grad: bool) -> tuple[Tensor, Callable]:
    """The logits, and a function that turns a gradient by the logits into one by the scores."""
    if logits_of is None:
        return scores, lambda grad: grad
    with torch.set_grad_enabled(need_grad):
        scores = scores.detach().requires_grad_(need_grad)
        logits = logits_of(scores)
    return logits.detach(), lambda grad: torch.autograd.grad(logits, scores, grad)[0]
