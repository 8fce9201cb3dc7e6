"""The model's own promises: causality, the cache, the batch, the counts, the first loss."""

import copy
import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from helpers import CONFIG, random_model, tokens
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from foundry_lib import (
    MLP,
    CausalSelfAttention,
    ConfigError,
    KVCache,
    MiniLLM,
    ModelConfig,
    RMSNorm,
    apply_rotary_emb,
    causal_attention,
    fused_causal_attention,
    rms_norm,
)


@torch.no_grad()
def test_a_later_token_changes_nothing_before_it():
    model, idx = random_model(), tokens(2, 20)
    logits, _ = model(idx)
    for t in range(1, 20):
        other = idx.clone()
        other[:, t:] = tokens(2, 20 - t, seed=t)
        changed, _ = model(other)
        assert torch.equal(changed[:, :t], logits[:, :t])  # to the last bit
    assert not torch.equal(changed[:, -1], logits[:, -1])


@torch.no_grad()
def test_the_cache_changes_nothing_for_every_split():
    model, idx = random_model(dtype=torch.float64), tokens(2, 24)
    full, _ = model(idx)
    for split in range(1, 24):
        cache = KVCache(CONFIG, batch_size=2, dtype=torch.float64)
        first, _ = model(idx[:, :split], cache=cache)
        second, _ = model(idx[:, split:], cache=cache)
        assert torch.allclose(torch.cat((first, second), 1), full, rtol=0, atol=1e-12)
    cache = KVCache(CONFIG, batch_size=2, dtype=torch.float64)
    single = torch.cat([model(idx[:, t : t + 1], cache=cache)[0] for t in range(24)], 1)
    assert torch.allclose(single, full, rtol=0, atol=1e-12)


@torch.no_grad()
def test_a_cache_with_positions_off_by_one_would_be_seen():
    """A test of the test above: without the right offset the halves no longer fit together."""
    model, idx = random_model(dtype=torch.float64), tokens(1, 12)
    full, _ = model(idx)
    cache = KVCache(CONFIG, dtype=torch.float64)
    model(idx[:, :6], cache=cache)
    for layer in model.layers:
        layer.attention.rotary = lambda q, k, t: apply_rotary_emb(q, k, model.freqs_cis[:, 5 : 5 + q.shape[2]])
    assert (model(idx[:, 6:], cache=cache)[0] - full[:, 6:]).abs().max() > 1e-3


@torch.no_grad()
def test_a_row_does_not_see_its_neighbours():
    model, idx = random_model(dtype=torch.float64), tokens(5, 17)
    together, _ = model(idx)
    apart = torch.cat([model(row[None])[0] for row in idx])
    assert torch.allclose(together, apart, rtol=0, atol=1e-12)
    idx[1:] = 0
    assert torch.equal(model(idx)[0][0], together[0])


@pytest.mark.parametrize("shape", [(2, 6, 3, 9, 9), (1, 4, 4, 1, 7), (3, 4, 1, 5, 11), (2, 2, 2, 1, 1)])
def test_written_out_attention_equals_the_fused_kernel(shape):
    B, H, K, T, S = shape
    generator = torch.Generator().manual_seed(7)
    q = torch.randn(B, H, T, 8, dtype=torch.float64, generator=generator)
    k, v = torch.randn(2, B, K, S, 8, dtype=torch.float64, generator=generator)
    out, weights = causal_attention(q, k, v)
    assert torch.allclose(out, fused_causal_attention(q, k, v), rtol=0, atol=1e-12)
    assert torch.allclose(weights.sum(-1), torch.ones(B, H, T, dtype=torch.float64))
    assert weights.shape == (B, H, T, S) and weights.triu(S - T + 1).abs().max() == 0


def test_rms_norm_equals_pytorch():
    x = torch.randn(3, 5, 48, generator=torch.Generator().manual_seed(1)) * 3
    weight = torch.linspace(0.5, 1.5, 48)
    assert (rms_norm(x, weight, 1e-3) - F.rms_norm(x, (48,), weight, 1e-3)).abs().max() <= 1e-6
    assert rms_norm(x.bfloat16() * 1e20, weight.bfloat16()).isfinite().all()  # the square alone would overflow


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_rms_norm_takes_its_mean_in_32_bits(dtype):
    """In 16 bits the squares of values over 256 overflow, and a mean over many channels keeps two or three digits."""
    x = (torch.randn(8, 512, generator=torch.Generator().manual_seed(2)) * 300).to(dtype)
    ones = torch.ones(512)
    ours, exact = rms_norm(x, ones.to(dtype)), rms_norm(x.double(), ones.double())
    assert torch.equal(ours, exact.to(dtype)), "right to the last bit that 16 have"


