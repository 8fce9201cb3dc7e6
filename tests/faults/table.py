"""Deliberate faults, each a small patch with a name, to see which check catches it.

A change is (file, old text, new text), and `old` stands in the file exactly once; in a lesson the second part may be
a function from the notebook's text to its new text. `tests` are the test modules where a catch is most likely, run
first; `lessons` are those that use the patched code. What is run of the rest is said in run.py.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    kind: str
    name: str
    changes: tuple[tuple[str, str | Callable, str], ...]
    tests: str
    lessons: str


LIB = "foundry_lib/"
NORM, ROPE, ATTENTION, CACHE = (
    LIB + "models/norm.py",
    LIB + "models/rope.py",
    LIB + "models/attention.py",
    LIB + "models/kv_cache.py",
)
MLP, MODEL, DATA, TRAINER = (
    LIB + "models/feed_forward.py",
    LIB + "models/model.py",
    LIB + "text/loader.py",
    LIB + "training/trainer.py",
)
OPTIMIZER, SAVING = LIB + "training/optimizer.py", LIB + "training/saving.py"
SAMPLE, GENERATE = LIB + "inference/sampling.py", LIB + "inference/generation.py"
TOKENIZER, QUALITY = LIB + "text/tokenizer.py", LIB + "analysis/quality.py"
VERDICT, FLOOR, WALK = LIB + "tales/verdict.py", LIB + "tales/floor.py", LIB + "tales/walk.py"
LOSS, BASELINES = LIB + "models/loss.py", LIB + "text/baselines.py"
SPLIT, VOCABULARY, WORDS = LIB + "text/split.py", LIB + "text/vocabulary.py", LIB + "text/words.py"
LOOK, ABLATIONS = LIB + "analysis/heads.py", LIB + "experiments/ablations.py"

FAULTS: list[Fault] = []


def fault(kind: str, name: str, tests: str, lessons: str, *changes):
    FAULTS.append(Fault(kind, name, changes, tests, lessons))


# ---- The lessons themselves


def edit(change):
    """A function on the notebook's code cells, as one on its text."""

    def on_text(text: str) -> str:
        notebook = json.loads(text)
        change([cell for cell in notebook["cells"] if cell["cell_type"] == "code"])
        return json.dumps(notebook, indent=1, ensure_ascii=False)

    return on_text


def printing(code) -> dict:
    """The third cell that prints and is compared."""
    cells = [cell for cell in code if any(o.get("name") == "stdout" for o in cell["outputs"])]
    return [cell for cell in cells if not cell["metadata"].get("tags")][2]


def changed_number(code):
    for cell in code:
        for output in cell["outputs"]:
            for index, line in enumerate(output.get("text", [])):
                if "0.3651" in line:
                    output["text"][index] = line.replace("0.3651", "0.3652", 1)
                    return


def stripped(code):
    for cell in code:
        cell["outputs"], cell["execution_count"] = [], None


def line(text):
    return lambda code: printing(code)["source"].append("\n" + text)


def moving_slider(code):
    """A slider whose callback raises, moved by the cell."""
    printing(code)["source"].append(
        "\nimport ipywidgets\nslider = ipywidgets.IntSlider()\nslider.observe(lambda change: 1 / 0, 'value')"
        "\nslider.value = 3"
    )


def no_picture(code):
    """The last figure is closed before it is shown."""
    drawn = [cell for cell in code if any("image/png" in o.get("data", {}) for o in cell["outputs"])][-1]
    drawn["source"][:0] = ["import matplotlib.pyplot\n", "matplotlib.pyplot.show = matplotlib.pyplot.close\n"]


LESSON = "notebooks/01_rms_norm.ipynb"
for name, change in {
    "a changed number": changed_number,
    "a cell that raises": line("raise ValueError('a fault')"),
    "a dying kernel": line("import os; os._exit(1)"),
    "an emptied output": lambda code: printing(code).update(outputs=[]),
    "a stripped lesson": stripped,
    "one cell never run": lambda code: printing(code).update(outputs=[], execution_count=None),
    "a callback that raises": moving_slider,
    "a picture that is gone": no_picture,
    "a line printed twice": line("print('once more')"),
    "cells in another order": lambda code: (lambda a, b: (a.update(b), b.update(a)))(code[1], dict(code[2])),
    "an import that is missing": line("import not_there"),
}.items():
    fault("lesson", name, "lessons", "01", (LESSON, edit(change), ""))


# ---- The model

