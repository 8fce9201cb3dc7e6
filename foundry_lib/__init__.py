"""LLM Foundry: a small Llama-style language model, from text to sampling, with one file per part."""

from .runtime import hold_interrupts, hold_interrupts_in_imports, import_torch, keep_freed_memory, set_wait_policy

set_wait_policy()  # before anything below imports torch
keep_freed_memory()
hold_interrupts_in_imports()
with hold_interrupts():  # the rest of this import, too
    import_torch()

    from .config import ModelConfig, SampleConfig, TrainConfig
    from .errors import (
        CheckpointError,
        ConfigError,
        CorpusError,
        FoundryError,
        Notice,
        ShapeError,
        TokenizerError,
    )
    from .inference.generation import generate, sample_text, stream
    from .inference.sampling import next_token_distribution
    from .models.attention import CausalSelfAttention, causal_attention, fused_causal_attention
    from .models.feed_forward import MLP
    from .models.kv_cache import KVCache
    from .models.model import Block, MiniLLM
    from .models.norm import RMSNorm, rms_norm
    from .models.rope import apply_rotary_emb, rope_table, rotate
    from .shape import Shape, checked, checked_shapes, shapes
    from .text.corpus import Corpus, read_corpus
    from .text.loader import DataLoader
    from .text.tokenizer import Tokenizer
    from .training.record import Record
    from .training.trainer import Trainer

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
    "Shape",
    "ShapeError",
    "Tokenizer",
    "TokenizerError",
    "TrainConfig",
    "Trainer",
    "apply_rotary_emb",
    "causal_attention",
    "checked",
    "checked_shapes",
    "fused_causal_attention",
    "generate",
    "next_token_distribution",
    "read_corpus",
    "rms_norm",
    "rope_table",
    "rotate",
    "sample_text",
    "shapes",
    "stream",
]
