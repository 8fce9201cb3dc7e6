"""What a lesson's calls say to a learner who mistypes: a sentence that names what was found and what there is.

Each of these once ended in a bare KeyError, IndexError or a message of PyTorch's, or was bent in silence.
"""

import re
import types

import pytest
import torch
from torch import nn

from foundry_lib import ConfigError, CorpusError, KVCache, MiniLLM, ModelConfig, generate
from foundry_lib.analysis.heads import silenced
from foundry_lib.analysis.neurons import Neurons
from foundry_lib.analysis.quality import excess, measure
from foundry_lib.analysis.surprise import grammar_surprise
from foundry_lib.experiments import ablations
from foundry_lib.experiments.runs import compare
from foundry_lib.experiments.sweeps import sweep
from foundry_lib.inference.generation import generate_tokens, sample_text
from foundry_lib.inference.sampling import apply_top_k, apply_top_p
from foundry_lib.panels.playground import playground
from foundry_lib.text.loader import DataLoader
from foundry_lib.training.checkpoint import load_checkpoint
from foundry_lib.training.memory import out_of_memory
from foundry_lib.training.recipes import new_trainer

MODEL = MiniLLM(ModelConfig(vocab_size=12, dim=16, n_layers=2, n_heads=4, n_kv_heads=2, max_seq_len=8))
IDX = torch.tensor([[1, 5, 6]])
SPELLER = types.SimpleNamespace(vocab_size=12, encode=lambda text, bos=False: [1, 5, 6], decode=lambda ids: "")
ROWS = r"rows of a tensor, \(B, T\); found "
RUN = types.SimpleNamespace(done=True, row="a", result={})
NEURONS = Neurons(0, ["a", "b"], torch.zeros(2, 4), torch.zeros(2, 4), {"colours": torch.tensor([True, False])})


def look_at(layer, head):
    with silenced(MODEL, layer, head):
        pass


