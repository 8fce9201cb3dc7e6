"""Checkpoints: a folder that is either whole or not there.

    model, tokenizer = load_checkpoint("runs/my_run")    # the newest checkpoint of that folder
    checkpoint = Checkpoint.open("runs/my_run/step-000100")
    checkpoint.values["step"]

The files of a checkpoint:

    config.json            the ModelConfig, and the names of the model's own parts
    model.safetensors      the weights
    tokenizer.model        the tokenizer, in SentencePiece's format
    tokenizer.json         the name and sha256 of its text
    trainer.json           of a training: step, settings, loader, names of own functions, history
    trainer.safetensors    of a training: the optimizer's state, the loader's position, the random numbers
    manifest.json          the sha256 of each other file

`save_checkpoint` writes all files into a folder whose name ends in ".new" and flushes each to the disk, the manifest
last. Then it renames the folder. So a folder with the ending ".new" or without a manifest is half-written, and readers
leave it alone. `Checkpoint.open` hashes each file once and compares it with the manifest. A model is built only when
configuration and weights agree in size. Weights are safetensors and the rest is JSON: unlike unpickling, loading such
files runs no code.
"""

import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import safetensors.torch
import torch

from ..config import ModelConfig
from ..console import command_line
from ..errors import CheckpointError, FoundryError, Notice
from ..files import flush_to_disk, write_whole
from ..models.model import PARTS, MiniLLM
from ..runtime import usable_device
from ..text.tokenizer import Tokenizer
from .pieces import name_of

MANIFEST = "manifest.json"
LONGEST = 2**20  # tokens of context that a file may ask for: the table of rotations grows with this number


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _beside(folder: Path, ending: str) -> Path:
    """The folder's name while it is written or removed (".new"), or while a newer one replaces it (".old")."""
    return folder.with_name(folder.name + ending)


# ---- Saving


def save_checkpoint(
    folder: Path | str,
    model: MiniLLM,
    tokenizer: Tokenizer,
    tensors: dict[str, torch.Tensor] | None = None,
    values: dict | None = None,
) -> Path:
    """Write model and tokenizer to `folder`, with the `tensors` and `values` of a training; return the folder.

    Raises CheckpointError when the folder exists and is no checkpoint, or cannot be written (full disk, read-only).
    An earlier checkpoint then stays, and nothing half-written is left.
    """
    folder = Path(folder).resolve()
    if folder.exists() and not (folder / MANIFEST).exists():
        raise CheckpointError(f"{folder} exists and is not a checkpoint; choose another folder.")
    new, old = _beside(folder, ".new"), _beside(folder, ".old")
    try:
        if old.exists() and not folder.exists():
            os.replace(old, folder)  # a save of this very step was cut off between its two renames
        for leftover in (new, old):
            shutil.rmtree(leftover, ignore_errors=True)
        new.mkdir(parents=True)
        _write_files(new, model, tokenizer, tensors, values)
        if folder.exists():
            os.replace(folder, old)
        os.replace(new, folder)
        flush_to_disk(folder.parent)
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


