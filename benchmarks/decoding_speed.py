"""How fast does the model write?

200 new tokens behind a prompt of 16, in 32 bits on one thread: `foundry_lib.generate` against transformers' `generate`
with its own cache, and against its forward pass in a plain loop, on the same weights, in turns. Greedy and sampled
(temperature 1) are rows of their own. A prefill is a prompt of 200 tokens and one new token. Tokens a second are
medians over the rounds; the prompt's reading is part of the time.

The limit: a token reads every weight but the embedding's once, and the keys and values of those before it. `share` is
these bytes a second over what one thread reads a second from a buffer of just that size, measured in the same turns.
"""

import contextlib
import tempfile
from functools import partial
from pathlib import Path

import peers
import race
import report
from with_llama_cpp import LlamaCpp

PROMPT, NEW = 16, 200
THREADS, BUFFER = 1, 2**29  # bytes of a read that no cache holds


def prompt(rows: int, tokens: int) -> list[list[int]]:
    return [[3 + (31 * row + 7 * i) % 8000 for i in range(tokens)] for row in range(rows)]


class Ours(peers.Ours):
    def write(self, ids: list[list[int]], new: int, temperature: float, times: int = 1) -> list[list[int]]:
        from foundry_lib import generate

        idx = self.tensor(ids)
        for _ in range(times):
            text = generate(self.model, idx, new, temperature=temperature)
        return text[:, idx.shape[1] :].tolist()


class Transformers(peers.Transformers):
    """`generate` as it comes: a dynamic cache, and all filters off."""

    def write(self, ids: list[list[int]], new: int, temperature: float, times: int = 1) -> list[list[int]]:
        idx = self.tensor(ids)
        draw = dict(do_sample=True, temperature=temperature, top_k=0, top_p=1.0) if temperature else {}
        length = dict(max_new_tokens=new, min_new_tokens=new)
        self.model.eval()
        for _ in range(times):
            text = self.model.generate(idx, attention_mask=idx.new_ones(idx.shape), **length, **draw)
        return text[:, idx.shape[1] :].tolist()


class Loop(peers.Transformers):
    """The forward pass in the shortest loop there is."""

    def write(self, ids: list[list[int]], new: int, temperature: float, times: int = 1) -> list[list[int]]:
        import torch

        with torch.inference_mode():
            for _ in range(times):
                unread, cache, text = self.tensor(ids), None, []
                for _ in range(new):
                    out = self.model(unread, past_key_values=cache, use_cache=True, logits_to_keep=1)
                    scores, cache = out.logits[:, -1], out.past_key_values
                    if temperature:
                        unread = torch.multinomial((scores / temperature).softmax(-1), 1)
                    else:
                        unread = scores.argmax(-1, keepdim=True)
                    text.append(unread)
        return torch.cat(text, dim=1).tolist()


class LitGPT(peers.LitGPT):
    """Its `generate`, with the cache that it needs; one row only."""

    def write(self, ids: list[list[int]], new: int, temperature: float, times: int = 1) -> list[list[int]]:
        import torch
        from litgpt.generate.base import generate

        self.model.eval()
        self.model.set_kv_cache(batch_size=1, device=torch.device(self.device))
        for _ in range(times):
            row = self.tensor(ids)[0]
            text = generate(self.model, row, len(row) + new, temperature=temperature, include_prompt=False)
        return [text.tolist()]


