"""The walk through a model: its numbers are the model's own, also with own parts, and it says what it cannot show."""

import pytest
import torch
from helpers import ROOT

from foundry_lib import MLP, Block, CausalSelfAttention, ConfigError, MiniLLM, ModelConfig, RMSNorm
from foundry_lib.analysis import walk
from foundry_lib.instructor.solutions import solutions
from foundry_lib.lessons.as_parts import own_parts
from foundry_lib.models.attention import causal_attention
from foundry_lib.models.norm import rms_norm
from foundry_lib.models.rope import apply_rotary_emb
from foundry_lib.plots import model_map
from foundry_lib.training.checkpoint import load_checkpoint

CONFIG = ModelConfig(vocab_size=31, dim=24, n_layers=2, n_heads=6, n_kv_heads=2, tie_embeddings=True, embedding_std=0.3)
IDS = torch.randint(31, (1, 9), generator=torch.Generator().manual_seed(1))


class OwnBlock(Block):
    def forward(self, x, freqs_cis, cache=None):
        h = self.attention(self.attention_norm(x), freqs_cis, cache=cache) + x
        return self.feed_forward(self.ffn_norm(h)) + h


class OtherNames(torch.nn.Module):
    """A right block whose parts have other names."""

    def __init__(self, config, layer=0, norm=RMSNorm, attention=CausalSelfAttention, feed_forward=MLP):
        super().__init__()
        self.a, self.b = norm(config.dim, config.norm_eps), norm(config.dim, config.norm_eps)
        self.mix, self.think = attention(config, layer), feed_forward(config)

    def forward(self, x, freqs_cis, cache=None):
        h = x + self.mix(self.a(x), freqs_cis, cache)
        return h + self.think(self.b(h))


class Parallel(Block):
    def forward(self, x, freqs_cis, cache=None):
        return x + self.attention(self.attention_norm(x), freqs_cis, cache) + self.feed_forward(self.ffn_norm(x))


OWN = own_parts(
    rms_norm=lambda x, weight, eps: rms_norm(x, weight, eps),
    rotary=lambda q, k, table: apply_rotary_emb(q, k, table),
    gqa=lambda q, k, v: causal_attention(q, k, v)[0],
    swiglu=lambda x, gate, up, down: (torch.nn.functional.silu(x @ gate.T) * (x @ up.T)) @ down.T,
)


@pytest.fixture(scope="module")
def starter():
    return load_checkpoint(ROOT / "data" / "starter-en", "cpu")


def models(starter):
    yield "library", MiniLLM(CONFIG, seed=3)
    yield "own parts", MiniLLM(CONFIG, seed=3, **OWN)
    yield "own block", MiniLLM(CONFIG, seed=3, **OWN, block=OwnBlock)
    yield (
        "softcap and x0",
        MiniLLM(
            CONFIG, seed=3, logits=lambda s: 5 * torch.tanh(s / 5), residual=lambda x, x0, layer: 0.9 * x + 0.1 * x0
        ),
    )
    names = {"torch": torch, "nn": torch.nn, "F": torch.nn.functional}
    exec(solutions()["model"], names)  # the whole model, as lesson 05 writes it
    yield "own model", MiniLLM(CONFIG, seed=3, **own_parts(model=names["MyModel"], block=OwnBlock))
    yield "starter", starter[0]


