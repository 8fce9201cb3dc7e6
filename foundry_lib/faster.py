"""Two stand-ins for a model that writes: the same step of one token, recorded on an NVIDIA GPU or compiled on a CPU.

A small model keeps its processor waiting for Python, which asks for some 230 small products and sums a token. Both ask
once and for all: `Recorded` keeps the list of what was asked, a CUDA graph, and `Compiled` makes one program of it.
Nothing of the model is written twice, and they give what it gives. Prompts, of any length, are left to the model.
"""

import copy
import os
import shutil
import sys

import torch
from torch import Tensor

from .errors import ConfigError
from .kv_cache import KVCache
from .model import MiniLLM

COMPILERS = {"win32": "cl", "darwin": "clang++"}  # PyTorch's choice; elsewhere g++


class Compiled:
    """Stands for a model on a CPU in `generate` and `stream`; it needs a C++ compiler.

        fast = Compiled(model)
        text = generate(fast, idx, 200)   # half a minute: the first text is compiled for
        text = generate(fast, idx, 200)   # half to four fifths of the model's own time

    The first text of several rows compiles once more. Weights that are changed in place (by a training, by
    load_state_dict) are followed; hooks that come later are not. Raises ConfigError without a compiler or off the CPU.
    """

    def __init__(self, model: MiniLLM):
        device = model.tok_embeddings.weight.device
        if device.type != "cpu":
            raise ConfigError(f"Compiled is for a model on the CPU, found one on {device}; on CUDA use Recorded.")
        compiler = os.environ.get("CXX") or COMPILERS.get(sys.platform, "g++")
        if shutil.which(compiler) is None:
            raise ConfigError(
                f"Compiling needs a C++ compiler, found no {compiler!r}; install it or name yours in the variable CXX, "
                f"or let the model itself write."
            )
        self.model, self.config, self.tok_embeddings = model, model.config, model.tok_embeddings
        self.new_cache = model.new_cache
        self.step = torch.compile(model.forward, dynamic=True, options={"cpp_wrapper": True})  # for all lengths at once

    def __call__(self, idx: Tensor, cache: KVCache) -> tuple[Tensor, None]:
        """As `MiniLLM.forward` with a cache."""
        if idx.shape[1] > 1 or cache.length < 2:  # a length of 0 or 1 would be compiled as a case of its own
            return self.model(idx, cache=cache)
        return self.step(idx, cache=cache)


class Recorded:
    """Stands for a model on an NVIDIA GPU in `generate` and `stream`:

        fast = Recorded(model)
        text = generate(fast, idx, 200)   # records as it writes, about as slow as the model itself
        text = generate(fast, idx, 200)   # replays

    A graph holds addresses, not values. So all texts share one cache, one after the other, and weights that are changed
    in place (by a training, by load_state_dict) are followed; after `model.to(...)` or with hooks that come or go,
    make a new one. Memory: the cache, and at most a few MiB for each of up to max_seq_len graphs.
    Raises ConfigError unless the model is on a CUDA device, and for two texts at a time.
    """

    def __init__(self, model: MiniLLM, batch_size: int = 1):
        self.model, self.config, self.tok_embeddings = model, model.config, model.tok_embeddings
        weight = model.tok_embeddings.weight
        if not weight.is_cuda:
            raise ConfigError(
                f"Recorded is for a model on a CUDA device, found one on {weight.device}; on the CPU there is Compiled."
            )
        self.idx = torch.zeros(batch_size, 1, dtype=torch.long, device=weight.device)
        self.logits = torch.zeros(batch_size, 1, self.config.vocab_size, dtype=weight.dtype, device=weight.device)
        self.room = self.text = model.new_cache(batch_size)
        self.graphs, self.memory = {}, torch.cuda.graph_pool_handle()
        with torch.inference_mode():
            model(self.idx, cache=self.room)  # what a library sets up at its first call must not be recorded
        self.room.reset()

    def new_cache(self, batch_size: int = 1) -> KVCache:
        """The cache for the next text, in the memory of the one before, which must have ended."""
        if batch_size != self.room.batch_size:
            raise ConfigError(f"This was recorded for batch_size={self.room.batch_size}, found {batch_size} rows.")
        self.text = copy.copy(self.room)
        return self.text

    @torch.inference_mode()
    def __call__(self, idx: Tensor, cache: KVCache) -> tuple[Tensor, None]:
        """As `MiniLLM.forward` with a cache: idx (B, T) → logits (B, T, V), overwritten by the next call, and None."""
        if cache is not self.text:
            raise ConfigError("Another text has begun in this cache; make a Recorded for each that is written at once.")
        if idx.shape[1] > 1:  # a prompt comes in any length
            return self.model(idx, cache=cache)
        graph = self.graphs.get(cache.length) or self._record(cache)
        self.idx.copy_(idx)
        graph.replay()
        cache.advance(1)
        return self.logits, None

    def _record(self, cache: KVCache) -> torch.cuda.CUDAGraph:
        graph, length = torch.cuda.CUDAGraph(), cache.length
        with torch.cuda.graph(graph, pool=self.memory):
            logits, _ = self.model(self.idx, cache=cache)
            self.logits.copy_(logits)
        cache.length = length  # recording computes nothing
        self.graphs[length] = graph
        return graph