REFUSED = {
    "a token id that is none": (lambda: MODEL(IDX + 6), "Token ids go from 0 to 11, found 7 to 12"),
    "one row without its axis": (lambda: MODEL(IDX[0]), ROWS + r"shape \(3,\). idx\[None\]"),
    "a prompt without its axis": (lambda: generate(MODEL, IDX[0], 2), ROWS + r"shape \(3,\). idx\[None\]"),
    "a prompt with an axis too many": (lambda: generate(MODEL, IDX[None], 2), ROWS + r"shape \(1, 1, 3\).$"),
    "rows of different lengths": (lambda: generate(MODEL, [[1, 5], [1]], 5), ROWS + "a list.*different lengths go in"),
    "a prompt in a list": (lambda: generate(MODEL, [[1, 5]], 5), ROWS + r"a list. torch.tensor\(ids\) makes one"),
    "a list for the model": (lambda: MODEL([[1, 5]]), ROWS + "a list"),
    "ids with a point": (lambda: generate(MODEL, IDX.float(), 5), ROWS + r"torch.float32. Try idx.long\(\)"),
    "an empty prompt with a point": (lambda: generate(MODEL, torch.tensor([[]]), 5), ROWS + "torch.float32"),
    "ids that are true or false": (lambda: MODEL(IDX > 1), ROWS + "torch.bool"),
    "ids on another device": (
        lambda: generate(MODEL, IDX.to("meta"), 5),
        ROWS + r"them on meta and the model on cpu. Try idx.to\(model.device\)",
    ),
    "a prompt of another vocabulary": (lambda: generate(MODEL, IDX + 6, 2), "from 0 to 11, found 7 to 12"),
    "a prompt with a negative id": (lambda: generate(MODEL, IDX - 2, 0), "from 0 to 11, found -1 to 4"),
    "a cache in another dtype": (
        lambda: MODEL(IDX, cache=KVCache(MODEL.config, dtype=torch.float64)),
        "made for dtype=torch.float64, and this call needs torch.float32.",
    ),
    "a cache on another device": (lambda: MODEL(IDX, cache=KVCache(MODEL.config, device="meta")), "for device=meta"),
    "a cache with other heads": (
        lambda: MODEL(IDX, cache=KVCache(MODEL.config.with_(n_kv_heads=1))),
        r"n_kv_heads=1, and this call needs 2. model.new_cache\(batch_size\)",
    ),
    "a cache with wider heads": (lambda: MODEL(IDX, cache=KVCache(MODEL.config.with_(dim=32))), "head_dim=8,"),
    "a cache with other layers": (lambda: MODEL(IDX, cache=KVCache(MODEL.config.with_(n_layers=1))), "n_layers=1,"),
    "a cache for more rows": (lambda: MODEL(IDX, cache=MODEL.new_cache(2)), "batch_size=2, and this call needs 1"),
    "targets of another length": (lambda: MODEL(IDX, IDX[:, 1:]), r"tokens \(1, 3\), targets \(1, 2\)"),
    "settings in a dictionary": (
        lambda: next(generate_tokens(MODEL, IDX, 2, {"temperature": 0})),
        "must be a SampleConfig or a function that gives one, found {'temperature': 0}",
    ),
    "a seed too large": (lambda: sample_text(MODEL, SPELLER, "x", seed=2**70), "from 0 to 2⁶³, found 11805"),
    "a seed with a point": (lambda: sample_text(MODEL, SPELLER, "x", seed=1.5), "from 0 to 2⁶³, found 1.5"),
    "top-k of nothing": (lambda: apply_top_k(torch.zeros(7), 0), "at least 1 token, found k=0"),
    "top-p of nothing": (lambda: apply_top_p(torch.zeros(7), 0.0), "above 0, or no token is left; found p=0.0"),
    "a head that is none": (lambda: look_at(0, 4), "heads 0 to 3; there is no head 4 of layer 0"),
    "a layer that is none": (lambda: look_at(2, 0), "layers 0 to 1, .* there is no head 0 of layer 2"),
    "a layer from the end": (lambda: look_at(-1, 0), "there is no head 0 of layer -1"),
    "a row of no table": (lambda: ablations.table(["whole model", "no foo"]), r"no row \['no foo'\]; the rows are"),
    "no row": (lambda: ablations.table([]), "There is no row"),
    "a rule of no table": (lambda: ablations.table(["whole model"], ["foo"]), "no rule 'foo'; there are all, "),
    "a measure that is none": (lambda: compare([RUN], "foo"), "no measure 'foo'; there are share, "),
    "no runs": (lambda: compare([]), "no runs to compare"),
    "a kind of words": (lambda: NEURONS.selectivity("number"), "no 'number'; there are colours"),
    "no tales to compare on": (lambda: excess(MODEL, SPELLER, []), "no tales to compare on"),
    "no tales to write": (lambda: measure(MODEL, SPELLER, "en", 0), "At least one tale must be written, found n=0"),
    "rows in a list": (lambda: sweep("x", ["a"]), r"rows must be .*, found \['a'\]"),
    "a row that is a number": (lambda: sweep("x", {"a": 5}), "rows must be .*, found {'a': 5}"),
    "a time in letters": (lambda: sweep("x", {"a": {}}, time_limit="5"), "seconds above 0, found '5'"),
    "a device for a training": (lambda: new_trainer(device="gpu"), "The device 'gpu' cannot be used here"),
    "a device for a loader": (lambda: DataLoader(device="gpu"), "The device 'gpu' cannot be used here"),
    "a device for a checkpoint": (lambda: load_checkpoint("nowhere", "gpu"), "The device 'gpu' cannot be used here"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_nonsense_is_refused_in_a_sentence(what):
    call, words = REFUSED[what]
    with pytest.raises(ConfigError, match=words):
        call()


def test_an_unknown_language_is_no_text_that_begins_no_tale():
    words = "The tales exist in en and zh, not in 'fr'"
    assert words in playground(MODEL, SPELLER, "x", "fr").reading
    with pytest.raises(CorpusError, match=words):
        grammar_surprise(SPELLER, "x", "fr")


PARTS = {
    "a linear map with bias": dict(feed_forward=lambda config: nn.Linear(config.dim, config.dim)),
    "LayerNorm": dict(norm=nn.LayerNorm),
    "LayerNorm without weights": dict(norm=lambda dim, eps: nn.LayerNorm(dim, eps, elementwise_affine=False)),
    "no norm": dict(norm=lambda dim, eps: nn.Identity()),
}


@pytest.mark.parametrize("what", PARTS)
def test_the_same_seed_gives_the_same_model_whatever_its_parts(what, monkeypatch):
    torch.manual_seed(1)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("a GPU's generator was set anew"))
    before = torch.get_rng_state()
    one, two, other = (MiniLLM(MODEL.config, seed, **PARTS[what]) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before), "torch's own generator stays as it was"
    for name, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[name]), name
    assert not torch.equal(one.tok_embeddings.weight, other.tok_embeddings.weight)
    assert one(IDX)[0].shape == (1, 3, 12)


def test_advice_on_memory_names_only_what_can_be_less():
    config = ModelConfig(vocab_size=300, dim=8, n_layers=1, n_heads=4, n_kv_heads=2)
    said = str(out_of_memory(config, 1, 1))
    assert "as small as it can be" in said and "batch_size" not in said
    said = str(out_of_memory(config.with_(dim=16, hidden_dim=None), 4, 8))
    assert re.search(r"Try one of these: batch_size=2 \(.*\), block_size=4 \(.*\), or dim=8 \(.*\)\.$", said)