fault(
    "model",
    "eps outside the root",
    "model parity guide",
    "01 05",
    (
        NORM,
        "torch.rsqrt(wide.pow(2).mean(dim=-1, keepdim=True) + eps)",
        "1 / (wide.pow(2).mean(dim=-1, keepdim=True).sqrt() + eps)",
    ),
)
fault(
    "model",
    "norm subtracts the mean",
    "model parity guide",
    "01 05",
    (NORM, "    scale = torch.rsqrt(", "    wide = wide - wide.mean(-1, keepdim=True)\n    scale = torch.rsqrt("),
)
fault(
    "model",
    "norm sums instead of averaging",
    "model parity guide",
    "01 05",
    (NORM, "wide.pow(2).mean(dim=-1, keepdim=True)", "wide.pow(2).sum(dim=-1, keepdim=True)"),
)
fault("model", "norm in 16 bits", "model parity", "01", (NORM, "x.float() if x.dtype.itemsize < 4 else x", "x"))
fault(
    "model",
    "RoPE missing on keys",
    "model parity guide",
    "02 05",
    (ROPE, "return rotate(xq, freqs_cis), rotate(xk, freqs_cis)", "return rotate(xq, freqs_cis), xk"),
)
fault(
    "model",
    "wrong rotation sign",
    "model guide parity",
    "02 05",
    (ROPE, "(a * cos - b * sin, b * cos + a * sin)", "(a * cos + b * sin, b * cos - a * sin)"),
)
fault(
    "model",
    "rotation is none",
    "model guide parity",
    "02 05",
    (ROPE, "b * cos + a * sin), dim=-1", "b * cos - a * sin), dim=-1"),
)
fault(
    "model",
    "RoPE speeds twice as steep",
    "model guide parity",
    "02 05",
    (ROPE, "speed = 1.0 / theta**exponent", "speed = 1.0 / theta ** (2 * exponent)"),
)
fault(
    "model",
    "RoPE's last position is the one before",
    "model guide parity",
    "02",
    (
        ROPE,
        "    return torch.stack((angle.cos(), angle.sin()))",
        "    angle[-1] = angle[-2]\n    return torch.stack((angle.cos(), angle.sin()))",
    ),
)
fault(
    "model",
    "RoPE begins at position 1",
    "model guide parity",
    "02 05",
    (
        ROPE,
        "torch.outer(torch.arange(max_seq_len, dtype=torch.float32), speed)",
        "torch.outer(torch.arange(1, max_seq_len + 1, dtype=torch.float32), speed)",
    ),
)
fault(
    "model",
    "no causal mask",
    "model parity guide",
    "03 05",
    (ATTENTION, "is_causal=1 < n_queries == n_keys", "is_causal=False"),
)
fault(
    "model",
    "mask one place too far",
    "model parity",
    "03 05",
    (ATTENTION, ".tril(n_keys - n_queries)", ".tril(n_keys - n_queries + 1)"),
)
fault(
    "model",
    "mask hides the token itself",
    "model parity",
    "03 05",
    (ATTENTION, ".tril(n_keys - n_queries)", ".tril(n_keys - n_queries - (n_keys > 1))"),
)
fault(
    "model",
    "GQA heads interleaved wrongly",
    "model parity",
    "03",
    (
        ATTENTION,
        "k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)  # (B, H, S, d)",
        "k.repeat(1, group, 1, 1), v.repeat(1, group, 1, 1)",
    ),
)
fault(
    "model",
    "scores divided by sqrt(dim)",
    "model parity guide",
    "03 05",
    (
        ATTENTION,
        "q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5",
        "q @ k.transpose(-2, -1) / (q.shape[1] * q.shape[-1]) ** 0.5",
    ),
    (
        ATTENTION,
        "enable_gqa=q.shape[1] != k.shape[1]",
        "enable_gqa=q.shape[1] != k.shape[1], scale=(q.shape[1] * q.shape[-1]) ** -0.5",
    ),
)
fault(
    "model",
    "heads not put back in place",
    "model parity",
    "03 05",
    (ATTENTION, "out.transpose(1, 2).reshape(B, T, D)", "out.reshape(B, T, D)"),
)
fault(
    "model",
    "values rotated too",
    "model parity",
    "03 05",
    (
        ATTENTION,
        "        if cache is not None:\n            k, v = cache.store",
        "        _, v = self.rotary(q, v, freqs_cis)\n        if cache is not None:\n            k, v = cache.store",
    ),
)
fault("model", "SiLU becomes ReLU", "model parity", "04 05", (MLP, "F.silu(self.w_gate(x))", "F.relu(self.w_gate(x))"))
fault(
    "model",
    "gate and up swapped",
    "model parity",
    "04 05",
    (MLP, "F.silu(self.w_gate(x)) * self.w_up(x)", "F.silu(self.w_up(x)) * self.w_gate(x)"),
)
fault("model", "missing final norm", "model parity", "05", (MODEL, "return self.norm(x)", "return x"))
fault(
    "model",
    "residual missing",
    "model parity",
    "05 07",
    (MODEL, "return h + self.feed_forward(self.ffn_norm(h))", "return self.feed_forward(self.ffn_norm(h))"),
)
fault(
    "model",
    "one norm used twice",
    "model own_parts parity",
    "05",
    (MODEL, "self.feed_forward(self.ffn_norm(h))", "self.feed_forward(self.attention_norm(h))"),
)
fault(
    "model",
    "norm behind the part",
    "model parity",
    "05",
    (
        MODEL,
        "x + self.attention(self.attention_norm(x), freqs_cis, cache)",
        "x + self.attention_norm(self.attention(x, freqs_cis, cache))",
    ),
)
fault(
    "model",
    "KV positions off by one",
    "model sample",
    "08 05",
    (MODEL, "self.tables(start, idx.shape[1])", "self.tables(max(0, start - 1), idx.shape[1])"),
)
fault(
    "model",
    "cache counts one token too many",
    "model sample",
    "08",
    (CACHE, "self.length += n_new", "self.length += n_new + (n_new == 1)"),
)
fault(
    "model",
    "cache puts all layers into one",
    "model sample",
    "08",
    (CACHE, "all_k, all_v, end = self.k[layer], self.v[layer], ", "all_k, all_v, end = self.k[0], self.v[0], "),
)
fault(
    "model",
    "embeddings not tied",
    "model config",
    "05 06",
    (MODEL, "self.output.weight = self.tok_embeddings.weight", "pass"),
)

