"""The variants of the model that the ablations train: each is what its name says, is causal, and learns."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from foundry_lib import KVCache, MiniLLM, ModelConfig
from foundry_lib.experiments import ablations, variants
from foundry_lib.models.attention import CausalSelfAttention
from foundry_lib.models.rope import apply_rotary_emb
from foundry_lib.training.recipes import TALES

CONFIG = ModelConfig(
    vocab_size=40, dim=16, n_layers=2, n_heads=4, n_kv_heads=2, max_seq_len=32, hidden_dim=32, tie_embeddings=True,
    embedding_std=0.3, rope_theta=500.0,
)  # fmt: skip
ROWS = {**ablations.ROWS, **dict(list(ablations.GRID.items())[:1])}
D, L, HEAD = 16, 2, 4
ADDED = {  # row → parameters that it has more than the whole model
    "whole model": 0,
    "no norm": -(2 * L + 1) * D,
    "LayerNorm": (2 * L + 1) * D,  # a bias beside each weight
    "post-norm": 0,
    "QK-norm": 2 * L * HEAD,
    "no RoPE": 0,
    "learned positions": 32 * D,
    "sinusoidal positions": 0,
    "RoPE base 10,000": 0,
    "no attention": -L * (2 * D * D + 2 * D * 2 * HEAD),
    "one kv head": -L * 2 * D * HEAD,
    "four kv heads": L * 2 * D * 2 * HEAD,
    "no MLP": -L * 3 * D * 32,
    "plain MLP, ReLU²": 0,
    "plain MLP, GELU": 0,
    "one layer": -(2 * D * D + 2 * D * 2 * HEAD + 3 * D * 32 + 2 * D),
    "four layers": 2 * (2 * D * D + 2 * D * 2 * HEAD + 3 * D * 32 + 2 * D),
    "untied head": 40 * D,
}


def tokens(n_rows: int, n: int) -> torch.Tensor:
    return torch.randint(40, (n_rows, n), generator=torch.Generator().manual_seed(0))


def variant(row: str, seed: int = 1) -> MiniLLM:
    settings = {name: value for name, value in ROWS[row].items() if name not in ("parts", "learning_rate")}
    model = MiniLLM(CONFIG.with_(**settings), seed=seed, **ROWS[row].get("parts", {}))
    if not model.config.tie_embeddings:
        nn.init.normal_(model.output.weight, std=0.3)  # zero at first, and then every row gives the same logits
    return model


@pytest.mark.parametrize("row", ADDED)
def test_each_row_has_the_parameters_that_its_name_says(row):
    assert variant(row).n_params - variant("whole model").n_params == ADDED[row]


@torch.no_grad()
@pytest.mark.parametrize("row", list(ROWS)[1:])
def test_each_row_is_another_model(row):
    x = tokens(2, 20)
    assert (variant(row)(x)[0] - variant("whole model")(x)[0]).abs().max() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("row", ROWS)
def test_no_row_sees_the_future_and_a_cache_changes_nothing(row):
    model, x = variant(row).double(), tokens(2, 20)
    full, _ = model(x)
    assert (model(x[:, :9])[0] - full[:, :9]).abs().max() < 1e-12
    cache = KVCache(model.config, batch_size=2, dtype=torch.float64)
    parts = [model(part, cache=cache)[0] for part in x.split([5, 1, 14], dim=1)]
    assert (torch.cat(parts, 1) - full).abs().max() < 1e-12


@pytest.mark.parametrize("row", ROWS)
def test_each_row_learns(row):
    """Thirty steps on one batch in which each token names the next: the loss falls, and every weight in use moves."""
    model = variant(row)
    x = (torch.arange(24) + torch.arange(4)[:, None]) % 40
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        loss = model.loss(x[:, :-1], x[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0] or losses[-1] < 0.5
    idle = {name.split(".")[-2] for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    expected = {"no attention": {"attention_norm"}, "no MLP": {"ffn_norm"}}
    assert idle == expected.get(row, set()), "only the norm before a part that is gone has nothing to do"


@torch.no_grad()
def test_without_a_part_nothing_of_it_is_left():
    x = tokens(1, 6)
    by_layers = variant("no attention")
    moved = x.clone()
    moved[0, 0] = (moved[0, 0] + 1) % 40
    assert torch.allclose(by_layers(x)[0][:, 1:], by_layers(moved)[0][:, 1:], atol=1e-6), "a token sees only itself"
    one_layer = MiniLLM(CONFIG.with_(n_layers=1), seed=1, rope_table=variants.no_rotation)
    swapped = x[:, [0, 2, 1, 3, 4, 5]]
    ends = one_layer(x)[0][:, -1], one_layer(swapped)[0][:, -1]
    assert torch.allclose(*ends, atol=1e-5), "one layer without positions cannot see the order"
    named = [[name for name, _ in variant(row).named_parameters()] for row in ("no norm", "no MLP", "no attention")]
    for names, word in zip(named, ("norm", "feed_forward", "attention.w"), strict=True):
        assert not [name for name in names if word in name]


@torch.no_grad()
def test_layer_norm_is_that_of_torch():
    model = variant("LayerNorm")
    assert all(type(layer.ffn_norm) is nn.LayerNorm for layer in model.layers) and model.norm.eps == CONFIG.norm_eps
    x = torch.randn(3, D)
    centred = x - x.mean(-1, keepdim=True)
    by_hand = centred / (centred.pow(2).mean(-1, keepdim=True) + CONFIG.norm_eps).sqrt()
    assert torch.allclose(model.norm(x), by_hand, atol=1e-6)


@torch.no_grad()
def test_post_norm_adds_first_and_normalises_then():
    model = variant("post-norm")
    block, x, table = model.layers[0], torch.randn(2, 7, D), model.freqs_cis[:, :7]
    h = block.attention_norm(x + block.attention(x, table))
    assert torch.equal(block(x, table), block.ffn_norm(h + block.feed_forward(h)))
    assert torch.allclose(block(x, table).pow(2).mean(-1), torch.ones(2, 7), atol=1e-3), "the stream itself is normed"


@torch.no_grad()
def test_qk_norm_normalises_each_query_and_key_before_it_rotates():
    attention, table = variant("QK-norm").layers[0].attention, variant("whole model").freqs_cis[:, :5]
    assert isinstance(attention, CausalSelfAttention)
    q, k = 5 * torch.randn(1, 4, 5, HEAD), torch.randn(1, 2, 5, HEAD)
    weight = torch.tensor([0.5, 1.0, 2.0, 3.0])  # with all at 1, norm and rotation could change places
    attention.rotary.q_norm.weight.copy_(weight)
    attention.rotary.k_norm.weight.copy_(weight)
    new_q, new_k = attention.rotary(q, k, table)
    by_hand = apply_rotary_emb(*(F.rms_norm(x, (HEAD,), weight, CONFIG.norm_eps) for x in (q, k)), table)
    assert torch.allclose(new_q, by_hand[0], atol=1e-6) and torch.allclose(new_k, by_hand[1], atol=1e-6)


def test_sinusoids_are_those_of_the_paper():
    table = variants.sinusoids(50, 16)
    for t, channel in ((0, 0), (3, 4), (49, 15), (17, 6)):
        pair = channel // 2
        wave = math.cos if channel % 2 else math.sin
        assert abs(table[t, channel] - wave(t / 10000 ** (2 * pair / 16))) < 1e-5


@torch.no_grad()
@pytest.mark.parametrize("row", ["learned positions", "sinusoidal positions"])
def test_positions_are_added_once_to_the_embeddings(row):
    model, x = variant(row), tokens(1, 9)
    table = model.layers[0].table
    plain = MiniLLM(CONFIG, seed=1, rope_table=variants.no_rotation)
    plain.load_state_dict({name: weight for name, weight in model.state_dict().items() if "table" not in name})
    stream = plain.tok_embeddings(x) + table[:9]
    for layer in plain.layers:
        stream = layer(stream, plain.freqs_cis[:, :9])
    assert torch.equal(model(x)[0], plain.output(plain.norm(stream)))
    assert 0.15 < table.std() < 0.4, "of the size of the embeddings"


@torch.no_grad()
def test_a_plain_mlp_has_no_gate():
    for row, activation in (("plain MLP, ReLU²", lambda v: v.clamp(min=0) ** 2), ("plain MLP, GELU", F.gelu)):
        mlp, x = variant(row).layers[0].feed_forward, torch.randn(3, D)
        assert torch.allclose(mlp(x), activation(x @ mlp.w_up.weight.T) @ mlp.w_down.weight.T, atol=1e-6)
        assert mlp.w_up.out_features == 48


def test_the_grid_has_every_pair_but_the_recipes():
    pairs = {(row["embedding_std"], row["learning_rate"]) for row in ablations.GRID.values()}
    recipe = TALES.model["embedding_std"], TALES.train["learning_rate"]
    assert pairs | {recipe} == {(std, rate) for std in ablations.STDS for rate in ablations.RATES}
    assert recipe not in pairs
