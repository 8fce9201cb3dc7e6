"""What each part of the model, and each setting of the recipe, does for each rule of the tales.

    python benchmarks/tales_runs.py recipe            # the recipe as it is, both languages, three seeds
    python benchmarks/tales_runs.py ablation          # without each part; what is done already is skipped
    python benchmarks/tales_runs.py sweep --seeds 0   # the settings of the recipe, one changed at a time
    python benchmarks/tales_runs.py table             # write the tables from the runs

A run is a line in benchmarks/tales_runs.jsonl. Two commands with different rows may run side by side.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from torch import nn

from foundry_lib import tales
from foundry_lib.errors import FoundryError
from foundry_lib.quality import excess
from foundry_lib.recipes import TALES, new_trainer

HERE = Path(__file__).resolve().parent
RUNS, TABLE = HERE / "tales_runs.jsonl", HERE / "tales_runs.md"
UNSEEN = 999_983  # the seed of tales that no training has read


class Nothing(nn.Module):
    """A part that adds nothing to the stream."""

    def forward(self, x, *rest):
        return torch.zeros_like(x)


def no_rope(model):
    model.freqs_cis[0], model.freqs_cis[1] = 1.0, 0.0  # turn by no angle, at every place


def no_norm(model):
    model.norm = nn.Identity()
    for layer in model.layers:
        layer.attention_norm = layer.ffn_norm = nn.Identity()


def no_attention(model):
    for layer in model.layers:
        layer.attention = Nothing()


def no_mlp(model):
    for layer in model.layers:
        layer.feed_forward = Nothing()


# row → (settings that differ, what is done to the model)
RECIPE = {"tales-en": ({}, None), "tales-zh": ({"text": "tales-zh"}, None)}
ABLATION = {
    "whole model": ({}, None),
    "no RoPE": ({}, no_rope),
    "no norm": ({}, no_norm),
    "no attention": ({}, no_attention),
    "no MLP": ({}, no_mlp),
    "one layer": ({"n_layers": 1}, None),
    "one kv head": ({"n_kv_heads": 1}, None),
}
SWEEP = {
    "recipe": ({}, None),
    "learning rate 1.5e-3": ({"learning_rate": 1.5e-3}, None),
    "learning rate 4e-3": ({"learning_rate": 4e-3}, None),
    "batch 4, twice the steps": ({"batch_size": 4, "max_iters": 1600}, None),
    "batch 16, half the steps": ({"batch_size": 16, "max_iters": 400}, None),
    "embedding std 0.02": ({"embedding_std": 0.02}, None),
    "embedding std 0.088 (fan-in)": ({"embedding_std": 128**-0.5}, None),
    "embedding std 1": ({"embedding_std": 1.0}, None),
    "head of its own": ({"tie_embeddings": False}, None),
    "rope theta 10,000": ({"rope_theta": 10_000.0}, None),
    "weight decay 1": ({"weight_decay": 1.0}, None),
    "vocabulary 1,024": ({"vocab_size": 1024}, None),
}
KINDS = {"recipe": RECIPE, "ablation": ABLATION, "sweep": SWEEP}
STEPS = {"recipe": TALES.train["max_iters"], "ablation": 1000, "sweep": 800}


def train(kind: str, row: str, seed: int) -> dict:
    """One run: train, then compare with the floor on 300 unseen tales."""
    settings, change = KINDS[kind][row]
    settings = {"text": "tales-en", "max_iters": STEPS[kind], "eval_interval": 10_000, **settings}
    trainer = new_trainer(seed=seed, **settings)
    if change:
        change(trainer.model)
    started = time.monotonic()
    found = {"kind": kind, "row": row, "seed": seed, "parameters": sum(p.numel() for p in trainer.model.parameters())}
    try:
        list(trainer.run())
    except FoundryError as error:
        return found | {"diverged": str(error)[:60]}
    measured = excess(
        trainer.model, trainer.loader.tokenizer, tales.generate(trainer.loader.corpus.grammar, UNSEEN, 300)
    )
    return found | {
        "seconds": round(time.monotonic() - started),
        "share": round(measured.share, 4),
        "by rule": {rule: round(nats, 4) for rule, nats in measured.by_rule.items()},
    }


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
