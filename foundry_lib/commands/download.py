"""Fetch a public-domain text: `python -m foundry_lib download NAME`; without a name, list them."""

import argparse
from pathlib import Path

from ..console import command_line, run_command
from ..text.download import catalog, fetch, find, state


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m foundry_lib download", description="Fetch a public-domain text.")
    parser.add_argument("name", nargs="?", help="the text to fetch (default: list them all, fetch nothing)")
    parser.add_argument("--folder", type=Path, default=Path("downloads"), help="where to (default: %(default)s)")
    options = parser.parse_args(arguments)
    return run_command(lambda: show(options.name, options.folder) if options.name else show_catalog(options.folder))


def show_catalog(folder: Path):
    for entry in catalog():
        print(f"{entry.name:<17} {entry.bytes / 1e6:4.1f} MB  {entry.title}; {entry.author}")
        print(f"{'':<17} {state(entry, folder)}. {entry.licence}; {entry.source}")
    print(f"Fetch one: {command_line('download')} NAME")


def show(name: str, folder: Path):
    entry = find(name)
    print(f"{entry.title}, {entry.bytes:,} bytes: {state(entry, folder)}", flush=True)
    path = fetch(entry, folder)
    print(f"Learn from it: {command_line('train', '--data', path)}")
    print(f"In a notebook: DataLoader({path.resolve().as_posix()!r})")  # a notebook runs in another folder
