"""The same model in each peer's hands: weights are drawn once, kept in a file, and loaded by every rival.

Each class here lives in a worker process of `race`; its imports are inside, so that a worker loads its own and no more.
"""

import json
from pathlib import Path

LLAMA_NAMES = {
    "tok_embeddings": "model.embed_tokens",
    "output": "lm_head",
    "norm.": "model.norm.",
    "layers.": "model.layers.",
    "attention_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attention.w": "self_attn.w",
    "feed_forward": "mlp",
    ".w_": ".",
    **{f".w{letter}.": f".{letter}_proj." for letter in "qkvo"},
    **{f".{part}.": f".{part}_proj." for part in ("gate", "up", "down")},
}


class Weights:
    """Writes a model of a preset, every weight random (ours begins with a head of zeros, which any model reproduces),
    and its shape to `folder`; `facts` returns what the driver needs of it."""

    def __init__(self, folder: Path, preset: str, vocab_size: int = 8192, max_seq_len: int = 256):
        import torch
        from safetensors.torch import save_file

        from foundry_lib import MiniLLM, ModelConfig

        self.config = ModelConfig.preset(preset, vocab_size=vocab_size, max_seq_len=max_seq_len)
        model, generator = MiniLLM(self.config), torch.Generator().manual_seed(1)
        with torch.no_grad():
            model.output.weight.normal_(0, self.config.dim**-0.5, generator=generator)
            for name, weight in model.named_parameters():
                if "norm" in name:
                    weight.uniform_(0.5, 1.5, generator=generator)
        save_file(model.state_dict(), folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps(self.config.to_dict()))

    def facts(self) -> dict:
        c = self.config
        names = ("head_dim", "n_params", "params_by_part", "flops_per_token")
        return c.to_dict() | {name: getattr(c, name) for name in names}


def read(folder: Path) -> tuple[dict, dict]:
    """The shape and the tensors that `Weights` wrote."""
    from safetensors.torch import load_file

    return json.loads((folder / "config.json").read_text()), load_file(folder / "model.safetensors")


def ours(folder: Path, device: str = "cpu"):
    from foundry_lib import MiniLLM, ModelConfig

    config, weights = read(folder)
    model = MiniLLM(ModelConfig(**config))
    model.load_state_dict(weights)
    return model.to(device)


def llama_name(name: str) -> str:
    """Our name of a weight in Hugging Face's Llama."""
    for mine, theirs in LLAMA_NAMES.items():
        if name.startswith(mine) or mine not in ("norm.", "layers."):
            name = name.replace(mine, theirs)
    return name


def transformers_llama(folder: Path, device: str = "cpu"):
    import transformers

    config, weights = read(folder)
    model = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=config["vocab_size"],
            hidden_size=config["dim"],
            intermediate_size=config["hidden_dim"],
            num_hidden_layers=config["n_layers"],
            num_attention_heads=config["n_heads"],
            num_key_value_heads=config["n_kv_heads"],
            max_position_embeddings=config["max_seq_len"],
            rms_norm_eps=config["norm_eps"],
            rope_parameters={"rope_type": "default", "rope_theta": config["rope_theta"]},
            tie_word_embeddings=config["tie_embeddings"],
            attn_implementation="sdpa",
            bos_token_id=None,
            eos_token_id=None,
            pad_token_id=None,
        )
    )
    model.load_state_dict({llama_name(name): weight for name, weight in weights.items()})
    return model.to(device)


def same_logits(rivals: dict, ids: list[list[int]], tolerance: float = 1e-4) -> float:
    """The largest difference between the rivals' logits of the same tokens. Raises RuntimeError where it is more than
    `tolerance`, because then they would not race at the same work."""
    import numpy as np

    logits = {name: np.array(rival.call("logits", ids)) for name, rival in rivals.items()}
    reference = logits["foundry_lib"]
    worst = {name: float(np.abs(theirs - reference).max()) for name, theirs in logits.items()}
    if not max(worst.values()) <= tolerance:
        raise RuntimeError(f"The rivals compute different things; largest difference of the logits: {worst}.")
    return max(worst.values())
