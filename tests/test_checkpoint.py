"""A checkpoint is whole or refused, and an unfinished save leaves the earlier one alone."""

import errno
import json
import os
from pathlib import Path

import pytest
import torch
from helpers import CONFIG, TOKENIZER, random_model, small_model, tokens

from foundry_lib import CheckpointError, Corpus, DataLoader, MiniLLM, ModelConfig, TrainConfig, Trainer
from foundry_lib.training import checkpoint as module
from foundry_lib.training.checkpoint import Checkpoint, checkpoints, load_checkpoint, newest_checkpoint, save_checkpoint

MODEL_CONFIG = CONFIG.with_(vocab_size=TOKENIZER.vocab_size)


@pytest.mark.parametrize("tied", [False, True])
def test_round_trip(tmp_path, tied):
    saved = random_model(MODEL_CONFIG.with_(tie_embeddings=tied))
    folder = save_checkpoint(tmp_path / "我的 model", saved, TOKENIZER)
    loaded, tokenizer = load_checkpoint(folder)
    idx = tokens(2, 9)
    assert torch.equal(loaded(idx)[0], saved(idx)[0]) and loaded.config == saved.config
    assert tokenizer.fingerprint == TOKENIZER.fingerprint
    assert (loaded.output.weight is loaded.tok_embeddings.weight) == tied
    assert [p.name for p in tmp_path.iterdir()] == ["我的 model"]


