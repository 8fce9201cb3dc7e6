"""Generation: the loop from a prompt to new tokens, and its three forms: token by token, one tensor, text.

The functions above the loop check its inputs.
"""

import warnings
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ..config import SampleConfig
from ..errors import ConfigError, Notice
from ..inputs import check_ids, check_range
from ..mode import eval_mode
from ..models.kv_cache import KVCache
from ..text.tokenizer import BOS_ID, EOS_ID, TextStream, Tokenizer
from .cuda_graphs import for_streaming
from .sampling import FILTERS, draw, next_token_distribution


def window_start(length: int, max_seq_len: int) -> int:
    """The first token that the model reads of a text of `length` tokens.

    A full window moves on by half its length, so the cache is rebuilt only once in that many tokens.

    >>> [window_start(length, 8) for length in (8, 9, 12, 13)]
    [0, 4, 4, 8]
    """
    half = max(1, max_seq_len // 2)
    return 0 if length <= max_seq_len else -(-(length - max_seq_len) // half) * half


def prepared(model, idx: Tensor, max_new_tokens: int, settings: SampleConfig | Callable) -> Tensor:
    """The prompt (B, T) as the loop reads it: BOS for an empty one, the last max_seq_len tokens of a long one.

    Warns before it crops. Raises ConfigError for ids that the model cannot read, and for a wrong number or settings.
    """
    if not isinstance(max_new_tokens, int) or max_new_tokens < 0:
        raise ConfigError(f"max_new_tokens must be a whole number of at least 0, found {max_new_tokens!r}.")
    if not callable(settings) and not isinstance(settings, SampleConfig):
        raise ConfigError(f"settings must be a SampleConfig or a function that gives one, found {settings!r}.")
    check_ids(idx, model.device)
    check_range(idx, model.config.vocab_size)
    length, max_seq_len = idx.shape[1], model.config.max_seq_len
    if length == 0:
        return torch.full((idx.shape[0], 1), BOS_ID, dtype=torch.long, device=idx.device)
    if length > max_seq_len:
        message = f"The prompt has {length} tokens, the model reads {max_seq_len}: only the end of it is used."
        warnings.warn(message, Notice, stacklevel=3)
    return idx[:, -max_seq_len:]


def seeded(seed: int | None) -> torch.Generator | None:
    """A generator of random numbers. Without a seed None, which stands for torch's global generator.

    It lives on the CPU, also for a model on a GPU: devices draw different numbers from one seed. Raises
    ConfigError unless the seed is a whole number of at least 0 and below 2⁶³.
    """
    if seed is None:
        return None
    if not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise ConfigError(f"seed must be a whole number from 0 to 2⁶³, found {seed!r}.")
    return torch.Generator().manual_seed(seed)


def read_and_choose(model, idx: Tensor, n: int, next_token: Callable, cache: KVCache) -> Iterator[Tensor]:
    """The loop: n new tokens after idx (B, T), one at a time, (B, 1) each. The cache is empty and has room for them.

    next_token: a function from the logits of one position (B, V) to the ids of the sampled tokens (B, 1).
    """
    unread = idx
    for _ in range(n):
        logits, _ = model(unread, cache=cache)  # (B, T, V)
        unread = next_token(logits[:, -1])  # (B, 1): the next round reads only this token
        yield unread


PARTS = dict(**FILTERS, generate=read_and_choose, kv_cache=KVCache)  # the library's


def parts_of_sampling(own: dict[str, Callable] | None) -> dict[str, Callable]:
    """`PARTS`, with `own` in the place of some of them. Raises ConfigError for the name of a part that is not there."""
    unknown = sorted(set(own or {}) - set(PARTS))
    if unknown:
        raise ConfigError(f"Sampling has no part {unknown[0]!r}; its parts are {', '.join(PARTS)}.")
    return PARTS | (own or {})


@torch.inference_mode()
def generate_tokens(
    model,
    idx: Tensor,
    max_new_tokens: int,
    settings: SampleConfig | Callable[[], SampleConfig],
    generator: torch.Generator | None = None,
    own: dict[str, Callable] | None = None,
) -> Iterator[Tensor]:
    """New tokens one at a time, (B, 1) each, on a KV cache made here. idx: (B, T) prompt ids; empty starts from BOS.

    `settings` may be a function, which is called for every token, so that a slider acts at once. Until the last token
    the model is in evaluation mode: dropout is off.
    generator: see `seeded`; None takes torch's global generator.
    own: parts of your own, by their names in `PARTS`: filters, the loop `generate` (called as `read_and_choose`) and
    the class `kv_cache` (with the methods of `KVCache`). Another name raises ConfigError.
    """
    idx, parts = prepared(model, idx, max_new_tokens, settings), parts_of_sampling(own)
    cache, start, max_seq_len = model.new_cache(idx.shape[0], parts["kv_cache"]), 0, model.config.max_seq_len

    def next_token(logits: Tensor) -> Tensor:
        config = settings() if callable(settings) else settings
        probs = next_token_distribution(logits, config, seen=idx[:, start:], filters=parts)  # (B, V)
        return draw(probs, generator)

    with eval_mode(model):
        while max_new_tokens > 0:
            # the first window holds the prompt; when a window is full, the last half of the text is read again
            start = window_start(idx.shape[1], max_seq_len)
            cache.reset()
            n = min(max_new_tokens, start + max_seq_len + 1 - idx.shape[1])  # the last token need not be read
            for token in parts["generate"](model, idx[:, start:], n, next_token, cache):
                idx = torch.cat((idx, token), dim=1)
                yield token
            max_new_tokens -= n


def generate(
    model,
    idx: Tensor,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = 0,
    top_p: float | None = 1.0,
    generator: torch.Generator | None = None,
    own: dict[str, Callable] | None = None,
    **filters: float,
) -> Tensor:
    """The prompt idx (B, T) and `max_new_tokens` new tokens after it, (B, T + new).

    temperature, top_k, top_p and `filters` (min_p, repetition_penalty) are the fields of `SampleConfig`; the defaults
    are off. own: as in `generate_tokens`. Raises ConfigError, naming the field, for a setting that makes no sense, and
    for ids that the model cannot read.
    """
    settings = SampleConfig.from_dict(dict(temperature=temperature, top_k=top_k, top_p=top_p, **filters))
    new_tokens = list(generate_tokens(model, idx, max_new_tokens, settings, generator, own))
    return torch.cat([idx, *new_tokens], dim=1)


def stream(
    model,
    tokenizer: Tokenizer,
    prompt: str = "",
    max_new_tokens: int = 200,
    settings: SampleConfig | Callable[[], SampleConfig] = SampleConfig(),
    seed: int | None = None,
    stop_at_end: bool = True,
    own: dict[str, Callable] | None = None,
) -> Iterator[str]:
    """New text as the model writes it, without the prompt: whole characters, until the end-of-document token.

    The model reads the prompt from the start of a document (BOS); with an empty one the model begins.
    The same `seed` gives the same text; None takes torch's global generator. own: as in `generate_tokens`.
    Raises ConfigError for a wrong seed.
    """
    generator = seeded(seed)
    idx = torch.tensor([tokenizer.encode(prompt, bos=True)], device=model.device)
    text = TextStream(tokenizer)
    with for_streaming(model, own) as writer:
        for token in generate_tokens(writer, idx, max_new_tokens, settings, generator, own):
            if stop_at_end and token.item() == EOS_ID:
                break
            characters = text.push(token.item())
            if characters:
                yield characters
    rest = text.finish()
    if rest:
        yield rest


def sample_text(
    model,
    tokenizer: Tokenizer,
    prompt: str = "",
    max_new_tokens: int = 200,
    seed: int | None = None,
    own: dict[str, Callable] | None = None,
    **settings,
) -> str:
    """The prompt and what the model writes after it, in one string. `settings` are the fields of SampleConfig; own: as
    in `generate_tokens`."""
    config = SampleConfig.from_dict(settings)
    return prompt + "".join(stream(model, tokenizer, prompt, max_new_tokens, config, seed, own=own))
