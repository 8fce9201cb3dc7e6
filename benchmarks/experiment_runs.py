"""The experiments of lesson 09: size, learning rate, batch, steps, a scaling law, poems. Recorded, with seeds.

    nice python benchmarks/experiment_runs.py run                   # everything; about three hours of one core
    nice python benchmarks/experiment_runs.py run rate scaling      # some groups
    nice python benchmarks/experiment_runs.py run size --rows tiny small --seeds 0 1
    python benchmarks/experiment_runs.py table                      # the tables of what is trained so far
    python benchmarks/experiment_runs.py ship                       # put it where the lesson finds it

`run` trains on one thread of the CPU and stores each training in a folder (default runs/experiment_runs) and its state
every 200 steps. The same command skips what is done with the same code and settings, and resumes what was stopped.
Each model of the group `size` then writes tales, which the parser judges.
`ship` writes data/experiment_runs.jsonl, a line per ended training, and benchmarks/experiment_runs.md. Every table says
how many seeds a row has.
"""

import argparse
import json
import sys
from pathlib import Path
from statistics import fmean

import torch

from foundry_lib import tales
from foundry_lib.analysis.quality import write_texts
from foundry_lib.analysis.statistics import mean_interval, wilson
from foundry_lib.errors import FoundryError
from foundry_lib.experiments import recorded, runs
from foundry_lib.experiments.sweeps import sweep
from foundry_lib.files import write_whole, writing
from foundry_lib.training.checkpoint import load_checkpoint

HERE = Path(__file__).resolve().parent
FOLDER, TABLE = HERE.parent / "runs" / "experiment_runs", HERE / "experiment_runs.md"
EXPERIMENT, SEEDS = "lesson 09", (0, 1, 2)
TALES = 200  # written by each model of the group `size`, at temperature 1
HEAD = """# The experiments of lesson 09

Written by `python benchmarks/experiment_runs.py ship`. Each training is a line in `data/experiment_runs.jsonl`, made on
one thread of a shared machine. A row differs from `foundry_lib.experiments.recorded.BASE` in what its name says.

- *Loss above the floor*: in per cent of the floor, the mean over the seeds with its 95 % interval (Student's t). For
  poems, which have no floor, the columns give bits per byte.
- *Seconds*: of the processor, for the training steps.
- *Valid*: of the tales that the models of all seeds wrote at temperature 1, with the 95 % interval (Wilson).

"""


# ---- Training


def train(groups: list[str], rows: list[str] | None, seeds: list[int], folder: Path) -> bool:
    """Train what is missing, group by group and seed by seed. False if it was stopped."""
    for group in groups:
        due = [recorded.settings(group, row) for row in recorded.GROUPS[group] if not rows or row in rows]
        for seed in seeds if due else ():
            trained = sweep(
                EXPERIMENT, {recorded.name(values): values for values in due}, (seed,), root=folder, device="cpu",
                eval_interval=10_000,
            )  # fmt: skip
            if any(run.result is None for run in trained):
                return False
            for run in trained if group == "size" else ():
                judge(run)
    return True


def judge(run: runs.Run):
    """Let the model of a run write tales, and store in its folder how many are valid, and the first of them."""
    path = run.folder / "tales.json"
    if not run.done or path.exists():
        return
    model, tokenizer = load_checkpoint(run.checkpoint)
    texts = list(write_texts(model, tokenizer, TALES, seed=run.seed))
    verdicts = [tales.parse(text, "en") for text in texts]
    found = {"tales": TALES, "valid": sum(verdict.valid for verdict in verdicts)}
    runs.write(path, json.dumps(found | {"text": texts[0], "verdict": verdicts[0].message}))


# ---- Reading


