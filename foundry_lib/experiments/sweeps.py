"""Experiments: trainings that are written down, so that they can be compared, gone on with and read again.

    runs = sweep("width", {"narrow": {"dim": 64}, "wide": {"dim": 128}}, seeds=(0, 1, 2), max_iters=100)
    print(compare(runs))
    print(overlay(runs, x="seconds"))
    runs = load("width")                  # another day

A run is a folder runs/EXPERIMENT/ROW-seedK: run.json (all settings), log.jsonl (a record a step), result.json (when it
is done) and its last two checkpoints. The same call again skips what is done and goes on with what was stopped.
"""

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from statistics import fmean, median

import torch
from tqdm import tqdm

from .. import runtime
from ..config import ModelConfig, TrainConfig
from ..errors import CheckpointError, ConfigError, DivergedError
from ..paths import PACKAGE
from ..text.baselines import bits_per_byte
from ..text.corpus import Corpus, read_corpus
from ..training.checkpoint import checkpoints, keep_newest
from ..training.recipes import new_trainer
from ..training.trainer import Record, Trainer
from .runs import Run, compare, load, overlay, read_run, safe, said_when_refused, write

__all__ = ["Run", "compare", "load", "overlay", "sweep"]
CODE = "models tales text training"  # the folders whose files shape a training or its floor, beside config.py


@cache
def code_hash() -> str:
    """Of the library's own files that shape a training or its floor: after a change in one nothing old is skipped."""
    files = [PACKAGE / "config.py", *(file for room in CODE.split() for file in sorted((PACKAGE / room).glob("*.py")))]
    return hashlib.sha256("\0".join(file.read_text("utf-8") for file in files).encode()).hexdigest()


def decides(corpus: Corpus, seed: int, time_limit: float | None, settings: dict) -> dict:
    """Everything that the result depends on, down to the last digits of sums, which threads and versions may move."""
    kept = {name: value for name, value in settings.items() if value is not None and name != "text"}
    try:
        json.dumps(kept)
    except TypeError:
        raise ConfigError(f"Only numbers, words, True and False can be written down, found {kept!r}.") from None
    kept["device"] = kept["device"].split(":")[0]
    return {**kept, "seed": seed, "time_limit": time_limit, "text": corpus.sha256, "code": code_hash()}


def hashed(values: dict) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def what_changed(old: dict, new: dict) -> str:
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    long = {"text": "another text", "code": "the library's code is another"}
    return ", ".join(long.get(n) or f"{n} {old.get(n, 'default')} → {new.get(n, 'default')}" for n in names)


def check(rows: dict[str, dict], seeds, shared: dict, time_limit: float | None):
    """Refuse a sweep of which a row could not be run, before anything is trained. Raises ConfigError."""
    if not isinstance(rows, dict) or not all(isinstance(changes, dict) for changes in rows.values()):
        raise ConfigError(f'rows must be {{"name": {{"setting": value}}, …}}, found {rows!r}.')
    if not rows or isinstance(seeds, int) or not seeds:
        raise ConfigError("A sweep needs at least one row and one seed, seeds=(0, 1, 2) for example.")
    if len({safe(name).casefold() for name in rows}) < len(rows):
        raise ConfigError(
            "Two rows have names that differ in nothing but small and capital; some systems see one name."
        )
    if time_limit is not None and not (isinstance(time_limit, (int, float)) and time_limit > 0):
        raise ConfigError(f"time_limit must be a number of seconds above 0, found {time_limit!r}.")
    of_model, of_training = set(ModelConfig.__dataclass_fields__), set(TrainConfig.__dataclass_fields__) - {"seed"}
    known = of_model | of_training | {"block_size", "val_fraction", "vocab_size", "text", "preset", "device"}
    for row, changes in rows.items():
        settings = {name: value for name, value in {**shared, **changes}.items() if value is not None}
        unknown = sorted(set(settings) - known)
        if unknown:
            raise ConfigError(f"Row {row!r}: there is no setting {unknown[0]!r}; there are {', '.join(sorted(known))}.")
        if time_limit is not None and "max_iters" in settings:
            raise ConfigError(f"Row {row!r} has max_iters and time_limit; the one decides the other, so give one.")
        ModelConfig.preset(settings["preset"], **{n: v for n, v in settings.items() if n in of_model})
        TrainConfig(**{name: value for name, value in settings.items() if name in of_training})


