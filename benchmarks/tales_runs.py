"""What each part of the model, and each setting of the recipe, does for each rule of the tales.

    nice python benchmarks/tales_runs.py run                  # kinds ablation and grid: some five hours of one core
    python benchmarks/tales_runs.py run twice --rows "no norm"    # a row at twice the steps: is it only slower?
    python benchmarks/tales_runs.py run --text tales-zh       # the same in Chinese
    python benchmarks/tales_runs.py table                     # the tables of what is trained so far
    python benchmarks/tales_runs.py ship                      # put it where lessons and readers find it

`run` trains on one thread of the CPU. It stores each training in a folder (default runs/tales_runs) and its state every
200 steps. The same command skips what is done with the same code and settings, and resumes what was stopped.
`ship` writes data/tales_runs.jsonl, a line per training, and benchmarks/tales_runs.md. It refuses a kind of which a
training is missing.
"""

import argparse
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median

import torch

from foundry_lib.analysis.statistics import Difference, against_first, mean_interval
from foundry_lib.errors import ConfigError, FoundryError
from foundry_lib.experiments import ablations, runs
from foundry_lib.experiments.sweeps import sweep
from foundry_lib.files import write_whole, writing
from foundry_lib.training.recipes import TALES

HERE = Path(__file__).resolve().parent
FOLDER, TABLE = HERE.parent / "runs" / "tales_runs", HERE / "tales_runs.md"
WHOLE, STEPS = "whole model", TALES.train["max_iters"]
HEAD = """# The tales: what the recipe reaches, and what each part of the model is for

Written by `python benchmarks/tales_runs.py ship`. Each training is a line in `data/tales_runs.jsonl`: preset tiny, one
thread of a shared machine. Ablation and grid differ from the recipe in what the row names, in nothing else.

- *Excess*: the loss above the exact floor on tales that no training has read, in per cent of the floor. It is the mean
  over the seeds; in brackets stands its 95 % interval (Student's t).
- *More than the first row*: the difference of the means with its 95 % interval, by Welch's t-test. *p* belongs to this
  test, with Holm's correction for all comparisons of the column: read p < 0.05 as a difference.
- The columns after *p*: nats above the floor for each word that the rule fixes (0.7, ln 2, is a guess between two).
  ★: differs from the first row, by the same test and correction. A mean below 0, which is chance, is written 0.
- *Seconds*: the median step's time, times the number of steps.

Recipe and sweep were trained before the others and measured on 300 tales.

"""


@dataclass(frozen=True)
class Kind:
    """A set of trainings. rows: name → what differs from the recipe. settings: what all rows share. seeds: of a row;
    the whole model of an ablation has `WHOLE_SEEDS`."""

    rows: dict[str, dict]
    settings: dict = field(default_factory=dict)
    seeds: tuple[int, ...] = (0, 1, 2)


WHOLE_SEEDS = (0, 1, 2, 3, 4)  # every row is compared with the whole model, so its mean should be the surest
SWEEP = {
    "learning rate 2.5e-3": {},
    "learning rate 1.5e-3": {"learning_rate": 1.5e-3},
    "learning rate 4e-3": {"learning_rate": 4e-3},
    "batch 4, twice the steps": {"batch_size": 4, "max_iters": 1600},
    "batch 16, half the steps": {"batch_size": 16, "max_iters": 400},
    "embedding std 0.02": {"embedding_std": 0.02},
    "embedding std 0.088 (fan-in)": {"embedding_std": 128**-0.5},
    "embedding std 1": {"embedding_std": 1.0},
    "head of its own": {"tie_embeddings": False},
    "rope theta 10,000": {"rope_theta": 10_000.0},
    "weight decay 1": {"weight_decay": 1.0},
    "vocabulary 1,024": {"vocab_size": 1024},
}
KINDS = {
    "recipe": Kind({"tales-en": {}, "tales-zh": {"text": "tales-zh"}}),
    "ablation": Kind(ablations.ROWS),
    "grid": Kind(ablations.GRID),
    "twice": Kind(ablations.ROWS, {"max_iters": 2 * STEPS}),
    "sweep": Kind(SWEEP, {"max_iters": 800, "learning_rate": 2.5e-3}, seeds=(0,)),
}
APART = ("recipe",)  # a kind whose rows are not compared with each other: they are two languages
AGAINST_THE_WHOLE = ("grid", "twice")  # kinds whose rows are compared with the whole model of the ablations
DEFAULT, TEXTS = ["ablation", "grid"], ["tales-en", "tales-zh"]


