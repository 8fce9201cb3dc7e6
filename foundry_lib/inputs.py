"""What a model can read. Each function refuses the rest in one sentence, before the forward pass begins."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from .errors import ConfigError


def check_ids(idx: Tensor, device: torch.device):
    """Raise ConfigError unless idx is a tensor of token ids (B, T) on this device."""
    if not isinstance(idx, Tensor):
        wrong = f"a {type(idx).__name__}. torch.tensor(ids) makes one; rows of different lengths go in one at a time."
    elif idx.dtype != torch.long and idx.dtype != torch.int:
        wrong = f"{idx.dtype}. Try idx.long()."
    elif idx.dim() != 2:
        wrong = f"shape {tuple(idx.shape)}." + " idx[None] makes one row of them." * (idx.dim() == 1)
    elif idx.device != device:
        wrong = f"them on {idx.device} and the model on {device}. Try idx.to(model.device)."
    else:
        return
    raise ConfigError(f"Token ids must be whole numbers in the rows of a tensor, (B, T); found {wrong}")


def check_range(idx: Tensor, vocab_size: int):
    """Raise ConfigError for an id outside the vocabulary. This reads the ids, so a GPU must finish its work first."""
    if idx.numel() and not 0 <= idx.min() <= idx.max() < vocab_size:
        raise ConfigError(f"Token ids go from 0 to {vocab_size - 1}, found {idx.min()} to {idx.max()}.")


def check_parts(names: Iterable[str], known: Iterable[str]):
    """Raise ConfigError for the name of a part that no model has."""
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise ConfigError(f"MiniLLM has no part {unknown[0]!r}; its parts are {', '.join(known)}.")


def checked_start(config, weight: Tensor, idx: Tensor, cache) -> int:
    """The position of the first token of idx: 0, or the number of tokens that the cache holds.

    config: the model's. weight: one of the model's, for its dtype and device. cache: a KVCache or None.
    Raises ConfigError for what the model or the cache cannot take.
    """
    check_ids(idx, weight.device)
    start, (batch_size, n_new) = 0 if cache is None else cache.length, idx.shape
    if start + n_new > config.max_seq_len:
        raise ConfigError(
            f"The model reads at most max_seq_len={config.max_seq_len} tokens, found {start + n_new}. "
            f"Crop the text, for example idx[:, -{config.max_seq_len}:]."
        )
    if cache is not None:
        check_cache(cache, config, weight, batch_size, n_new)
    return start


def check_cache(cache, config, weight: Tensor, batch_size: int, n_new: int):
    """Raise ConfigError unless the cache can store `n_new` more tokens of `batch_size` sequences of the model."""
    k = cache.k[0]
    B, K, room, d = k.shape
    cache_form = B, len(cache.k), K, d, k.dtype, k.device
    model_form = batch_size, config.n_layers, config.n_kv_heads, config.head_dim, weight.dtype, weight.device
    if cache_form != model_form:
        names = "batch_size", "n_layers", "n_kv_heads", "head_dim", "dtype", "device"
        name, here, there = next(
            named for named in zip(names, cache_form, model_form, strict=True) if named[1] != named[2]
        )
        raise ConfigError(
            f"The cache was made for {name}={here}, and this call needs {there}. "
            f"model.new_cache(batch_size) makes one that fits."
        )
    if cache.length + n_new > room:
        raise ConfigError(
            f"The cache holds {room} tokens, found {cache.length} + {n_new} new ones. "
            f"Call cache.reset() and read the last tokens again, as foundry_lib.inference.generation does."
        )


def embedded(embeddings: nn.Embedding, idx: Tensor) -> Tensor:
    """The embeddings (B, T, D) of idx (B, T). Raises ConfigError for an id outside the vocabulary. A GPU reports
    such an id later, with an error of PyTorch."""
    try:
        return embeddings(idx)
    except IndexError:
        check_range(idx, embeddings.num_embeddings)
        raise
