"""A learner's own loss, optimizer and schedule in the Trainer: the same numbers where they do the same."""

import math
import traceback

import pytest
import torch
import torch.nn.functional as F
from helpers import OWL_TEXT
from torch import nn

from foundry_lib import CheckpointError, ConfigError, DataLoader, MiniLLM, ModelConfig, Notice, TrainConfig
from foundry_lib.errors import DivergedError
from foundry_lib.training.optimizer import learning_rate, make_optimizer
from foundry_lib.training.recipes import new_trainer
from foundry_lib.training.trainer import Trainer

CONFIG = TrainConfig(batch_size=2, max_iters=12, eval_interval=5, learning_rate=1e-2)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(OWL_TEXT, encoding="utf-8")
    return path


def trainer(file, **own) -> Trainer:
    loader = DataLoader(file, batch_size=2, block_size=16, vocab_size=300)
    config = ModelConfig(loader.vocab_size, 16, 1, 2, 1, max_seq_len=loader.longest_row)
    return Trainer(MiniLLM(config), loader, CONFIG, **own)


def losses(trainer, until: int | None = None) -> list[tuple]:
    list(trainer.run(until))
    return [(r.train_loss or 0.0, r.val_loss or 0.0, r.lr, r.grad_norm) for r in trainer.history]


@pytest.fixture(scope="module")
def expected(file):
    return losses(trainer(file))


def my_loss(logits, y):  # as lesson 07 writes it
    kept = y != -100
    right = logits.log_softmax(dim=-1).gather(-1, y.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return -(right * kept).sum() / kept.sum()


def my_train_step(model, optimizer, x, y, lr, grad_clip):  # as lesson 07 writes it
    for group in optimizer.param_groups:
        group["lr"] = lr
    _, loss = model(x, y)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
    optimizer.step()
    return loss.item()


def my_learning_rate(step, peak, warmup, total, lowest):  # as lesson 07 writes it
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / (total - warmup)
    return peak * (lowest + (1 - lowest) * (1 + math.cos(math.pi * done)) / 2)


def cross_entropy(logits, targets):
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)


def sgd(model, config):
    return torch.optim.SGD(model.parameters(), lr=config.learning_rate, momentum=0.9)


@pytest.mark.parametrize("loss", [my_loss, cross_entropy])
def test_an_own_loss_that_does_the_same_gives_the_same_numbers(file, expected, loss):
    for found, numbers in zip(losses(trainer(file, loss=loss)), expected, strict=True):
        assert found == pytest.approx(numbers, rel=1e-4)


def test_an_own_schedule_and_optimizer_that_do_the_same_give_the_same_bits(file, expected):
    def my_schedule(step, config):
        return learning_rate(step, config)

    assert losses(trainer(file, schedule=my_schedule, optimizer=lambda m, c: make_optimizer(m, c))) == expected


@pytest.mark.parametrize("loss", [None, my_loss])
def test_the_step_of_lesson_07_gives_the_same_losses_with_the_own_loss_or_without(file, expected, loss):
    calls = []

    def counted(logits, y):
        calls.append(len(y))
        return my_loss(logits, y)

    found = losses(trainer(file, step=my_train_step, loss=loss and counted))
    assert [row[:3] for row in found] == [pytest.approx(row[:3], rel=1e-4) for row in expected]
    clip = TrainConfig().grad_clip
    assert [row[3] for row in found] == pytest.approx([min(row[3], clip) for row in expected], rel=1e-3)
    assert calls == ([2] * 12 if loss else []), "the own step computes the own loss"


def test_an_own_step_that_fails_midway_leaves_a_training_that_goes_on(file):
    def breaks_once(*given):
        if found.step == 5 and not breaks:
            breaks.append(given[0](*given[2:4])[1].backward())
            raise IndexError("in the middle")
        return my_train_step(*given)

    breaks, found = [], trainer(file, step=breaks_once)
    with pytest.raises(IndexError, match="in the middle"):
        list(found.run())
    assert found.step == 5 and losses(found) == losses(trainer(file, step=my_train_step))


def test_an_own_step_is_stopped_before_it_spoils_the_weights(file):
    one = trainer(file, step=my_train_step, loss=lambda logits, y: my_loss(logits, y) * (math.nan if one.step else 1.0))
    list(one.run(1))
    before = [p.clone() for p in one.model.parameters()]
    with pytest.raises(DivergedError, match="gradient's norm is nan in step 2: the training has diverged"):
        list(one.run())
    assert all(torch.equal(a, b) for a, b in zip(one.model.parameters(), before, strict=True)) and one.step == 1


def test_the_schedule_of_lesson_07_fits(file, expected):
    rates = [numbers[2] for numbers in losses(trainer(file, schedule=my_learning_rate))]
    assert rates == pytest.approx([numbers[2] for numbers in expected], rel=1e-12) and len(set(rates)) > 5


def test_other_pieces_give_other_numbers_and_validation_stays_comparable(file, expected):
    constant = losses(trainer(file, schedule=lambda step, config: 1e-3))
    assert {numbers[2] for numbers in constant} == {1e-3} and constant[-1] != expected[-1]
    doubled = losses(trainer(file, loss=lambda logits, y: 2 * my_loss(logits, y)), until=1)
    assert doubled[1][0] == pytest.approx(2 * expected[1][0], rel=1e-4) and doubled[0][1] == expected[0][1]
    assert losses(trainer(file, optimizer=sgd), until=5)[5][1] != expected[5][1]


