"""Experiments: trainings whose settings and results are stored, to be compared, resumed and read again.

    runs = sweep("width", {"narrow": {"dim": 64}, "wide": {"dim": 128}}, seeds=(0, 1, 2), max_iters=100)
    print(compare(runs))
    print(overlay(runs, x="seconds"))
    runs = load("width")                  # on another day

A run is a folder runs/EXPERIMENT/ROW-seedK. It holds run.json (all settings), log.jsonl (one record per step),
result.json (once the run has ended) and its last two checkpoints. The same call again skips the runs that are done and
resumes the one that was stopped.
"""

import ast
import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from statistics import fmean, median

import torch
from tqdm import tqdm

from .. import runtime
from ..config import ModelConfig, TrainConfig
from ..errors import CheckpointError, ConfigError, DivergedError
from ..models.model import PARTS
from ..paths import PACKAGE
from ..text.baselines import bits_per_byte
from ..text.corpus import Corpus, read_corpus
from ..training.checkpoint import checkpoints, keep_newest
from ..training.pieces import name_of
from ..training.recipes import new_trainer, sort_settings
from ..training.record import Record
from ..training.trainer import Trainer
from .runs import Run, read_run, safe, write, write_errors

CODE = "config.py models/*.py tales/*.py text/*.py training/*.py experiments/variants.py"  # decides a result
DEFAULTS = {"text": "tales-en", "preset": "tiny", "device": None, "parts": None, "own": None}  # None: the best device
FORM = "{desc}{percentage:3.0f} %|{bar:20}| {n:.1f} of {total} runs, {elapsed} < {remaining}"
TURNS, STEPS_PER_TURN = 5, 4  # the least that the speed of each row is measured for


@dataclass(frozen=True)
class Job:
    """One training of a sweep. settings: what `new_trainer` takes. decides: everything that the result depends on."""

    folder: Path
    row: str
    seed: int
    settings: dict
    decides: dict

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def hash(self) -> str:
        """Two trainings with the same hash have the same result."""
        return hashlib.sha256(json.dumps(self.decides, sort_keys=True).encode()).hexdigest()


def sweep(
    experiment: str,
    rows: dict[str, dict],
    seeds: tuple[int, ...] = (0, 1, 2),
    time_limit: float | None = None,
    root: Path | str = "runs",
    save_every: int = 200,
    on_step: Callable[[Record], None] = lambda record: None,
    overwrite: bool = False,
    **common,
) -> list[Run]:
    """Train every row with every seed and return the runs. A run that is done, with the same settings, is skipped.

    rows: name → the settings that differ, as `new_trainer` takes them ("text", "preset", "device", "parts" and "own"
    too). common: the settings that all rows share; by default "tales-en" and "tiny" on the best device there is.
    time_limit: processor seconds of training per run, without evaluations, instead of max_iters. `steps_that_fit`
    measures how many steps fit before the first training, and the schedule is made for that many.
    save_every: steps between two checkpoints. on_step: called with the Record of every step.
    overwrite: train again where a folder holds a run of the same name with other settings, and lose that run.
    ■ or Ctrl-C ends the sweep after the current step; the same call resumes it.

    A training that diverges is stored as diverged and the sweep goes on. Raises ConfigError, before any training, for
    unknown settings, for names that no folder can have, and for a folder with other results.
    """
    common = {**DEFAULTS, **common}
    check(rows, seeds, common, time_limit)
    jobs = plan(Path(root) / safe(experiment), rows, seeds, common, time_limit)
    train([job for job in jobs if has_work(job, overwrite)], time_limit, save_every, on_step)
    return sorted(filter(None, (read_run(job.folder) for job in jobs)), key=lambda run: list(rows).index(run.row))


