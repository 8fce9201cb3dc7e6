"""An error of the learner's code in words, and the names of dtypes: for messages."""

import linecache
import sysconfig

import torch

from ..paths import PACKAGE

NOT_THE_LEARNERS = (str(PACKAGE), sysconfig.get_path("stdlib"))  # the library's files and Python's


def error_in_words(error: Exception) -> str:
    """An exception in words, with the last line of the learner's code that ran."""
    text = str(error).splitlines()[0] if str(error) else ""
    return f"Your code raised {type(error).__name__}: {text}{line_of(error)}"


def line_of(error: Exception) -> str:
    """The last line of the learner's code that ran: " in my_norm, line 3: return x * weight"; "" if there is none."""
    frames = []
    trace = error.__traceback__
    while trace:
        file = trace.tb_frame.f_code.co_filename
        ours = file.startswith(NOT_THE_LEARNERS) or "site-packages" in file or "dist-packages" in file
        if not ours and trace.tb_frame.f_code.co_name != "<lambda>":
            frames.append((file, trace.tb_lineno, trace.tb_frame.f_code.co_name))
        trace = trace.tb_next
    if not frames:
        return ""
    file, line, name = frames[-1]
    code = linecache.getline(file, line).strip()
    return f" in {name}, line {line}{': ' if code else ''}{code}"


def name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
