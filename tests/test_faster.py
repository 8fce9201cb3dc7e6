"""The stand-ins that write faster write the same. What needs a GPU is in test_cuda.py."""

import shutil

import pytest
import torch

from foundry_lib import ConfigError, MiniLLM, ModelConfig, SampleConfig
from foundry_lib.faster import Compiled, Recorded
from foundry_lib.sample import generate_tokens


@pytest.fixture
def model() -> MiniLLM:
    model = MiniLLM(ModelConfig(50, dim=16, n_layers=1, n_heads=2, n_kv_heads=1, max_seq_len=16))
    torch.nn.init.normal_(model.output.weight)
    return model


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_a_compiled_model_writes_what_the_model_writes(model):
    """From prompts of any length, greedy and drawn, out of the window, and after its weights have changed."""
    compiled = Compiled(model)
    for seed, prompt in enumerate((3, 0, 1, 16)):
        with torch.no_grad():
            model.output.weight.normal_(generator=torch.Generator().manual_seed(seed))
        idx = torch.randint(50, (1, prompt), generator=torch.Generator().manual_seed(seed))
        for settings in (SampleConfig(temperature=0), SampleConfig(top_k=20)):
            texts = [
                torch.cat(list(generate_tokens(m, idx, 40, settings, torch.Generator().manual_seed(6))), dim=1)
                for m in (model, compiled)
            ]
            assert texts[0].tolist() == texts[1].tolist()
    counted = torch._dynamo.utils.counters
    assert counted["stats"]["unique_graphs"] == 1 and not counted["graph_break"]  # compiled once, and whole


def test_what_is_missing_is_said(model, monkeypatch):
    with pytest.raises(ConfigError, match="for a model on a CUDA device, found one on cpu"):
        Recorded(model)
    with pytest.raises(ConfigError, match="for a model on the CPU, found one on meta"):
        Compiled(MiniLLM(model.config).to("meta"))
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ConfigError, match="found no 'no-such-compiler'"):
        Compiled(model)
