"""A training as files: what a checkpoint holds beside the model, and how the Trainer goes on from it."""

import itertools
import re
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from ..config import TrainConfig
from ..errors import CheckpointError, ConfigError, CorpusError, FoundryError, Notice
from ..files import writing
from ..text.corpus import Corpus, read_corpus
from ..text.loader import DataLoader
from ..text.tokenizer import Tokenizer
from .checkpoint import Checkpoint, clear_unfinished, save_checkpoint, steps_in
from .pieces import name_of
from .record import saved_record

OWN = ("loss", "optimizer", "schedule", "step")  # the functions of a training that a caller can replace
IN_MEMORY = "The training is still in memory: choose another folder, then save again."


# ---- Saving


def save_training(trainer, folder: Path | str, beside: bool = False) -> Path:
    """Write the whole training to `folder/step-NNNNNN` and return that path.

    beside: if the folder holds another training, write to the next folder beside it: runs/07, runs/07-2, runs/07-3.
    Raises CheckpointError when the folder holds another training, when another process writes there, or when it cannot
    be written to.
    """
    folder = folder_beside(trainer, Path(folder).resolve()) if beside else Path(folder).resolve()
    with writing(folder, IN_MEMORY):
        if folder != trainer.saved_in:  # what this training has saved there needs no second look
            require_same_training(trainer, folder)
        clear_unfinished(folder)
        step = folder / f"step-{trainer.step:06d}"
        save_checkpoint(step, trainer.model, trainer.loader.tokenizer, tensors_of(trainer), values_of(trainer))
    trainer.saved_in = folder
    return step


def tensors_of(trainer) -> dict[str, Tensor]:
    """The optimizer's state by the name of its parameter, the loader's position, and torch's random numbers."""
    tensors = {
        key: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for key, value in _optimizer_state(trainer)
        if isinstance(value, Tensor)
    }
    tensors |= {f"loader.{key}": value for key, value in trainer.loader.state().items()}
    tensors["rng.torch"] = torch.get_rng_state()
    if trainer.device.startswith("cuda"):
        tensors["rng.cuda"] = torch.cuda.get_rng_state()
    return tensors


def _optimizer_state(trainer) -> list[tuple[str, object]]:
    """("optimizer.PARAMETER.KEY", value) for everything that the optimizer remembers of the model's parameters."""
    names = {id(p): name for name, p in trainer.model.named_parameters()}
    return [
        (f"optimizer.{names[id(p)]}.{key}", value)
        for p, state in trainer.optimizer.state.items()
        for key, value in state.items()
    ]


def values_of(trainer) -> dict:
    """Everything else, as JSON holds it. `optimizer` has what the optimizer remembers in numbers, not tensors."""
    return {
        "step": trainer.step,
        "elapsed": trainer.elapsed,
        "config": trainer.config.to_dict(),
        "loader": trainer.loader.spec(),
        "own": {piece: name_of(function) for piece, function in trainer.own.items()},
        "optimizer": {key: value for key, value in _optimizer_state(trainer) if not isinstance(value, Tensor)},
        "history": [vars(record) for record in trainer.history],
    }


def require_same_training(trainer, folder: Path):
    """Raise CheckpointError when the newest checkpoint in `folder` is of another text or has other settings."""
    for path in reversed(steps_in(folder)):
        try:
            saved = Checkpoint.unverified(path)
            text, differences = _difference(trainer, saved)
        except (FoundryError, KeyError, TypeError, AttributeError):  # damaged, or no training
            continue
        if differences:
            raise CheckpointError(
                f"{folder} holds another training, of {text} at step {saved.values['step']}; it differs in "
                f"{', '.join(differences[:3])}. Save to another folder; that training goes on with "
                f"Trainer.load({str(folder)!r})."
            )
        return


def folder_beside(trainer, folder: Path) -> Path:
    """The folder, or the first of its numbered neighbours that does not hold another training."""
    for number in itertools.count(1):
        candidate = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        try:
            require_same_training(trainer, candidate)
        except CheckpointError:
            continue
        return candidate


