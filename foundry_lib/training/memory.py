"""How much memory a training step takes, roughly, and what to do when the device has too little."""

from ..config import ModelConfig
from ..errors import FoundryError

GIB = 2**30


def step_bytes(config: ModelConfig, rows: int, tokens: int) -> int:
    """Bytes of a training step of `rows` sequences of `tokens` tokens in 32 bits, an estimate.

    Counted are the weights, the gradients and AdamW's two averages (16 bytes per parameter), and what the forward pass
    stores for the backward pass: about 14 D + 4 F numbers per token and layer. The logits are not stored,
    except with an own loss, which needs them all.
    """
    stored = config.n_layers * (14 * config.dim + 4 * config.hidden_dim)
    return 16 * config.n_params + 4 * rows * tokens * stored


def out_of_memory(config: ModelConfig, rows: int, tokens: int) -> FoundryError:
    """The error for a device without memory for a step: three settings that take less, with the bytes of each."""

    def size(config=config, rows=rows, tokens=tokens):
        return f"{step_bytes(config, rows, tokens) / GIB:.2f} GiB"

    half = config.dim // 2 // (2 * config.n_heads) * (2 * config.n_heads) or config.dim
    knobs = []
    if rows > 1:
        knobs.append(f"batch_size={rows // 2} ({size(rows=rows // 2)})")
    if tokens > 1:
        knobs.append(f"block_size={tokens // 2} ({size(tokens=tokens // 2)})")
    if half < config.dim:
        knobs.append(f"dim={half} ({size(config.with_(dim=half, hidden_dim=None))})")
    if len(knobs) > 1:
        knobs[-1] = f"or {knobs[-1]}"
    return FoundryError(
        f"The device has no memory left for a step, which takes about {size()}. The step was taken back and its memory "
        f"is free. "
        + (
            f"Try one of these: {', '.join(knobs)}."
            if knobs
            else "The model is as small as it can be: free the device."
        )
    )
