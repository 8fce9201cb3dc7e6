"""How fast does a training step go, and how much memory does it take?

A step is the library's own, as `Trainer.run` makes it, against transformers' LlamaForCausalLM with sdpa attention, its
own loss, the same clipping and AdamW(fused=True): forward, backward, clip and update in 32 bits, in eager mode, on the
same weights and the same random tokens, in turns. Tokens a second are medians over the rounds, each of several steps.

The limit is measured in the same turns: all products with a weight matrix in a step of this model, forward and both
backward ones, into memory taken beforehand. Attention's own two products are left out, so compare that row by GFLOP/s
and not by tokens/s. A step's floating-point operations are counted as
`ModelConfig.flops_per_token` says, three times for training: two a weight, and attention over the whole square of
positions; `causal` counts the half of the square that a causal model needs. Share: these operations a second over those
of the bare products.

Peak memory: the most that a fresh process has held after three steps of batch 32, the interpreter and torch included.
"""

import contextlib
import tempfile
from functools import partial
from pathlib import Path

import peers
import race
import report

SHAPES = {"tiny": (16, 128), "small": (8, 256)}
MUST = {"tiny": 1.15, "small": 1.25}
THREADS, POOL = 2, 16


def batches(n: int, rows: int, tokens: int, vocab_size: int, device: str):
    """The same `n` random batches for every rival."""
    import torch

    generator = torch.Generator().manual_seed(5)
    text = torch.randint(3, vocab_size, (n, rows, tokens + 1), generator=generator).to(device)
    return [(row[:, :-1].contiguous(), row[:, 1:].contiguous()) for row in text]


class Loader:
    """What a Trainer asks of a loader, with batches made beforehand."""

    floor, tokenizer = None, None

    def __init__(self, pool: list, vocab_size: int, device: str):
        self.pool, self.vocab_size, self.device, self.given = pool, vocab_size, device, 0
        self.batch_size, self.block_size = pool[0][0].shape
        self.longest_row = self.block_size

    def get_batch(self, split: str):
        self.given += 1
        return self.pool[self.given % len(self.pool)]

    def val_batches(self):
        x, y = self.pool[0]
        return [(x[:1], y[:1])]

    def state(self) -> dict:
        return {}

    def load_state(self, state: dict):
        pass


class Ours(peers.Ours):
    def __init__(self, folder: Path, rows: int, tokens: int, device: str = "cpu"):
        from foundry_lib import TrainConfig, Trainer

        super().__init__(folder, device)
        vocab_size, forever = self.model.config.vocab_size, 10**9
        loader = Loader(batches(POOL, rows, tokens, vocab_size, device), vocab_size, device)
        config = TrainConfig(
            batch_size=rows, learning_rate=3e-4, max_iters=forever, eval_interval=forever, warmup_iters=0
        )
        self.records = Trainer(self.model, loader, config).run()
        next(self.records)  # step 0, where nothing is trained

    def steps(self, n: int) -> float:
        for _ in range(n):
            record = next(self.records)
        return record.train_loss


class Peer:
    """The loop around a peer's model; the peer says how it computes its loss."""

    def __init__(self, folder: Path, rows: int, tokens: int, device: str = "cpu"):
        import torch

        super().__init__(folder, device)
        self.pool = batches(POOL, rows, tokens, self.model.config.vocab_size, device)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=3e-4, betas=(0.9, 0.95), fused=True)
        self.done = 0

    def steps(self, n: int) -> float:
        import torch

        self.model.train()
        for _ in range(n):
            self.done += 1
            with torch.autocast("cuda", torch.bfloat16, enabled=self.device == "cuda"):
                loss = self.loss(*self.pool[self.done % len(self.pool)])
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            last = loss.item()
        return last


class Transformers(Peer, peers.Transformers):
    def loss(self, x, y):
        return self.model(input_ids=x, labels=y, shift_labels=y, use_cache=False).loss


class LitGPT(Peer, peers.LitGPT):
    def loss(self, x, y):
        from litgpt.utils import chunked_cross_entropy

        return chunked_cross_entropy(self.model(x), y)


class Products:
    """The matrix products of a step and nothing else, not even the taking of memory for what comes out."""

    def __init__(self, folder: Path, rows: int, tokens: int, device: str = "cpu"):
        import torch

        dtype = torch.bfloat16 if device == "cuda" else torch.float32
        weights = [w for w in peers.Ours(folder).model.parameters() if w.dim() == 2][1:]  # the first is the embedding
        n, self.products = rows * tokens, []
        for w in weights:
            w = w.detach().to(device, dtype)
            y, x = (torch.randn(n, width, device=device, dtype=dtype) for width in w.shape)
            made = torch.empty_like(y), torch.empty_like(x), torch.empty_like(w)
            self.products += zip((x, y, y.T), (w.T, w, x), made, strict=True)
        self.flops = sum(6 * rows * tokens * w.numel() for w in weights)

    def operations(self) -> int:
        return self.flops

    def steps(self, n: int) -> float:
        import torch

        for _ in range(n):
            for left, right, made in self.products:
                torch.mm(left, right, out=made)
        return made[0, 0].item()


