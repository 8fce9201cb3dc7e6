"""How much each token of a text surprises a model: −log p in nats, given all that stands before it."""

import math

import numpy as np

from .data import padded
from .errors import ConfigError
from .panels.playground import truth
from .panels.token_ruler import cut
from .tokenizer import Tokenizer
from .trainer import token_losses


def surprise(model, tokenizer: Tokenizer, text: str) -> tuple[list[str], np.ndarray]:
    """The text's tokens, each as it is spelled, and what each costs the model (T,), nats.

    The text is read from the start of a document; the sum is −log of the probability that the model begins like this.
    Raises ConfigError for a text that is empty, or longer than the model reads.
    """
    ids = tokenizer.encode(text, bos=True)
    if not 1 < len(ids) <= model.config.max_seq_len + 1:
        raise ConfigError(
            f"The text has {len(ids) - 1} tokens; the surprise can be told of 1 to {model.config.max_seq_len}."
        )
    device = model.tok_embeddings.weight.device
    return cut(text, tokenizer), token_losses(model, [padded([ids], device)])


def grammar_surprise(tokenizer: Tokenizer, text: str, language: str) -> list[float | None]:
    """What each token costs a reader who knows the grammar of the tales and remembers all, nats: the least possible.

    A token that the grammar forbids costs infinity. None behind it, and wherever no tale begins like this.
    """
    ids, costs = tokenizer.encode(text), []
    for place, token in enumerate(ids):
        true = truth(tokenizer.decode(ids[:place]), tokenizer, language)
        p = None if true is None else true[token].item()
        costs.append(None if p is None else abs(math.log(p)) if p > 0 else math.inf)
    return costs
