"""What each part of the model, and each setting of the recipe, does for each rule of the tales.

    python benchmarks/tales_runs.py recipe            # the recipe as it is, both languages, three seeds
    python benchmarks/tales_runs.py ablation          # without each part; what is done already is skipped
    python benchmarks/tales_runs.py sweep --seeds 0   # the settings of the recipe, one changed at a time
    python benchmarks/tales_runs.py table             # write the tables from the runs

A run is a line in data/tales_runs.jsonl. Two commands with different rows may run side by side.
"""

import argparse
import json
from pathlib import Path

from foundry_lib.experiments import ablations
from foundry_lib.training.recipes import TALES, new_trainer

HERE = Path(__file__).resolve().parent
RUNS, TABLE = ablations.RUNS, HERE / "tales_runs.md"

# row → settings that differ from the recipe
RECIPE = {"tales-en": {}, "tales-zh": {"text": "tales-zh"}}
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
KINDS = {"recipe": RECIPE, "ablation": ablations.ROWS, "sweep": SWEEP}
STEPS = {"recipe": TALES.train["max_iters"], "ablation": ablations.STEPS, "sweep": 800}


def train(kind: str, row: str, seed: int) -> dict:
    """One run: train, then compare with the floor on 300 unseen tales."""
    if kind == "ablation":
        return ablations.train(row, seed)
    same = ablations.SAME if kind == "sweep" else {}
    settings = {"text": "tales-en", "max_iters": STEPS[kind], "eval_interval": 10_000, **same, **KINDS[kind][row]}
    return ablations.finish({"kind": kind, "row": row, "seed": seed}, new_trainer(seed=seed, **settings))


def finished() -> list[dict]:
    return [json.loads(line) for line in RUNS.read_text("utf-8").splitlines()] if RUNS.exists() else []


def table(kind: str) -> str:
    """Means over the seeds. Bold: above the first row by more than three times that row's spread over its seeds.
    (Not among the languages of the recipe.)"""
    runs = [run for run in finished() if run["kind"] == kind and "share" in run]
    rules = [rule for rule in runs[0]["by rule"] if rule != "free"]
    columns = {"excess": lambda run: 100 * run["share"]} | {
        rule: lambda run, rule=rule: run["by rule"][rule] for rule in rules
    }
    rows = {row: [run for run in runs if run["row"] == row] for row in dict.fromkeys(run["row"] for run in runs)}
    first = next(iter(rows.values()))
    lines = [
        f"| {kind} | seeds | parameters | excess, % | " + " | ".join(rules) + " |",
        "| --- | --- | --- |" + " --- |" * len(columns),
    ]
    for row, found in rows.items():
        cells = []
        for name, value in columns.items():
            mean, base = (sum(map(value, group)) / len(group) for group in (found, first))
            spread = max(map(value, first)) - min(map(value, first))
            text = f"{mean:.1f}" if name == "excess" else f"{max(0.0, mean):.3f}"
            cells.append(f"**{text}**" if kind != "recipe" and len(first) > 1 and mean - base > 3 * spread else text)
        lines.append(f"| {row} | {len(found)} | {found[0]['parameters']:,} | " + " | ".join(cells) + " |")
    base_range = [f"{min(map(v, first)):.3f} to {max(map(v, first)):.3f}" for v in columns.values()]
    if len(first) > 1:
        lines.append("| *first row, lowest to highest* | | | " + " | ".join(base_range) + " |")
    diverged = [f"{r['row']} (seed {r['seed']})" for r in finished() if r["kind"] == kind and "diverged" in r]
    return "\n".join(lines) + ("\n\nDiverged: " + ", ".join(diverged) + "." if diverged else "") + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=[*KINDS, "table"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", help="these rows alone")
    args = parser.parse_args()
    if args.what == "table":
        done = [kind for kind in KINDS if any(run["kind"] == kind for run in finished())]
        parts = [f"## {kind.capitalize()}: {STEPS[kind]:,} steps\n\n{table(kind)}" for kind in done]
        head = TABLE.read_text("utf-8").split("## ")[0] if TABLE.exists() else ""
        TABLE.write_text(head + "\n".join(parts), "utf-8")
        return
    for seed in args.seeds:
        for row in args.only or KINDS[args.what]:
            if any((run["kind"], run["row"], run["seed"]) == (args.what, row, seed) for run in finished()):
                continue
            found = train(args.what, row, seed)
            with RUNS.open("a", encoding="utf-8") as file:
                file.write(json.dumps(found) + "\n")
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