def _write_files(folder: Path, model: MiniLLM, tokenizer: Tokenizer, tensors: dict | None, values: dict | None):
    """All files of a checkpoint, the manifest last."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    if model.config.tie_embeddings:
        del state["output.weight"]  # the same tensor as the embedding, which safetensors stores once
    write_whole(folder / "model.safetensors", safetensors.torch.save(state))
    parts = {name: name_of(part) for name, part in model.parts.items()}
    write_whole(
        folder / "config.json", json.dumps(model.config.to_dict() | ({"parts": parts} if parts else {}), indent=1)
    )
    tokenizer.save(folder)
    if tensors is not None:
        write_whole(folder / "trainer.safetensors", safetensors.torch.save(tensors))
    if values is not None:
        # without indents: with them a long history takes twice the time and four times the memory
        write_whole(folder / "trainer.json", json.dumps(values))
    manifest = {file.name: _sha256(file) for file in sorted(folder.iterdir())}
    write_whole(folder / MANIFEST, json.dumps(manifest, indent=1))
    flush_to_disk(folder)


def clear_unfinished(folder: Path | str):
    """Remove the half-written and half-removed checkpoints in a training's folder, and replaced ones.

    A ".old" folder stays where no folder has its name without ".old": it is then the only checkpoint of its step.
    """
    for leftover in [*Path(folder).glob("step-*.new"), *Path(folder).glob("step-*.old")]:
        if leftover.suffix == ".new" or leftover.with_suffix("").exists():
            shutil.rmtree(leftover, ignore_errors=True)


def keep_newest(saved: list[Path], keep: int = 2, also: Path | None = None) -> list[Path]:
    """Keep the newest `keep` checkpoints and `also`, remove the others, and return those that stay.

    saved: the checkpoints, the oldest first.

    A damaged checkpoint among them stays and does not count, so that at least `keep` good ones stay.
    """
    left, good = [], 0
    for folder in reversed(saved):
        if good < keep or folder == also:
            left.append(folder)
            good += _is_whole(folder)
            continue
        # If the removal is cut off, a ".new" folder is left. Readers ignore it, and the next save removes it.
        doomed = _beside(folder, ".new")
        with suppress(OSError):
            folder.rename(doomed)
            shutil.rmtree(doomed)
    return left[::-1]


# ---- Loading


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint: its `folder`, and its `files` by name. `open` compares each file with the manifest."""

    folder: Path
    files: dict[str, Path]

    @classmethod
    def open(cls, folder: Path | str) -> "Checkpoint":
        """The checkpoint in `folder`, or the newest one below it; each file is read and hashed once.

        Raises CheckpointError, which names the damaged file and the newest good checkpoint beside it.
        """
        folder = Path(folder)
        if not folder.exists():
            folder = _beside(folder, ".old")  # exists after a save that was cut off between its two renames
        if not folder.exists():
            raise CheckpointError(
                f"There is no folder {folder.with_suffix('')}, seen from {Path.cwd()}; check the path."
            )
        if folder.is_dir() and not (folder / MANIFEST).exists():
            folder = next(reversed(checkpoints(folder)), folder)
        try:
            return cls(folder, _verified(folder))
        except CheckpointError as error:
            good = next((path for path in reversed(steps_in(folder.parent)) if _is_whole(path)), None)
            advice = "there is no other beside it" if good is None else f"the newest good one beside it is {good.name}"
            raise CheckpointError(f"{error}; {advice}.") from error.__cause__

    @classmethod
    def unverified(cls, folder: Path) -> "Checkpoint":
        """The checkpoint in `folder` without hashing its files: quick, for a look at its tables."""
        return cls(folder, {file.name: file for file in folder.iterdir()})

    def table(self, name: str) -> dict:
        """The JSON file `name`. Raises CheckpointError when it is missing or holds no table of names and values."""
        try:
            values = json.loads(self._path(name).read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"{self.files[name]} is not JSON: {error}") from error
        if not isinstance(values, dict):
            found = type(values).__name__
            raise CheckpointError(f"{self.files[name]} holds {found}, not a table of names and values.")
        return values

    def _tensors(self, name: str) -> dict[str, torch.Tensor]:
        try:
            return safetensors.torch.load(self._path(name).read_bytes())
        except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{self.files[name]} holds no tensors: {error}") from error

    def _path(self, name: str) -> Path:
        if name not in self.files:
            raise CheckpointError(f"{self.folder} has no {name}; it holds {', '.join(self.files)}.")
        return self.files[name]

    @cached_property
    def values(self) -> dict:
        """What a training noted: its step, settings, text and history."""
        return self.table("trainer.json")

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        """The tensors of a training: the optimizer's state and the random numbers."""
        return self._tensors("trainer.safetensors")

    def tokenizer(self) -> Tokenizer:
        """The tokenizer. Raises CheckpointError when it is missing or broken."""
        try:
            return Tokenizer.load(self.folder)
        except (FoundryError, RuntimeError) as error:
            raise CheckpointError(f"{self.folder} does not fit together: {error}") from error

    @property
    def config(self) -> ModelConfig:
        """The configuration of the model."""
        return ModelConfig.from_dict({key: value for key, value in self.table("config.json").items() if key != "parts"})

    @property
    def part_names(self) -> dict[str, str]:
        """The names of the model's own parts: {"logits": "softcap"}. First-edition checkpoints have none."""
        parts = self.table("config.json").get("parts", {})
        if not isinstance(parts, dict):
            raise CheckpointError(f"{self.files['config.json']} has parts={parts!r}, not a table of names.")
        return {str(part): str(name) for part, name in parts.items()}

    def model(self, device: str | None = None, parts: dict | None = None) -> MiniLLM:
        """The model on `device`, None for the best there is.

        parts: its own parts, as MiniLLM takes them; a checkpoint holds only their names.

        Raises CheckpointError unless configuration, parts and weights fit, ConfigError for a missing device.
        """
        device, weights, parts = usable_device(device), self._tensors("model.safetensors"), parts or {}
        try:
            config = self.config
            _require_parts(self, parts)
            own = {part: function for part, function in parts.items() if function is not PARTS.get(part)}
            _require_fit(config, weights, self.folder, own)
            model = MiniLLM(config, **parts)
            if config.tie_embeddings:
                weights["output.weight"] = weights["tok_embeddings.weight"]
            model.load_state_dict(weights)
        except CheckpointError:
            raise
        except (FoundryError, RuntimeError, KeyError, TypeError) as error:
            given = f" with parts={', '.join(parts)}" if parts else ""
            raise CheckpointError(f"{self.folder} does not fit together{given}: {error}") from error
        if not all(torch.isfinite(tensor).all() for tensor in weights.values()):
            raise CheckpointError(f"{self.folder}: the weights hold NaN or infinity; use an earlier checkpoint.")
        return model.to(device)