def test_every_file_is_guarded(tmp_path):
    folder = save_checkpoint(tmp_path / "m", small_model(), TOKENIZER)
    for file in sorted(folder.iterdir()):
        whole = file.read_bytes()
        for broken in (whole[:-1], whole[: len(whole) // 2], bytes([whole[0] ^ 1]) + whole[1:]):
            file.write_bytes(broken)
            with pytest.raises(CheckpointError, match=file.name):
                load_checkpoint(folder)
        file.unlink()
        with pytest.raises(CheckpointError, match=file.name):
            load_checkpoint(folder)
        file.write_bytes(whole)
    load_checkpoint(folder)


def refuse_call(monkeypatch, name: str, number: int):
    """Let the `number`-th call of os.<name> fail as on a full disk."""
    real, calls = getattr(os, name), []

    def faulty(*args, **kwargs):
        calls.append(1)
        if len(calls) == number:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*args, **kwargs)

    monkeypatch.setattr(module.os, name, faulty)
    return calls


@pytest.mark.parametrize("name, number", [("fsync", n) for n in range(1, 8)] + [("replace", 1), ("replace", 2)])
def test_a_failed_save_leaves_the_earlier_one(tmp_path, monkeypatch, name, number):
    first = save_checkpoint(tmp_path / "step-000001", small_model(1), TOKENIZER)
    with monkeypatch.context() as patch:
        calls = refuse_call(patch, name, number)
        try:
            save_checkpoint(tmp_path / "step-000002", small_model(2), TOKENIZER)
        except (CheckpointError, ValueError) as error:
            assert "No space left" in str(error)
            failed = True
        else:
            failed = False
        assert failed == (len(calls) >= number)
    assert Checkpoint.open(first)
    newest = newest_checkpoint(tmp_path)  # an error after the rename leaves the new one, whole, though unconfirmed
    assert failed or newest.name == "step-000002"
    loaded, _ = load_checkpoint(newest)
    expected = small_model(int(newest.name[-1]))
    assert torch.equal(loaded.layers[0].attention.wq.weight, expected.layers[0].attention.wq.weight)


@pytest.mark.parametrize("number", [1, 2])
def test_a_failed_save_of_the_same_step_leaves_the_step(tmp_path, monkeypatch, number):
    folder = save_checkpoint(tmp_path / "step-000001", small_model(1), TOKENIZER)
    calls = []

    def faulty(source, target, real=os.replace):  # the two renames of folders, not those of the tokenizer's files
        if Path(target).name.startswith("step-"):
            calls.append(1)
            if len(calls) == number:
                raise OSError(errno.EACCES, "Access is denied")
        return real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(module.os, "replace", faulty)
        with pytest.raises(CheckpointError, match="Access is denied"):
            save_checkpoint(folder, small_model(2), TOKENIZER)
    assert [p.name for p in tmp_path.iterdir()] == ["step-000001"]
    loaded, _ = load_checkpoint(folder)
    assert torch.equal(loaded.layers[0].attention.wq.weight, small_model(1).layers[0].attention.wq.weight)


def test_a_save_cut_off_between_its_renames_is_mended(tmp_path):
    folder = save_checkpoint(tmp_path / "step-000001", small_model(1), TOKENIZER)
    folder.rename(tmp_path / "step-000001.old")  # as a power cut would leave it
    save_checkpoint(folder, small_model(2), TOKENIZER)
    loaded, _ = load_checkpoint(folder)
    assert torch.equal(loaded.layers[0].attention.wq.weight, small_model(2).layers[0].attention.wq.weight)
    assert [p.name for p in tmp_path.iterdir()] == ["step-000001"]


def test_newest_and_none(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint in .* train first"):
        newest_checkpoint(tmp_path)
    for step in (2, 1, 3):
        folder = save_checkpoint(tmp_path / f"run/step-{step:06d}", small_model(), TOKENIZER)
        os.utime(folder / "manifest.json", (step, step))
    assert [p.name for p in checkpoints(tmp_path)] == ["step-000001", "step-000002", "step-000003"]
    assert newest_checkpoint(tmp_path).name == "step-000003"


def test_a_folder_of_something_else_is_not_overwritten(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="is not a checkpoint"):
        save_checkpoint(tmp_path / "photos", small_model(), TOKENIZER)
    assert (tmp_path / "photos" / "cat.jpg").read_bytes() == b"x"


def rewrite(folder, name: str, content: bytes):
    """Change a file and its entry in the manifest, as someone who makes a checkpoint by hand would."""
    (folder / name).write_bytes(content)
    manifest = {p.name: module._sha256(p) for p in folder.iterdir() if p.name != "manifest.json"}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def test_what_does_not_fit_together_is_refused(tmp_path):
    folder = save_checkpoint(tmp_path / "m", small_model(), TOKENIZER)
    config = (folder / "config.json").read_bytes()
    rewrite(folder, "config.json", json.dumps(MODEL_CONFIG.with_(dim=64).to_dict()).encode())
    with pytest.raises(CheckpointError, match="does not fit together"):
        load_checkpoint(folder)
    rewrite(folder, "config.json", config)
    other = save_checkpoint(tmp_path / "other", random_model(), TOKENIZER)  # a model with another vocabulary
    with pytest.raises(CheckpointError, match="the tokenizer has"):
        load_checkpoint(other)
    broken = small_model()
    with torch.no_grad():
        broken.norm.weight[3] = torch.nan
    with pytest.raises(CheckpointError, match="NaN"):
        load_checkpoint(save_checkpoint(tmp_path / "nan", broken, TOKENIZER))
    (folder / "manifest.json").write_text(json.dumps({"../secret": "0"}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="no file of a checkpoint"):
        load_checkpoint(folder)


def test_each_file_is_hashed_once_at_a_load(tmp_path, monkeypatch):
    trainer = new_training(tmp_path, 2)
    saved, hashed = trainer.save(tmp_path / "run"), []
    monkeypatch.setattr(module, "_sha256", lambda path, real=module._sha256: (hashed.append(path.name), real(path))[1])
    names = sorted(file.name for file in saved.iterdir() if file.name != module.MANIFEST)
    Trainer.load(saved)
    assert sorted(hashed) == names and len(names) == 6
    hashed.clear()
    load_checkpoint(saved)
    assert sorted(hashed) == names


OWL = "An owl sat in an oak. The more it saw the less it spoke.\n"


def new_training(folder, steps: int) -> Trainer:
    (folder / "text.txt").write_text(
        "An owl sat in an oak. The more it saw the less it spoke.\n" * 60, encoding="utf-8"
    )
    loader = DataLoader(folder / "text.txt", batch_size=2, block_size=16, vocab_size=300)
    config = ModelConfig(loader.vocab_size, 16, 1, 2, 1, max_seq_len=loader.longest_row)
    trainer = Trainer(MiniLLM(config), loader, TrainConfig(batch_size=2, max_iters=steps, eval_interval=2))
    list(trainer.run())
    return trainer


def test_the_folder_of_a_run_stands_for_its_newest_checkpoint(tmp_path):
    trainer = new_training(tmp_path, 2)
    trainer.step = 1
    trainer.save(tmp_path / "run")
    trainer.step = 2
    newest = trainer.save(tmp_path / "run")
    os.utime(newest / "manifest.json", (2**32, 2**32))
    assert Checkpoint.open(tmp_path / "run").folder == newest
    assert Trainer.load(tmp_path / "run").step == 2 and load_checkpoint(tmp_path / "run")[0].config
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="empty is not a checkpoint: it has no manifest.json"):
        load_checkpoint(tmp_path / "empty")
    with pytest.raises(CheckpointError, match="There is no folder .*nowhere, seen from"):
        load_checkpoint(tmp_path / "nowhere")


def test_the_history_is_saved_by_name_and_old_lists_are_read(tmp_path):
    trainer = new_training(tmp_path, 3)
    saved = trainer.save(tmp_path / "run")
    values = Checkpoint.open(saved).values
    assert values["history"][2] == vars(trainer.history[2])
    # as checkpoints were before: no names, and none of the keys that came later
    old = {key: values[key] for key in ("step", "elapsed", "config", "loader")}
    old["history"] = [list(vars(record).values()) for record in trainer.history]
    rewrite(saved, "trainer.json", json.dumps(old).encode())
    assert Trainer.load(saved).history == trainer.history
    old["history"][1].append(0.0)  # a value more than any record ever had
    rewrite(saved, "trainer.json", json.dumps(old).encode())
    with pytest.raises(CheckpointError, match="no training that can go on"):
        Trainer.load(saved)
    values["history"][1]["loss"] = values["history"][1].pop("train_loss")
    rewrite(saved, "trainer.json", json.dumps(values).encode())
    with pytest.raises(CheckpointError, match="no training that can go on.*loss"):
        Trainer.load(saved)


# The trainer.json that the first edition wrote for `new_training(…, 2)`, byte for byte but for its path.
FIRST_EDITION = (
    '{"step": 2, "elapsed": 0.15149274699979287, "config": {"batch_size": 2, "learning_rate": 0.003, '
    '"max_iters": 2, "eval_interval": 2, "warmup_iters": 1, "min_lr_ratio": 0.05, "weight_decay": 1.0, '
    '"beta1": 0.9, "beta2": 0.95, "grad_clip": 1.0, "seed": 1337}, "loader": {"file_path": "TEXT", '
    '"batch_size": 2, "block_size": 16, "val_fraction": 0.1, "seed": 1337}, "history": [[0, null, '
    "5.703782558441162, 0.003, 0.0, 0.0, 0.0, null, null, null], [1, 5.703782081604004, null, 0.003, "
    "0.7282293438911438, 402.64073435383887, 0.07948450100002447, 0.07948450100002447, null, null], [2, "
    "5.664125919342041, 5.624328490415234, 0.003, 0.7403810024261475, 1252.7486577850202, "
    "0.15149274699979287, 0.0, null, null]]}"
)


def test_a_checkpoint_of_the_first_edition_goes_on(tmp_path):
    trainer = new_training(tmp_path, 2)
    saved = trainer.save(tmp_path / "run")
    rewrite(saved, "trainer.json", FIRST_EDITION.replace("TEXT", (tmp_path / "text.txt").as_posix()).encode())
    again = Trainer.load(saved)
    assert again.step == 2 and [record.step for record in again.history] == [0, 1, 2]
    assert again.history[1].grad_norm == pytest.approx(trainer.history[1].grad_norm, rel=1e-3)
    assert again.history[2].val_loss == pytest.approx(trainer.history[2].val_loss, rel=1e-3)


def test_a_save_into_the_folder_of_another_training_is_refused(tmp_path):
    trainer = new_training(tmp_path, 2)
    first = trainer.save(tmp_path / "run")
    before = (first / "manifest.json").read_bytes()
    again = new_training(tmp_path, 2)
    assert again.save(tmp_path / "run") == first  # the same text and settings: the same training
    other = Trainer(MiniLLM(trainer.model.config), trainer.loader, trainer.config.with_(learning_rate=1e-3))
    with pytest.raises(CheckpointError, match="holds another training, of text.txt at step 2; it differs in learning_"):
        other.save(tmp_path / "run")
    longer = DataLoader(Corpus("longer", ("A cow ate grass. " * 300,)), batch_size=2, block_size=16, vocab_size=300)
    model = MiniLLM(ModelConfig(longer.vocab_size, 16, 1, 2, 1, max_seq_len=longer.longest_row))
    with pytest.raises(CheckpointError, match="it differs in the text"):
        Trainer(model, longer, trainer.config).save(tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").glob("[!.]*")] == ["step-000002"]
    assert trainer.save(tmp_path / "run", beside=True) == first
    assert other.save(tmp_path / "run", beside=True) == tmp_path / "run-2" / "step-000000"
    assert other.save(tmp_path / "run", beside=True) == tmp_path / "run-2" / "step-000000"
    assert json.loads(before).keys() == json.loads((first / "manifest.json").read_bytes()).keys()