# ---- Training

fault(
    "training",
    "targets not shifted",
    "data trainer",
    "06 07",
    (DATA, "return rows[:, :-1], rows[:, 1:]", "return rows[:, :-1], rows[:, :-1]"),
)
fault(
    "training",
    "validation targets not shifted",
    "data trainer floor",
    "06 07",
    (DATA, "row[:-1], row[1:]\n    return torch", "row[:-1], row[:-1]\n    return torch"),
)
fault(
    "training",
    "validation on training data",
    "data trainer",
    "06 07",
    (
        SPLIT,
        "return documents[:index], documents[index:]",
        "return documents[:index], documents[: len(documents) - index]",
    ),
)
fault(
    "training",
    "a validation batch moves the training's generator",
    "data trainer",
    "07",
    (DATA, "generator=self._generators[split]", 'generator=self._generators["train"]'),
)
fault(
    "training",
    "padding counted",
    "data trainer",
    "06 07",
    (DATA, "y = np.full_like(x, IGNORED)", "y = np.full_like(x, EOS_ID)"),
)
fault(
    "training",
    "rows begin anywhere",
    "data",
    "06 07",
    (DATA, "        if starts is not None:\n            first = starts[first]", ""),
)
fault(
    "training",
    "no zero_grad",
    "trainer",
    "00 07",
    (TRAINER, "        self.optimizer.zero_grad(set_to_none=True)\n        loss", "        loss"),
)
fault(
    "training",
    "clip after step",
    "trainer",
    "07",
    (
        TRAINER,
        "        grad_norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.grad_clip)\n"
        "        if not",
        "        grad_norm = torch.nn.utils.get_total_norm([p.grad for p in self.model.parameters()])\n        if not",
    ),
    (
        TRAINER,
        "        self.optimizer.step()\n",
        "        self.optimizer.step()\n"
        "        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.grad_clip)\n",
    ),
)
fault(
    "training",
    "schedule off by one",
    "trainer",
    "07",
    (
        OPTIMIZER,
        "config.learning_rate * (step + 1) / config.warmup_iters",
        "config.learning_rate * step / config.warmup_iters",
    ),
)
fault(
    "training",
    "cosine never falls to its floor",
    "trainer",
    "07",
    (OPTIMIZER, "math.cos(math.pi * min(1.0, done))", "math.cos(0.5 * math.pi * min(1.0, done))"),
)
fault("training", "learning rate not set", "trainer", "07", (TRAINER, 'group["lr"] = lr', "pass"))
fault(
    "training",
    "weight decay on all",
    "trainer",
    "07",
    (OPTIMIZER, '{"params": others, "weight_decay": 0.0}', '{"params": others, "weight_decay": config.weight_decay}'),
)
fault(
    "training",
    "RNG not restored",
    "trainer",
    "07",
    (SAVING, '        torch.set_rng_state(tensors["rng.torch"])\n', ""),
)
fault(
    "training",
    "optimizer state not restored",
    "trainer",
    "07",
    (SAVING, "        trainer.optimizer.state.update(_restored_optimizer(trainer, tensors, values))\n", ""),
)
fault(
    "training",
    "loader position not restored",
    "trainer data",
    "07",
    (DATA, "generator.set_state(state[split])", "pass"),
)
fault(
    "training",
    "step not restored",
    "trainer",
    "07",
    (SAVING, 'trainer.step, trainer.elapsed = int(values["step"]), float', "trainer.elapsed = float"),
)
fault(
    "training",
    "loss in bits",
    "model trainer parity",
    "05 06 07",
    (LOSS, "return total / n", "return total / n / 0.6931"),
)
fault(
    "training",
    "gradient without the target",
    "loss trainer parity",
    "00 07",
    (LOSS, "probs.new_full(target.shape, -1.0)", "probs.new_zeros(target.shape)"),
)
fault(
    "training",
    "gradient of ignored targets too",
    "loss trainer",
    "07",
    (LOSS, "grad_hidden[part] = (grad @ head) * count", "grad_hidden[part] = grad @ head"),
)
fault(
    "training",
    "gradient of the last rows alone",
    "loss trainer parity",
    "07",
    (LOSS, "grad_head.addmm_(grad.T, x * count)", "grad_head.addmm_(grad.T, x * count, beta=0)"),
)
fault(
    "training",
    "bigram line counts what it predicts",
    "baselines",
    "06 07",
    (BASELINES, "(first_count + strength)).mean()", "(first_count + 0.5 * strength)).mean()"),
)
fault(
    "training",
    "bits a byte without ln 2",
    "baselines",
    "06 07",
    (BASELINES, "nats_per_token / math.log(2) / bytes_per_token", "nats_per_token / bytes_per_token"),
)

