"""The surprise of a reader at each token of a text: −log p in nats, given all tokens before it."""

import math

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigError, CorpusError
from ..tales import grammar, prefix_distribution
from ..tales.walk import MARKS
from ..text.loader import padded
from ..text.tokenizer import EOS_ID, Tokenizer
from ..training.evaluate import token_losses


def surprise(model, tokenizer: Tokenizer, text: str) -> tuple[list[str], np.ndarray]:
    """The text's T tokens as they are spelled, and the model's surprise at each, (T,), nats.

    The text is read as the start of a document: the sum of the surprises is −log of the probability that a document
    begins with it. Raises ConfigError for a text that is empty, or longer than the model reads.
    """
    ids = tokenizer.encode(text, bos=True)
    if not 1 < len(ids) <= model.config.max_seq_len + 1:
        raise ConfigError(
            f"The text has {len(ids) - 1} tokens; the model can be surprised by texts of 1 to "
            f"{model.config.max_seq_len}. Change its length."
        )
    device = model.device
    return tokenizer.spelled(text), token_losses(model, [padded([ids], device)])


def true_distribution(text: str, tokenizer: Tokenizer, language: str) -> Tensor | None:
    """The grammar's exact probability of every next token, (V,); None where no tale begins with this text.

    Raises CorpusError for a language without a grammar.
    """
    grammar(language)
    try:
        words = prefix_distribution(text, language)
    except CorpusError:
        return None
    probs = torch.zeros(tokenizer.vocab_size)
    for word, p in words.items():
        spaced = " " if language == "en" and text and word not in MARKS else ""
        ids = tokenizer.encode(spaced + word) if word else [EOS_ID]
        probs[ids[0]] += p
    return probs


def grammar_surprise(tokenizer: Tokenizer, text: str, language: str) -> list[float | None]:
    """The surprise, in nats, of a reader who knows the grammar and remembers the whole tale: the lowest possible.

    Infinity for a token that the grammar forbids, None after the first forbidden token.
    """
    ids, surprises = tokenizer.encode(text), []
    for position, token in enumerate(ids):
        probs = true_distribution(tokenizer.decode(ids[:position]), tokenizer, language)
        p = None if probs is None else probs[token].item()
        surprises.append(None if p is None else abs(math.log(p)) if p > 0 else math.inf)
    return surprises
