"""How fast does the model write?

200 new tokens behind a prompt of 16, in 32 bits on one thread: `foundry_lib.generate` against transformers' `generate`
with its own cache, and against its forward pass in a plain loop, on the same weights, in turns. Greedy and sampled
(temperature 1) are rows of their own. A prefill is a prompt of 200 tokens and one new token. Tokens a second are
medians over the rounds; the prompt's reading is part of the time.

`compiled` is what PyTorch's compiler makes of the same model's step of one token. It is no part of the library: it
takes a C++ compiler and half a minute for each kind of work, and does not see hooks. What the first text took, in which
it compiles, is said below the table. Its greedy text is compared; its log-probabilities are the model's own.

The limit: a token reads every weight but the embedding's once, and the keys and values of those before it. `share` is
these bytes a second over what one thread reads a second, at best, from a buffer of just that size, measured behind.
"""

import contextlib
import os
import shutil
import tempfile
from dataclasses import dataclass
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

        idx, model = self.tensor(ids), self.writer(len(ids))
        for _ in range(times):
            text = generate(model, idx, new, temperature=temperature)
        return text[:, idx.shape[1] :].tolist()

    def writer(self, rows: int):
        """What stands for the model where it writes so many rows."""
        return self.model


class CompiledStep:
    """Stands for a model in `generate`. A prompt, which comes in any length, is left to the model itself."""

    def __init__(self, model):
        import torch

        self.model, self.config, self.new_cache = model, model.config, model.new_cache
        self.step = torch.compile(model.forward, dynamic=True, options={"cpp_wrapper": True})

    def __call__(self, idx, cache):
        alone = idx.shape[1] == 1 and cache.length > 1  # lengths of 0 and 1 would be compiled as cases of their own
        return self.step(idx, cache=cache) if alone else self.model(idx, cache=cache)


