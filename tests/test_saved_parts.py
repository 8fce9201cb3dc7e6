"""Own parts of a model in its checkpoints; dropout in an own part; names that no model has."""

import json

import pytest
import torch
from helpers import OWL_TEXT, TOKENIZER, small_model, small_trainer
from torch import nn

from foundry_lib import MLP, CheckpointError, ConfigError, MiniLLM, ModelConfig, Notice, RMSNorm, generate
from foundry_lib.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from foundry_lib.training.evaluate import token_losses
from foundry_lib.training.trainer import Trainer

CONFIG = ModelConfig(TOKENIZER.vocab_size, 16, 2, 2, 1, max_seq_len=16)
X = torch.arange(16)[None]


def softcap(scores):
    return 3 * torch.tanh(scores / 3)


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.full((2,), 0.9))

    def forward(self, x, x0, layer):
        return self.weight[layer] * x + 0.1 * x0


class DroppingMLP(MLP):
    def forward(self, x):
        return nn.functional.dropout(super().forward(x), 0.5, self.training)


def capped(**parts) -> MiniLLM:
    model = MiniLLM(CONFIG, logits=softcap, **parts)
    nn.init.normal_(model.output.weight)
    return model


def test_own_parts_are_asked_for_when_a_checkpoint_is_loaded(tmp_path):
    saved = save_checkpoint(tmp_path / "one", model := capped(), TOKENIZER)
    with pytest.raises(CheckpointError, match=r"saved with own parts: logits.*parts={'logits': softcap}"):
        load_checkpoint(saved)
    again, _ = load_checkpoint(saved, parts={"logits": softcap})
    assert torch.equal(again(X, X)[1], model(X, X)[1]) and again.parts == {"logits": softcap}
    with pytest.warns(Notice, match="saved with logits=softcap; it is loaded with logits=<lambda>"):
        load_checkpoint(saved, parts={"logits": lambda scores: scores})


def test_own_parts_with_weights_of_their_own(tmp_path):
    saved = save_checkpoint(tmp_path / "one", model := capped(residual=Scale()), TOKENIZER)
    assert Checkpoint.open(saved).part_names == {"residual": "Scale", "logits": "softcap"}
    again, _ = load_checkpoint(saved, parts={"logits": softcap, "residual": Scale()})
    assert torch.equal(again(X)[0], model(X)[0])
    with (
        pytest.warns(Notice),
        pytest.raises(CheckpointError, match="(?s)not fit together with parts=logits, residual: .*residual.weight"),
    ):
        load_checkpoint(saved, parts={"logits": softcap, "residual": lambda x, x0, layer: x})
    first_edition = json.loads((saved / "config.json").read_text())
    del first_edition["parts"]
    (saved / "config.json").write_text(json.dumps(first_edition))
    with pytest.raises(CheckpointError, match="If the model had own parts, give them: parts="):
        Checkpoint.unverified(saved).model()


def test_a_plain_checkpoint_is_as_before_and_takes_parts(tmp_path):
    saved = save_checkpoint(tmp_path / "one", small_model(1), TOKENIZER)
    assert "parts" not in json.loads((saved / "config.json").read_text())
    model, _ = load_checkpoint(saved, parts={"norm": type("MyNorm", (RMSNorm,), {})})
    assert torch.equal(model(X)[0], load_checkpoint(saved)[0](X)[0])


def test_a_training_goes_on_only_with_its_own_parts(tmp_path):
    (tmp_path / "text.txt").write_text(OWL_TEXT, encoding="utf-8")
    plain = small_trainer(tmp_path / "text.txt", 6)
    trainer = Trainer(MiniLLM(plain.model.config, logits=softcap), plain.loader, plain.config)
    list(trainer.run(2))
    saved = trainer.save(tmp_path / "run")
    with pytest.raises(CheckpointError, match="own parts: logits"):
        Trainer.load(saved)
    assert Trainer.load(saved, parts={"logits": softcap}).model.logits is softcap
    with pytest.raises(CheckpointError, match="holds another training.*logits"):
        plain.save(tmp_path / "run")


def test_dropout_of_an_own_part_is_off_while_a_model_is_measured_or_writes():
    model = capped(feed_forward=DroppingMLP)
    assert not torch.equal(model(X)[0], model(X)[0])
    model.layers[1].eval()  # one layer was in evaluation mode before, and is afterwards
    modes = [module.training for module in model.modules()]
    first, second = (token_losses(model, [(X, X)]) for _ in range(2))
    assert (first == second).all()
    texts = [generate(model, X[:, :4], 30, generator=torch.Generator().manual_seed(1)) for _ in range(2)]
    assert torch.equal(*texts)
    assert [module.training for module in model.modules()] == modes


def test_a_misspelt_part_is_refused_with_the_names_of_all():
    names = "block, norm, attention, feed_forward, residual, logits, positions"
    with pytest.raises(ConfigError, match=f"no part 'nrom'; its parts are {names}"):
        MiniLLM(CONFIG, nrom=RMSNorm)
