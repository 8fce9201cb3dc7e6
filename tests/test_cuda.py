"""What only a CUDA device can show; without one every test here is skipped.

pytest -o addopts= tests/test_cuda.py
"""

import importlib

import pytest
import torch
import torch.nn.functional as F

from foundry_lib.commands import train
from foundry_lib.config import ModelConfig, SampleConfig, TrainConfig
from foundry_lib.errors import ConfigError, FoundryError
from foundry_lib.inference.cuda_graphs import Recorded
from foundry_lib.inference.generation import generate, generate_tokens, sample_text
from foundry_lib.models.loss import next_token_loss
from foundry_lib.models.model import MiniLLM
from foundry_lib.text.loader import DataLoader
from foundry_lib.training.checkpoint import load_checkpoint, newest_checkpoint
from foundry_lib.training.recipes import new_trainer
from foundry_lib.training.trainer import Trainer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.fixture
def model() -> MiniLLM:
    model = MiniLLM(ModelConfig.preset("tiny", vocab_size=500, max_seq_len=64))
    torch.nn.init.normal_(model.output.weight, std=0.1)  # a new head knows nothing: every score would be 0
    return model


@pytest.fixture
def trainer():
    """Makes a small training on the GPU; its text is the tales'."""

    def make(max_iters: int = 24) -> Trainer:
        return new_trainer("tales-en", device="cuda", max_iters=max_iters, eval_interval=8)

    return make


def weights(trainer: Trainer) -> list[torch.Tensor]:
    return [p.detach().cpu() for p in trainer.model.parameters()]


