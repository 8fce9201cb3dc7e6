"""Checkpoints: a folder that is either whole or not there.

A checkpoint is written into a temporary folder beside its place, each file flushed to the disk, the manifest with
every file's sha256 last, and then renamed. A reader believes nothing that the manifest does not confirm, and builds no
model that the weights do not fill. Weights are safetensors and everything else is JSON: loading runs no code, as
unpickling would.
"""

import hashlib
import json
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

import safetensors.torch
import torch

from ..config import ModelConfig
from ..errors import CheckpointError, FoundryError
from ..models.model import MiniLLM
from ..runtime import usable_device
from ..text.tokenizer import Tokenizer

MANIFEST = "manifest.json"
LONGEST = 2**20  # tokens of context that a file may ask for: the table of rotations is made from this number


def _flush(path: Path):
    """Ask the operating system to have the file (or, where folders can be opened, the folder) on the disk."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def save_checkpoint(
    folder: Path | str,
    model: MiniLLM,
    tokenizer: Tokenizer,
    tensors: dict[str, torch.Tensor] | None = None,
    values: dict | None = None,
) -> Path:
    """Write model, tokenizer, and what a training needs beside them (`tensors`, `values`) to `folder`; return it.

    Raises CheckpointError when the folder exists and is no checkpoint, or cannot be written (full disk, read-only);
    nothing half-written is left behind and an earlier checkpoint stays.
    """
    folder = Path(folder).resolve()
    if folder.exists() and not (folder / MANIFEST).exists():
        raise CheckpointError(f"{folder} exists and is not a checkpoint; choose another folder.")
    new, old = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
    try:
        if old.exists() and not folder.exists():
            os.replace(old, folder)  # a save of this very step was cut off between its two renames
        for leftover in (new, old):
            shutil.rmtree(leftover, ignore_errors=True)
        new.mkdir(parents=True)
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
        if model.config.tie_embeddings:
            del state["output.weight"]  # the same tensor as the embedding, which safetensors stores once
        (new / "model.safetensors").write_bytes(safetensors.torch.save(state))
        (new / "config.json").write_text(json.dumps(model.config.to_dict(), indent=1), encoding="utf-8")
        tokenizer.save(new)
        if tensors is not None:
            (new / "trainer.safetensors").write_bytes(safetensors.torch.save(tensors))
        if values is not None:
            # no indents: for the history of a long training they take twice the time and four times the memory
            (new / "trainer.json").write_text(json.dumps(values), encoding="utf-8")
        files = sorted(new.iterdir())
        for file in files:
            _flush(file)
        manifest = {file.name: _sha256(file) for file in files}
        (new / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        _flush(new / MANIFEST)
        _flush(new)
        if folder.exists():
            os.replace(folder, old)
        os.replace(new, folder)
        _flush(folder.parent)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        shutil.rmtree(new, ignore_errors=True)
        if old.exists() and not folder.exists():
            old.rename(folder)
        raise CheckpointError(
            f"The checkpoint {folder} could not be written: {error.strerror or error}. The training is still in "
            f"memory: free some room or choose another folder, then save again."
        ) from error
    return folder


def verify(folder: Path | str) -> dict[str, Path]:
    """The files of a checkpoint by name, after checking each against the manifest. Raises CheckpointError."""
    folder = Path(folder)
    if not folder.exists():
        folder = folder.with_name(folder.name + ".old")  # there after a save that was cut off between its renames
    if not folder.exists():
        folder = folder.with_suffix("")
        raise CheckpointError(f"There is no folder {folder}, seen from {Path.cwd()}; check the path.")
    try:
        return _verified(folder)
    except CheckpointError as error:
        good = _newest_good(folder)
        advice = "there is no other beside it" if good is None else f"the newest good one beside it is {good.name}"
        raise CheckpointError(f"{error}; {advice}.") from error.__cause__


def _verified(folder: Path) -> dict[str, Path]:
    try:
        names = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{folder} is not a checkpoint: it has no {MANIFEST}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{folder / MANIFEST} cannot be read ({error})") from error
    if not isinstance(names, dict):
        raise CheckpointError(f"{folder / MANIFEST} is not a list of files")
    for name, digest in names.items():
        if not re.fullmatch(r"[a-z]{1,20}\.[a-z]{1,20}", name):  # a path could lead outside
            raise CheckpointError(f"{folder / MANIFEST} names {name[:40]!r}, which is no file of a checkpoint")
        if not (folder / name).is_file() or _sha256(folder / name) != digest:
            raise CheckpointError(f"{folder / name} is missing or damaged")
    return {name: folder / name for name in names}


def _newest_good(folder: Path) -> Path | None:
    """The checkpoint written last beside `folder` that is whole."""
    beside = [path for path in checkpoints(folder.parent) if path.parent == folder.parent]
    return next((path for path in reversed(beside) if _is_whole(path)), None)


def read_json(files: dict[str, Path], name: str) -> dict:
    """The JSON file `name` of a verified checkpoint; CheckpointError when it is not part of it or holds no table."""
    if name not in files:
        raise CheckpointError(f"This checkpoint has no {name}; it holds {', '.join(files)}.")
    try:
        values = json.loads(files[name].read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{files[name]} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{files[name]} holds {type(values).__name__}, not a table of names and values.")
    return values


def read_tensors(files: dict[str, Path], name: str) -> dict[str, torch.Tensor]:
    """The tensors of the safetensors file `name`; CheckpointError when it is not part of it or cannot be read."""
    if name not in files:
        raise CheckpointError(f"This checkpoint has no {name}; it holds {', '.join(files)}.")
    try:
        return safetensors.torch.load(files[name].read_bytes())
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{files[name]} holds no tensors: {error}") from error


def _require_fit(config: ModelConfig, state: dict[str, torch.Tensor], folder: Path):
    """Refuse a configuration that asks for a model of another size than the weights, before any memory is taken."""
    counted = sum(tensor.numel() for tensor in state.values())
    layers = len({name.split(".")[1] for name in state if name.startswith("layers.")})
    if counted != config.n_params or layers != config.n_layers:
        raise CheckpointError(
            f"{folder} does not fit together: config.json asks for {config.n_params:,} parameters in {config.n_layers} "
            f"layers, model.safetensors holds {counted:,} in {layers}."
        )
    if config.max_seq_len > LONGEST:
        raise CheckpointError(f"{folder}: max_seq_len={config.max_seq_len} is beyond {LONGEST:,}.")


def load_checkpoint(folder: Path | str, device: str = "cpu") -> tuple[MiniLLM, Tokenizer]:
    """The model and its tokenizer, each file checked. Raises CheckpointError, naming what is wrong, and ConfigError for
    a device that this machine lacks."""
    device, files = usable_device(device), verify(folder)
    folder = files["config.json"].parent if "config.json" in files else Path(folder)
    try:
        config, state = ModelConfig.from_dict(read_json(files, "config.json")), read_tensors(files, "model.safetensors")
        _require_fit(config, state, folder)
        model = MiniLLM(config)
        if model.config.tie_embeddings:
            state["output.weight"] = state["tok_embeddings.weight"]
        model.load_state_dict(state)
        tokenizer = Tokenizer.load(folder)
    except CheckpointError:
        raise
    except (FoundryError, RuntimeError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder} does not fit together: {error}") from error
    if tokenizer.vocab_size != model.config.vocab_size:
        raise CheckpointError(
            f"{folder}: the tokenizer has {tokenizer.vocab_size} pieces, the model {model.config.vocab_size}; "
            f"they are not from the same training."
        )
    if not all(torch.isfinite(tensor).all() for tensor in state.values()):
        raise CheckpointError(f"{folder}: the weights hold NaN or infinity; use an earlier checkpoint.")
    return model.to(device), tokenizer


def keep_newest(saved: list[Path], keep: int = 2, also: Path | None = None) -> list[Path]:
    """Remove all checkpoints of `saved`, oldest first, but the newest `keep` and `also`; return those that are left.

    A damaged one among them is kept and not counted: there are never fewer than `keep` good ones where there were as
    many.
    """
    left, good = [], 0
    for folder in reversed(saved):
        if good < keep or folder == also:
            left.append(folder)
            good += _is_whole(folder)
            continue
        doomed = folder.with_name(folder.name + ".new")  # the name of something unfinished: a removal that is cut off
        with suppress(OSError):  # leaves what no reader takes for a checkpoint and the next save clears away
            folder.rename(doomed)
            shutil.rmtree(doomed)
    return left[::-1]


def _is_whole(folder: Path) -> bool:
    with suppress(CheckpointError):
        return bool(_verified(folder))
    return False


def checkpoints(root: Path | str = "runs") -> list[Path]:
    """All finished checkpoints below `root`, the oldest first."""
    found = [path.parent for path in Path(root).rglob(MANIFEST) if path.parent.suffix != ".new"]
    found = [folder for folder in found if folder.suffix != ".old" or not folder.with_suffix("").exists()]
    return sorted(found, key=lambda folder: ((folder / MANIFEST).stat().st_mtime_ns, folder.name))


def newest_checkpoint(root: Path | str = "runs") -> Path:
    """The checkpoint written last below `root`. Raises CheckpointError when there is none."""
    found = checkpoints(root)
    if not found:
        raise CheckpointError(
            f"There is no checkpoint in {Path(root).resolve()}; train first: python -m foundry_lib train"
        )
    return found[-1]
