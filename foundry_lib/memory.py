"""How much memory a training step takes, roughly, and what to do when there is not enough."""

from .config import ModelConfig
from .errors import FoundryError

GIB = 2**30


def step_bytes(config: ModelConfig, rows: int, tokens: int) -> int:
    """Bytes of a training step in 32 bits, an estimate: weights, gradients and AdamW's two averages, and what the
    forward pass keeps for the backward one: about 14 D + 4 F numbers a token and layer. The scores are not kept."""
    kept = config.n_layers * (14 * config.dim + 4 * config.hidden_dim)
    return 16 * config.n_params + 4 * rows * tokens * kept


def out_of_memory(config: ModelConfig, rows: int, tokens: int) -> FoundryError:
    """The error to raise when the device had no room for a step of `rows` × `tokens`: the three cheapest knobs, with
    what each would leave."""

    def size(config=config, rows=rows, tokens=tokens):
        return f"{step_bytes(config, rows, tokens) / GIB:.2f} GiB"

    half = config.dim // 2 // (2 * config.n_heads) * (2 * config.n_heads) or config.dim
    smaller = config.with_(dim=half, hidden_dim=None)
    return FoundryError(
        f"The device has no memory left for a step, which takes about {size()}. The training stands as before this "
        f"step, and its memory was given back. Cheapest first: batch_size={max(1, rows // 2)} "
        f"({size(rows=max(1, rows // 2))}), block_size={max(1, tokens // 2)} ({size(tokens=max(1, tokens // 2))}), or "
        f"dim={half} ({size(smaller)})."
    )