def seeds_of(kind: str, row: str) -> tuple[int, ...]:
    """The seeds that a row is trained with."""
    return WHOLE_SEEDS if (kind, row) == ("ablation", WHOLE) else KINDS[kind].seeds


def name(kind: str, text: str) -> str:
    """The kind's name in files and tables; English bears no mark.

    >>> name("grid", "tales-en"), name("grid", "tales-zh")
    ('grid', 'grid tales-zh')
    """
    return kind if text == "tales-en" else f"{kind} {text}"


# ---- Training


def train(kind: str, text: str, rows: list[str], folder: Path) -> bool:
    """Train what is missing, seed by seed, so that a stopped command leaves rows that compare. False if stopped."""
    settings = {"text": text, "device": "cpu", "eval_interval": 10_000, **KINDS[kind].settings}
    for seed in WHOLE_SEEDS:
        due = {row: KINDS[kind].rows[row] for row in rows if seed in seeds_of(kind, row)}
        if due:
            trained = sweep(name(kind, text), due, (seed,), root=folder, **settings)
            if any(run.result is None for run in trained):
                return False
    return True


# ---- Reading


def lines(kind: str, text: str, folder: Path) -> list[dict]:
    """The ended trainings of a kind in the folder, each as it is shipped, in the order of the rows."""
    label = name(kind, text)
    if not (folder / label).exists():
        return []
    ended = {(run.row, run.seed): run for run in runs.load(label, folder) if run.result}
    order = [(row, seed) for row in KINDS[kind].rows for seed in seeds_of(kind, row) if (row, seed) in ended]
    return [line(label, ended[key]) for key in order]


def line(label: str, run: runs.Run) -> dict:
    """A training as a line of data/tales_runs.jsonl. seconds: the median step's time, times the number of steps,
    because another program may have slowed some of them."""
    ends = [record["seconds"] for record in run.log]
    step_times = [after - before for before, after in zip(ends, ends[1:], strict=False)]
    seconds = run.result["steps"] * median(step_times or [0.0])
    return ablations.stored(label, run.row, run.seed, run.config["parameters"], run.result | {"seconds": seconds})


def shipped() -> list[dict]:
    return [json.loads(text) for text in ablations.RUNS.read_text("utf-8").splitlines()]


def missing(kind: str, found: list[dict]) -> list[str]:
    """The trainings of a kind that have not ended."""
    ended = {(run["row"], run["seed"]) for run in found}
    wanted = [(row, seed) for row in KINDS[kind].rows for seed in seeds_of(kind, row)]
    return [f"{row}-seed{seed}" for row, seed in wanted if (row, seed) not in ended]


# ---- Tables


def values(done: list[dict]) -> dict[str, dict[str, list[float]]]:
    """Column → row → a value per seed: the excess in per cent of the floor, and each rule in nats per word."""
    rules = [rule for rule in done[0]["by rule"] if rule != "free"]
    columns = {"excess, %": lambda run: 100 * run["share"]}
    columns |= {rule: lambda run, rule=rule: run["by rule"][rule] for rule in rules}
    rows = dict.fromkeys(run["row"] for run in done)
    return {
        column: {row: [value(run) for run in done if run["row"] == row] for row in rows}
        for column, value in columns.items()
    }


def probability(p: float) -> str:
    """
    >>> probability(0.00004), probability(0.0312)
    ('< 0.001', '0.031')
    """
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def tested(rows: dict[str, list[float]]) -> dict[str, Difference]:
    """`against_first` for the rows that have two seeds or more."""
    some = {row: seeds for row, seeds in rows.items() if len(seeds) > 1}
    return against_first(some) if next(iter(rows)) in some else {}


def with_interval(value: float, low: float, high: float) -> str:
    """
    >>> with_interval(2.71, 2.04, 3.5)
    '2.7 (2.0 to 3.5)'
    """
    return f"{value:.1f} ({low:.1f} to {high:.1f})"


def cells(row: str, members: list[dict], columns: dict, tests: dict) -> list[str]:
    """A row of the table. members: its trainings. columns: of `values`. tests: column → row → Difference."""
    excess, *rules = columns
    seeds, difference = columns[excess][row], tests[excess].get(row)
    mean = with_interval(fmean(seeds), *mean_interval(seeds)) if len(seeds) > 1 else f"{seeds[0]:.1f}"
    more, p = "", ""
    if difference is not None:
        more, p = with_interval(difference.value, difference.low, difference.high), probability(difference.p)
    seconds = median(run["seconds"] for run in members)
    out = [row, str(len(seeds)), f"{members[0]['parameters']:,}", f"{seconds:.0f}", mean, more, p]
    for rule in rules:
        star = "★" if row in tests[rule] and tests[rule][row].p < 0.05 else ""
        out.append(f"{max(0.0, fmean(columns[rule][row])):.3f}{star}")
    return out


