"""Fetch a public-domain text: `python -m foundry_lib download NAME`; without a name, list them."""

import argparse
import sys
from pathlib import Path

from ..errors import CorpusError
from ..text.download import catalog, fetch, find, state


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m foundry_lib download", description="Fetch a public-domain text.")
    parser.add_argument("name", nargs="?", help="the text to fetch (default: list them all, fetch nothing)")
    parser.add_argument("--folder", type=Path, default=Path("downloads"), help="where to (default: %(default)s)")
    args = parser.parse_args(arguments)
    sys.stdout.reconfigure(errors="replace")  # a terminal that cannot print a character shows a ? instead
    try:
        if args.name is None:
            for entry in catalog():
                print(f"{entry.name:<17} {entry.bytes / 1e6:4.1f} MB  {entry.title}; {entry.author}")
                print(f"{'':<17} {state(entry, args.folder)}. {entry.licence}; {entry.source}")
            print("Fetch one: python -m foundry_lib download NAME")
            return 0
        entry = find(args.name)
        print(f"{entry.title}, {entry.bytes:,} bytes: {state(entry, args.folder)}", flush=True)
        path = fetch(entry, args.folder)
    except KeyboardInterrupt:
        print("\nStopped; what has arrived is kept, and the same command goes on from there.", file=sys.stderr)
        return 130  # as a shell says it
    except CorpusError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    shown = f'"{path}"' if " " in str(path) else path
    print(f"Learn from it: python -m foundry_lib train --data {shown}")
    print(f"In a notebook: DataLoader({path.resolve().as_posix()!r})")  # a notebook runs in a folder of its own
    return 0