def check(rows: dict[str, dict], seeds, common: dict, time_limit: float | None):
    """Check every row before any training starts. Raises ConfigError."""
    if not isinstance(rows, dict) or not all(isinstance(changes, dict) for changes in rows.values()):
        raise ConfigError(f'rows must be {{"name": {{"setting": value}}, …}}, found {rows!r}.')
    if not rows or isinstance(seeds, int) or not seeds:
        raise ConfigError("A sweep needs at least one row and one seed, for example seeds=(0, 1, 2).")
    if len({safe(name).casefold() for name in rows}) < len(rows):
        raise ConfigError(
            "The names of two rows differ only in small and capital letters; some systems take them for one name."
        )
    if time_limit is not None and not (isinstance(time_limit, (int, float)) and time_limit > 0):
        raise ConfigError(f"time_limit must be a number of seconds above 0, found {time_limit!r}.")
    for row, changes in rows.items():
        settings = {**common, **changes}
        sorted_settings = sort_settings(
            {name: value for name, value in settings.items() if name not in DEFAULTS}, f"Row {row!r}", also=DEFAULTS
        )
        if time_limit is not None and "max_iters" in sorted_settings.train:
            raise ConfigError(
                f"Row {row!r} has max_iters and time_limit, and each decides the other; give one of them."
            )
        vocabulary = {name: value for name, value in sorted_settings.loader.items() if name == "vocab_size"}
        ModelConfig.preset(settings["preset"], **sorted_settings.model, **vocabulary)
        TrainConfig(**sorted_settings.train)


def plan(home: Path, rows: dict[str, dict], seeds, common: dict, time_limit: float | None) -> list[Job]:
    """The trainings of a sweep, seed by seed, so that the rows of a stopped sweep can be compared."""
    jobs, corpora = [], {}
    for seed in dict.fromkeys(seeds):
        for row, changes in rows.items():
            settings = {**common, **changes}
            text = settings["text"]
            if text not in corpora:  # its hash is needed, and an unusable text is refused early
                corpora[text] = text if isinstance(text, Corpus) else read_corpus(text)
            values = decides(corpora[text], seed, time_limit, settings)
            jobs.append(Job(home / f"{row}-seed{seed}", row, seed, settings, values))
    return jobs


@cache
def code_hash() -> str:
    """Hash of the code that decides a training or its floor. After a change in it, nothing is skipped."""
    files = [file for name in CODE.split() for file in sorted(PACKAGE.glob(name))]
    return hashlib.sha256("\0".join(code_only(file.read_text("utf-8")) for file in files).encode()).hexdigest()