@pytest.mark.parametrize("tied", [False, True])
def test_the_first_loss_is_ln_v(tied):
    for name in ("tiny", "small"):
        config = ModelConfig.preset(
            name, vocab_size=2048, max_seq_len=64, tie_embeddings=tied, embedding_std=0.02 if tied else None
        )
        idx = torch.randint(2048, (4, 65), generator=torch.Generator().manual_seed(0))
        _, loss = MiniLLM(config)(idx[:, :-1], idx[:, 1:])
        assert abs(loss.item() - math.log(2048)) < 0.1


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("preset", ["tiny", "small", "medium"])
def test_parameters_are_counted(preset, tied):
    config = ModelConfig.preset(preset, tie_embeddings=tied)
    model = MiniLLM(config)
    assert config.n_params == model.n_params == sum(config.params_by_part.values())
    assert config.params_by_part["attention"] == sum(
        p.numel() for n, p in model.named_parameters() if "attention.w" in n
    )
    assert config.params_by_part["feed_forward"] == sum(
        p.numel() for n, p in model.named_parameters() if "feed_forward" in n
    )


def test_the_device_is_where_the_weights_are():
    model = random_model()
    assert model.device == torch.device("cpu") and model.to("meta").device == torch.device("meta")


def test_flops_are_counted():
    """PyTorch's counter agrees to the last operation; it does not know the fused kernel on a CPU, so the written-out
    attention takes its place for the count."""
    model = random_model()
    for layer in model.layers:
        layer.attention.attend = lambda q, k, v: causal_attention(q, k, v)[0]
    with FlopCounterMode(display=False) as counter:
        model(tokens(3, CONFIG.max_seq_len))
    assert counter.get_total_flops() == CONFIG.flops_per_token * 3 * CONFIG.max_seq_len


def test_cache_bytes_are_counted():
    cache = KVCache(CONFIG, batch_size=2, max_len=10, dtype=torch.bfloat16)
    assert sum(tensor.nbytes for tensor in cache.k + cache.v) == 2 * 10 * CONFIG.kv_cache_bytes_per_token


def test_what_does_not_fit_is_refused_by_name():
    model = random_model()
    with pytest.raises(ConfigError, match="max_seq_len=24 tokens, found 25"):
        model(tokens(1, 25))
    cache = KVCache(CONFIG, max_len=8)
    with pytest.raises(ConfigError, match="holds 8 tokens"):
        model(tokens(1, 9), cache=cache)
    with pytest.raises(ConfigError, match="batch_size=1, and this call needs 2"):
        model(tokens(2, 4), cache=cache)


def test_the_seed_alone_decides_the_weights():
    torch.manual_seed(1)
    a = MiniLLM(CONFIG, seed=5)
    torch.rand(7)
    b, c = MiniLLM(CONFIG, seed=5), MiniLLM(CONFIG, seed=6)
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    assert not torch.equal(a.layers[0].attention.wq.weight, c.layers[0].attention.wq.weight)


def test_weights_lie_by_input_channel_and_are_drawn_as_if_they_did_not():
    """The order in memory is what makes writing fast; no copy, load or gradient may lose it, no draw depend on it."""

    def by_rows(config):
        part = MLP(config)
        for name, linear in list(part.named_children()):
            setattr(part, name, nn.Linear(linear.in_features, linear.out_features, bias=False))
        return part

    ours, plain = MiniLLM(CONFIG, seed=5), MiniLLM(CONFIG, seed=5, feed_forward=by_rows)
    assert all(torch.equal(p, q) for p, q in zip(ours.parameters(), plain.parameters(), strict=True))
    loaded = MiniLLM(CONFIG, seed=6)
    loaded.load_state_dict(plain.state_dict())
    ours.loss(tokens(2, 8), tokens(2, 8, seed=1)).backward()
    for model in (ours, copy.deepcopy(ours), loaded):
        linears = {name: part.weight for name, part in model.named_modules() if isinstance(part, nn.Linear)}
        assert len(linears) == 7 * CONFIG.n_layers + 1
        for name, weight in linears.items():
            assert weight.T.is_contiguous() and not weight.is_contiguous(), name
            assert weight.grad is None or weight.grad.stride() == weight.stride(), name


def test_parts_of_ones_own_plug_in():
    """The same parts under other names give the same weights and logits; other parts are really used."""

    class MyNorm(RMSNorm):
        pass

    def written_out(q, k, v):
        return causal_attention(q, k, v)[0]

    idx, own = tokens(2, 9), partial(CausalSelfAttention, rotary=lambda q, k, t: apply_rotary_emb(q, k, t))
    ours = MiniLLM(CONFIG, seed=3)
    theirs = MiniLLM(
        CONFIG, seed=3, norm=MyNorm, attention=partial(own, attend=written_out), feed_forward=lambda c: MLP(c)
    )
    assert isinstance(theirs.norm, MyNorm) and isinstance(theirs.layers[2].ffn_norm, MyNorm)
    torch.nn.init.normal_(ours.output.weight, std=0.05)
    theirs.load_state_dict(ours.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    assert (ours(idx)[0] - theirs(idx)[0]).abs().max() <= 1e-5
    unturned = MiniLLM(CONFIG, seed=3, attention=partial(CausalSelfAttention, rotary=lambda q, k, t: (q, k)))
    unturned.load_state_dict(ours.state_dict())
    assert (ours(idx)[0] - unturned(idx)[0]).abs().max() > 1e-3
