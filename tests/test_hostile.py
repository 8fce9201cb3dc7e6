"""Hostile files: whatever the bytes are, they are loaded or refused with one of our errors; nothing is run or hangs.

An attacker also rewrites the manifest, so each mutation gets a fresh one here; without it the checksums refuse it
(tests/test_saves.py). --long: 10,000 mutations of each kind; otherwise 150.
"""

import json
import pickle
import random
import time

import pytest
import torch
from helpers import TOKENIZER, small_model

from foundry_lib import CheckpointError, FoundryError, next_token_distribution
from foundry_lib.config import ModelConfig, SampleConfig, TrainConfig
from foundry_lib.text.corpus import read_corpus
from foundry_lib.text.loader import DataLoader
from foundry_lib.text.tokenizer import Tokenizer
from foundry_lib.training import checkpoint as module
from foundry_lib.training.checkpoint import load_checkpoint
from foundry_lib.training.trainer import Trainer

resource = pytest.importorskip("resource", reason="this system does not tell a process its greatest memory")
TEXT = "An owl sat in an oak. 猫头鹰坐在橡树上。\n" * 60


def rounds(request) -> int:
    return 10_000 if request.config.getoption("--long") else 150


def sign(folder):
    """A manifest that fits whatever the files hold now."""
    names = {p.name: module._sha256(p) for p in folder.iterdir() if p.name != module.MANIFEST}
    (folder / module.MANIFEST).write_text(json.dumps(names), encoding="utf-8")


def mutate(data: bytes, dice: random.Random) -> bytes:
    """Turn bits, cut, repeat, insert, overwrite with something that parsers fear."""
    data = bytearray(data)
    for _ in range(dice.choice((1, 1, 1, 2, 8))):
        place = dice.randrange(len(data) + 1)
        kind = dice.randrange(6)
        if kind == 0 and place < len(data):
            data[place] ^= 1 << dice.randrange(8)
        elif kind == 1:
            del data[place : place + dice.choice((1, 4, 100, 10_000))]
        elif kind == 2:
            data[place:place] = data[place : place + dice.choice((1, 8, 200))]
        elif kind == 3:
            data[place:place] = dice.choice((b"\xff" * 8, b"\0" * 8, b"[" * 5000, b"{" * 50, b'"', b"1e999", b"-1"))
        elif kind == 4:
            data[place : place + 8] = dice.randbytes(8)
        else:
            data[place : place + 1] = str(10 ** dice.randrange(1, 25)).encode()
    return bytes(data)


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    """A small training and its checkpoint."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "text.txt").write_text(TEXT, encoding="utf-8")
    loader = DataLoader(folder / "text.txt", batch_size=2, block_size=16, tokenizer=None, vocab_size=300)
    config = ModelConfig(loader.vocab_size, 16, 1, 2, 1, max_seq_len=loader.longest_row)
    trainer = Trainer(module.MiniLLM(config), loader, TrainConfig(batch_size=2, max_iters=4, eval_interval=2))
    list(trainer.run(2))
    return trainer, trainer.save(folder / "run")


def attempt(load):
    """Seconds; the load either works or raises FoundryError with a sentence. Anything else is the test's failure."""
    started = time.monotonic()
    try:
        load()
    except FoundryError as error:
        assert len(str(error)) > 20
    return time.monotonic() - started


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "tokenizer.model"])
def test_a_mutated_checkpoint_is_loaded_or_refused(training, name, request):
    _, folder = training
    file, dice, slowest = folder / name, random.Random(name), 0.0
    whole = file.read_bytes()
    try:
        for _ in range(rounds(request)):
            file.write_bytes(mutate(whole, dice))
            sign(folder)
            slowest = max(slowest, attempt(lambda: load_checkpoint(folder)))
    finally:
        file.write_bytes(whole)
        sign(folder)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"\n{name}: {rounds(request)} mutations, the slowest {slowest:.2f} s, {memory:.2f} GiB at most")
    assert slowest < 5 and memory < 2.5
    load_checkpoint(folder)


