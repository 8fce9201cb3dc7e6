"""Let a trained model write, from the command line: python -m foundry_lib generate --prompt "A class is" """

import argparse
import sys
from pathlib import Path

from .. import runtime
from ..config import SampleConfig
from ..errors import FoundryError
from ..inference.generation import sample_text, stream
from ..training.checkpoint import load_checkpoint, newest_checkpoint


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m foundry_lib generate", description="Let a trained model write.")
    parser.add_argument("--prompt", default="", help="how the text begins (default: nothing)")
    parser.add_argument("--checkpoint", type=Path, default=None, help="default: the newest below runs/")
    parser.add_argument("--tokens", type=int, default=80, help="length of each text (default: %(default)s)")
    parser.add_argument("--temperature", type=float, default=0.8, help="of the plain text (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=1337, help="the same seed gives the same text (default: %(default)s)"
    )
    parser.add_argument("--device", default=None, help="cpu, cuda or mps (default: the best there is)")
    return parser.parse_args(arguments)


def panel(title: str):
    print(f"\n=== {title} ===", flush=True)


def main(arguments: list[str] | None = None) -> int:
    args = parse(arguments)
    sys.stdout.reconfigure(errors="replace")  # a terminal that cannot print a character shows a ? instead
    try:
        plain = SampleConfig(temperature=args.temperature)
        folder = args.checkpoint or newest_checkpoint()
        device = runtime.usable_device(args.device)
        model, tokenizer = load_checkpoint(folder, device)
        tokenizer.encode(args.prompt)  # refuse what is no text before anything of it is printed
        print(f"{runtime.describe(device)}\nModel from {folder}: {model.n_params:,} parameters")

        def text(**settings):
            return sample_text(model, tokenizer, args.prompt, args.tokens, args.seed, **settings)

        panel(f"Plain: temperature {args.temperature:g}")
        print(args.prompt, end="", flush=True)
        for piece in stream(model, tokenizer, args.prompt, args.tokens, plain, args.seed):
            print(piece, end="", flush=True)
        print()

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
    except FoundryError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
