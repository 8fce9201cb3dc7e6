"""The walk: one text's way through a model, with the tensor at every box of the map (`plots.model_map`).

What passes between the parts is caught in an ordinary forward pass. Inside attention and feed-forward the model's own
matrices and functions are called once more, on what the part has read.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ConfigError
from ..models.attention import CausalSelfAttention, causal_attention
from ..models.feed_forward import MLP

# name of a stop → its box on the map (a part, and which box of that part), and the letters of its shape
BEFORE = {"token ids": ("ids", 0, "B, T"), "embedding": ("embedding", 0, "B, T, D")}
LAYER = {
    "norm before attention": ("norm", 0, "B, T, D"),
    "queries": ("projections", 0, "B, H, T, d"),
    "keys": ("projections", 1, "B, K, T, d"),
    "values": ("projections", 2, "B, K, T, d"),
    "queries after RoPE": ("rope", 0, "B, H, T, d"),
    "keys after RoPE": ("rope", 0, "B, K, T, d"),
    "attention weights": ("attention", 0, "B, H, T, T"),
    "mixed values": ("attention", 0, "B, H, T, d"),
    "output of attention": ("projections", 3, "B, T, D"),
    "residual stream after attention": ("sum", 0, "B, T, D"),
    "norm before feed-forward": ("norm", 1, "B, T, D"),
    "gate": ("widths", 0, "B, T, F"),
    "up projection": ("widths", 1, "B, T, F"),
    "silu(gate) × up": ("swiglu", 0, "B, T, F"),
    "output of feed-forward": ("widths", 2, "B, T, D"),
    "residual stream after feed-forward": ("sum", 1, "B, T, D"),
}
AFTER = {
    "last norm": ("norm", 2, "B, T, D"),
    "logits": ("head", 0, "B, T, V"),
    "probabilities": ("softmax", 0, "B, T, V"),
}


@dataclass(frozen=True)
class Stop:
    """A stop of the walk. layer: counted from 0, or None. box: a part of the map, and which box of that part.

    letters: of the tensor's axes. tensor: of one text, B = 1, on the CPU; in 32 bits, except the token ids.
    """

    name: str
    layer: int | None
    box: tuple[str, int]
    letters: str
    tensor: Tensor

    @property
    def title(self) -> str:
        """The name, after the layer where there is one."""
        return self.name if self.layer is None else f"layer {self.layer}, {self.name}"

    @property
    def residual(self) -> bool:
        """Whether this is the residual stream."""
        return self.box[0] in ("embedding", "sum")

    def sizes(self) -> Tensor | None:
        """The root mean square of each token's vector, (T,), over all its heads; None for ids and probabilities."""
        if self.box[0] in ("ids", "softmax") or self.name == "attention weights":
            return None
        by_token = self.tensor[0] if self.tensor.dim() == 3 else self.tensor[0].transpose(0, 1).flatten(1)
        return by_token.pow(2).mean(-1).sqrt()


@contextmanager
def caught(model) -> Iterator[dict[str, tuple[tuple, Tensor]]]:
    """Inside the `with`, each module's call is stored: name of the module → its arguments, and what it returned."""
    calls = {}

    def store(name):
        return lambda module, args, kwargs, output: calls.update({name: ((*args, *kwargs.values()), output)})

    hooks = [module.register_forward_hook(store(name), with_kwargs=True) for name, module in model.named_modules()]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def walk_through(model, idx: Tensor) -> list[Stop]:
    """Every stop of the text idx (1, T) on its way through a MiniLLM, in order.

    A model with parts of its own lacks the stops inside them; `missing` names these. Raises ConfigError for more than
    one text, and as the model does.
    """
    if idx.dim() != 2 or idx.shape[0] != 1:
        raise ConfigError(f"The walk follows one text, idx (1, T); found the shape {tuple(idx.shape)}.")
    with caught(model) as calls:
        logits = model(idx)[0]
    stops = made(BEFORE, None, {"token ids": idx, "embedding": calls["tok_embeddings"][1]})
    for number, layer in enumerate(model.layers):
        stops += made(LAYER, number, layer_tensors(layer, f"layers.{number}", calls))
    after = {"logits": logits, "probabilities": logits.float().softmax(-1)}
    return stops + made(AFTER, None, dict(after, **returned(calls, {"last norm": "norm"})))


