"""What do the filters cost?

From the scores of one row and 8,192 tokens to the probabilities that are drawn from: `next_token_distribution` against
transformers' own logits processors and a softmax, one thread, in turns of many calls. The rows of scores are random,
peaked like a trained model's or flat like a new one's. A slider move is `Playground.distributions`, what the panel of
lesson 08 computes when one slider has moved and before anything is drawn: the prompt was read before.
"""

import contextlib
from functools import cache, partial

import race
import report

THREADS, VOCAB, CALLS = 1, 8192, 200
SPREADS = {"peaked": 3.0, "flat": 1.0}  # standard deviation of the scores
FILTERS = {
    "temperature 0.8, top-k 50, top-p 0.9": dict(temperature=0.8, top_k=50, top_p=0.9),
    "top-p 0.9": dict(top_p=0.9),
}
AGAINST = "transformers"
REST = dict(temperature=0.8, top_k=50, top_p=0.9, min_p=0.0, repetition_penalty=1.0)
MOVES = {
    "temperature": [0.5 + 0.05 * i for i in range(20)],
    "top_k": list(range(30, 50)),
    "top_p": [0.05 * i for i in range(1, 21)],
    "min_p": [0.01 * i for i in range(20)],
    "repetition_penalty": [1 + 0.05 * i for i in range(20)],
}


@cache
def scores(spread: float):
    """The same 16 rows (16, 1, V) for every rival."""
    import torch

    return spread * torch.randn(16, 1, VOCAB, generator=torch.Generator().manual_seed(3))


class Ours:
    def filter(self, filters: dict, spread: float, calls: int = CALLS) -> list[float]:
        """Filters rows in turn, `calls` times; the last one's probabilities."""
        import torch

        from foundry_lib import SampleConfig, next_token_distribution

        rows, config = scores(spread), SampleConfig(**filters)
        with torch.inference_mode():
            for i in range(calls):
                probs = next_token_distribution(rows[i % len(rows)], config)
        return probs[0].tolist()


class Transformers:
    def __init__(self):
        import transformers  # noqa: F401  so that a missing package is found at once

    def filter(self, filters: dict, spread: float, calls: int = CALLS) -> list[float]:
        import torch
        from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

        makers = dict(temperature=TemperatureLogitsWarper, top_k=TopKLogitsWarper, top_p=TopPLogitsWarper)
        rows, process = scores(spread), LogitsProcessorList(makers[name](value) for name, value in filters.items())
        with torch.inference_mode():
            for i in range(calls):
                probs = process(None, rows[i % len(rows)]).softmax(-1)
        return probs[0].tolist()


class Slider:
    """The playground's arithmetic, on scores as peaked as above; no tokenizer is needed but for the prompt's ids."""

    vocab_size = VOCAB

    def __init__(self):
        import torch

        from foundry_lib import MiniLLM, ModelConfig
        from foundry_lib.panels.playground import Playground

        model = MiniLLM(ModelConfig.preset("tiny", vocab_size=VOCAB))
        with torch.no_grad():  # the scores of the last position are a random direction of this length
            model.output.weight.normal_(0, SPREADS["peaked"] * model.config.dim**-0.5)
        self.playground = Playground(model, self)
        self.playground.distributions("prompt", **REST)

    def encode(self, text: str, bos: bool = False) -> list[int]:
        return list(range(20))

    def move(self, slider: str):
        """The slider through all its places, the others at rest."""
        for value in MOVES[slider]:
            self.playground.distributions("prompt", **REST | {slider: value})


def main():
    rounds, lines, promises = report.options(__doc__, rounds=15).rounds, [], []
    header = ["", "", "ms a row", "slowest", "fastest", "times as fast as transformers"]

    def add(what: str, who: str, speed: dict):
        lines.append([what, who, *(1e3 / speed[key] for key in ("median", "low", "high")), speed["ratio"]])
        return 1e3 / speed["median"]

    with contextlib.ExitStack() as stack:
        rivals, absent = race.start(stack, {"foundry_lib": (Ours,), AGAINST: (Transformers,)}, THREADS)
        slider = stack.enter_context(race.Rival(Slider, threads=THREADS))
        for kind, spread in SPREADS.items():
            for what, filters in FILTERS.items():
                same(rivals, filters, spread)
                tasks = {name: partial(rival.seconds, "filter", filters, spread) for name, rival in rivals.items()}
                speeds = race.speeds(race.take_turns(tasks, rounds), CALLS, AGAINST)
                spent = {name: add(f"{what}, {kind}", name, speed) for name, speed in speeds.items()}
                if len(filters) > 1:
                    name = f"filters, {what}, {kind}"
                    promises.append(report.promise(name, spent["foundry_lib"], most=0.2, unit="ms"))
        seconds = race.take_turns({name: partial(slider.seconds, "move", name) for name in MOVES}, rounds)
        for name, values in seconds.items():
            (speed,) = race.speeds({name: values}, len(MOVES[name]), AGAINST).values()
            spent = add(f"a move of {name}", "foundry_lib", speed)
            promises.append(report.promise(f"filters, a move of {name}", spent, most=0.1, unit="ms"))
    lines += [[name, why] + [None] * 4 for name, why in absent.items()]
    title = f"Filters, one row, {VOCAB:,} tokens, {THREADS} thread"
    report.write("filters", [dict(title=title, header=header, rows=lines)], promises, THREADS)


def same(rivals: dict, filters: dict, spread: float):
    """Raises RuntimeError unless the rivals' probabilities agree."""
    found = [rival.call("filter", filters, spread, 1) for rival in rivals.values()]
    worst = max(abs(a - b) for other in found for a, b in zip(found[0], other, strict=True))
    if worst > 1e-6:
        raise RuntimeError(f"The filters {filters} differ by {worst}.")


if __name__ == "__main__":
    main()