def test_the_scores_are_those_of_the_processor(model):
    idx = torch.randint(500, (2, 64), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        here, there = model(idx)[0], model.cuda()(idx.cuda())[0].cpu()
    torch.testing.assert_close(there, here, atol=1e-3, rtol=0)  # the products may be rounded to 19 bits (TF32)


@pytest.mark.parametrize("rows", [1, 3])
def test_a_text_is_that_of_the_processor_and_leaves_its_window(model, rows):
    idx = torch.randint(500, (rows, 5), generator=torch.Generator().manual_seed(2))
    greedy = SampleConfig(temperature=0)
    here = torch.cat(list(generate_tokens(model, idx, 90, greedy)), dim=1)
    there = torch.cat(list(generate_tokens(model.cuda(), idx.cuda(), 90, greedy)), dim=1)
    assert there.cpu().tolist() == here.tolist()


def test_every_filter_draws_there(model):
    idx, settings = torch.tensor([[3, 4, 5]]).cuda(), SampleConfig(0.8, 50, 0.9, 0.01, 1.2)
    first, second = (
        torch.cat(list(generate_tokens(model.cuda(), idx, 20, settings, torch.Generator("cuda").manual_seed(3))), 1)
        for _ in range(2)
    )
    assert first.tolist() == second.tolist() and first.is_cuda


@pytest.mark.parametrize("rows", [1, 3])
def test_a_recorded_model_writes_what_the_model_writes(model, rows):
    """Greedy and drawn, from an empty prompt too, out of the window; the second text is replayed."""
    model = model.cuda()
    recorded = Recorded(model, rows)
    for prompt in (5, 0, 5, 1):
        idx = torch.randint(500, (rows, prompt), generator=torch.Generator().manual_seed(prompt)).cuda()
        for settings in (SampleConfig(temperature=0), SampleConfig(top_k=20)):
            texts = [
                torch.cat(list(generate_tokens(m, idx, 90, settings, torch.Generator("cuda").manual_seed(6))), dim=1)
                for m in (model, recorded)
            ]
            assert texts[0].tolist() == texts[1].tolist()
    assert 60 <= len(recorded.graphs) <= 64


def test_a_recorded_model_follows_its_weights(model):
    recorded, idx = Recorded(model.cuda()), torch.tensor([[5, 6]]).cuda()
    before = generate(recorded, idx, 20, temperature=0)
    with torch.no_grad():
        model.output.weight.normal_(std=0.1, generator=torch.Generator("cuda").manual_seed(7))
    after = generate(recorded, idx, 20, temperature=0)
    assert after.tolist() == generate(model, idx, 20, temperature=0).tolist() != before.tolist()


def test_a_recorded_model_refuses_two_texts_at_once_and_other_rows(model):
    recorded, idx = Recorded(model.cuda()), torch.tensor([[5, 6]]).cuda()
    first = generate_tokens(recorded, idx, 9, SampleConfig())
    next(first)
    list(generate_tokens(recorded, idx, 2, SampleConfig()))
    with pytest.raises(ConfigError, match="Another text has begun"):
        next(first)
    with pytest.raises(ConfigError, match="batch_size=1, found 2 rows"):
        generate(recorded, idx.expand(2, 2), 2)


@pytest.mark.parametrize("n", [700, 1300])  # scores in one piece, and where a piece is small in several
def test_the_loss_in_16_bits_is_near_the_one_in_32(monkeypatch, n):
    monkeypatch.setattr("foundry_lib.models.loss.GPU_CHUNK", 2**19)
    generator = torch.Generator().manual_seed(4)
    stream, head = torch.randn(n, 64, generator=generator), torch.randn(600, 64, generator=generator) / 8
    targets = torch.randint(600, (n,), generator=generator)
    targets[::7] = -100
    exact = [x.double().requires_grad_() for x in (stream, head)]
    F.cross_entropy(exact[0] @ exact[1].T, targets).backward()
    mine = [x.cuda().requires_grad_() for x in (stream, head)]
    with torch.autocast("cuda", torch.bfloat16):
        loss = next_token_loss(*mine, targets.cuda())
    loss.backward()
    assert loss.dtype == torch.float32 and all(x.grad.dtype == torch.float32 for x in mine)
    for found, right in zip(mine, exact, strict=True):
        apart = (found.grad.cpu() - right.grad).norm() / right.grad.norm()
        assert apart < 0.01, apart


def test_a_training_learns_in_16_bits_and_keeps_32(trainer):
    new = trainer(60)
    records = list(new.run())
    assert records[-1].val_loss < records[0].val_loss - 1.5
    assert {p.dtype for p in new.model.parameters()} == {torch.float32} and next(new.model.parameters()).is_cuda


def test_a_training_in_parts_is_the_training_in_one(trainer, tmp_path):
    whole = trainer()
    list(whole.run())
    part = trainer()
    list(part.run(until=9))
    part.save(tmp_path)
    resumed = Trainer.load(newest_checkpoint(tmp_path), device="cuda")
    list(resumed.run())
    assert [r.train_loss for r in resumed.history] == [r.train_loss for r in whole.history]
    assert all(torch.equal(a, b) for a, b in zip(weights(resumed), weights(whole), strict=True))


def test_a_training_goes_on_on_the_processor(trainer, tmp_path):
    begun = trainer()
    list(begun.run(until=8))
    begun.save(tmp_path)
    resumed = Trainer.load(newest_checkpoint(tmp_path), device="cpu")
    list(resumed.run())
    assert resumed.step == 24 and resumed.history[-1].val_loss < begun.history[-1].val_loss + 0.05


def test_a_full_device_is_said_in_words_and_the_training_stands(tmp_path):
    text = tmp_path / "t.txt"
    text.write_text("An owl sat in an oak. The more it saw the less it spoke.\n" * 400)
    loader = DataLoader(text, batch_size=512, block_size=256, vocab_size=300, device="cuda")
    model = MiniLLM(ModelConfig.preset("medium", vocab_size=loader.vocab_size, max_seq_len=256))
    full = Trainer(model, loader, TrainConfig(batch_size=512, max_iters=2))
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 2**30) / total)
    try:
        before = weights(full)
        with pytest.raises(FoundryError, match="no memory left for a step.*batch_size=256"):
            full._step_that_fits()
        assert full.step == 0 and all(torch.equal(a, b) for a, b in zip(weights(full), before, strict=True))
        assert torch.cuda.memory_allocated() < 2**29  # what the step had taken is free again
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_the_commands_train_and_write_there(tmp_path, capsys):
    assert train.main(["--steps", "4", "--device", "cuda", "--out", str(tmp_path)]) == 0
    command = importlib.import_module("foundry_lib.commands.generate")
    assert command.main(["--device", "cuda", "--checkpoint", str(tmp_path / "step-000004"), "--tokens", "5"]) == 0
    out = capsys.readouterr().out
    assert out.count("device cuda") == 2


def test_a_checkpoint_of_the_gpu_writes_on_the_processor(trainer, tmp_path):
    new = trainer(4)
    list(new.run())
    new.save(tmp_path)
    model, tokenizer = load_checkpoint(newest_checkpoint(tmp_path))
    assert sample_text(model, tokenizer, "Tom", 5, seed=1).startswith("Tom")