def _difference(trainer, saved: Checkpoint) -> tuple[str, list[str]]:
    """The text of a saved training, and the settings in which the trainer's training differs from it."""
    values, text = saved.values, saved.table("tokenizer.json")
    pairs = [
        ({**vars(TrainConfig.from_dict(values["config"])), "seed": trainer.config.seed}, vars(trainer.config)),
        (vars(saved.config), vars(trainer.model.config)),
        (saved.part_names, {name: name_of(part) for name, part in trainer.model.parts.items()}),
        ({**values["loader"], "file_path": None}, {**trainer.loader.spec(), "file_path": None}),
        (values.get("own", {}), {piece: name_of(function) for piece, function in trainer.own.items()}),
    ]
    names = ["the text"] if text["corpus_sha256"] != trainer.loader.corpus.sha256 else []
    names += [name for theirs, ours in pairs for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)]
    return text["corpus_name"], list(dict.fromkeys(names))


# ---- Loading


@contextmanager
def refusing_what_is_no_training(folder: Path):
    """Turn an error that a damaged or foreign file causes into a CheckpointError."""
    try:
        yield
    except FoundryError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, OverflowError) as error:
        raise CheckpointError(f"{folder} holds no training that can go on: {error!r}.") from error


def load_training(
    trainer_class,
    folder: Path | str,
    loader: DataLoader | None = None,
    device: str | None = None,
    text: str | Path | Corpus | None = None,
    parts: dict | None = None,
    **own: Callable | None,
):
    """The training in a checkpoint, or in the newest one below `folder`, ready to go on.

    loader: None makes it from the settings in the checkpoint; a given one must have the checkpoint's tokenizer.
    text: the training's text, if its file has moved.
    parts: the model's own parts, as MiniLLM takes them. own: the training's own loss=, optimizer=, schedule= and step=;
    None goes on with the library's. A checkpoint holds only the names of parts and functions.
    Raises CheckpointError when the checkpoint is damaged, holds no training, or had own parts or functions that are not
    given; CorpusError when the text is missing or has changed; ConfigError for another keyword.
    """
    unknown = sorted(set(own) - set(OWN))
    if unknown:
        raise ConfigError(
            f"Trainer.load has no argument {unknown[0]!r}. Own functions are {', '.join(OWN)}; own parts of the model "
            f"go into parts={{…}}."
        )
    checkpoint = Checkpoint.open(folder)
    tokenizer = checkpoint.tokenizer()
    require_same_pieces(checkpoint, own)
    with refusing_what_is_no_training(checkpoint.folder):
        config = TrainConfig.from_dict(checkpoint.values["config"])
        loader = loader or loader_of(checkpoint, tokenizer, text, device)
        if loader.tokenizer.fingerprint != tokenizer.fingerprint:
            raise CheckpointError(f"{checkpoint.folder} was trained with another tokenizer than this loader's.")
    trainer = trainer_class(checkpoint.model(device or loader.device, parts), loader, config, device, **own)
    restore(trainer, checkpoint)
    return trainer


def loader_of(checkpoint: Checkpoint, tokenizer: Tokenizer, text: str | Path | Corpus | None, device: str | None):
    """The loader that the checkpoint describes, on `text` or on the text that it names."""
    spec = dict(checkpoint.values["loader"])
    spec["file_path"] = text_of(checkpoint.folder, tokenizer, text or spec["file_path"])
    return DataLoader(**spec, tokenizer=tokenizer, device=device)


