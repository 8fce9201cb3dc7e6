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
from ..text.tokenizer import BOS_ID, EOS_ID, TextStream, Tokenizer
from .sampling import draw, next_token_distribution


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


@torch.inference_mode()
def generate_tokens(
    model,
    idx: Tensor,
    max_new_tokens: int,
    settings: SampleConfig | Callable[[], SampleConfig],
    generator: torch.Generator | None = None,
) -> Iterator[Tensor]:
    """New tokens one at a time, (B, 1) each, on a KV cache made here. idx: (B, T) prompt ids; empty starts from BOS.

    `settings` may be a function, which is called for every token, so that a slider acts at once. Until the last token
    the model is in evaluation mode: dropout is off.
    generator: see `seeded`; None takes torch's global generator.
    """
    idx = prepared(model, idx, max_new_tokens, settings)
    cache, start, unread = model.new_cache(idx.shape[0]), 0, idx
    with eval_mode(model):
        for _ in range(max_new_tokens):
            # when the window is full, empty the cache and read the last half of the text again
            if window_start(idx.shape[1], model.config.max_seq_len) != start:
                start = window_start(idx.shape[1], model.config.max_seq_len)
                cache.reset()
                unread = idx[:, start:]
            logits, _ = model(unread, cache=cache)  # (B, T, V)
            # sample from the logits of the last position; the next round reads the sampled token
            config = settings() if callable(settings) else settings
            probs = next_token_distribution(logits[:, -1], config, seen=idx[:, start:])  # (B, V)
            unread = draw(probs, generator)  # (B, 1)
            idx = torch.cat((idx, unread), dim=1)
            yield unread


def generate(
    model,
    idx: Tensor,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = 0,
    top_p: float | None = 1.0,
    generator: torch.Generator | None = None,
    **filters: float,
) -> Tensor:
    """The prompt idx (B, T) and `max_new_tokens` new tokens after it, (B, T + new).

    temperature, top_k, top_p and `filters` (min_p, repetition_penalty) are the fields of `SampleConfig`; the defaults
    are off. Raises ConfigError, naming the field, for a setting that makes no sense, and for ids that the model cannot
    read.
    """
    settings = SampleConfig.from_dict(dict(temperature=temperature, top_k=top_k, top_p=top_p, **filters))
    new_tokens = list(generate_tokens(model, idx, max_new_tokens, settings, generator))
    return torch.cat([idx, *new_tokens], dim=1)


def stream(
    model,
    tokenizer: Tokenizer,
    prompt: str = "",
    max_new_tokens: int = 200,
    settings: SampleConfig | Callable[[], SampleConfig] = SampleConfig(),
    seed: int | None = None,
    stop_at_end: bool = True,
) -> Iterator[str]:
    """New text as the model writes it, without the prompt: whole characters, until the end-of-document token.

    The model reads the prompt from the start of a document (BOS); with an empty one the model begins.
    The same `seed` gives the same text; None takes torch's global generator. Raises ConfigError for a wrong seed.
    """
    generator = seeded(seed)
    idx = torch.tensor([tokenizer.encode(prompt, bos=True)], device=model.device)
    text = TextStream(tokenizer)
    for token in generate_tokens(model, idx, max_new_tokens, settings, generator):
        if stop_at_end and token.item() == EOS_ID:
            break
        characters = text.push(token.item())
        if characters:
            yield characters
    rest = text.finish()
    if rest:
        yield rest


def sample_text(
    model, tokenizer: Tokenizer, prompt: str = "", max_new_tokens: int = 200, seed: int | None = None, **settings
) -> str:
    """The prompt and what the model writes after it, in one string. `settings` are the fields of SampleConfig."""
    config = SampleConfig.from_dict(settings)
    return prompt + "".join(stream(model, tokenizer, prompt, max_new_tokens, config, seed))
