"""The KV cache: keys and values of the tokens already read, so that a new token costs one step and not all of them."""

import torch
from torch import Tensor

from ..config import ModelConfig
from ..errors import ConfigError


class KVCache:
    """Room for the keys and values of up to `max_len` tokens in every layer. The caller makes it and passes it in:

        cache = KVCache(model.config)
        logits, _ = model(prompt, cache=cache)       # reads the prompt
        logits, _ = model(next_token, cache=cache)   # reads one more token

    Keys are stored after rotation, so each keeps the position at which it was read. Memory is taken once, here:
    `k` and `v` have a tensor (B, K, max_len, d) for each layer.
    """

    def __init__(
        self,
        config: ModelConfig,
        batch_size: int = 1,
        max_len: int | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ):
        self.max_len = config.max_seq_len if max_len is None else max_len
        self.batch_size = batch_size
        shape = (batch_size, config.n_kv_heads, self.max_len, config.head_dim)
        self.k, self.v = (
            [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.n_layers)] for _ in "kv"
        )
        self.length = 0  # tokens read so far

    @property
    def n_bytes(self) -> int:
        """Bytes held by the keys and values together."""
        return sum(tensor.nbytes for tensor in self.k + self.v)

    def store(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Put the new tokens' k, v (B, K, T, d) behind the old; return all so far, (B, K, length + T, d) each."""
        all_k, all_v, end = self.k[layer], self.v[layer], self.length + k.shape[2]
        all_k[:, :, self.length : end] = k
        all_v[:, :, self.length : end] = v
        return all_k[:, :, :end], all_v[:, :, :end]

    def check_room(self, batch_size: int, n_new: int):
        """Raise ConfigError unless `n_new` more tokens of `batch_size` rows fit."""
        if batch_size != self.batch_size:
            raise ConfigError(f"The cache was made for batch_size={self.batch_size}, found {batch_size} rows.")
        if self.length + n_new > self.max_len:
            raise ConfigError(
                f"The cache holds {self.max_len} tokens, found {self.length} + {n_new} new ones. "
                f"Start a new cache with the last tokens, as foundry_lib.inference.sampling does."
            )

    def advance(self, n_new: int):
        """Count `n_new` tokens as read; the model calls it once, after the last layer has stored them."""
        self.length += n_new

    def reset(self):
        """Forget everything; the memory is kept."""
        self.length = 0
