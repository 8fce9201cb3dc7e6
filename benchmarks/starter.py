"""Train the starter model of a language, which data/ ships: python benchmarks/starter.py en

The recipe of the tales at its longest: so many tales that each is read about once and a half, and a learning rate
that falls to nothing. It took 25 to 32 minutes on one core. Another processor rounds differently, so that the weights
will not be the same to the bit.
"""

import dataclasses
import sys
import time
from pathlib import Path

from foundry_lib import runtime, tales
from foundry_lib.analysis.quality import excess, measure
from foundry_lib.experiments import ablations
from foundry_lib.text.corpus import told
from foundry_lib.training.checkpoint import save_checkpoint
from foundry_lib.training.recipes import new_trainer

DATA = Path(__file__).resolve().parent.parent / "data"
TALES, STEPS, SEED = 80_000, 10_000, 1337
LEARNING_RATE = {"en": 4e-3, "zh": 2.5e-3}  # the first ended lower in English; in Chinese only the second was run


def main(language: str):
    print(runtime.describe("cpu"), flush=True)
    started = time.monotonic()
    trainer = new_trainer(
        told(language, TALES),
        seed=SEED,
        learning_rate=LEARNING_RATE[language],
        max_iters=STEPS,
        eval_interval=500,
        min_lr_ratio=0.0,
        warmup_iters=80,
    )
    log = []
    for record in trainer.run():
        if record.val_loss is not None:
            log.append(
                {
                    "step": record.step,
                    "seconds": round(record.elapsed),
                    "validation loss, nats/token": round(record.val_loss, 4),
                    "above the floor": round(record.excess / trainer.loader.floor.nats, 4),
                    "owed by rule, nats": {rule: round(nats, 4) for rule, nats in record.owed.items()},
                }
            )
            print(log[-1], flush=True)
    model, tokenizer = trainer.model.eval(), trainer.loader.tokenizer
    unseen = excess(model, tokenizer, tales.generate(language, ablations.UNSEEN, 1000))
    written = measure(model, tokenizer, language, 1000, training=frozenset(trainer.loader.corpus.documents))
    note = {
        "language": language,
        "command": f"python benchmarks/starter.py {language}",
        "tales": TALES,
        "machine": runtime.describe("cpu"),
        "seconds": round(time.monotonic() - started),
        "training": trainer.config.to_dict(),
        "block_size": trainer.loader.block_size,
        "1,000 unseen tales": dataclasses.asdict(unseen),
        "1,000 tales written at temperature 1": str(written),
        "log": log,
    }
    folder = save_checkpoint(DATA / f"starter-{language}", model, tokenizer, values=note)
    print(f"{unseen}\n{written}\n{folder}")


if __name__ == "__main__":
    main(*sys.argv[1:])
