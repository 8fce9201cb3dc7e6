"""One family of errors, so that a caller can catch everything the library refuses with `except FoundryError`."""

import linecache
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from .paths import PACKAGE


class FoundryError(ValueError):
    """An input that the library refuses. The message says what was wrong, what was found and what to do."""

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: the sentence and the caller's line, without the lines of the library's code.

        IPython calls this method. Outside a notebook Python shows its usual traceback.
        """
        shown = [f"{type(self).__name__}: {self}"]
        own = [
            frame
            for frame in traceback.extract_tb(self.__traceback__)
            if not frame.filename.startswith(str(PACKAGE)) and "site-packages" not in frame.filename
        ]
        if own:
            line = linecache.getline(own[-1].filename, own[-1].lineno).strip() or own[-1].line
            shown.append(f"  in line {own[-1].lineno}: {line}")
        return shown


class ConfigError(FoundryError):
    """A setting that no model, training or sampling can have; the message names the field."""


class ShapeError(FoundryError):
    """A tensor of another shape than its letters say; the message has both."""


class CorpusError(FoundryError):
    """A text that cannot be learned from; the message names the file."""


class TokenizerError(FoundryError):
    """A tokenizer that is broken, or that belongs to another text."""


class DivergedError(FoundryError):
    """A training whose loss or gradient is no longer a number; the weights are those of the last good step."""


class CheckpointError(FoundryError):
    """A checkpoint that is incomplete, damaged, or does not fit what it is loaded into."""


class Stopped(KeyboardInterrupt):
    """■ or Ctrl-C, with a sentence about the state of the work. It is not a FoundryError: nothing was refused."""

    _render_traceback_ = FoundryError._render_traceback_


@contextmanager
def explain_interrupt(sentence: str) -> Iterator[None]:
    """Turn ■ or Ctrl-C inside the block into Stopped, with this sentence."""
    try:
        yield
    except KeyboardInterrupt as stop:
        traceback.clear_frames(stop.__traceback__)  # closes bars and files before the sentence is shown
        raise Stopped(sentence) from None


class Notice(UserWarning):
    """A warning about something that the library did, such as a lowered vocabulary or a cropped prompt."""


# Python shows the same warning once per line of code; a learner who crops two prompts must see both.
warnings.simplefilter("always", Notice)