def code_only(source: str) -> str:
    """The source without comments and docstrings, which change no result.

    >>> code_only('def f():\\n    "Two."\\n    return 2  # two')
    'def f():\\n    return 2'
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body[:1] = [] if node.body[1:] else [ast.Pass()]
    return ast.unparse(tree)


def decides(corpus: Corpus, seed: int, time_limit: float | None, settings: dict) -> dict:
    """Everything that the result depends on, except the last digits of sums, which threads and versions may change."""
    values = {name: value for name, value in settings.items() if value is not None and name != "text"}
    for kind in ("parts", "own"):  # by their names: a folder cannot hold their code
        names = {
            name: name_of(part) for name, part in values.pop(kind, {}).items() if part not in (None, PARTS.get(name))
        }
        values |= {kind: names} if names else {}
    try:
        json.dumps(values)
    except TypeError:
        raise ConfigError(
            f"A setting of a sweep is a number, a word, True or False, so that it can be stored; found {values!r}."
        ) from None
    values["device"] = runtime.usable_device(settings["device"]).split(":")[0]
    return {**values, "seed": seed, "time_limit": time_limit, "text": corpus.sha256, "code": code_hash()}


def has_work(job: Job, overwrite: bool) -> bool:
    """Whether the job is still to be trained; prints why, where its folder holds something.

    Raises ConfigError for a folder that holds another run, unless `overwrite`, or something that is not a run.
    """
    run = read_run(job.folder)
    if run is None:
        if job.folder.exists() and any(path.suffix != ".new" for path in job.folder.iterdir()):
            raise ConfigError(f"{job.folder} holds something that is not a run. Choose another name, or move it.")
        return True
    if run.config["hash"] == job.hash:
        if run.result:
            print(f"{job.name}: {run.result['status']} before, skipped.")
        return not run.result
    changes = what_changed(run.config["decides"], job.decides)
    only_the_code = {**run.config["decides"], "code": ""} == {**job.decides, "code": ""}
    if not (overwrite or only_the_code):
        raise ConfigError(
            f"{job.folder} holds a run with other settings ({changes}). Choose another name for the experiment or the "
            f"row, or give overwrite=True, which deletes that run."
        )
    print(f"{job.name}: trained again ({changes}).")
    return True


def what_changed(old: dict, new: dict) -> str:
    """The settings that differ, with both values."""
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    words = {"text": "another text", "code": "the library's code has changed"}
    return ", ".join(words.get(n) or f"{n} {old.get(n, 'default')} → {new.get(n, 'default')}" for n in names)


def train(jobs: list[Job], time_limit: float | None, save_every: int, on_step: Callable[[Record], None]):
    """Train the jobs one after the other under one progress bar; an interrupt ends with a sentence."""
    with tqdm(total=len(jobs), smoothing=0, bar_format=FORM, disable=not jobs) as bar:
        try:
            if time_limit is not None:
                bar.set_description_str("measuring the speed ")
                jobs = with_steps(jobs, time_limit)
            for number, job in enumerate(jobs, 1):
                bar.set_description_str(f"{job.name} ")
                if not run_job(job, save_every, on_step, bar):
                    raise KeyboardInterrupt
                bar.n = number  # a run that diverged or was resumed trained fewer steps than it counts for
                bar.refresh()
        except KeyboardInterrupt:
            bar.write("Stopped. What was trained is kept: run the same call again to go on.", file=sys.stdout)


def run_job(job: Job, save_every: int, on_step: Callable[[Record], None], bar: tqdm) -> bool:
    """Start or resume the training of a job; False if it was interrupted."""
    trainer = trainer_of(job)
    how = f"went on from step {trainer.step}" if trainer.step else "trained"
    first_step, processor = trainer.step, []
    try:
        for record in with_processor_time(trainer.run(), processor):
            bar.update(min(1 / trainer.config.max_iters if record.step > first_step else 0, bar.total - bar.n))
            if record.step % save_every == 0 and record.step > first_step:
                save(trainer, job.folder)
            on_step(record)
    except DivergedError as error:  # other errors, such as a full disk, are not a result of the settings
        bar.write(f"{job.name}: diverged in step {trainer.step + 1}.", file=sys.stdout)
        ending = {"status": "diverged", "steps": trainer.step, "why": str(error)}
        write(job.folder / "log.jsonl", log_of(trainer))
        write(job.folder / "result.json", json.dumps(ending))
        return True
    save(trainer, job.folder)
    if trainer.interrupted:
        return False
    result = result_of(trainer)
    result["processor_seconds"] = round(fmean(processor or [0.0]) * trainer.step, 4)
    write(job.folder / "result.json", json.dumps(result, indent=1))
    loss = f"{result['bits_per_byte']:.2f} bits/byte"
    if "share" in result:
        loss = f"{result['share']:.0%} above the floor"
    bar.write(f"{job.name}: {how}, {result['steps']} steps, {result['seconds']:.1f} s, {loss}.", file=sys.stdout)
    return True


def with_processor_time(records: Iterator[Record], seconds: list[float]) -> Iterator[Record]:
    """The records of a training; `seconds` gets the processor's seconds of each step without an evaluation.

    Another program on the same machine lengthens the time on the clock much more than this time. The seconds of all
    cores are added.
    """
    before = time.process_time()
    for record in records:
        if record.val_loss is None:
            seconds.append(time.process_time() - before)
        yield record
        before = time.process_time()


def trainer_of(job: Job) -> Trainer:
    """The training of a job at its last checkpoint, or a new one, for which the folder is emptied."""
    trainer, run = new_trainer(seed=job.seed, **job.settings), read_run(job.folder)
    saved = reversed(checkpoints(job.folder)) if run and run.config["hash"] == job.hash else ()
    for checkpoint in saved:
        try:
            return Trainer.load(checkpoint, trainer.loader, trainer.device, parts=trainer.model.parts, **trainer.own)
        except CheckpointError as error:
            print(f"{job.name}: {error}")
    shutil.rmtree(job.folder, ignore_errors=True)
    with write_errors(job.folder):
        job.folder.mkdir(parents=True)
    write(job.folder / "run.json", json.dumps(description(trainer, job), indent=1, ensure_ascii=False))
    return trainer


def save(trainer: Trainer, folder: Path):
    """Write the log and a checkpoint; of the older checkpoints only the newest stays."""
    write(folder / "log.jsonl", log_of(trainer))
    trainer.save(folder)
    keep_newest(checkpoints(folder))


def with_steps(jobs: list[Job], seconds: float) -> list[Job]:
    """The jobs with max_iters: that of another seed of the row if one was trained before, else the measured number."""
    steps, unknown = {}, {}
    for job in jobs:
        trained = steps_of_sibling(job)
        if trained:
            steps[job.row] = trained
        else:
            unknown.setdefault(job.row, {**job.settings, "seed": job.seed})
    steps |= steps_that_fit(unknown, seconds)
    return [replace(job, settings={**job.settings, "max_iters": steps[job.row]}) for job in jobs]


def steps_of_sibling(job: Job) -> int | None:
    """The steps of another seed of the same row, so that all seeds of a row get the same number."""
    for path in job.folder.parent.glob("*/run.json"):
        run = read_run(path.parent)
        if run and run.config["decides"] | {"seed": 0} == job.decides | {"seed": 0}:
            return run.config["train"]["max_iters"]
    return None


def steps_that_fit(rows: dict[str, dict], seconds: float) -> dict[str, int]:
    """Row → how many of its steps take so many processor seconds, measured on trainings that are not stored.

    The rows take turns, so that a machine that is busy for a while is busy for all of them. If a training diverges,
    its steps until then are the measure; the run itself will report it.
    """
    probes, times = {row: new_trainer(**settings) for row, settings in rows.items()}, {row: [] for row in rows}
    for _ in range(TURNS):
        for row, probe in probes.items():
            turn_started, end = time.process_time(), len(times[row]) + STEPS_PER_TURN
            with suppress(DivergedError):
                while len(times[row]) < end or time.process_time() - turn_started < seconds / 100:
                    before = time.process_time()
                    probe.train_step()
                    times[row].append(time.process_time() - before)
    # the median: the first steps are slow, and one of them would change a mean
    return {row: max(1, round(seconds / median(step_times))) if step_times else 1 for row, step_times in times.items()}


def description(trainer: Trainer, job: Job) -> dict:
    """run.json: the complete configuration, its hash, and where and when it was trained."""
    corpus = trainer.loader.corpus
    return {
        "row": job.row,
        "seed": job.seed,
        "hash": job.hash,
        "decides": job.decides,
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
    """log.jsonl: one record per step, with the seconds spent on training steps only."""
    lines, seconds = [], 0.0
    tokens = trainer.loader.batch_size * trainer.loader.block_size
    for record in trainer.history:
        seconds += tokens / record.tokens_per_s if record.tokens_per_s else 0.0
        values = {name: value for name, value in vars(record).items() if value is not None and name != "remaining"}
        lines.append(json.dumps({**values, "seconds": round(seconds, 4)}) + "\n")
    return "".join(lines)


def result_of(trainer: Trainer) -> dict:
    """result.json of a training that has ended."""
    last, loader = trainer.history[-1], trainer.loader
    characters = sum(len(document) for document in loader.corpus.documents)
    losses = [record.train_loss for record in trainer.history[-20:] if record.train_loss is not None]
    result = {
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
        result |= {"excess": last.excess, "share": last.excess / loader.floor.nats, "owed": last.owed}
    return result
