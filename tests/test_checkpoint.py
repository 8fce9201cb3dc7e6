"""A checkpoint is whole or refused, and an unfinished save leaves the earlier one alone."""

import errno
import json
import os
from pathlib import Path

import pytest
import torch
from helpers import CONFIG, TOKENIZER, random_model, small_model, tokens

from foundry_lib import CheckpointError
from foundry_lib.training import checkpoint as module
from foundry_lib.training.checkpoint import checkpoints, load_checkpoint, newest_checkpoint, save_checkpoint, verify

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
    assert verify(first)
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
