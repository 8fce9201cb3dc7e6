"""How good does a model of real text become in two minutes?

`new_trainer("python-docs")`: the preset tiny by the course's own recipe for prose, on two threads. Nothing is changed
but the number of steps, because the learning rate falls along the whole of a training: a trial of 200 steps says how
many fit, and where more fit than the recipe has, the recipe's own are taken; the last row says what twice as many do.
Then a new training is timed, from its first step to its last loss. Bits a byte are those of the whole validation text,
the last tenth of the documents. `python-docs` leaves out each paragraph that has occurred before, so that the model has
seen none of the validation text. The reference as Python carries it repeats a fifth of itself, and a model is measured
in part on what it has read: its row is there for whoever compares with such a figure.
"""

import race
import report

SECONDS, MUST = 120, 1.70
THREADS, TRIAL = 2, 200
SPARE = 0.95  # of the time is planned for: the loss at the end is part of it, and a machine is never even


class Learner:
    def steps_that_fit(self, seconds: float, trial: int) -> int:
        from foundry_lib.training.recipes import new_trainer

        trainer = new_trainer("python-docs")
        records = list(trainer.run(until=trial))
        tokens = sorted(record.tokens_per_s for record in records if record.step)[trial // 2]
        fit = int(SPARE * seconds * tokens / trainer.loader.batch_size / trainer.loader.block_size)
        return min(fit, trainer.config.max_iters)

    def train(self, steps: int, seed: int, repeated: bool = False) -> dict:
        from pydoc_data.topics import topics

        from foundry_lib.text.baselines import bits_per_byte
        from foundry_lib.text.corpus import Corpus
        from foundry_lib.training.recipes import new_trainer

        text = Corpus("as Python carries it", tuple(topics[name] for name in sorted(topics)))
        trainer = new_trainer(text if repeated else "python-docs", max_iters=steps, eval_interval=steps, seed=seed)
        *_, last = trainer.run()
        nats = last.val_loss
        return dict(seconds=last.elapsed, nats=nats, bits=bits_per_byte(nats, trainer.loader.val_bytes_per_token))


def main():
    seeds, lines = report.options(__doc__, rounds=1).rounds, []
    with race.Rival(Learner, threads=THREADS) as learner:
        steps = learner.call("steps_that_fit", SECONDS, TRIAL)
        found = [learner.call("train", steps, 1337 + i) for i in range(seeds)]
        repeated = learner.call("train", steps, 1337, True)
        longer = learner.call("train", 2 * steps, 1337)
    for i, one in enumerate(found):
        lines.append([f"seed {1337 + i}", f"{steps:,}", *one.values()])
    lines.append(["with repetitions", f"{steps:,}", *repeated.values()])
    lines.append(["twice the steps", f"{2 * steps:,}", *longer.values()])
    header = ["", "steps", "seconds", "nats a token", "bits a byte"]
    sections = [dict(title=f"python-docs, tiny, {THREADS} threads", header=header, rows=lines)]
    promises = [
        report.promise("python-docs, tiny, time", max(one["seconds"] for one in found), most=SECONDS, unit="s"),
        report.promise("python-docs, tiny, bits a byte", max(one["bits"] for one in found), most=MUST),
    ]
    report.write("docs", sections, promises, THREADS)


if __name__ == "__main__":
    main()