def sweep(
    experiment: str,
    rows: dict[str, dict],
    seeds: tuple[int, ...] = (0, 1, 2),
    text: str | Path | Corpus = "tales-en",
    preset: str = "tiny",
    device: str = "cpu",
    time_limit: float | None = None,
    root: Path | str = "runs",
    save_every: int = 200,
    on_step: Callable[[Record], None] = lambda record: None,
    **common,
) -> list[Run]:
    """Train every row with every seed and return the runs; what is done already, with the same settings, is skipped.

    rows: name → what differs, as `new_trainer` takes it ("text" and "preset" too). common: the same for all rows.
    time_limit: seconds of training each, evaluations not counted, instead of max_iters: how many steps fit is measured
    before the first training, the rows taking turns (`steps_that_fit`), and the schedule is made for that many.
    save_every: steps between two checkpoints. on_step: called with the Record of every step.
    ■ or Ctrl-C ends the sweep after the present step; the same call goes on.

    A training that diverges is written down as such and the sweep goes on. Raises ConfigError for names that no folder
    can have, and for a folder that holds something else.
    """
    home, corpora, jobs = Path(root) / safe(experiment), {}, []
    shared = {"text": text, "preset": preset, "device": device, **common}
    check(rows, seeds, shared, time_limit)
    for seed in dict.fromkeys(seeds):  # seed by seed, so that a sweep that was stopped can be compared
        for row, changes in rows.items():
            settings = {**shared, **changes}
            source = settings["text"]
            if source not in corpora:  # read for its hash, and so that a text that cannot be used is refused at once
                corpora[source] = source if isinstance(source, Corpus) else read_corpus(source)
            folder, wanted = home / f"{row}-seed{seed}", decides(corpora[source], seed, time_limit, settings)
            found = read_run(folder)
            if found and found.config["hash"] != hashed(wanted):
                print(f"{folder.name}: run anew ({what_changed(found.config['decides'], wanted)}).")
            elif found and found.result:
                print(f"{folder.name}: {found.result['status']} before, skipped.")
                continue
            elif not found and folder.exists() and any(path.suffix != ".new" for path in folder.iterdir()):
                raise ConfigError(f"{folder} holds something that is not a run; choose another name or move it.")
            jobs.append((folder, row, seed, settings, wanted))
    form = "{desc}{percentage:3.0f} %|{bar:20}| {n:.1f} of {total} runs, {elapsed} < {remaining}"
    with tqdm(total=len(jobs), smoothing=0, bar_format=form, disable=not jobs) as bar:
        try:
            steps = {} if time_limit is None else known_or_measured(jobs, time_limit, bar)
            for number, (folder, row, seed, settings, wanted) in enumerate(jobs, 1):
                bar.set_description_str(f"{folder.name} ")
                if not run_one(folder, row, seed, settings, wanted, steps.get(row), save_every, on_step, bar):
                    raise KeyboardInterrupt
                bar.n = number  # a run that diverged or was gone on with made fewer steps than it counts for
                bar.refresh()
        except KeyboardInterrupt:
            bar.write("Stopped. What was trained is kept: run the same call again to go on.", file=sys.stdout)
    wanted_runs = [read_run(home / f"{row}-seed{seed}") for row in rows for seed in dict.fromkeys(seeds)]
    return [run for run in wanted_runs if run]


def run_one(folder, row, seed, settings, wanted, steps, save_every, on_step, bar) -> bool:
    """Begin a run of so many steps, None: as the settings say, or go on with it. False when it was interrupted."""
    settings = {**settings, "max_iters": steps or settings.get("max_iters")}
    trainer, found = new_trainer(seed=seed, **settings), read_run(folder)
    trainer = (found and found.config["hash"] == hashed(wanted) and gone_on(folder, trainer)) or trainer
    said = f"went on from step {trainer.step}" if trainer.step else "trained"
    if not trainer.step:
        shutil.rmtree(folder, ignore_errors=True)
        with said_when_refused(folder):
            folder.mkdir(parents=True)
        write(folder / "run.json", json.dumps(description(trainer, row, seed, wanted), indent=1, ensure_ascii=False))
    try:
        begun = trainer.step
        for record in trainer.run():
            bar.update(min(1 / trainer.config.max_iters if record.step > begun else 0, bar.total - bar.n))
            if record.step % save_every == 0 and record.step > begun:
                save(trainer, folder)
            on_step(record)
    except DivergedError as error:  # anything else, such as a full memory or disk, says nothing of the settings
        bar.write(f"{folder.name}: diverged in step {trainer.step + 1}.", file=sys.stdout)
        write(folder / "log.jsonl", log_of(trainer))
        write(folder / "result.json", json.dumps({"status": "diverged", "steps": trainer.step, "why": str(error)}))
        return True
    save(trainer, folder)
    if trainer.interrupted:
        return False
    result = result_of(trainer)
    write(folder / "result.json", json.dumps(result, indent=1))
    above = f"{result['bits_per_byte']:.2f} bits/byte"
    if "share" in result:
        above = f"{result['share']:.0%} above the floor"
    bar.write(f"{folder.name}: {said}, {result['steps']} steps, {result['seconds']:.1f} s, {above}.", file=sys.stdout)
    return True