MAKERS = {"foundry_lib": Ours, "transformers": Transformers, "litgpt": LitGPT}
HEADER = ["", "tokens/s", "lowest", "highest", "× transformers", "GFLOP/s", "share", "share, causal"]


def speed(
    preset: str, rows: int, tokens: int, rounds: int, steps: int = 3, device: str = "cpu", makers: dict = MAKERS
) -> dict:
    """`steps` steps in turns. Each rival's `race.speeds` in tokens and the seconds of its first step, the operations a
    token, who was absent and why."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        with race.Rival(peers.Weights, folder, preset) as weights:
            facts = weights.call("facts")
        given = folder, rows, tokens, device
        rivals, absent = race.start(stack, {name: (make, *given) for name, make in makers.items()}, THREADS)
        apart = peers.apart(rivals, list(range(3, 103)))
        first = {name: rival.timed("steps", 1) for name, rival in rivals.items()}
        losses = [loss for _, loss in first.values()]
        if max(losses) - min(losses) > (1e-4 if device == "cpu" else 1e-2):  # 16 bits on a GPU
            raise RuntimeError(f"The rivals' first losses differ: {first}.")
        rivals["bare products"] = stack.enter_context(race.Rival(Products, *given, threads=THREADS))
        tasks = {name: partial(rival.seconds, "steps", steps) for name, rival in rivals.items()}
        seconds = race.take_turns(tasks, rounds)
        bare = rivals["bare products"].call("operations") / rows / tokens
    square = 3 * facts["n_layers"] * 4 * tokens * facts["dim"]  # attention, forward and twice that backward
    return dict(
        speeds=race.speeds(seconds, steps * rows * tokens, "transformers"),
        operations=dict(bare=bare, whole=bare + square, causal=bare + square * (tokens + 1) / (2 * tokens)),
        first={name: seconds for name, (seconds, _) in first.items()},
        absent=absent,
        apart=apart,
    )


def section(title: str, found: dict) -> dict:
    """What `speed` found, as a table; a rival's shares are with attention's whole square and with its causal half."""
    count, lines = found["operations"], []
    limit = found["speeds"]["bare products"]["median"] * count["bare"]
    for name, one in found["speeds"].items():
        kinds = ("bare", "bare") if name == "bare products" else ("whole", "causal")
        rates = [one["median"] * count[kind] for kind in kinds]
        shares = [rate / limit for rate in rates]
        lines.append([name, *(one[key] for key in ("median", "low", "high", "ratio")), rates[0] / 1e9, *shares])
    lines += [[f"{name}: {why}"] + [None] * 7 for name, why in found["absent"].items()]
    note = f"The rivals' log-probabilities differ by {found['apart']:.1g} at most."
    return dict(title=title, header=HEADER, rows=lines, notes=[note])


def memory(preset: str, rows: int, tokens: int) -> dict[str, int]:
    """Bytes that a fresh process of each rival has held at most after three steps."""
    peak = {}
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        with race.Rival(peers.Weights, folder, preset):
            pass
        for name, make in MAKERS.items():
            try:
                with race.Rival(make, folder, rows, tokens, threads=THREADS) as rival:
                    rival.call("steps", 3)
                    peak[name] = rival.call("peak_bytes")
            except race.AbsentError:
                continue  # the table of speeds has said why
    return peak


def main():
    rounds, sections, promises = report.options(__doc__, rounds=9).rounds, [], []
    for preset, (rows, tokens) in SHAPES.items():
        found = speed(preset, rows, tokens, rounds)
        title = f"Training, {preset}, {rows} × {tokens} tokens, 32 bits, {THREADS} threads"
        sections.append(section(title, found))
        ratio = found["speeds"]["foundry_lib"]["ratio"]
        promises.append(report.promise(f"training, {preset}, × transformers", ratio, least=MUST[preset]))
    share = dict(zip(HEADER, sections[-1]["rows"][0], strict=True))["share"]
    promises.append(report.promise(f"training, {preset}, share of the bare products' rate", share, least=0.7))
    peak = memory("small", 32, 256)
    ratios = {name: held / peak["transformers"] if "transformers" in peak else None for name, held in peak.items()}
    lines = [[name, held / 2**20, ratios[name]] for name, held in peak.items()]
    header = ["", "peak memory, MiB", "× transformers"]
    sections.append(dict(title="Peak memory of training, small, 32 × 256 tokens", header=header, rows=lines))
    name = "training, small, batch 32, peak memory × transformers"
    promises.append(report.promise(name, ratios["foundry_lib"], most=0.6))
    report.write("training", sections, promises, THREADS)


if __name__ == "__main__":
    main()