class Reader:
    """Reads memory and does nothing else."""

    def __init__(self, n_bytes: int, large: int = BUFFER):
        import torch

        self.small, self.large = torch.ones(n_bytes // 4), torch.ones(large // 4)

    def read(self, times: int = 1):
        for _ in range(times):
            self.small.sum()

    def read_large(self):
        self.large.sum()


MAKERS = {
    "foundry_lib": Ours,
    "transformers generate": Transformers,
    "transformers in a loop": Loop,
    "litgpt": LitGPT,
    "llama.cpp": LlamaCpp,
}
AGAINST = "transformers generate"
# preset, rows, tokens of the prompt, new tokens, temperature, repeats in a turn, the least ratio to transformers
ROWS = {
    "tiny, greedy": ("tiny", 1, PROMPT, NEW, 0.0, 1, 4.0),
    "tiny, sampled": ("tiny", 1, PROMPT, NEW, 1.0, 1, 4.0),
    "tiny, prefill of 200": ("tiny", 1, 200, 1, 0.0, 10, None),
    "small, greedy": ("small", 1, PROMPT, NEW, 0.0, 1, 2.2),
    "small, sampled": ("small", 1, PROMPT, NEW, 1.0, 1, 2.2),
    "small, batch 8, greedy": ("small", 8, PROMPT, NEW, 0.0, 1, 1.8),
    "small, prefill of 200": ("small", 1, 200, 1, 0.0, 10, None),
}


def bytes_a_token(facts: dict) -> int:
    """What one new token has to read: the matrices and norms, and on average half of the keys and values written."""
    weights = 4 * (facts["n_params"] - facts["params_by_part"]["embedding"])
    row = 2 * 4 * facts["n_layers"] * facts["n_kv_heads"] * facts["head_dim"]
    return weights + row * (PROMPT + NEW // 2)


def race_of(preset: str, rows: dict[str, tuple], rounds: int) -> dict:
    """All rows of one preset: the speeds of each, the bytes a token, the reading speeds, and who was absent."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        with race.Rival(peers.Weights, folder, preset) as weights:
            n_bytes = bytes_a_token(weights.call("facts"))
        rivals, absent = race.start(stack, {name: (make, folder) for name, make in MAKERS.items()}, THREADS)
        apart = peers.apart(rivals, prompt(1, 40)[0])
        reader = stack.enter_context(race.Rival(Reader, n_bytes, threads=THREADS))
        speeds, texts = {}, {}
        for row, (_, n, tokens, new, temperature, times, _) in rows.items():
            work = "write", prompt(n, tokens), new, temperature, times
            able = {name: rival for name, rival in rivals.items() if n == 1 or name != "litgpt"}
            tasks = {name: partial(rival.seconds, *work) for name, rival in able.items()}
            amount = n * times * (new if new > 1 else tokens)
            speeds[row] = race.speeds(race.take_turns(tasks, rounds), amount, AGAINST)
            texts[row] = {name: rival.call(*work) for name, rival in able.items()} if not temperature else {}
        reads = {"read": partial(reader.seconds, "read", 20), "large": partial(reader.seconds, "read_large")}
        read = race.take_turns(reads, rounds)
    rate = {name: amount / min(read[name]) for name, amount in (("read", 20 * n_bytes), ("large", BUFFER))}
    return dict(speeds=speeds, texts=texts, bytes=n_bytes, rate=rate, absent=absent, apart=apart)


def main():
    rounds, sections, promises = report.options(__doc__, rounds=7).rounds, [], []
    header = ["", "", "tokens/s", "lowest", "highest", "× transformers", "share", "same greedy text"]
    for preset in dict.fromkeys(row[0] for row in ROWS.values()):
        rows = {row: given for row, given in ROWS.items() if given[0] == preset}
        found, lines = race_of(preset, rows, rounds), []
        for row, (_, n, _, new, _, _, least) in rows.items():
            text = found["texts"][row]
            for name, speed in found["speeds"][row].items():
                share = speed["median"] * found["bytes"] / found["rate"]["read"] if n == 1 and new > 1 else None
                same = ("yes" if text[name] == text["foundry_lib"] else "no") if text else None
                lines.append([row, name, *(speed[k] for k in ("median", "low", "high", "ratio")), share, same])
            ratio = found["speeds"][row]["foundry_lib"]["ratio"]
            if least is not None:
                promises.append(report.promise(f"decoding, {row}, × transformers", ratio, least=least))
        lines += [["", f"{name}: {why}"] + [None] * 6 for name, why in found["absent"].items()]
        gb = {name: rate / 1e9 for name, rate in found["rate"].items()}
        notes = [
            f"A token reads {found['bytes'] / 1e6:.1f} MB. One thread reads a buffer of that size at "
            f"{gb['read']:.1f} GB/s, and one of {BUFFER >> 20} MiB at {gb['large']:.1f} GB/s.",
            f"The rivals' log-probabilities differ by {found['apart']:.0e} at most.",
        ]
        title = f"Decoding, {preset}, 32 bits, {THREADS} thread"
        sections.append(dict(title=title, header=header, rows=lines, notes=notes))
    print("Written:", report.write("decoding", sections, promises, THREADS).name)


if __name__ == "__main__":
    main()