def load_checkpoint(
    folder: Path | str, device: str | None = None, parts: dict | None = None
) -> tuple[MiniLLM, Tokenizer]:
    """The model and its tokenizer from a checkpoint, or from the newest one below `folder`.

    device: where the model goes; None is the best there is.
    parts: the model's own parts, as MiniLLM takes them: {"logits": softcap}. A checkpoint holds only their names.
    Raises CheckpointError, which names what is wrong, and ConfigError for a device that this machine lacks.
    """
    device, checkpoint = usable_device(device), Checkpoint.open(folder)
    model, tokenizer = checkpoint.model(device, parts), checkpoint.tokenizer()
    if tokenizer.vocab_size != model.config.vocab_size:
        raise CheckpointError(
            f"{checkpoint.folder}: the tokenizer has {tokenizer.vocab_size} tokens, the model "
            f"{model.config.vocab_size}; they are not from the same training."
        )
    return model, tokenizer


def _verified(folder: Path) -> dict[str, Path]:
    """The files of a checkpoint by name. Raises CheckpointError for one that the manifest does not confirm."""
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


def _is_whole(folder: Path) -> bool:
    with suppress(CheckpointError):
        return bool(_verified(folder))
    return False


def _require_parts(checkpoint: Checkpoint, parts: dict):
    """Raise CheckpointError for an own part that is saved and not given. A part of another name is a Notice."""
    saved = checkpoint.part_names
    missing = [part for part in saved if part not in parts]
    if missing:
        again = ", ".join(f"{part!r}: {saved[part]}" for part in missing)
        raise CheckpointError(
            f"The model in {checkpoint.folder} was saved with own parts: {', '.join(missing)}. A checkpoint holds "
            f"their names and weights, not their code. Give them when you load it: parts={{{again}}}."
        )
    for part, function in parts.items():
        name = "the library's" if function is PARTS.get(part) else name_of(function)
        before = saved.get(part, "the library's")
        if name != before:
            message = f"The model was saved with {part}={before}; it is loaded with {part}={name}."
            warnings.warn(message, Notice, stacklevel=4)


def _require_fit(config: ModelConfig, weights: dict[str, torch.Tensor], folder: Path, parts: dict):
    """Refuse a configuration of another size than the weights, before the model takes any memory.

    With own parts, which may have any number of weights, only the embedding's shape and the layers are compared.
    """
    if parts:
        shape = weights["tok_embeddings.weight"].shape
        if shape != (config.vocab_size, config.dim):
            raise CheckpointError(
                f"{folder} does not fit together: config.json asks for an embedding of "
                f"{(config.vocab_size, config.dim)}, model.safetensors holds one of {tuple(shape)}."
            )
    counted = sum(tensor.numel() for tensor in weights.values())
    layers = len({name.split(".")[1] for name in weights if name.startswith("layers.")})
    if (counted != config.n_params and not parts) or layers != config.n_layers:
        raise CheckpointError(
            f"{folder} does not fit together: config.json asks for {config.n_params:,} parameters in {config.n_layers} "
            f"layers, model.safetensors holds {counted:,} in {layers}. If the model had own parts, give them: "
            f"parts={{…}}."
        )
    if config.max_seq_len > LONGEST:
        raise CheckpointError(f"{folder}: max_seq_len={config.max_seq_len} is beyond {LONGEST:,}.")


# ---- Finding


def checkpoints(root: Path | str = "runs") -> list[Path]:
    """All finished checkpoints below `root`, the oldest first."""
    return _finished(Path(root).rglob(MANIFEST))


def steps_in(folder: Path | str) -> list[Path]:
    """The finished checkpoints that lie directly in `folder`, the oldest first."""
    return _finished(Path(folder).glob(f"*/{MANIFEST}"))


def _finished(manifests: Iterable[Path]) -> list[Path]:
    folders = [path.parent for path in manifests if path.parent.suffix != ".new"]
    folders = [folder for folder in folders if folder.suffix != ".old" or not folder.with_suffix("").exists()]
    return sorted(folders, key=lambda folder: ((folder / MANIFEST).stat().st_mtime_ns, folder.name))


def newest_checkpoint(root: Path | str = "runs") -> Path:
    """The checkpoint written last below `root`. Raises CheckpointError when there is none."""
    folders = checkpoints(root)
    if not folders:
        raise CheckpointError(f"There is no checkpoint in {Path(root).resolve()}; train first: {command_line('train')}")
    return folders[-1]
