"""You are here: what the first cell of each lesson shows."""

from html import escape
from pathlib import Path

import torch
from IPython.display import display

from ..console import say
from ..paths import lesson_files
from . import prepare_work, progress
from .lesson_map import LIT, Map, own_boxes, own_names, whose


def you_are_here(lesson: str, device: str):
    """Show the map with the lesson's parts lit; print the device, and which parts of the model are the learner's.

    lesson: "00" to "09". Links lead to the lessons before and after it and, from a copy in work/, to the start page.
    """
    display(Map(LIT[lesson], own_boxes()))
    display(Links(lesson))
    gpu = f" ({torch.cuda.get_device_name(device)})" if str(device).startswith("cuda") else ""
    print(f"This lesson runs on: {device}{gpu}")
    say(whose([progress.WORDS[name] for name in own_names()]))
    prepare_work.keep_start_page_current()


class Links:
    """The way to the lesson before, to the start page, and to the next lesson."""

    def __init__(self, lesson: str):
        names = [path.stem for path in lesson_files()]
        at = next(number for number, name in enumerate(names) if name.startswith(lesson))
        self.before, self.after = names[max(0, at - 1) : at], names[at + 1 : at + 2]

    def _repr_mimebundle_(self, **options):
        words = [f"before: {name}" for name in self.before] + [f"next: {name}" for name in self.after]
        links = [(f"{name}.ipynb", f"← {name}") for name in self.before]
        if Path(prepare_work.START).exists():
            links.append((prepare_work.START, "start page"))
        links += [(f"{name}.ipynb", f"{name} →") for name in self.after]
        html = " &nbsp; ".join(f'<a href="{escape(file)}">{escape(words)}</a>' for file, words in links)
        return {"text/html": f"<p>{html}</p>", "text/plain": "Lessons " + ", ".join(words)}