class Compiled(Ours):
    def __init__(self, folder: Path, device: str = "cpu"):
        if device != "cpu" or shutil.which(os.environ.get("CXX", "g++")) is None:
            raise race.AbsentError("it is for the processor, and needs g++ or the compiler that CXX names")
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder / "compiled")  # as where nothing was compiled yet
        super().__init__(folder, device)
        self.compiled = CompiledStep(self.model)

    def writer(self, rows: int):
        return self.compiled


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

    def __init__(self, sizes: tuple[int, int], device: str = "cpu"):
        import torch

        self.buffers = [torch.ones(size // 4, device=device) for size in sizes]

    def read(self, which: int, times: int):
        for _ in range(times):
            last = self.buffers[which].sum()
        last.item()


MAKERS = {
    "foundry_lib": Ours,
    "compiled": Compiled,
    "transformers generate": Transformers,
    "transformers in a loop": Loop,
    "litgpt": LitGPT,
    "llama.cpp": LlamaCpp,
}
AGAINST = "transformers generate"
HEADER = ["", "", "tokens/s", "lowest", "highest", "× transformers", "share", "same greedy text"]


@dataclass(frozen=True)
class Row:
    """One row of the table; `least` is the ratio to transformers that was promised, `times` the repeats in a turn."""

    preset: str
    rows: int = 1
    prompt: int = PROMPT
    new: int = NEW
    temperature: float = 0.0
    times: int = 1
    least: float | None = None


ROWS = {
    "tiny, greedy": Row("tiny", least=4.0),
    "tiny, sampled": Row("tiny", temperature=1.0, least=4.0),
    "tiny, prefill of 200": Row("tiny", prompt=200, new=1, times=10),
    "small, greedy": Row("small", least=2.2),
    "small, sampled": Row("small", temperature=1.0, least=2.2),
    "small, batch 8, greedy": Row("small", rows=8, least=1.8),
    "small, prefill of 200": Row("small", prompt=200, new=1, times=10),
}


def bytes_a_token(facts: dict) -> int:
    """What one new token has to read: the matrices and norms, and on average half of the keys and values written."""
    weights = 4 * (facts["n_params"] - facts["params_by_part"]["embedding"])
    row = 2 * 4 * facts["n_layers"] * facts["n_kv_heads"] * facts["head_dim"]
    return weights + row * (PROMPT + NEW // 2)


def speed(preset: str, rows: dict[str, Row], rounds: int, device: str = "cpu", makers: dict = MAKERS) -> dict:
    """All rows of one preset: each rival's `race.speeds`, greedy text and seconds of its first one, the bytes a token,
    bytes a second of a buffer of that size and of a large one, who was absent and why."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        with race.Rival(peers.Weights, folder, preset) as weights:
            n_bytes = bytes_a_token(weights.call("facts"))
        rivals, absent = race.start(stack, {name: (make, folder, device) for name, make in makers.items()}, THREADS)
        apart = peers.apart(rivals, prompt(1, 40)[0])
        sizes = n_bytes, BUFFER
        reader = stack.enter_context(race.Rival(Reader, sizes, device, threads=THREADS))
        speeds, texts, first = {}, {}, {}
        for what, row in rows.items():
            work = "write", prompt(row.rows, row.prompt), row.new, row.temperature, row.times
            able = {name: rival for name, rival in rivals.items() if row.rows == 1 or name != "litgpt"}
            tasks = {name: partial(rival.seconds, *work) for name, rival in able.items()}
            first[what] = {name: task() for name, task in tasks.items()}
            amount = row.rows * row.times * (row.new if row.new > 1 else row.prompt)
            speeds[what] = race.speeds(race.take_turns(tasks, rounds), amount, AGAINST)
            texts[what] = {} if row.temperature else {name: rival.call(*work) for name, rival in able.items()}
        read = race.take_turns({which: partial(reader.seconds, "read", which, 20) for which in (0, 1)}, rounds)
    rates = [20 * size / min(read[which]) for which, size in enumerate(sizes)]
    return dict(speeds=speeds, texts=texts, first=first, bytes=n_bytes, rates=rates, absent=absent, apart=apart)


def once(title: str, seconds: dict[str, float]) -> str:
    """A note: what each rival's first time took."""
    return f"{title}, in seconds: " + ", ".join(f"{name} {value:.2g}" for name, value in seconds.items()) + "."


def section(title: str, rows: dict[str, Row], found: dict) -> dict:
    """What `speed` found, as a table."""
    lines, (small, large) = [], found["rates"]
    for what, row in rows.items():
        text = found["texts"][what]
        for name, one in found["speeds"][what].items():
            share = one["median"] * found["bytes"] / small if row.rows == 1 and row.new > 1 else None
            same = ("yes" if text[name] == text["foundry_lib"] else "no") if text else None
            lines.append([what, name, *(one[key] for key in ("median", "low", "high", "ratio")), share, same])
    lines += [["", f"{name}: {why}"] + [None] * 6 for name, why in found["absent"].items()]
    notes = [
        *(once(f"The first text of {what}", first) for what, first in found["first"].items()),
        f"A token reads {found['bytes'] / 1e6:.1f} MB. A buffer of that size is read at {small / 1e9:.1f} GB/s, and "
        f"one of {BUFFER >> 20} MiB at {large / 1e9:.1f} GB/s.",
        f"The rivals' log-probabilities differ by {found['apart']:.1g} at most.",
    ]
    return dict(title=title, header=HEADER, rows=lines, notes=notes)


def main():
    rounds, sections, promises = report.options(__doc__, rounds=7).rounds, [], []
    for preset in ("tiny", "small"):
        rows = {what: row for what, row in ROWS.items() if row.preset == preset}
        found = speed(preset, rows, rounds)
        sections.append(section(f"Decoding, {preset}, 32 bits, {THREADS} thread", rows, found))
        for what, row in rows.items():
            for name, added in {"foundry_lib": "", "compiled": ", compiled"}.items():
                if row.least is not None and name in found["speeds"][what]:
                    ratio = found["speeds"][what][name]["ratio"]
                    promises.append(report.promise(f"decoding, {what}{added}, × transformers", ratio, least=row.least))
    report.write("decoding", sections, promises, THREADS)


if __name__ == "__main__":
    main()
