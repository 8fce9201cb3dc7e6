"""Our logits and gradients against Hugging Face's Llama with the same weights.

The fixture is made so that a bug shows: embeddings of std 0.02 (with std 1 a wrong eps hides under 1e-5), norm weights
that are not 1, fewer kv heads than heads, more than one token.
"""

import random
from functools import partial

import pytest
import torch

import foundry_lib
from foundry_lib import MiniLLM, ModelConfig

transformers = pytest.importorskip("transformers", reason="the test extra installs it")

NAMES = {
    "tok_embeddings": "model.embed_tokens",
    "output": "lm_head",
    "norm.": "model.norm.",
    "layers.": "model.layers.",
    "attention_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attention.wq": "self_attn.q_proj",
    "attention.wk": "self_attn.k_proj",
    "attention.wv": "self_attn.v_proj",
    "attention.wo": "self_attn.o_proj",
    "feed_forward.w_gate": "mlp.gate_proj",
    "feed_forward.w_up": "mlp.up_proj",
    "feed_forward.w_down": "mlp.down_proj",
}


def hf_name(name: str) -> str:
    for ours, theirs in NAMES.items():
        if name.startswith(ours) or ours in name and ours not in ("norm.", "layers."):
            name = name.replace(ours, theirs, 1)
    return name


def random_config(i: int) -> ModelConfig:
    """Shapes that between them hold MHA, GQA and MQA, tied and untied, and head_dim from 2 to 128."""
    rng = random.Random(i)
    head_dim = (2, 4, 8, 16, 32, 64, 128, 6)[i % 8]
    n_heads = rng.choice((2, 4, 6)) if head_dim >= 16 else rng.choice((16, 24))  # dim ≥ 32: a mean over 4 channels of
    # std 0.02 can nearly vanish, and then the norm magnifies fp32 rounding itself beyond 1e-5
    n_kv_heads = {0: n_heads, 1: 1, 2: n_heads // 2}[i % 3]
    return ModelConfig(
        vocab_size=rng.randint(30, 300),
        dim=head_dim * n_heads,
        n_layers=rng.randint(1, 3),
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        max_seq_len=48,
        hidden_dim=rng.choice((24, 40, 96)),
        norm_eps=rng.choice((1e-4, 1e-5)),
        rope_theta=rng.choice((1e4, 5e5)),
        tie_embeddings=bool(i // 2 % 2),
        embedding_std=0.02,
    )


def torch_norm(theirs) -> torch.nn.RMSNorm:
    norm = torch.nn.RMSNorm(theirs.weight.shape, eps=theirs.variance_epsilon)
    norm.weight = theirs.weight
    return norm


def pair(i: int, dtype: torch.dtype, **parts):
    """Our model, of other `parts` where they are given, and Hugging Face's, with the same random weights; a batch."""
    config, generator = random_config(i), torch.Generator().manual_seed(i)
    ours = MiniLLM(config, seed=i, **parts)
    with torch.no_grad():
        for name, p in ours.named_parameters():
            if "norm" in name:
                p.copy_(torch.empty_like(p).uniform_(0.5, 1.5, generator=generator))
        if not config.tie_embeddings:
            ours.output.weight.normal_(0, config.dim**-0.5, generator=generator)
    hf_config = transformers.LlamaConfig(
        vocab_size=config.vocab_size,
        hidden_size=config.dim,
        intermediate_size=config.hidden_dim,
        num_hidden_layers=config.n_layers,
        num_attention_heads=config.n_heads,
        num_key_value_heads=config.n_kv_heads,
        max_position_embeddings=config.max_seq_len,
        rms_norm_eps=config.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
        tie_word_embeddings=config.tie_embeddings,
        attn_implementation="sdpa",
    )
    theirs = transformers.LlamaForCausalLM(hf_config)
    missing, unexpected = theirs.load_state_dict({hf_name(k): v for k, v in ours.state_dict().items()}, strict=False)
    assert not unexpected and all("rotary" in name for name in missing), (missing, unexpected)
    if dtype == torch.float64:  # their RMSNorm always computes in fp32; PyTorch's own takes its place
        for layer in theirs.model.layers:
            layer.input_layernorm = torch_norm(layer.input_layernorm)
            layer.post_attention_layernorm = torch_norm(layer.post_attention_layernorm)
        theirs.model.norm = torch_norm(theirs.model.norm)
    idx = torch.randint(config.vocab_size, (2, config.max_seq_len + 1), generator=generator)  # to the last position
    return ours.to(dtype), theirs.to(dtype).eval(), idx[:, :-1], idx[:, 1:]


def worst_logit(i: int, dtype: torch.dtype, **parts) -> float:
    ours, theirs, x, _ = pair(i, dtype, **parts)
    with torch.no_grad():
        return (ours(x)[0] - theirs(x).logits).abs().max().item()


def test_the_configurations_cover_what_they_should():
    configs = [random_config(i) for i in range(24)]
    assert {c.head_dim for c in configs} >= {2, 128}
    assert {c.tie_embeddings for c in configs} == {True, False}
    kinds = {"MHA" if c.n_kv_heads == c.n_heads else "MQA" if c.n_kv_heads == 1 else "GQA" for c in configs}
    assert kinds == {"MHA", "GQA", "MQA"}


@pytest.mark.parametrize("i", range(24))
def test_logits_equal_hugging_face(i):
    assert worst_logit(i, torch.float32) <= 1e-5
    assert worst_logit(i, torch.float64) <= 1e-10


@pytest.mark.parametrize("i", range(8))
def test_gradients_equal_hugging_face(i):
    ours, theirs, x, y = pair(i, torch.float64)
    ours(x, y)[1].backward()
    torch.nn.functional.cross_entropy(theirs(x).logits.flatten(0, 1), y.flatten()).backward()
    expected = {name: p.grad for name, p in theirs.named_parameters()}
    for name, p in ours.named_parameters():
        assert (p.grad - expected[hf_name(name)]).abs().max().item() <= 1e-8, name


class WrongEps(foundry_lib.RMSNorm):
    def forward(self, x):
        return self.weight * x / (x.pow(2).mean(-1, keepdim=True).sqrt() + self.eps)


def interleaved(xq, xk, table):
    cos, sin = table

    def turn(x):
        a, b = x[..., 0::2], x[..., 1::2]
        return torch.stack((a * cos - b * sin, b * cos + a * sin), -1).flatten(-2)

    return turn(xq), turn(xk)


def turned(rotary):
    return {"attention": partial(foundry_lib.CausalSelfAttention, rotary=rotary)}


def wrong_order(q, k, v):
    return foundry_lib.causal_attention(q, k.repeat(1, 2, 1, 1), v.repeat(1, 2, 1, 1))[0]


rotate, backwards = foundry_lib.rotate, torch.tensor([1.0, -1.0]).view(2, 1, 1)
FAULTS = {
    "eps outside the root": {"norm": WrongEps},
    "interleaved pairs": turned(interleaved),
    "no rotation of keys": turned(lambda q, k, t: (rotate(q, t), k)),
    "wrong sign": turned(lambda q, k, t: (rotate(q, t * backwards), rotate(k, t))),
    "kv heads repeated in the wrong order": {"attention": partial(foundry_lib.CausalSelfAttention, attend=wrong_order)},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_comparison_sees_a_fault(fault):
    """A test of the test: configuration 5 (GQA) differs by far more than 1e-5 under each of these faults."""
    assert random_config(5).n_kv_heads * 2 == random_config(5).n_heads
    assert worst_logit(5, torch.float32, **FAULTS[fault]) > 1e-4