def farthest(model, ids) -> float:
    """The largest difference between the walk's numbers and those of an ordinary forward pass."""
    stops = walk.walk_through(model, ids)
    seen = {}
    hooks = [
        layer.register_forward_hook(lambda *a, n=n: seen.update({n: a[2]})) for n, layer in enumerate(model.layers)
    ]
    hooks += [layer.ffn_norm.register_forward_pre_hook(lambda m, a, n=n: seen.update({(n, "h"): a[0]}))
              for n, layer in enumerate(model.layers)]  # fmt: skip
    with torch.no_grad():
        logits = model(ids)[0]
        apart = [(stops[-2].tensor - logits).abs().max(), (stops[-1].tensor - logits.softmax(-1)).abs().max()]
        apart.append((stops[1].tensor - model.tok_embeddings(ids)).abs().max())
        for hook in hooks:
            hook.remove()
        by_name = {(stop.layer, stop.name): stop.tensor for stop in stops}
        for n, layer in enumerate(model.layers):
            apart.append((by_name[n, "residual stream after attention"] - seen[n, "h"]).abs().max())
            apart.append((by_name[n, "residual stream after feed-forward"] - seen[n]).abs().max())
            # what was computed again leads to what was caught
            mixed = by_name[n, "mixed values"]
            wide = mixed.transpose(1, 2).flatten(2)
            apart.append((layer.attention.wo(wide) - by_name[n, "output of attention"]).abs().max())
            weighed = by_name[n, "attention weights"] @ by_name[n, "values"].repeat_interleave(
                model.config.n_heads // model.config.n_kv_heads, dim=1
            )
            apart.append((weighed - mixed).abs().max())
            product = by_name[n, "silu(gate) × up"]
            apart.append((layer.feed_forward.w_down(product) - by_name[n, "output of feed-forward"]).abs().max())
        apart.append((walk.predicted(model, stops[-4])[-1] - logits[0, -1].softmax(-1)).abs().max())
    return max(apart).item()


def test_the_walk_has_the_models_own_numbers(starter, capsys):
    apart = {name: farthest(model, IDS) for name, model in models(starter)}
    with capsys.disabled():
        print("\nlargest difference:", {name: f"{value:.1e}" for name, value in apart.items()})
    assert max(apart.values()) <= 1e-6


def test_every_stop_has_its_shape_and_its_box(starter):
    model = starter[0]
    stops = walk.walk_through(model, IDS)
    assert len(stops) == 2 + 16 * 2 + 3 and walk.missing(stops, 2) == []
    c = model.config
    size = dict(B=1, T=9, D=c.dim, H=c.n_heads, K=c.n_kv_heads, d=c.head_dim, F=c.hidden_dim, V=c.vocab_size)
    boxes = model_map.boxes(c)
    for stop in stops:
        assert stop.tensor.shape == tuple(size[letter] for letter in stop.letters.split(", ")), stop.name
        part, number = stop.box
        assert len([box for box in boxes if box.part == part]) > number
        sizes = stop.sizes()
        assert sizes is None or sizes.shape == (9,)
    first = stops[1]
    assert torch.allclose(first.sizes()[4], first.tensor[0, 4].square().mean().sqrt())
    keys, turned = (next(s for s in stops if s.name == name).sizes() for name in ("keys", "keys after RoPE"))
    assert torch.allclose(keys, turned, atol=1e-4), "a rotation keeps lengths"


def test_a_block_of_ones_own_lacks_stops_and_the_walk_says_which():
    stops = walk.walk_through(MiniLLM(CONFIG, block=OtherNames, attention=CausalSelfAttention, feed_forward=MLP), IDS)
    gone = walk.missing(stops, 2)
    assert gone == list(walk.LAYER)[:-1], "only what leaves the block is seen"
    assert [stop.name for stop in stops if stop.layer == 0] == ["residual stream after feed-forward"]
    stops = walk.walk_through(MiniLLM(CONFIG, block=Parallel, attention=CausalSelfAttention, feed_forward=MLP), IDS)
    assert walk.missing(stops, 2) == ["residual stream after attention"], "no such sum exists there"


def test_the_walk_changes_nothing_and_refuses_two_texts():
    model = MiniLLM(CONFIG, seed=3)
    before = model(IDS)[0]
    walk.walk_through(model, IDS)
    assert torch.equal(model(IDS)[0], before)
    assert not any(module._forward_hooks for module in model.modules())
    with pytest.raises(ConfigError, match="one text"):
        walk.walk_through(model, IDS.repeat(2, 1))
