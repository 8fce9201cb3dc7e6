"""Checkpoints: a folder that is either whole or not there.

A checkpoint is written into a temporary folder beside its place, each file flushed to the disk, the manifest with
every file's sha256 last, and then renamed. A reader believes nothing that the manifest does not confirm. Weights are
safetensors and everything else is JSON: loading runs no code, as unpickling would.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path

import safetensors.torch
import torch

from .config import ModelConfig
from .errors import CheckpointError, FoundryError
from .model import MiniLLM
from .tokenizer import Tokenizer

MANIFEST = "manifest.json"


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
            (new / "trainer.json").write_text(json.dumps(values, indent=1), encoding="utf-8")
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
        raise CheckpointError(f"There is no folder {folder}, seen from {Path.cwd()}; check the path.")
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        names = {str(name): str(digest) for name, digest in manifest.items()}
    except FileNotFoundError:
        raise CheckpointError(f"{folder} is not a checkpoint: it has no {MANIFEST}.") from None
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{folder / MANIFEST} cannot be read ({error}); use an earlier checkpoint.") from error
    for name, digest in names.items():
        if Path(name).name != name:
            raise CheckpointError(f"{folder / MANIFEST} names {name!r}, which lies outside the checkpoint.")
        if not (folder / name).is_file() or _sha256(folder / name) != digest:
            raise CheckpointError(f"{folder / name} is missing or damaged; use an earlier checkpoint.")
    return {name: folder / name for name in names}


def read_json(files: dict[str, Path], name: str) -> dict:
    """The JSON file `name` of a verified checkpoint; CheckpointError when it is not part of it."""
    if name not in files:
        raise CheckpointError(f"This checkpoint has no {name}; it holds {', '.join(files)}.")
    return json.loads(files[name].read_text(encoding="utf-8"))


def load_checkpoint(folder: Path | str, device: str = "cpu") -> tuple[MiniLLM, Tokenizer]:
    """The model and its tokenizer, each file checked. Raises CheckpointError, naming what is wrong."""
    files = verify(folder)
    try:
        model = MiniLLM(ModelConfig.from_dict(read_json(files, "config.json")))
        state = safetensors.torch.load(files["model.safetensors"].read_bytes())
        if model.config.tie_embeddings:
            state["output.weight"] = state["tok_embeddings.weight"]
        model.load_state_dict(state)
        tokenizer = Tokenizer.load(Path(folder))
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


def checkpoints(root: Path | str = "runs") -> list[Path]:
    """All finished checkpoints below `root`, the oldest first."""
    found = [path.parent for path in Path(root).rglob(MANIFEST) if path.parent.suffix not in (".new", ".old")]
    return sorted(found, key=lambda folder: ((folder / MANIFEST).stat().st_mtime_ns, folder.name))


def newest_checkpoint(root: Path | str = "runs") -> Path:
    """The checkpoint written last below `root`. Raises CheckpointError when there is none."""
    found = checkpoints(root)
    if not found:
        raise CheckpointError(
            f"There is no checkpoint in {Path(root).resolve()}; train first: python -m foundry_lib.train"
        )
    return found[-1]
