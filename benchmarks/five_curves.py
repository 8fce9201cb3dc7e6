"""Five trainings to be diagnosed in lesson 10, each with a fault, and two treated ones: writes data/five_curves.json.

    OMP_NUM_THREADS=1 python benchmarks/five_curves.py

Each is the tales' recipe on fewer tales and steps, at 4 rows a batch, with the fault that its entry in CURVES says:
losses of the batches (mean of 10 steps), of the validation text, and the known lines.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from foundry_lib import Corpus, read_corpus
from foundry_lib.paths import DATA
from foundry_lib.text.baselines import reference_lines
from foundry_lib.training.recipes import new_trainer

FILE = DATA / "five_curves.json"
ALL = read_corpus("tales-en")
LAST = 600  # steps that are shown; the last one is planned for 900 and stopped here
SHARED = dict(batch_size=4, max_iters=300, eval_interval=20)


def some(n: int) -> Corpus:
    return Corpus(f"{n} tales", ALL.documents[:n], ALL.grammar, ALL.words)


def unshifted(trainer):
    """The fault: the model is asked for the token that it reads."""
    get = trainer.loader.get_batch
    trainer.loader.get_batch = lambda split: (get(split)[0],) * 2
    batches = trainer.loader.val_batches
    trainer.loader.val_batches = lambda: ((x, x.where(y >= 0, y)) for x, y in batches())
    return trainer


CURVES = {
    "lr too high": lambda: new_trainer(some(1200), learning_rate=0.1, **SHARED),
    "lr too low": lambda: new_trainer(some(1200), learning_rate=4e-5, **SHARED),
    "leak": lambda: unshifted(new_trainer(some(1200), **SHARED)),
    "overfit": lambda: new_trainer(some(60), val_fraction=0.4, **SHARED | dict(max_iters=600, eval_interval=40)),
    "treated": lambda: new_trainer(some(1200), **SHARED),  # what the first four patients need
    "more tales": lambda: new_trainer(ALL, **SHARED | dict(max_iters=900, eval_interval=60)),  # and the last one
    "data exhausted": lambda: new_trainer(
        some(500), val_fraction=0.2, **SHARED | dict(max_iters=900, eval_interval=60)
    ),
}


def main(names):
    found = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    for name in names or CURVES:
        trainer = CURVES[name]()
        history = list(trainer.run(until=LAST))
        batch = [r.train_loss for r in history[1:]]
        found[name] = {
            "steps": [i + 10 for i in range(0, len(batch), 10)],
            "train": [round(sum(batch[i : i + 10]) / 10, 4) for i in range(0, len(batch), 10)],
            "val_steps": [r.step for r in history if r.val_loss is not None],
            "val": [round(r.val_loss, 4) for r in history if r.val_loss is not None],
            "lines": {line: round(nats, 4) for line, nats in reference_lines(trainer.loader).items()},
            "training_tokens": len(trainer.loader.train_tokens),
        }
        FILE.write_text(json.dumps(found) + "\n", encoding="utf-8")
        print(name, found[name]["train"][-1], found[name]["val"], flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
