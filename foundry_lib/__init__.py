"""LLM Foundry: a small Llama-style language model, from text to sampling, each part in a file of its own."""

from .runtime import import_torch, keep_freed_memory, set_wait_policy

set_wait_policy()  # before anything below imports torch
keep_freed_memory()
import_torch()

from .config import ModelConfig, SampleConfig, TrainConfig  # noqa: E402
from .errors import (  # noqa: E402
    CheckpointError,
    ConfigError,
    CorpusError,
    FoundryError,
    Notice,
    TokenizerError,
)
from .inference.generation import generate, sample_text, stream  # noqa: E402
from .inference.sampling import next_token_distribution  # noqa: E402
from .models.attention import CausalSelfAttention, causal_attention, fused_causal_attention  # noqa: E402
from .models.feed_forward import MLP  # noqa: E402
from .models.kv_cache import KVCache  # noqa: E402
from .models.model import Block, MiniLLM  # noqa: E402
from .models.norm import RMSNorm, rms_norm  # noqa: E402
from .models.rope import apply_rotary_emb, rope_table, rotate  # noqa: E402
from .text.corpus import Corpus, read_corpus  # noqa: E402
from .text.loader import DataLoader  # noqa: E402
from .text.tokenizer import Tokenizer  # noqa: E402
from .training.record import Record  # noqa: E402
from .training.trainer import Trainer  # noqa: E402

__all__ = [
    "MLP",
    "Block",
    "CausalSelfAttention",
    "CheckpointError",
    "ConfigError",
    "Corpus",
    "CorpusError",
    "DataLoader",
    "FoundryError",
    "KVCache",
    "MiniLLM",
    "ModelConfig",
    "Notice",
    "RMSNorm",
    "Record",
    "SampleConfig",
    "Tokenizer",
    "TokenizerError",
    "TrainConfig",
    "Trainer",
    "apply_rotary_emb",
    "causal_attention",
    "fused_causal_attention",
    "generate",
    "next_token_distribution",
    "read_corpus",
    "rms_norm",
    "rope_table",
    "rotate",
    "sample_text",
    "stream",
]