def text_of(folder: Path, tokenizer: Tokenizer, text: str | Path | Corpus) -> Corpus:
    """The text of the training in `folder`: the one whose sha256 its tokenizer has.

    First the name or path itself is tried. When the project's folder has moved, a file of that name may lie beside the
    checkpoint, in the three folders above, or in the working folder; these are tried next. Raises CorpusError when the
    text is missing or has changed.
    """
    if isinstance(text, Corpus):
        candidates = [text]
    else:
        file = re.split(r"[\\/]", str(text))[-1]
        folders = [*folder.resolve().parents[:4], Path.cwd()]
        candidates = [text, *(path for path in (near / file for near in folders) if path.is_file())]
    changed, missing = None, None
    for candidate in candidates:
        try:
            corpus = candidate if isinstance(candidate, Corpus) else read_corpus(candidate)
        except CorpusError as error:
            missing = missing or error
            continue
        if corpus.sha256 == tokenizer.corpus_sha256:
            return corpus
        changed = changed or corpus
    advice = (
        f"Put back the text as it was, or give its file: --resume {folder.parent} --data FILE, in Python "
        f"Trainer.load({str(folder)!r}, text=FILE), or text=CORPUS where CORPUS is a Corpus object. "
        f"For another text start a new training, in another folder."
    )
    if changed:
        raise CorpusError(
            f"{changed.path or changed.name} is not the text of this training: that was {tokenizer.corpus_name} with "
            f"sha256 {tokenizer.corpus_sha256[:12]}…, and this one has {changed.sha256[:12]}…. {advice}"
        )
    raise CorpusError(f"The text of this training cannot be read. {missing} {advice}") from missing


def require_same_pieces(checkpoint: Checkpoint, own: dict[str, Callable | None]):
    """Raise CheckpointError when an own function of the training is not given, or one is given that it did not have.

    A function of another name gives a Notice, and the training goes on with it; so does None, the library's.
    """
    with refusing_what_is_no_training(checkpoint.folder):
        saved = {piece: str(name) for piece, name in checkpoint.values.get("own", {}).items()}
    missing = [piece for piece in saved if piece not in own]
    if missing:
        piece, name = missing[0], saved[missing[0]]
        raise CheckpointError(
            f"{checkpoint.folder} was trained with an own {piece}, {name}. Give it again: "
            f"Trainer.load(…, {piece}={name})."
        )
    for piece, function in own.items():
        name = "the library's" if function is None else name_of(function)
        if piece not in saved and function is None:
            continue
        if piece not in saved:
            raise CheckpointError(
                f"{checkpoint.folder} was trained with the library's {piece}; leave out {piece}={name}."
            )
        if saved[piece] != name:
            message = f"The training had the {piece} {saved[piece]}; it goes on with {name}."
            warnings.warn(message, Notice, stacklevel=3)


def restore(trainer, checkpoint: Checkpoint):
    """Give a new trainer the state that the checkpoint holds. Raises CheckpointError when it does not fit."""
    with refusing_what_is_no_training(checkpoint.folder):
        tensors, values = checkpoint.tensors, checkpoint.values
        trainer.optimizer.state.update(_restored_optimizer(trainer, tensors, values))
        position = {key.removeprefix("loader."): t for key, t in tensors.items() if key.startswith("loader.")}
        trainer.loader.load_state(position)
        torch.set_rng_state(tensors["rng.torch"])
        if trainer.device.startswith("cuda") and "rng.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["rng.cuda"])
        trainer.step, trainer.elapsed = int(values["step"]), float(values["elapsed"])
        trainer.history = [saved_record(record) for record in values["history"]]


def _restored_optimizer(trainer, tensors: dict[str, Tensor], values: dict) -> dict[Tensor, dict]:
    """The optimizer's state by parameter."""
    parameters, state = dict(trainer.model.named_parameters()), {}
    for key, value in {**tensors, **values.get("optimizer", {})}.items():
        if not key.startswith("optimizer."):
            continue
        name, field = key.removeprefix("optimizer.").rsplit(".", 1)
        p = parameters[name]
        if isinstance(value, Tensor):
            if field != "step" and not value.isfinite().all():
                raise ValueError(f"the optimizer's {field} of {name} holds NaN or infinity")
            if value.shape == p.shape:
                value = torch.empty_like(p).copy_(value)  # the fused AdamW needs the memory layout of the weight
            elif field != "step" and "optimizer" not in trainer.own:
                raise ValueError(f"the optimizer's {field} of {name} does not fit the weights")
            value = value.to(p.device)
        state.setdefault(p, {})[field] = value
    return state