# ---- Sampling

fault(
    "sampling",
    "temperature after the filters",
    "sample",
    "08",
    (SAMPLE, '    logits = filters["temperature"](logits, config.temperature)\n', ""),
    (SAMPLE, "return logits.softmax(-1)", "return apply_temperature(logits, config.temperature).softmax(-1)"),
)
fault(
    "sampling",
    "top-p without the crossing token",
    "sample",
    "08",
    (SAMPLE, "before = largest.values.cumsum(-1) - largest.values", "before = largest.values.cumsum(-1)"),
)
fault(
    "sampling",
    "top-k cuts ties",
    "sample",
    "08",
    (
        SAMPLE,
        "    smallest_kept = logits.topk(min(k, logits.shape[-1]), dim=-1).values[..., -1:]\n"
        "    return torch.where(logits < smallest_kept, -torch.inf, logits)",
        "    kept = logits.topk(min(k, logits.shape[-1]), dim=-1).indices\n"
        "    return torch.full_like(logits, -torch.inf).scatter(-1, kept, logits.gather(-1, kept))",
    ),
)
fault(
    "sampling",
    "top-k keeps one more",
    "sample",
    "08",
    (SAMPLE, "logits.topk(min(k, logits.shape[-1])", "logits.topk(min(k + 1, logits.shape[-1])"),
)
fault(
    "sampling",
    "min-p relative to 1",
    "sample",
    "08",
    (SAMPLE, "probs < min_p * probs.amax(-1, keepdim=True)", "probs < min_p"),
)
fault(
    "sampling",
    "repetition penalty rewards negatives",
    "sample",
    "08",
    (SAMPLE, "torch.where(scores > 0, scores / penalty, scores * penalty)", "scores / penalty"),
)
fault(
    "sampling",
    "temperature multiplies",
    "sample",
    "08",
    (SAMPLE, "return logits / float(temperature)", "return logits * float(temperature)"),
)
fault(
    "sampling",
    "temperature 0 keeps two",
    "sample",
    "08",
    (SAMPLE, "best = logits.argmax(-1, keepdim=True)", "best = logits.topk(2, -1).indices"),
)
fault("sampling", "cache not cropped", "sample", "08", (GENERATE, "            cache.reset()\n", ""))
fault(
    "sampling",
    "window starts at the wrong token",
    "sample",
    "08",
    (GENERATE, "(model, idx[:, start:], n,", "(model, idx[:, start + 1 :], n,"),
)
fault(
    "sampling",
    "seed unused",
    "sample",
    "08 00",
    (SAMPLE, "torch.rand(whole.shape, generator=generator", "torch.rand(whole.shape"),
)
fault(
    "sampling",
    "the token behind the point is drawn",
    "sample",
    "08 00",
    (SAMPLE, "point, right=True)", "point, right=True).add(1).clamp(max=probs.shape[-1] - 1)"),
)
fault(
    "sampling",
    "the end sign is spoken over",
    "sample quality",
    "08",
    (GENERATE, "if stop_at_end and token.item() == EOS_ID", "if False"),
)

