"""Let a trained model write, from the command line: python -m foundry_lib generate --prompt "A class is" """

import argparse
from dataclasses import fields
from pathlib import Path

from .. import runtime
from ..config import SampleConfig
from ..console import run_command
from ..inference.generation import sample_text, stream
from ..training.checkpoint import load_checkpoint, newest_checkpoint

HELP = dict(
    top_k="sample from the K most probable tokens (default: from all)",
    top_p="sample from the most probable tokens that together have P",
    min_p="leave out tokens below P times the most probable one",
    repetition_penalty="above 1: tokens of the text so far are less probable",
)
FILTERS = [field for field in fields(SampleConfig) if field.name != "temperature"]


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m foundry_lib generate", description="Let a trained model write.")
    parser.add_argument("--prompt", default="", help="how the text begins (default: nothing)")
    parser.add_argument(
        "--checkpoint", type=Path, default=None, help="a checkpoint, or the folder of a training (default: runs/)"
    )
    parser.add_argument("--tokens", type=int, default=80, help="length of each text (default: %(default)s)")
    plain = parser.add_argument_group("of the plain text")
    plain.add_argument("--temperature", type=float, default=0.8, help="0 is greedy (default: %(default)s)")
    for field in FILTERS:
        words = HELP.get(field.name, f"see SampleConfig (off: {field.default})")
        plain.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default), help=words)
    parser.add_argument(
        "--seed", type=int, default=1337, help="the same seed gives the same text (default: %(default)s)"
    )
    parser.add_argument("--device", default=None, help="cpu, cuda or mps (default: the best there is)")
    parser.add_argument("--compare", action="store_true", help="write seven more texts, at other settings")
    return parser.parse_args(arguments)


def panel(title: str):
    print(f"\n=== {title} ===", flush=True)


def run(arguments: list[str] | None):
    args = parse(arguments)
    given = {field.name: getattr(args, field.name) for field in FILTERS}
    filters = {name: value for name, value in given.items() if value is not None}
    plain = SampleConfig(temperature=args.temperature, **filters)
    folder = args.checkpoint or newest_checkpoint()
    device = runtime.usable_device(args.device)
    model, tokenizer = load_checkpoint(folder, device)
    tokenizer.encode(args.prompt)  # refuses a prompt that is not Unicode before anything is printed
    print(f"{runtime.describe(device)}\nModel from {folder}: {model.n_params:,} parameters")

    panel(", ".join([f"Plain: temperature {args.temperature:g}", *(f"{name} {filters[name]:g}" for name in filters)]))
    print(args.prompt, end="", flush=True)
    for piece in stream(model, tokenizer, args.prompt, args.tokens, plain, args.seed):
        print(piece, end="", flush=True)
    print()
    if args.compare:
        compare(args, model, tokenizer)


def compare(args: argparse.Namespace, model, tokenizer):
    """Write the same beginning at three temperatures, then with four filters."""

    def text(**settings):
        return sample_text(model, tokenizer, args.prompt, args.tokens, args.seed, **settings)

    panel("Temperatures, the same seed")
    for temperature in (0.3, 0.8, 1.5):
        print(f"[temperature {temperature}] {text(temperature=temperature)}\n")

    panel("Top-k and top-p, temperature 1, the same seed")
    for name, settings in {
        "top_k 10": {"top_k": 10},
        "top_k 50": {"top_k": 50},
        "top_p 0.8": {"top_p": 0.8},
        "top_p 0.95": {"top_p": 0.95},
    }.items():
        print(f"[{name}] {text(**settings)}\n")


def main(arguments: list[str] | None = None) -> int:
    return run_command(lambda: run(arguments))