@pytest.mark.parametrize("name", ["trainer.json", "trainer.safetensors"])
def test_a_mutated_training_is_gone_on_with_or_refused(training, name, request):
    trainer, folder = training
    file, dice, state = folder / name, random.Random(name), torch.get_rng_state()
    whole = file.read_bytes()
    try:
        for _ in range(rounds(request)):
            file.write_bytes(mutate(whole, dice))
            sign(folder)
            assert attempt(lambda: Trainer.load(folder, loader=trainer.loader)) < 5
            assert attempt(lambda: Trainer.load(folder)) < 5
    finally:
        file.write_bytes(whole)
        sign(folder)
        torch.set_rng_state(state)


def test_a_mutated_manifest_is_refused(training, request):
    _, folder = training
    file, dice = folder / module.MANIFEST, random.Random(1)
    whole = file.read_bytes()
    for _ in range(rounds(request)):
        file.write_bytes(mutate(whole, dice))
        attempt(lambda: load_checkpoint(folder))
    file.write_bytes(whole)
    load_checkpoint(folder)


def test_a_mutated_text_is_read_or_refused(tmp_path, request):
    dice, path = random.Random(2), tmp_path / "text.txt"
    for _ in range(rounds(request)):
        data = mutate(TEXT.encode(dice.choice(("utf-8", "utf-8", "utf-8-sig", "gb18030", "utf-16"))), dice)
        path.write_bytes(data)
        assert attempt(lambda: read_corpus(path)) < 5
        assert path.read_bytes() == data


def test_a_mutated_tokenizer_alone(tmp_path, request):
    TOKENIZER.save(tmp_path)
    whole, dice = (tmp_path / "tokenizer.model").read_bytes(), random.Random(4)

    def load():
        tokenizer = Tokenizer.load(tmp_path)
        assert tokenizer.decode(tokenizer.encode("An owl")) is not None

    for _ in range(rounds(request)):
        (tmp_path / "tokenizer.model").write_bytes(mutate(whole, dice))
        assert attempt(load) < 5


