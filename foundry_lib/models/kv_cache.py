"""The KV cache: keys and values of the tokens already read, so that only a new token is computed."""

import torch

from ..config import ModelConfig
from ..shape import Shape


class KVCache:
    """Room for the keys and values of up to `max_len` tokens in every layer. The caller makes it and passes it in:

        cache = model.new_cache()                    # KVCache(model.config), with the model's dtype and device
        logits, _ = model(prompt, cache=cache)       # reads the prompt
        logits, _ = model(next_token, cache=cache)   # reads one more token

    Keys are stored after rotation. The memory is taken once: `k` and `v` hold L tensors (B, K, max_len, d) each.
    """

    def __init__(self, config: ModelConfig, batch_size=1, device="cpu", dtype=None, max_len: int | None = None):
        self.max_len, self.batch_size = config.max_seq_len if max_len is None else max_len, batch_size
        shape = (batch_size, config.n_kv_heads, self.max_len, config.head_dim)
        self.k = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.n_layers)]
        self.v = [torch.zeros_like(k) for k in self.k]
        self.length = 0  # tokens read so far

    def store(self, layer: int, k: Shape("B K T d"), v: Shape("B K T d")) -> (Shape("B K S d"), Shape("B K S d")):
        """Put the new tokens' keys and values after the old ones; return all so far, S = length + T."""
        all_k, all_v, end = self.k[layer], self.v[layer], self.length + k.shape[2]
        all_k[:, :, self.length : end] = k
        all_v[:, :, self.length : end] = v
        return all_k[:, :, :end], all_v[:, :, :end]

    def advance(self, n_new: int):
        """Count `n_new` tokens as read. The model calls it once, after the last layer has stored them."""
        self.length += n_new

    def reset(self):
        """Forget all tokens; the memory stays taken."""
        self.length = 0
