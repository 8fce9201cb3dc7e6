"""What does a learner's own sampling cost? python benchmarks/own_sampling.py

Lesson 08's solutions as filters, loop and KV cache against the library's: the course's English model writes the same
200 tokens with both, one thread, in turns. Prints the ratio of the processor times, own by library's.
"""

import json
import os
import statistics
import tempfile
import time
from pathlib import Path

SETTINGS = dict(temperature=0.8, top_k=40, top_p=0.95, min_p=0.01)
TURNS, TOKENS = 15, 200


def main():
    import torch

    from foundry_lib import SampleConfig
    from foundry_lib.inference.generation import generate_tokens
    from foundry_lib.instructor.solutions import solutions
    from foundry_lib.lessons.own_sampling import sampling_parts
    from foundry_lib.paths import DATA
    from foundry_lib.training.checkpoint import load_checkpoint

    torch.set_num_threads(1)
    Path(os.environ["FOUNDRY_PROGRESS"]).write_text(json.dumps({"work": solutions()}), encoding="utf-8")
    own = sampling_parts()
    model, tokenizer = load_checkpoint(DATA / "starter-en")
    idx = torch.tensor([tokenizer.encode("Once there was", bos=True)])

    def seconds(parts) -> tuple[float, torch.Tensor]:
        start, generator = time.process_time(), torch.Generator().manual_seed(1)
        tokens = list(generate_tokens(model, idx, TOKENS, SampleConfig(**SETTINGS), generator, own=parts))
        return time.process_time() - start, torch.cat(tokens)

    ratios = []
    for turn in range(TURNS + 1):  # the first one warms up
        pair = {who: seconds(parts) for who, parts in (("own", own), ("library", None))[:: 1 if turn % 2 else -1]}
        assert torch.equal(pair["own"][1], pair["library"][1])
        ratios.append(pair["own"][0] / pair["library"][0])
    low, middle, high = statistics.quantiles(ratios[1:], n=4)
    print(f"own / library: {middle:.3f} (quartiles {low:.3f} and {high:.3f} of {TURNS} turns), {', '.join(own)}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FOUNDRY_PROGRESS"] = str(Path(folder) / "progress.json")  # read when foundry_lib is imported
        main()
