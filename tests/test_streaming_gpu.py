"""Streaming on an NVIDIA GPU chooses the recorded model by itself. Here the graphs are played by the model on the CPU;
test_cuda.py has the real ones."""

import warnings
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from helpers import TOKENIZER, small_model

from foundry_lib.errors import Notice
from foundry_lib.inference import cuda_graphs
from foundry_lib.inference.cuda_graphs import Recorded, for_streaming
from foundry_lib.inference.generation import sample_text, stream
from foundry_lib.models.kv_cache import KVCache


class Played(Recorded):
    """Recorded with graphs that compute when they are replayed."""

    def _record(self, cache):
        graph = super()._record(cache)
        if graph is None:
            return None

        def replay():
            length = self.text.length
            self.logits.copy_(self.model(self.idx, cache=self.text)[0])
            self.text.length = length

        self.graphs[cache.length] = SimpleNamespace(replay=replay)
        return self.graphs[cache.length]


@pytest.fixture
def model(monkeypatch):
    """A model that counts as one on a CUDA device, with a torch.cuda that records nothing."""
    monkeypatch.setattr(torch.cuda, "CUDAGraph", SimpleNamespace)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph, pool: nullcontext())
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: 0)
    monkeypatch.setattr(cuda_graphs, "Recorded", Played)
    monkeypatch.setattr(cuda_graphs, "on_cuda", lambda model: True)
    monkeypatch.setattr(cuda_graphs, "recorded", [])
    return small_model()


def text(model, **options) -> str:
    return sample_text(model, TOKENIZER, "An owl", 60, seed=4, **options)


def test_a_streamed_text_is_recorded_and_the_same(model, monkeypatch):
    first, second = text(model), text(model)
    (writer,) = cuda_graphs.recorded
    assert writer.graphs and first == second
    monkeypatch.setattr(cuda_graphs, "on_cuda", lambda model: False)
    assert text(model) == first


def test_a_part_that_changes_is_recorded_again(model):
    text(model)
    (before,) = cuda_graphs.recorded
    model.layers[0].attention.attend = lambda q, k, v: torch.zeros_like(q)
    text(model)
    (after,) = cuda_graphs.recorded
    assert after is not before and after.model is model


def test_only_the_newest_models_stay(model):
    models = [model, *(small_model(seed) for seed in range(1, 5))]
    for one in models:
        text(one)
    assert [writer.model for writer in cuda_graphs.recorded] == models[-cuda_graphs.KEPT :]


def test_two_texts_at_a_time(model):
    alone = text(model)
    streams = [stream(model, TOKENIZER, "An owl", 60, seed=4) for _ in range(2)]
    texts = ["An owl", "An owl"]
    for pair in zip(*streams, strict=True):
        texts = [text + new for text, new in zip(texts, pair, strict=True)]
    assert texts == [alone, alone]


def test_an_own_part_that_cannot_be_recorded_is_said_once(model, monkeypatch):
    alone = text(model)

    def refuse(graph, pool):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(torch.cuda, "graph", refuse)
    cuda_graphs.recorded.clear()
    with pytest.warns(Notice, match="without CUDA graphs.*an own part of it reads a number back") as notices:
        assert text(model) == alone
    assert len(notices) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert text(model) == alone


def test_an_own_cache_is_written_by_the_model_itself(model):
    with pytest.warns(Notice, match="your own KV cache"), for_streaming(model, {"kv_cache": KVCache}) as writer:
        assert writer is model
