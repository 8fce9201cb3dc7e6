"""The library on the command line: `python -m foundry_lib train`, and the other commands."""

import importlib
import sys

COMMANDS = {
    "train": "train a small language model",
    "generate": "let a trained model write",
    "tales": "write tales, judge them, list their facts",
    "download": "fetch a public-domain text",
}


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] not in COMMANDS:
        asked_for_help = arguments[:1] in (["-h"], ["--help"])
        print("usage: python -m foundry_lib COMMAND [options]", file=sys.stdout if asked_for_help else sys.stderr)
        for name, purpose in COMMANDS.items():
            print(f"  {name:<10} {purpose}", file=sys.stdout if asked_for_help else sys.stderr)
        return 0 if asked_for_help else 2
    command = importlib.import_module(f".commands.{arguments[0]}", __package__)  # only what it needs is imported
    return command.main(arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