def made(table: dict, layer: int | None, tensors: dict[str, Tensor]) -> list[Stop]:
    """The stops of a table that have a tensor."""
    stops = []
    for name, (part, number, letters) in table.items():
        if name in tensors:
            tensor = tensors[name].detach().cpu()
            tensor = tensor.float() if tensor.is_floating_point() else tensor
            stops.append(Stop(name, layer, (part, number), letters, tensor))
    return stops


def returned(calls: dict, modules: dict[str, str]) -> dict[str, Tensor]:
    """What modules returned: name of a stop → tensor, for the modules that were called."""
    return {stop: calls[module][1] for stop, module in modules.items() if module in calls}


def layer_tensors(layer, at: str, calls: dict) -> dict[str, Tensor]:
    """The tensors of one layer, whose modules are called `at`…: name of a stop → tensor. Those that it lacks are left
    out."""
    names = {
        "norm before attention": f"{at}.attention_norm",
        "output of attention": f"{at}.attention",
        "norm before feed-forward": f"{at}.ffn_norm",
        "output of feed-forward": f"{at}.feed_forward",
        "residual stream after feed-forward": at,
    }
    tensors = returned(calls, names)
    attention, feed_forward = getattr(layer, "attention", None), getattr(layer, "feed_forward", None)
    if "output of attention" in tensors and isinstance(attention, CausalSelfAttention):
        tensors |= attention_tensors(attention, *calls[f"{at}.attention"][0][:2])
    if "output of feed-forward" in tensors and isinstance(feed_forward, MLP):
        read = calls[f"{at}.feed_forward"][0][0]
        gate, up = feed_forward.w_gate(read), feed_forward.w_up(read)
        tensors |= {"gate": gate, "up projection": up, "silu(gate) × up": F.silu(gate) * up}
    if {"output of attention", "norm before feed-forward"} <= set(tensors):
        total = calls[at][0][0] + tensors["output of attention"]
        if torch.allclose(total, calls[f"{at}.ffn_norm"][0][0], atol=1e-5):  # a block of one's own may add otherwise
            tensors["residual stream after attention"] = calls[f"{at}.ffn_norm"][0][0]
    return tensors


def attention_tensors(attention: CausalSelfAttention, read: Tensor, table: Tensor) -> dict[str, Tensor]:
    """The tensors inside an attention that has read (1, T, D), with the angles (2, T, d/2)."""

    def heads(x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)

    q, k, v = heads(attention.wq(read)), heads(attention.wk(read)), heads(attention.wv(read))
    turned_q, turned_k = attention.rotary(q, k, table)
    tensors = {"queries": q, "keys": k, "values": v, "queries after RoPE": turned_q, "keys after RoPE": turned_k}
    tensors["attention weights"] = causal_attention(turned_q, turned_k, v)[1]
    return tensors | {"mixed values": attention.attend(turned_q, turned_k, v)}


def missing(stops: list[Stop], n_layers: int) -> list[str]:
    """The names of the stops that a model with the library's parts would have besides these.

    >>> missing([], 1)[0], len(missing([], 1))
    ('token ids', 21)
    """
    walked = {(stop.layer, stop.name) for stop in stops}
    every = [(None, name) for name in BEFORE]
    every += [(layer, name) for layer in range(n_layers) for name in LAYER]
    every += [(None, name) for name in AFTER]
    return list(dict.fromkeys(name for layer, name in every if (layer, name) not in walked))


@torch.no_grad()
def predicted(model, stop: Stop) -> Tensor:
    """What the model would predict if it ended at this stop of the residual stream: probabilities (T, V).

    The last norm and the head read the residual stream there, as they read it at its end. Source: nostalgebraist 2020,
    "the logit lens".
    """
    x = stop.tensor.to(model.tok_embeddings.weight)  # its device and its precision
    scores = model.output(model.norm(x))
    logits = scores if model.logits is None else model.logits(scores)
    return logits[0].float().softmax(-1).cpu()