def gone_on(folder: Path, trainer: Trainer) -> Trainer | None:
    """The training of a folder at its last checkpoint; None where it left none that can be used."""
    for saved in reversed(checkpoints(folder)):
        try:
            return Trainer.load(saved, trainer.loader, trainer.device)
        except CheckpointError as error:
            print(f"{folder.name}: {error}")
    return None


def save(trainer: Trainer, folder: Path):
    """The log up to now and a checkpoint; of the older ones of this run the newest stays."""
    write(folder / "log.jsonl", log_of(trainer))
    trainer.save(folder)
    keep_newest(checkpoints(folder))


TURNS = 5  # each row takes so many, a few steps long


def steps_that_fit(rows: dict[str, dict], seconds: float) -> dict[str, int]:
    """Row → how many of its steps take so long, measured on trainings that are thrown away.

    The rows take turns, so that a machine that is busy for a while is busy for all of them. Where a training diverges,
    what it did until then is the measure: the run itself will say so.
    """
    probes, times = {row: new_trainer(**settings) for row, settings in rows.items()}, {row: [] for row in rows}
    for _ in range(TURNS):
        for row, probe in probes.items():
            begun, end = time.perf_counter(), len(times[row]) + 4
            with suppress(DivergedError):
                while len(times[row]) < end or time.perf_counter() - begun < seconds / 100:
                    before = time.perf_counter()
                    probe._train_step()
                    times[row].append(time.perf_counter() - before)
    # the median: the first steps are slow, and a machine that is busy for a moment moves a mean
    return {row: max(1, round(seconds / median(each))) if each else 1 for row, each in times.items()}


def known_or_measured(jobs: list[tuple], seconds: float, bar: tqdm) -> dict[str, int]:
    """Row → the steps that all its seeds take: those of a seed that was begun on another day, or measured now."""
    steps, unknown = {}, {}
    for folder, row, seed, settings, wanted in jobs:
        known = steps_of_sibling(folder, wanted)
        if known:
            steps[row] = known
        else:
            unknown.setdefault(row, {**settings, "seed": seed})
    bar.set_description_str("measuring the speed ")
    return steps | steps_that_fit(unknown, seconds)


def steps_of_sibling(folder: Path, wanted: dict) -> int | None:
    """The steps of another seed of the same row, so that all its seeds get the same number."""
    for path in folder.parent.glob("*/run.json"):
        run = read_run(path.parent)
        if run and run.config["decides"] | {"seed": 0} == wanted | {"seed": 0}:
            return run.config["train"]["max_iters"]
    return None


def description(trainer: Trainer, row: str, seed: int, wanted: dict) -> dict:
    """run.json: the configuration in full, its hash, and where and when it was run."""
    corpus = trainer.loader.corpus
    return {
        "row": row,
        "seed": seed,
        "hash": hashed(wanted),
        "decides": wanted,
        "text": {"name": corpus.name, "sha256": corpus.sha256, "bytes": corpus.n_bytes},
        "tokenizer": {"pieces": trainer.loader.vocab_size, "fingerprint": trainer.loader.tokenizer.fingerprint},
        "model": trainer.model.config.to_dict(),
        "train": {**trainer.config.to_dict(), "block_size": trainer.loader.block_size},
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        "where": runtime.describe(trainer.device),
        "threads": torch.get_num_threads(),
        "when": time.strftime("%Y-%m-%dT%H:%M:%S"),
    }


def log_of(trainer: Trainer) -> str:
    """log.jsonl: a record a step, with the seconds spent on steps alone."""
    lines, seconds = [], 0.0
    tokens = trainer.loader.batch_size * trainer.loader.block_size
    for record in trainer.history:
        seconds += tokens / record.tokens_per_s if record.tokens_per_s else 0.0
        kept = {name: value for name, value in vars(record).items() if value is not None and name != "remaining"}
        lines.append(json.dumps({**kept, "seconds": round(seconds, 4)}) + "\n")
    return "".join(lines)


def result_of(trainer: Trainer) -> dict:
    """result.json of a training that came to its end."""
    last, loader = trainer.history[-1], trainer.loader
    characters = sum(len(document) for document in loader.corpus.documents)
    losses = [record.train_loss for record in trainer.history[-20:] if record.train_loss is not None]
    found = {
        "status": "done",
        "steps": trainer.step,
        "seconds": json.loads(log_of(trainer).splitlines()[-1])["seconds"],
        "tokens": trainer.step * loader.batch_size * loader.block_size,
        "train_loss": fmean(losses),
        "val_loss": last.val_loss,
        "bits_per_byte": bits_per_byte(last.val_loss, loader.val_bytes_per_token),
        "bytes_per_character": loader.corpus.n_bytes / characters,
    }
    if last.excess is not None:
        found |= {"excess": last.excess, "share": last.excess / loader.floor.nats, "owed": last.owed}
    return found