def table(found: list[dict], compare: bool = True) -> str:
    """The trainings as a table in Markdown, a line per row. compare: test each row against the first one."""
    done = [run for run in found if "share" in run]
    columns = values(done)
    tests = {column: tested(rows) if compare else {} for column, rows in columns.items()}
    excess, *rules = columns
    head = ["row", "seeds", "parameters", "seconds", excess, "more than the first row", "p", *rules]
    lines = [head, ["---"] * len(head)]
    lines += [cells(row, [run for run in done if run["row"] == row], columns, tests) for row in columns[excess]]
    text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    text += f"\nComparisons in each column: {len(tests[excess])}.\n" if tests[excess] else ""
    diverged = [f"{run['row']} (seed {run['seed']})" for run in found if "diverged" in run]
    return text + (f"\nDiverged: {', '.join(diverged)}.\n" if diverged else "")


def compared(kind: str, text: str, found: dict[str, list[dict]]) -> list[dict]:
    """The trainings in the table of a kind; where its rows are compared with the whole model, that stands first.

    found: name of a kind → its trainings. Without any training to compare with, the list is empty.
    """
    own = found.get(name(kind, text), [])
    if kind in AGAINST_THE_WHOLE:
        whole = [run for run in found.get(name("ablation", text), []) if run["row"] == WHOLE]
        own = whole + own if whole else []
    return own if any("share" in run for run in own) else []


def page(found: dict[str, list[dict]]) -> str:
    """All kinds that have a training, each with its table. found: name of a kind → its trainings."""
    sections = []
    for text in TEXTS:
        for kind in KINDS:
            steps = KINDS[kind].settings.get("max_iters", STEPS)
            if found.get(name(kind, text)) and (group := compared(kind, text, found)):
                sections.append(
                    f"## {name(kind, text).capitalize()}: {steps:,} steps\n\n{table(group, kind not in APART)}"
                )
    return "\n".join(sections)


def ship(folder: Path, kinds: list[str], text: str):
    """Replace the shipped trainings of these kinds by those of the folder, and write the tables of all that is shipped.

    Raises ConfigError if a training of a kind is missing, or one of the ablations that the kind is compared with.
    """
    if set(kinds) & set(AGAINST_THE_WHOLE):
        kinds = list(dict.fromkeys(["ablation", *kinds]))
    new = {name(kind, text): lines(kind, text, folder) for kind in kinds}
    for kind in kinds:
        left = missing(kind, new[name(kind, text)])
        if left:
            raise ConfigError(f"{len(left)} trainings of {kind} are missing in {folder}, the first is {left[0]}.")
    found = {}
    for run in shipped():
        found.setdefault(run["kind"], []).append(run)
    found |= new
    write_whole(ablations.RUNS, "".join(json.dumps(run) + "\n" for group in found.values() for run in group))
    write_whole(TABLE, HEAD + page(found))


def main(words: list[str] | None = None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "table", "ship"])
    known = f"{', '.join(KINDS)}; default: {' and '.join(DEFAULT)}"
    parser.add_argument("kinds", nargs="*", metavar="kind", help=known)
    parser.add_argument("--rows", nargs="+", help="only these rows")
    parser.add_argument("--text", default="tales-en", choices=TEXTS)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the trainings are stored")
    args = parser.parse_args(words)
    kinds = args.kinds or DEFAULT
    for kind in kinds:
        unknown = [row for row in args.rows or [] if kind in KINDS and row not in KINDS[kind].rows]
        if kind not in KINDS or unknown:
            parser.error(f"no kind {kind!r}" if kind not in KINDS else f"{kind} has no row {unknown[0]!r}")
    try:
        if args.what == "ship":
            return ship(args.folder, kinds, args.text)
        if args.what == "table":
            return print(page({name(kind, args.text): lines(kind, args.text, args.folder) for kind in KINDS}))
        torch.set_num_threads(1)
        with writing(args.folder, "Choose another --folder."):
            all(train(kind, args.text, args.rows or list(KINDS[kind].rows), args.folder) for kind in kinds)
    except FoundryError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