fault(
    "sampling",
    "top-k 0 keeps one token",
    "sample",
    "08",
    (
        SAMPLE,
        '    if config.top_k:\n        logits = filters["top_k"](logits, config.top_k)',
        '    if config.top_k is not None:\n        logits = filters["top_k"](logits, config.top_k or 1)',
    ),
)

# ---- Tales and what is measured on them

fault(
    "tales",
    "parser accepts a broken rule",
    "tales quality",
    "06 08",
    (VERDICT, "    if reader.breaks:\n", '    if [broken for broken in reader.breaks if broken.rule == "mirror"]:\n'),
)
fault(
    "tales",
    "parser accepts a tale without its end",
    "tales quality",
    "08",
    (
        VERDICT,
        '        kind = "unfinished" if',
        "        if not word and words and words[-1] in STOPS:\n"
        '            return Verdict(True, None, grammar.messages["valid"], number, len(words), tale, asked, kept)\n'
        '        kind = "unfinished" if',
    ),
)
fault(
    "tales",
    "parser accepts what goes on",
    "tales quality",
    "06 08",
    (VERDICT, "    if reader.rest:\n", "    if False:\n"),
)
fault("tales", "parser names the next sentence", "tales", "06", (VERDICT, "return 1 + sum(", "return 2 + sum("))
fault(
    "tales",
    "probability of a choice forgotten",
    "tales floor",
    "06",
    (WALK, "logs.append(log(options[word]))", "logs.append(0.0)"),
)
fault(
    "tales",
    "floor without the end signs",
    "floor",
    "06 07",
    (
        FLOOR,
        "self.nats = float(best.sum()) / len(self.token_rules)",
        "self.nats = float(best.sum()) / (len(self.token_rules) - len(tales))",
    ),
)
fault(
    "tales",
    "rules one token late",
    "floor look",
    "03 06",
    (WORDS, "return [*owners, len(ends)]", "return [owners[0], *owners]"),
)
fault(
    "tales",
    "model's excess has the wrong sign",
    "quality look",
    "06 08 03",
    (QUALITY, "row.sum() + tale.log_prob for", "row.sum() - tale.log_prob for"),
)
fault("tales", "copies not found", "quality", "08", (QUALITY, "sum(text in training for text in texts)", "0"))
fault("tales", "a silent head still speaks", "look", "03", (LOOK, "mixed[:, list(self.silent)] = 0.0", "pass"))
fault(
    "tales",
    "attention looked up one place late",
    "look",
    "03",
    (LOOK, '"the token before it": back == 1', '"the token before it": back == 0'),
)
fault(
    "tales",
    "ablation without RoPE keeps it",
    "variants",
    "02",
    (ABLATIONS, '"no RoPE": {"parts": {"rope_table": variants.no_rotation}}', '"no RoPE": {}'),
)

# ---- The tokenizer

fault(
    "tokenizer",
    "spaces lost",
    "tokenizer",
    "06",
    (TOKENIZER, 'piece.replace("▁", " ").encode', 'piece.replace("▁", "").encode'),
)
fault(
    "tokenizer",
    "newlines dropped",
    "tokenizer",
    "06",
    (
        VOCABULARY,
        r'SEGMENT = re.compile(r"\n{0,65536}[^\n]{1,65536}|\n{1,65536}")',
        r'SEGMENT = re.compile(r"[^\n]{1,65536}")',
    ),
)
fault(
    "tokenizer",
    "full-width letters folded",
    "tokenizer",
    "06",
    (VOCABULARY, 'normalization_rule_name="identity"', 'normalization_rule_name="nmt_nfkc"'),
)
fault("tokenizer", "no byte fallback", "tokenizer", "06", (VOCABULARY, "byte_fallback=True", "byte_fallback=False"))
fault(
    "tokenizer",
    "begin and end signs swapped",
    "tokenizer data",
    "06 07",
    (TOKENIZER, "[BOS_ID] * bos + ids + [EOS_ID] * eos", "[EOS_ID] * bos + ids + [BOS_ID] * eos"),
)
fault(
    "tokenizer",
    "half characters streamed",
    "tokenizer sample",
    "08",
    (
        TOKENIZER,
        "return self._decoder.decode(self.tokenizer.token_bytes(token))",
        'return self.tokenizer.token_bytes(token).decode("utf-8", "replace")',
    ),
)