class Bomb:
    """A pickle that leaves a mark when it is loaded."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return (open, (self.mark, "w"))


def test_a_pickle_in_any_slot_is_never_run(training, tmp_path):
    _, folder = training
    mark = tmp_path / "run.txt"
    pickle.loads(pickle.dumps(Bomb(mark))).close()
    assert mark.exists(), "the bomb works"
    mark.unlink()
    for file in sorted(folder.iterdir()):
        whole = file.read_bytes()
        for payload in (pickle.dumps(Bomb(mark)), json.dumps({"__reduce__": "open"}).encode()):
            file.write_bytes(payload)
            if file.name != module.MANIFEST:
                sign(folder)
            with pytest.raises(FoundryError):
                Trainer.load(folder)
        torch.save({"bomb": Bomb(mark)}, file)
        if file.name != module.MANIFEST:
            sign(folder)
        with pytest.raises(FoundryError):
            Trainer.load(folder)
        file.write_bytes(whole)
        sign(folder)
    assert not mark.exists()
    Trainer.load(folder)


@pytest.mark.parametrize("name", ["../text.txt", "/etc/hostname", "a/b", "..", "C:\\x", ""])
def test_a_manifest_does_not_lead_outside(training, name):
    _, folder = training
    file = folder / module.MANIFEST
    whole = file.read_text()
    file.write_text(json.dumps(json.loads(whole) | {name: "0" * 64}))
    with pytest.raises(CheckpointError, match="no file of a checkpoint"):
        load_checkpoint(folder)
    file.write_text(whole)


HUGE = [("n_layers", 10**9), ("vocab_size", 10**12), ("hidden_dim", 10**9), ("max_seq_len", 10**9), ("dim", 2**40)]


@pytest.mark.parametrize("field, value", HUGE)
def test_a_small_file_cannot_ask_for_a_huge_model(training, field, value):
    _, folder = training
    file = folder / "config.json"
    whole = file.read_text()
    file.write_text(json.dumps(json.loads(whole) | {field: value}))
    sign(folder)
    started = time.monotonic()
    with pytest.raises(CheckpointError):
        load_checkpoint(folder)
    assert time.monotonic() - started < 2
    file.write_text(whole)
    sign(folder)


# ---- Settings: refused by name, or they work

ODD = (0, 1, 2, 3, 4, 6, 8, 16, 32, 33, 64, -1, 2.0, 0.5, True, None, "8", float("nan"), float("inf"), 10**30, 10**400)


def draw(dice, likely, share=0.12):
    return dice.choice(ODD) if dice.random() < share else dice.choice(likely)


def test_a_random_configuration_is_refused_or_trains(request):
    number, dice, built = 2000 if request.config.getoption("--long") else 300, random.Random(8), 0
    for _ in range(number):
        values = {
            "vocab_size": draw(dice, (5, 64)),
            "dim": draw(dice, (8, 16, 24, 32)),
            "n_layers": draw(dice, (1, 2)),
            "n_heads": draw(dice, (1, 2, 4)),
            "n_kv_heads": draw(dice, (1, 2, 4)),
            "max_seq_len": draw(dice, (8, 16)),
            "hidden_dim": draw(dice, (None, 16, 17)),
            "norm_eps": draw(dice, (1e-5, 0.0)),
            "rope_theta": draw(dice, (500.0, 1e4)),
            "tie_embeddings": draw(dice, (True, False)),
            "embedding_std": draw(dice, (None, 0.3)),
            "matrix_std": draw(dice, (None, 0.02)),
        }
        try:
            config = ModelConfig(**values)
        except FoundryError as error:
            assert any(name in str(error) for name in values), error
            continue
        if config.n_params > 10**7 or config.max_seq_len > 10**6:
            continue  # a sound wish that this test cannot afford
        built += 1
        llm = module.MiniLLM(config)
        idx = torch.randint(config.vocab_size, (2, min(5, config.max_seq_len)))
        _, loss = llm(idx, idx)
        loss.backward()
        assert loss.isfinite()
        assert sum(p.numel() for p in llm.parameters()) == config.n_params
    print(f"\n{number} configurations: {built} trained, the others refused by name")
    assert built > number / 20


def test_random_sampling_settings_are_refused_or_give_a_token(request):
    number, dice, drawn = 5000 if request.config.getoption("--long") else 800, random.Random(9), 0
    llm = small_model(3)
    with torch.inference_mode():
        logits = 5 * llm(torch.tensor([[1, 7, 9]]))[0][0, -1]
    for _ in range(number):
        values = {
            "temperature": draw(dice, (0, 0.5, 1, 1.0, 2.0, 1e-8, 1e8)),
            "top_k": draw(dice, (None, 0, 1, 5, 10**6)),
            "top_p": draw(dice, (None, 0.9, 1, 1e-9, 0.5)),
            "min_p": draw(dice, (0, 0.1, 1)),
            "repetition_penalty": draw(dice, (1, 1.3, 0.5, 100)),
        }
        try:
            settings = SampleConfig(**values)
        except FoundryError as error:
            assert any(name in str(error) for name in values), error
            continue
        drawn += 1
        probs = next_token_distribution(logits, settings, seen=torch.tensor([1, 7, 9]))
        assert probs.isfinite().all() and abs(probs.sum() - 1) < 1e-4 and (probs >= 0).all()
        token = torch.multinomial(probs, 1).item()
        assert 0 <= token < len(logits) and probs[token] > 0
    print(f"\n{number} settings: {drawn} drew a token, the others refused by name")
    assert drawn > number / 4
