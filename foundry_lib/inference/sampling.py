"""Sampling: from the model's logits to the next token, one filter at a time.

Each filter is a pure function from logits (..., V) to logits (..., V). It sets the logits of removed tokens to −inf and
changes no tensor in place. `next_token_distribution` applies the filters in the usual order; `draw` picks the token.

Off are top_k 0, top_p 1, min_p 0 and repetition_penalty 1; None also turns top_k and top_p off. Temperature 1 changes
nothing, and temperature 0 always takes the most probable token.

To add a filter, write its function here, name it in `FILTERS`, call it in `next_token_distribution` and give
`SampleConfig` a field with a number that is off; the command line takes it from there, and the test of panels/knobs.py
asks for its slider.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ..config import SampleConfig
from ..errors import ConfigError, FoundryError

# Top-p sorts this many most probable tokens first, and all only when these hold less than p: to sort all 8,192 takes
# 20 times as long as 64 and 10 times as long as 1,024.
LOOKS = 64, 1024


def apply_repetition_penalty(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Make the token ids in `seen` (..., T) less probable: divide a positive logit by `penalty`, multiply a negative
    one (after Keskar et al. 2019, CTRL, who divide both).

    >>> apply_repetition_penalty(torch.tensor([2.0, -2.0, 1.0]), torch.tensor([0, 1]), 2.0)
    tensor([ 1., -4.,  1.])
    """
    scores = logits.gather(-1, seen)
    return logits.scatter(-1, seen, torch.where(scores > 0, scores / penalty, scores * penalty))


def apply_temperature(logits: Tensor, temperature: float) -> Tensor:
    """Divide by the temperature: below 1 the distribution is sharper, above 1 flatter. At 0 only the most probable
    token stays (greedy). Temperatures below 1e-6 count as 0, because the division would overflow.

    >>> apply_temperature(torch.tensor([1.0, 3.0, 2.0]), 0.5), apply_temperature(torch.tensor([1.0, 3.0, 2.0]), 0)
    (tensor([2., 6., 4.]), tensor([-inf, 3., -inf]))
    """
    if temperature < 1e-6:
        best = logits.argmax(-1, keepdim=True)
        return torch.full_like(logits, -torch.inf).scatter_(-1, best, logits.gather(-1, best))
    return logits / float(temperature)  # a whole number may have more digits than a tensor takes


def apply_top_k(logits: Tensor, k: int) -> Tensor:
    """Keep the k most probable tokens, and those that tie with the last of them (Fan et al. 2018).

    >>> apply_top_k(torch.tensor([1.0, 3.0, 2.0]), 2)
    tensor([-inf, 3., 2.])
    """
    if k < 1:
        raise ConfigError(f"top_k keeps at least 1 token, found k={k!r}.")
    smallest_kept = logits.topk(min(k, logits.shape[-1]), dim=-1).values[..., -1:]
    return torch.where(logits < smallest_kept, -torch.inf, logits)


def apply_top_p(logits: Tensor, p: float) -> Tensor:
    """Keep the smallest set of most probable tokens that holds probability p. The token that crosses p stays in
    (Holtzman et al. 2020, nucleus sampling).

    >>> apply_top_p(torch.tensor([0.5, 0.25, 0.25]).log(), 0.75).softmax(-1)
    tensor([0.6667, 0.3333, 0.0000])
    """
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
    """Drop tokens less probable than min_p times the most probable one (Nguyen et al. 2024).

    >>> apply_min_p(torch.tensor([0.6, 0.3, 0.1]).log(), 0.4).softmax(-1)
    tensor([0.6667, 0.3333, 0.0000])
    """
    probs = logits.softmax(-1)
    return torch.where(probs < min_p * probs.amax(-1, keepdim=True), -torch.inf, logits)


FILTERS = dict(temperature=apply_temperature, top_k=apply_top_k, top_p=apply_top_p, min_p=apply_min_p)


def next_token_distribution(
    logits: Tensor, config: SampleConfig, seen: Tensor | None = None, filters: dict[str, Callable] = FILTERS
) -> Tensor:
    """Probabilities (..., V) after penalty, temperature, top-k, top-p and min-p, in that order.

    logits: (..., V). seen: (..., T) token ids for the repetition penalty. filters: field of `SampleConfig` → the
    function from logits and the field's value to logits; your own can stand there.

    >>> next_token_distribution(torch.tensor([0.5, 0.3, 0.2]).log(), SampleConfig(top_k=2))
    tensor([0.6250, 0.3750, 0.0000])
    """
    logits = logits.float()
    if config.repetition_penalty != 1.0 and seen is not None:
        logits = apply_repetition_penalty(logits, seen, config.repetition_penalty)
    logits = filters["temperature"](logits, config.temperature)
    if config.top_k:
        logits = filters["top_k"](logits, config.top_k)
    if config.top_p is not None and config.top_p < 1:
        logits = filters["top_p"](logits, config.top_p)
    if config.min_p > 0:
        logits = filters["min_p"](logits, config.min_p)
    return logits.softmax(-1)


def draw(probs: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """One token id per row, (..., 1), each as often as its probability in probs (..., V) says.

    The probabilities, laid end to end, cover a line; a point thrown on the line hits a token. That takes one random
    number per row, where `torch.multinomial` takes one for every token of the vocabulary. Raises FoundryError for NaN.
    The random number comes from the CPU, so that a seed gives the same numbers whichever device computes probs.

    >>> draw(torch.tensor([[0.0, 1.0, 0.0]]))
    tensor([[1]])
    """
    ends = probs.cumsum(-1)  # (..., V): where each token's stretch of the line ends
    whole = ends[..., -1:]
    if not (whole > 0).all():
        raise FoundryError("The model's scores are no numbers, so no token can be drawn: its weights have overflowed.")
    source = "cpu" if generator is None else generator.device
    point = torch.rand(whole.shape, generator=generator, device=source).to(probs.device) * whole
    return torch.searchsorted(ends, point, right=True)  # right: a token of no length is never hit
