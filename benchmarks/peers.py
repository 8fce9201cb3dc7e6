"""The same model in each peer's hands: weights are drawn once, kept in a file, and loaded by every rival.

Each class lives in a worker process of `race`; its imports are inside, so that a worker loads its own and no more.
"""

import json
from pathlib import Path

LLAMA_NAMES = {
    "tok_embeddings": "model.embed_tokens",
    "output": "lm_head",
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
        save_file({name: w.contiguous() for name, w in model.state_dict().items()}, folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps(self.config.to_dict()))

    def facts(self) -> dict:
        c = self.config
        return c.to_dict() | dict(head_dim=c.head_dim, n_params=c.n_params, params_by_part=c.params_by_part)


def read(folder: Path) -> tuple[dict, dict]:
    """The shape and the tensors that `Weights` wrote."""
    from safetensors.torch import load_file

    return json.loads((folder / "config.json").read_text()), load_file(folder / "model.safetensors")


class Model:
    """One peer's model on `device`; a peer says how to build it and how to get its logits."""

    def __init__(self, folder: Path, device: str = "cpu"):
        self.device = device
        self.model = self.build(*read(folder)).to(device)

    def logits(self, idx):
        return self.model(idx)

    def tensor(self, ids: list[list[int]]):
        import torch

        return torch.tensor(ids, device=self.device)

    def log_probs(self, ids: list[int]) -> list[float]:
        """Log-probability of every token behind `ids`."""
        import torch

        with torch.no_grad():
            return self.logits(self.tensor([ids]))[0, -1].log_softmax(-1).tolist()


class Ours(Model):
    def build(self, config: dict, weights: dict):
        from foundry_lib import MiniLLM, ModelConfig

        model = MiniLLM(ModelConfig(**config))
        model.load_state_dict(weights)
        return model

    def logits(self, idx):
        return self.model(idx)[0]


class Transformers(Model):
    def build(self, config: dict, weights: dict):
        import transformers

        shape = transformers.LlamaConfig(
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
        model = transformers.LlamaForCausalLM(shape)
        model.load_state_dict({self.name(name): weight for name, weight in weights.items()})
        return model

    def name(self, name: str) -> str:
        """Our name of a weight in Hugging Face's Llama."""
        if name.startswith(("layers.", "norm.")):
            name = "model." + name
        for mine, theirs in LLAMA_NAMES.items():
            name = name.replace(mine, theirs)
        return name

    def logits(self, idx):
        return self.model(idx).logits


class LitGPT(Model):
    """Its pins exclude the newest transformers, so it is installed beside it without them: pip install --no-deps litgpt
    lightning lightning-utilities torchmetrics jsonargparse."""

    def build(self, config: dict, weights: dict):
        from litgpt.config import Config
        from litgpt.model import GPT

        shape = Config(
            block_size=config["max_seq_len"],
            vocab_size=config["vocab_size"],
            padded_vocab_size=config["vocab_size"],
            n_layer=config["n_layers"],
            n_embd=config["dim"],
            n_head=config["n_heads"],
            n_query_groups=config["n_kv_heads"],
            intermediate_size=config["hidden_dim"],
            norm_eps=config["norm_eps"],
            rope_base=int(config["rope_theta"]),
            rotary_percentage=1.0,
            parallel_residual=False,
            bias=False,
            norm_class_name="RMSNorm",
            mlp_class_name="LLaMAMLP",
        )
        model = GPT(shape)
        model.load_state_dict(self.renamed(weights))
        return model

    def renamed(self, weights: dict) -> dict:
        """Our weights under litgpt's names; queries, keys and values are one matrix there."""
        import torch

        names = {
            "tok_embeddings": "transformer.wte",
            "output": "lm_head",
            "attention_norm": "norm_1",
            "ffn_norm": "norm_2",
            "attention.wo": "attn.proj",
            "feed_forward.w_gate": "mlp.fc_1",
            "feed_forward.w_up": "mlp.fc_2",
            "feed_forward.w_down": "mlp.proj",
        }
        theirs = {}
        for name, weight in weights.items():
            if "wq" in name:
                parts = [weights[name.replace("wq", part)] for part in ("wq", "wk", "wv")]
                name, weight = name.replace("attention.wq", "attn.qkv"), torch.cat(parts)
            elif "wk" in name or "wv" in name:
                continue
            name = "transformer.ln_f.weight" if name == "norm.weight" else name.replace("layers.", "transformer.h.")
            for mine, other in names.items():
                name = name.replace(mine, other)
            theirs[name] = weight
        return theirs


def apart(rivals: dict, ids: list[int], tolerance: float = 1e-4) -> float:
    """The largest difference between the first rival's log-probabilities and the others'. Raises RuntimeError where it
    is more than `tolerance`, because then they would not race at the same work."""
    found = {name: rival.call("log_probs", ids) for name, rival in rivals.items()}
    reference, most = next(iter(found.values())), 0.0
    for name, values in found.items():
        differences = [abs(mine - theirs) for mine, theirs in zip(reference, values, strict=True)]
        if not all(difference <= tolerance for difference in differences):  # NaN is no number that is larger
            raise RuntimeError(f"{name} computes different things: log-probabilities differ by {max(differences)}.")
        most = max(most, *differences)
    return most
