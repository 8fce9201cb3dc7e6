"""Sampling: from the model's scores to the next token, one filter at a time.

Each filter is a pure function from logits (..., V) to logits (..., V), removed tokens at −inf; nothing is edited in
place. `next_token_distribution` applies them in the usual order, and `generate` and `stream` draw from the result.
"""

import warnings
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ..config import SampleConfig
from ..errors import ConfigError, FoundryError, Notice
from ..text.tokenizer import BOS_ID, EOS_ID, TextStream, Tokenizer

LOOKS = 64, 1024  # tokens among which top-p looks before it sorts all 8,192, which costs 20 and 10 times as much


def apply_repetition_penalty(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Make the token ids in `seen` (..., T) less likely: a positive logit is divided by `penalty`, a negative
    multiplied (after Keskar et al. 2019, CTRL, who divide both)."""
    scores = logits.gather(-1, seen)
    return logits.scatter(-1, seen, torch.where(scores > 0, scores / penalty, scores * penalty))


def apply_temperature(logits: Tensor, temperature: float) -> Tensor:
    """Divide by the temperature: below 1 sharper, above 1 flatter. At 0 only the most likely token stays (greedy),
    and below 1e-6 too, where the division would overflow."""
    if temperature < 1e-6:
        best = logits.argmax(-1, keepdim=True)
        return torch.full_like(logits, -torch.inf).scatter_(-1, best, logits.gather(-1, best))
    return logits / float(temperature)  # a whole number may have more digits than a tensor takes


def apply_top_k(logits: Tensor, k: int) -> Tensor:
    """Keep the k most likely tokens, and those that tie with the last of them (Fan et al. 2018)."""
    if k < 1:
        raise ConfigError(f"top_k keeps at least 1 token, found k={k!r}.")
    smallest_kept = logits.topk(min(k, logits.shape[-1]), dim=-1).values[..., -1:]
    return torch.where(logits < smallest_kept, -torch.inf, logits)


def apply_top_p(logits: Tensor, p: float) -> Tensor:
    """Keep the smallest set of most likely tokens that holds probability p; the token that crosses p stays in
    (Holtzman et al. 2020, nucleus sampling)."""
    if p <= 0:
        raise ConfigError(f"top_p needs a probability above 0, or no token is left; found p={p!r}.")
    probs = logits.softmax(-1)
    for n in (*LOOKS, probs.shape[-1]):
        largest = probs.topk(min(n, probs.shape[-1]), dim=-1)
        if (largest.values.sum(-1) >= p).all():  # the first look is nearly always enough
            break
    before = largest.values.cumsum(-1) - largest.values  # probability of all the tokens ahead of this one
    kept = torch.zeros_like(probs, dtype=torch.bool).scatter(-1, largest.indices, before < p)
    return torch.where(kept, logits, -torch.inf)


def apply_min_p(logits: Tensor, min_p: float) -> Tensor:
    """Drop tokens less likely than min_p times the most likely one (Nguyen et al. 2024)."""
    probs = logits.softmax(-1)
    return torch.where(probs < min_p * probs.amax(-1, keepdim=True), -torch.inf, logits)


def next_token_distribution(logits: Tensor, config: SampleConfig, seen: Tensor | None = None) -> Tensor:
    """Probabilities (..., V) after penalty, temperature, top-k, top-p and min-p, in that order.

    logits: (..., V). seen: (..., T) token ids for the repetition penalty.
    """
    logits = logits.float()
    if config.repetition_penalty != 1.0 and seen is not None:
        logits = apply_repetition_penalty(logits, seen, config.repetition_penalty)
    logits = apply_temperature(logits, config.temperature)
    if config.top_k:
        logits = apply_top_k(logits, config.top_k)
    if config.top_p is not None and config.top_p < 1:
        logits = apply_top_p(logits, config.top_p)
    if config.min_p > 0:
        logits = apply_min_p(logits, config.min_p)
    return logits.softmax(-1)


def draw(probs: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """One token id a row, (..., 1), each as often as its probability in probs (..., V) says.

    The probabilities, laid end to end, cover a line; a point thrown on it lands on the token. One random number a row,
    where `torch.multinomial` draws one for every token of the vocabulary. Raises FoundryError for NaN.
    """
    ends = probs.cumsum(-1)
    whole = ends[..., -1:]
    if not (whole > 0).all():
        raise FoundryError("The model's scores are no numbers, so no token can be drawn: its weights have overflowed.")
    point = torch.rand(whole.shape, generator=generator, device=probs.device) * whole
    return torch.searchsorted(ends, point, right=True)  # right: a token of no length is never hit


def window_start(length: int, max_seq_len: int) -> int:
    """Where the context begins once a text of `length` tokens has outgrown the model: the text is read anew from a
    later token each time the window is full, half a window at a time, so that a cache lasts for many steps."""
    half = max(1, max_seq_len // 2)
    return 0 if length <= max_seq_len else -(-(length - max_seq_len) // half) * half


@torch.inference_mode()
def generate_tokens(
    model,
    idx: Tensor,
    max_new_tokens: int,
    settings: SampleConfig | Callable[[], SampleConfig],
    generator: torch.Generator | None = None,
) -> Iterator[Tensor]:
    """Draw tokens one at a time, (B, 1) each, on a KV cache made here. idx: (B, T) prompt ids; empty starts from BOS.

    `settings` may be a function; it is then asked at every token, so that a slider acts at once.
    `generator` lives on the model's device; None draws from torch's global generator.
    """
    if not isinstance(max_new_tokens, int) or max_new_tokens < 0:
        raise ConfigError(f"max_new_tokens must be a whole number of at least 0, found {max_new_tokens!r}.")
    if not callable(settings) and not isinstance(settings, SampleConfig):
        raise ConfigError(f"settings must be a SampleConfig or a function that gives one, found {settings!r}.")
    if idx.dim() != 2:
        raise ConfigError(f"The prompt must be rows of ids, (B, T); found shape {tuple(idx.shape)}.")
    if idx.shape[1] == 0:
        idx = torch.full((idx.shape[0], 1), BOS_ID, dtype=torch.long, device=idx.device)
    max_seq_len = model.config.max_seq_len
    if idx.shape[1] > max_seq_len:
        warnings.warn(
            f"The prompt has {idx.shape[1]} tokens, the model reads {max_seq_len}: only the end of it is used.",
            Notice,
            stacklevel=2,
        )
        idx = idx[:, -max_seq_len:]
    cache = model.new_cache(idx.shape[0])
    start, unread = 0, idx
    for _ in range(max_new_tokens):
        if window_start(idx.shape[1], max_seq_len) != start:
            start = window_start(idx.shape[1], max_seq_len)
            cache.reset()
            unread = idx[:, start:]
        logits, _ = model(unread, cache=cache)
        config = settings() if callable(settings) else settings
        probs = next_token_distribution(logits[:, -1], config, seen=idx[:, start:])
        unread = draw(probs, generator)
        idx = torch.cat((idx, unread), dim=1)
        yield unread


def generate(
    model,
    idx: Tensor,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float = 0.0,
    repetition_penalty: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The prompt idx (B, T) with `max_new_tokens` drawn tokens behind it, (B, T + new). The settings are those of
    `SampleConfig`, which refuses what makes no sense with a ConfigError that names the field."""
    settings = SampleConfig(temperature, top_k, top_p, min_p, repetition_penalty)
    return torch.cat([idx, *generate_tokens(model, idx, max_new_tokens, settings, generator)], dim=1)


def stream(
    model,
    tokenizer: Tokenizer,
    prompt: str = "",
    max_new_tokens: int = 200,
    settings: SampleConfig | Callable[[], SampleConfig] = SampleConfig(),
    seed: int | None = None,
    stop_at_end: bool = True,
) -> Iterator[str]:
    """Text as it is drawn, without the prompt: whole characters only, until the end-of-document token.

    The prompt is read from the start of a document (BOS); an empty one lets the model begin.
    `seed` fixes the draws; None takes torch's global generator. Raises ConfigError for a seed that is no whole number
    from 0 to 2⁶³.
    """
    if seed is not None and (not isinstance(seed, int) or not 0 <= seed < 2**63):
        raise ConfigError(f"seed must be a whole number from 0 to 2⁶³, found {seed!r}.")
    device = model.tok_embeddings.weight.device
    idx = torch.tensor([tokenizer.encode(prompt, bos=True)], device=device)
    generator = None if seed is None else torch.Generator(device).manual_seed(seed)
    text = TextStream(tokenizer)
    for token in generate_tokens(model, idx, max_new_tokens, settings, generator):
        if stop_at_end and token.item() == EOS_ID:
            break
        piece = text.push(token.item())
        if piece:
            yield piece
    rest = text.finish()
    if rest:
        yield rest


def sample_text(
    model, tokenizer: Tokenizer, prompt: str = "", max_new_tokens: int = 200, seed: int | None = None, **settings
) -> str:
    """The prompt and what the model makes of it, in one string; `settings` are the fields of SampleConfig."""
    config = SampleConfig.from_dict(settings)
    return prompt + "".join(stream(model, tokenizer, prompt, max_new_tokens, config, seed))
