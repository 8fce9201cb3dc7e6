"""The loss of the next token, without ever holding the scores of a whole batch."""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..config import IGNORED
from ..errors import ConfigError

CHUNK = 2**20  # scores held at a time, 4 MiB in 32 bits: of 2^18 to 2^24 the fastest at 8,192 pieces on a CPU
GPU_CHUNK = 2**25  # 128 MiB: a GPU waits for calls and not for memory; on an H200 a step of small took 22 ms and not 40


def next_token_loss(stream: Tensor, head: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy in nats of the scores `stream @ head.T`, which is `F.cross_entropy` of them.

    Shapes: stream (..., D), what the last norm gives; head (V, D), the output head's weight; targets (...), token ids,
    of which IGNORED ones do not count. Returns a scalar in at least 32 bits. Raises ConfigError for targets of another
    shape, and RuntimeError (on a GPU later, and less clearly) for a target that is no token id.
    """
    if stream.shape[:-1] != targets.shape:
        raise ConfigError(
            f"Each token needs one target: found tokens {tuple(stream.shape[:-1])}, targets {tuple(targets.shape)}."
        )
    return _NextTokenLoss.apply(stream.flatten(0, -2), head, targets.flatten())


class _NextTokenLoss(torch.autograd.Function):
    """The scores, V numbers a token, are by far the largest tensor of a training; their softmax and its gradient are as
    large again. But the gradient of one token's loss by its scores is softmax(scores) − onehot(target), whatever the
    other tokens are. So a few rows at a time go all the way, from scores to gradients, while they are in the
    processor's cache, and are forgotten. `forward` thus has the gradients already, and `backward` hands them on.
    """

    @staticmethod
    def forward(ctx, stream: Tensor, head: Tensor, targets: Tensor) -> Tensor:
        wanted = any(ctx.needs_input_grad)
        counts = targets != IGNORED
        wide = torch.promote_types(stream.dtype, torch.float32)  # a sum over V terms needs 32 bits or more
        total = torch.zeros((), dtype=wide, device=stream.device)
        grad_stream = torch.empty_like(stream) if wanted else None
        # by rows, whatever the head's own order: there the product that is added to it is a quarter faster
        grad_head = torch.zeros_like(head, memory_format=torch.contiguous_format) if wanted else None
        rows = max(1, (CHUNK if stream.device.type == "cpu" else GPU_CHUNK) // len(head))
        for start in range(0, len(stream), rows):
            part = slice(start, start + rows)
            x, count = stream[part], counts[part, None]
            target = targets[part, None].masked_fill(~count, 0)
            product = x @ head.T  # in 16 bits under autocast
            scores = product.to(wide)
            probs, top = scores.softmax(-1), scores.amax(-1, keepdim=True)
            # −ln probs[target] by way of the most likely token, whose probability no rounding makes 0
            losses = top - scores.gather(-1, target) - probs.amax(-1, keepdim=True).log()
            total += (losses * count).sum()
            if wanted:
                grad = probs.scatter_add_(-1, target, probs.new_full(target.shape, -1.0)).to(product.dtype)
                grad_stream[part] = (grad @ head) * count
                if grad.dtype == head.dtype:
                    grad_head.addmm_(grad.T, x * count)  # adds while it multiplies: no second matrix of that size
                else:
                    grad_head += grad.T @ (x * count)  # products of 16 bits, added in 32
        n = counts.sum()
        if wanted:
            ctx.save_for_backward(grad_stream.div_(n), grad_head.div_(n))
        return total / n

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_loss: Tensor):
        grad_stream, grad_head = ctx.saved_tensors
        return grad_loss * grad_stream, grad_loss * grad_head, None
