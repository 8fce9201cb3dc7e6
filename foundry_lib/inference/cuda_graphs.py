"""CUDA graphs: on an NVIDIA GPU the model's step of one token, recorded once for each length and then replayed.

A small model keeps a GPU waiting: Python asks for some 230 small kernels per token (preset small), and asking takes
longer than they do. A CUDA graph is the list of the kernels of one step, and replaying it is one call. Nothing of the
model is written twice: the graph records the model itself.
"""

import copy
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from ..errors import ConfigError, Notice
from ..models.kv_cache import KVCache
from ..models.model import MiniLLM


class Recorded:
    """Takes the place of a model on an NVIDIA GPU in `generate` and `stream`:

        fast = Recorded(model)
        text = generate(fast, idx, 200)   # records while it generates: up to twice the model's own time
        text = generate(fast, idx, 200)   # replays what was recorded: the fast way

    A graph holds the addresses of tensors, not their values. So all texts use one cache, one after the other. A replay
    uses the weights as they are now, also after a training step or load_state_dict. Make a new Recorded after
    `model.to(...)`, and after a hook or an own part of the model has changed. Memory: the cache, and at most a few MiB
    for each of up to max_seq_len graphs. Raises ConfigError unless the model is on a CUDA device, and for two texts at
    a time. `stream` and the speaking panel make one by themselves (`for_streaming`).
    A step that cannot be recorded, because an own part reads a number back from the GPU, is computed by the model
    itself; a Notice says so.
    """

    def __init__(self, model: MiniLLM, batch_size: int = 1):
        self.model, self.config, self.device = model, model.config, model.device
        self.modules = model.modules  # `generate` puts them in evaluation mode
        if not on_cuda(model):
            raise ConfigError(
                f"Recorded is for a model on a CUDA device, found one on {self.device}; let the model itself write."
            )
        dtype = model.tok_embeddings.weight.dtype
        self.idx = torch.zeros(batch_size, 1, dtype=torch.long, device=self.device)
        self.logits = torch.zeros(batch_size, 1, self.config.vocab_size, dtype=dtype, device=self.device)
        self.room = self.text = model.new_cache(batch_size)
        self.graphs, self.memory = {}, torch.cuda.graph_pool_handle()
        self.recordable, self.in_use, self.built_of = True, threading.Lock(), built_of(model)
        with torch.inference_mode():
            model(self.idx, cache=self.room)  # what a library sets up at its first call must not be recorded
        self.room.reset()

    def new_cache(self, batch_size: int = 1, kind: Callable = KVCache) -> KVCache:
        """The cache for the next text, in the memory of the text before, which must have ended."""
        if kind is not KVCache:
            raise ConfigError("A graph is recorded with the library's KVCache. For an own cache give the model itself.")
        if batch_size != self.room.batch_size:
            raise ConfigError(f"This was recorded for batch_size={self.room.batch_size}, found {batch_size} rows.")
        self.text = copy.copy(self.room)
        return self.text

    @torch.inference_mode()
    def __call__(self, idx: Tensor, cache: KVCache) -> tuple[Tensor, None]:
        """`MiniLLM.forward` with a cache: idx (B, T) → logits (B, T, V), which the next call overwrites, and None."""
        self._check_text(cache)
        graph = None
        if idx.shape[1] == 1 and self.recordable:  # a prompt comes in any length
            graph = self.graphs.get(cache.length) or self._record(cache)
        if graph is None:
            return self.model(idx, cache=cache)
        self.idx.copy_(idx)
        graph.replay()
        cache.advance(1)
        return self.logits, None

    def _check_text(self, cache: KVCache):
        if cache is not self.text:
            raise ConfigError("Another text has begun in this cache; make a Recorded for each that is written at once.")

    def _record(self, cache: KVCache) -> torch.cuda.CUDAGraph | None:
        """The graph of the step after the tokens in the cache; None if it cannot be recorded."""
        graph, length = torch.cuda.CUDAGraph(), cache.length
        try:
            with torch.cuda.graph(graph, pool=self.memory):
                logits, _ = self.model(self.idx, cache=cache)
                self.logits.copy_(logits)
            self.graphs[length] = graph
        except RuntimeError as error:
            graph, self.recordable = None, False
            say_why_not(f"an own part of it reads a number back from the GPU, or moves a tensor to the CPU ({error})")
        finally:
            cache.length = length  # recording computes nothing
        return graph


# ---- The Recorded of a model, for the texts that it streams

KEPT = 3  # models, such as the learner's and the starter, whose graphs stay for the next text
recorded: list[Recorded] = []  # the newest last


def on_cuda(model: MiniLLM) -> bool:
    return model.device.type == "cuda"


def say_why_not(reason: str):
    """Warn with one Notice that the model writes without graphs."""
    message = f"The model writes without CUDA graphs, so more slowly: {reason}."
    warnings.warn(message, Notice, stacklevel=3)


def built_of(model: MiniLLM) -> list:
    """What a graph depends on: the addresses of the tensors, the functions inside the modules, and their hooks."""
    parts = [tensor.data_ptr() for tensor in (*model.parameters(), *model.buffers())]
    for module in model.modules():
        parts += [value for value in vars(module).values() if callable(value)]
        parts += [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
    return parts


@contextmanager
def for_streaming(model, own: dict[str, Callable] | None = None) -> Iterator:
    """What writes one text: on an NVIDIA GPU the model's Recorded, elsewhere the model itself.

    The Recorded stays for the model's next text, unless a part of the model changes. A second text at the same time is
    written by the model itself.
    own: own parts of sampling; with an own cache the model itself writes.
    """
    if not isinstance(model, MiniLLM) or not on_cuda(model):
        yield model
        return
    if "kv_cache" in (own or {}):
        say_why_not("your own KV cache runs, and a graph is recorded with the library's")
        yield model
        return
    parts = built_of(model)
    writer = next((known for known in recorded if known.model is model and known.built_of == parts), None)
    if writer is None:
        writer = Recorded(model)
        recorded[:] = [known for known in recorded if known.model is not model][1 - KEPT :] + [writer]
    if not writer.in_use.acquire(blocking=False):
        yield model
        return
    try:
        yield writer
    finally:
        writer.in_use.release()
