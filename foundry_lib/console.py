"""Text for a terminal or a lesson's output: folded lines, and the beginning and end of a command."""

import os
import shlex
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tqdm import tqdm

from .errors import FoundryError

WIDTH = 88  # characters per line of a lesson's output, on a screen of 1366 pixels


def folded(text: str, width: int = WIDTH, indent: str = "") -> str:
    """One paragraph, cut between words into lines of `width` characters; `indent` starts the first line.

    >>> print(folded("one two three", width=9, indent="- "))
    - one two
      three
    """
    return textwrap.fill(" ".join(text.split()), width, initial_indent=indent, subsequent_indent=" " * len(indent))


def folded_lines(text: str, width: int = WIDTH) -> str:
    """The text with its line ends. Longer lines are cut between words; the next line begins with two spaces."""
    lines = text.splitlines()
    return "\n".join(textwrap.fill(line, width, subsequent_indent="  ", break_long_words=False) for line in lines)


def say(text: str, indent: str = ""):
    """Print one paragraph, folded."""
    print(folded(text, indent=indent))


def moving(steps: Iterable, doing: str, total: int) -> Iterator:
    """The steps, one after the other, with a line that moves: what is done, how much of it, and the time left.

    The line goes to the error output, which the regression check does not compare, and `course.py refresh` does not
    store it. Work that ends within half a second shows none. A sentence says when the work was stopped before its end.

    >>> list(moving(range(3), "counting", 3))
    [0, 1, 2]
    """
    form = "{desc} {percentage:3.0f} %|{bar:20}| {n} of {total}, {elapsed} < {remaining}"
    line = tqdm(steps, desc=doing, total=total, bar_format=form, delay=0.5)
    yield from line
    if line.n < total:
        say(f"Stopped after {line.n} of {total}. Run this cell again.")


def interpreter() -> str:
    """How a person starts this Python from the working folder: `python` if that is it, else its path."""
    path = Path(sys.executable)
    if Path(shutil.which("python") or "") == path:
        return "python"
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def command_line(*arguments) -> str:
    """A line that a person can paste: `python -m foundry_lib ARGUMENTS`, quoted where the shell needs it.

    >>> command_line("train", "--data", "my book.txt").split("foundry_lib ")[1]
    "train --data 'my book.txt'"
    """
    words = [interpreter(), "-m", "foundry_lib", *map(str, arguments)]
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def use_utf8_when_redirected():
    """Show a character that the terminal lacks as "?", and write UTF-8 into a file or a pipe."""
    for output in (sys.stdout, sys.stderr):
        if hasattr(output, "reconfigure"):
            output.reconfigure(errors="replace", encoding=None if output.isatty() else "utf-8")


def run_command(command: Callable[[], int | None]) -> int:
    """Run a command and return its exit code: 2 after a FoundryError, 130 after Ctrl-C. Both print a sentence."""
    use_utf8_when_redirected()
    try:
        code = command() or 0
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python's own last flush fails as well
        return 1
    except KeyboardInterrupt as stop:
        print(f"\n{str(stop) or 'Stopped.'}", file=sys.stderr)
        return 130  # the code that a shell gives after Ctrl-C
    except FoundryError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