def line(run: runs.Run) -> dict:
    """A training as a line of data/experiment_runs.jsonl."""
    out = {"name": run.row, "seed": run.seed, "parameters": run.config["parameters"]}
    if not run.done:
        return out | {"diverged": run.result["why"][:60]}
    result, judged = run.result, run.folder / "tales.json"
    out |= {"steps": result["steps"], "tokens": result["tokens"], "seconds": round(result["processor_seconds"], 1)}
    out |= {name: round(result[name], 4) for name in ("val_loss", "bits_per_byte", "share") if name in result}
    if "owed" in result:
        out["by rule"] = {rule: round(nats, 4) for rule, nats in result["owed"].items()}
    return out | (json.loads(judged.read_text("utf-8")) if judged.exists() else {})


def lines(seeds: list[int], folder: Path) -> list[dict]:
    """The ended trainings of these seeds, in the order of the groups."""
    ended = {(run.row, run.seed): run for run in runs.load(EXPERIMENT, folder) if run.result}
    names = [recorded.name(recorded.settings(group, row)) for group, rows in recorded.GROUPS.items() for row in rows]
    keys = [(name, seed) for name in dict.fromkeys(names) for seed in seeds]
    return [line(ended[key]) for key in keys if key in ended]


# ---- Tables


def cells(row: str, members: list[dict]) -> list[str]:
    """A row of a table. members: its trainings."""
    done = [run for run in members if "seconds" in run]
    out = [row, str(len(members)), f"{members[0]['parameters']:,}"]
    if not done:
        return [*out, "", "diverged", ""]
    values = [100 * run["share"] if "share" in run else run["bits_per_byte"] for run in done]
    digits = 1 if "share" in done[0] else 2
    several = len(values) > 1
    loss = (
        recorded.with_interval(fmean(values), mean_interval(values), digits) if several else f"{values[0]:.{digits}f}"
    )
    if len(done) < len(members):
        loss += f", {len(members) - len(done)} diverged"
    judged = [run for run in done if "tales" in run]
    written, valid = (sum(run[key] for run in judged) for key in ("tales", "valid"))
    share = "{:.0%} ({:.0%} to {:.0%})".format(valid / written, *wilson(valid, written)) if judged else ""
    return [*out, f"{fmean(run['seconds'] for run in done):.0f}", loss, share]


def page(found: list[dict]) -> str:
    """A table for each group that has a training."""
    head = ["row", "seeds", "parameters", "seconds", "loss above the floor, %", "valid"]
    sections = []
    for group, rows in recorded.GROUPS.items():
        named = {row: recorded.name(recorded.settings(group, row)) for row in rows}
        members = {row: [run for run in found if run["name"] == name] for row, name in named.items()}
        table = [head, ["---"] * len(head), *(cells(row, some) for row, some in members.items() if some)]
        if len(table) > 2:
            sections.append(f"## {group}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in table))
    return "\n".join(sections)


def main(words: list[str] | None = None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "table", "ship"])
    parser.add_argument("groups", nargs="*", metavar="group", help=f"{', '.join(recorded.GROUPS)}; default: all")
    parser.add_argument("--rows", nargs="+", help="only these rows of the groups")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the trainings are stored")
    args = parser.parse_args(words)
    groups = args.groups or list(recorded.GROUPS)
    known = {row for group in groups for row in recorded.GROUPS.get(group, ())}
    unknown = [word for word in [*groups, *(args.rows or [])] if word not in {*recorded.GROUPS, *known}]
    if unknown:
        parser.error(f"there is no group and no row {unknown[0]!r}")
    try:
        if args.what == "run":
            torch.set_num_threads(1)
            with writing(args.folder, "Choose another --folder."):
                train(groups, args.rows, args.seeds, args.folder)
        elif args.what == "table":
            print(page(lines(args.seeds, args.folder)))
        else:
            found = lines(args.seeds, args.folder)
            write_whole(recorded.RUNS, "".join(json.dumps(run, ensure_ascii=False) + "\n" for run in found))
            write_whole(TABLE, HEAD + page(found))
    except FoundryError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
