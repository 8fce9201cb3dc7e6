"""Which setting writes best? Validity, variety and copies of the starter models at every value of every knob:

    python benchmarks/quality_curves.py en        # 1,000 tales a point, about ten minutes on one core

Each point goes into data/quality_curves.jsonl, the table of all into quality_curves.md.
"""

import json
import sys
from pathlib import Path

from foundry_lib.analysis.quality import quality_curves
from foundry_lib.paths import DATA
from foundry_lib.text.corpus import told
from foundry_lib.training.checkpoint import load_checkpoint

HERE = Path(__file__).resolve().parent
POINTS, TABLE = DATA / "quality_curves.jsonl", HERE / "quality_curves.md"
KNOBS = {
    "temperature": (0.3, 0.5, 0.7, 0.85, 1.0, 1.2, 1.5),
    "top_k": (1, 2, 5, 10, 20, 50),
    "top_p": (0.3, 0.5, 0.7, 0.9, 0.95, 0.98, 1.0),
    "min_p": (0.0, 0.01, 0.03, 0.1, 0.2, 0.4),
}
TRAINED_ON = 80_000  # tales, by benchmarks/starter.py
HEAD = """# What each setting of sampling does to the tales of the starter models

Made by `python benchmarks/quality_curves.py en`; `zh` adds the Chinese rows where it has been run. *Valid*: tales that
break no rule, with half the width of the 95 % interval. *Distinct*: different texts. *Copied*: word for word in the
training text. All in per cent.
"""


def measure(language: str, n: int):
    model, tokenizer = load_checkpoint(HERE.parent / "data" / f"starter-{language}")
    training = frozenset(told(language, TRAINED_ON).documents)
    kept = [p for p in read_points() if p["language"] != language]
    for knob, values in KNOBS.items():
        curves = quality_curves(model, tokenizer, language, n, {knob: values}, training=training)
        for value, found in curves[knob].items():
            point = {"language": language, "knob": knob, "value": value, "n": n, "valid": found.valid}
            kept.append(point | {"margin": found.margin, "distinct": found.distinct, "copied": found.copied})
            print(knob, value, found, flush=True)
    POINTS.write_text("".join(json.dumps(point) + "\n" for point in kept), encoding="utf-8")


def read_points() -> list[dict]:
    return [json.loads(line) for line in POINTS.read_text("utf-8").splitlines()] if POINTS.exists() else []


def write_table():
    lines = [HEAD, "| language | knob | value | tales | valid | distinct | copied |", "| --- |" + " --- |" * 6]
    for p in read_points():
        shares = [100 * p[name] / p["n"] for name in ("valid", "distinct", "copied")]
        valid = f"{shares[0]:.1f} ± {100 * p['margin']:.1f}"
        setting = [p["language"], p["knob"], f"{p['value']:g}", str(p["n"])]
        cells = [*setting, valid, f"{shares[1]:.1f}", f"{shares[2]:.1f}"]
        lines.append("| " + " | ".join(cells) + " |")
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    measure(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1000)
    write_table()