def test_new_trainer_takes_own_pieces(file):
    made = new_trainer(file, max_iters=2, block_size=16, vocab_size=300, own={"schedule": my_learning_rate})
    assert made.own == {"schedule": my_learning_rate}


@pytest.mark.parametrize("stop", [1, 7])
def test_a_training_with_own_pieces_resumes_to_the_same_bits(file, tmp_path, stop):
    own = {"loss": my_loss, "optimizer": sgd, "schedule": my_learning_rate}
    whole, first = losses(trainer(file, **own)), trainer(file, **own)
    list(first.run(stop))
    assert losses(Trainer.load(first.save(tmp_path), **own)) == whole


def adagrad_with_a_note(model, config):
    optimizer = torch.optim.Adagrad(model.parameters(), lr=config.learning_rate)
    for p in model.parameters():
        optimizer.state[p] |= {"seen": 3, "rows": torch.ones(p.shape[0])}  # a number, and a tensor of another shape
    return optimizer


def test_whatever_an_own_optimizer_remembers_is_saved(file, tmp_path):
    first = trainer(file, optimizer=adagrad_with_a_note)
    list(first.run(2))
    for state in first.optimizer.state.values():
        state["seen"] = 5
    again = Trainer.load(first.save(tmp_path), optimizer=adagrad_with_a_note)
    assert all(state["seen"] == 5 and state["sum"].any() for state in again.optimizer.state.values())


def test_a_checkpoint_names_the_own_pieces_and_is_not_resumed_without_them(file, tmp_path):
    first = trainer(file, loss=my_loss, schedule=my_learning_rate)
    list(first.run(2))
    saved = first.save(tmp_path / "own")
    with pytest.raises(CheckpointError, match=r"own loss, my_loss. Give it again: Trainer.load\(…, loss=my_loss\)"):
        Trainer.load(saved)
    with pytest.raises(CheckpointError, match="own schedule, my_learning_rate"):
        Trainer.load(saved, loss=my_loss)
    with pytest.warns(Notice, match="had the loss my_loss; it goes on with the library's"):
        assert set(Trainer.load(saved, loss=None, schedule=my_learning_rate).own) == {"schedule"}
    with pytest.warns(Notice, match="had the loss my_loss; it goes on with cross_entropy"):
        Trainer.load(saved, loss=cross_entropy, schedule=my_learning_rate)
    plain = trainer(file)
    list(plain.run(2))
    with pytest.raises(CheckpointError, match="the library's optimizer; leave out optimizer=sgd"):
        Trainer.load(plain.save(tmp_path / "plain"), optimizer=sgd)


def test_an_error_in_an_own_piece_shows_its_own_line(file):
    def faulty(logits, targets):
        return logits.no_such_method()

    with pytest.raises(AttributeError, match="no_such_method") as raised:
        list(trainer(file, loss=faulty).run())
    assert traceback.extract_tb(raised.value.__traceback__)[-1].line == "return logits.no_such_method()"


WRONG = {
    "loss=<lambda> .*returned float. Return the tensor": dict(loss=lambda logits, y: my_loss(logits, y).item()),
    "a tensor of shape .2, 16.": dict(loss=lambda logits, y: logits.mean(-1)),
    "without a gradient": dict(loss=lambda logits, y: my_loss(logits, y).detach()),
    "schedule=<lambda> .*for step 0 it returned None": dict(schedule=lambda step, config: None),
    "for step 0 it returned nan": dict(schedule=lambda step, config: math.nan),
    "for step 0 it returned -1": dict(schedule=lambda step, config: -1),
    "step=<lambda> .*the batch's loss, a number; it returned NoneType": dict(step=lambda *given: None),
    "must return a torch.optim.Optimizer, found NoneType": dict(optimizer=lambda model, config: None),
    "parameters that are not this model's": dict(
        optimizer=lambda model, config: torch.optim.SGD(MiniLLM(model.config).parameters())
    ),
}


@pytest.mark.parametrize("message", WRONG)
def test_what_an_own_piece_may_not_return_is_said_with_its_line(file, message):
    with pytest.raises(ConfigError, match=message) as refused:
        list(trainer(file, **WRONG[message]).run())
    assert "(line " in str(refused.value) and "lambda" in str(refused.value)


def test_a_misspelt_piece_is_refused_and_none_is_the_librarys(file, tmp_path):
    plain = trainer(file)
    list(plain.run(2))
    saved = plain.save(tmp_path)
    with pytest.raises(
        ConfigError, match="no argument 'los'. Own functions are loss, optimizer, schedule, step; own parts"
    ):
        Trainer.load(saved, los=my_loss)
    with pytest.raises(ConfigError, match="no argument 'norm'.*parts="):
        Trainer.load(saved, norm=nn.RMSNorm)
    assert Trainer.load(saved, loss=None).own == {}


def test_the_schedule_is_asked_once_for_each_step(file):
    steps = []
    list(trainer(file, schedule=lambda step, config: steps.append(step) or 1e-3).run(2))
    assert steps == [0, 0, 1]  # once for the record before the first step
