"""A training while it runs: the loss curve with its known lines, the excess loss by rule, the pace, and texts.

    texts = watch(trainer, reference_lines(trainer.loader), prompt="Once there was")

Watching takes at most about 3 % of the time: `watch` measures the time of pictures and texts so far, and each waits
while it has used more than its share. The bar and the line of numbers take almost no time and never wait.
"""

import time
import weakref
from dataclasses import dataclass
from html import escape

import ipywidgets
from IPython.display import display

from .. import plots, tales
from ..config import SampleConfig
from ..console import say
from ..inference.generation import sample_text
from .loss_figure import LossFigure, end_in_words, pace
from .stored import Stored

SHARES = {"texts": 0.017, "pictures": 0.006}  # of the time; two shares, because pictures would leave none for the texts
BAR = 40  # pixels of the line with the bar
PAUSE = 0.5  # seconds between two updates, at least
TEXTS = 4  # are shown, the newest on top; the older ones in one line each
LENGTH = 200  # tokens of a text, at most; a tale has about 130
SETTINGS = SampleConfig(temperature=0.7)
LINE = "width:0; min-width:100%; max-width:900px; margin:4px 0; line-height:1.4"  # never wider than its cell
ONE_LINE = "white-space:nowrap; overflow:hidden; text-overflow:ellipsis"
FEW_LINES = "display:-webkit-box; -webkit-box-orient:vertical; -webkit-line-clamp:4; overflow:hidden"
REJOIN = "If you close this page, the training goes on. To join it: open the page, run this cell, press ■ once."
SEED = 0  # the same for each text, so that only the model changes


@dataclass(frozen=True)
class JudgedText:
    """A text from the fixed prompt. verdict: the parser's sentence, None where no grammar is known."""

    step: int
    text: str
    valid: bool | None = None
    verdict: str | None = None

    def __str__(self) -> str:
        verdict = "" if self.verdict is None else f"{'✓' if self.valid else '✗'} {self.verdict} · "
        return f"step {self.step} · {verdict}{self.text}"


def write_text(trainer, prompt: str) -> JudgedText:
    """Let the model continue the prompt, and judge the text. It has its own random numbers, so nothing else changes."""
    loader = trainer.loader
    text = sample_text(trainer.model, loader.tokenizer, prompt, LENGTH, SEED, **vars(SETTINGS))
    if loader.floor is None:
        return JudgedText(trainer.step, text)
    verdict = tales.parse(text, loader.corpus.grammar)
    return JudgedText(trainer.step, text, verdict.valid, verdict.message)


class View(Stored, ipywidgets.VBox):
    """Progress bar, picture and texts. Without a live front end, the picture only."""

    moves = True

    def __init__(self, trainer, lines: dict[str, float], texts: list[JudgedText]):
        self.trainer, self.texts = trainer, texts
        style = {"bar_color": plots.BLUE, "description_width": "0"}
        self.bar = ipywidgets.IntProgress(0, 0, trainer.config.max_iters, style=style)
        self.numbers, self.words, self.figure = ipywidgets.HTML(), ipywidgets.HTML(), LossFigure(trainer, lines)
        self.tick()
        self.show_texts()
        self.figure.leave_room(BAR)
        top = ipywidgets.HBox([self.bar, self.numbers], layout=ipywidgets.Layout(flex_flow="row wrap"))
        super().__init__([top, self.figure.scrolled(), self.words])

    def tick(self):
        """Show the step and the pace."""
        self.bar.value, self.numbers.value = self.trainer.step, escape(pace(self.trainer))

    def show_end(self, status: str):
        """Show why the training stands still, beside the bar."""
        self.bar.value, self.numbers.value = self.trainer.step, f"<b>{escape(status)}</b>"

    def show_texts(self):
        lines = []
        for number, text in enumerate(self.texts[: -TEXTS - 1 : -1]):
            short = number > 0 or text.step == 0  # before any training a text is noise
            style = f"{LINE}; {ONE_LINE if short else FEW_LINES}"
            lines.append(f'<p style="{style}">{escape(str(text))}</p>')
        self.words.value = "".join(lines)

    def stored_text(self) -> str:
        return self.figure.stored_text()

    def stored_png(self) -> bytes:
        return self.figure.value


texts_so_far: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()  # trainer → its texts; they survive a stop


def watch(trainer, lines: dict[str, float], prompt: str | None = None) -> list[JudgedText] | None:
    """Train to the end, or until ■ is pressed, and show the progress. Then print status and last losses.

    ■ (Kernel → Interrupt) lets the present step finish and loses nothing: run the cell again to continue.
    prompt: the model continues it at each evaluation, and the parser judges the text where the grammar is known; the
    texts are returned, oldest first. They change no weight: training with and without them is equal bit for bit.
    """
    texts = texts_so_far.setdefault(trainer, [])
    view = View(trainer, lines, texts)
    print(REJOIN)  # as text: a page that is opened again cannot load the widget before the kernel is free
    display(view)
    began = drawn = time.perf_counter()
    spent = dict.fromkeys(SHARES, 0.0)
    for record in trainer.run():
        now = time.perf_counter()
        allowed = {what: spent[what] <= share * (now - began) for what, share in SHARES.items()}
        last = record.step == trainer.config.max_iters
        if prompt is not None and record.val_loss is not None and (allowed["texts"] or last):
            texts.append(write_text(trainer, prompt))
            view.show_texts()
            spent["texts"] += time.perf_counter() - now
        if now - drawn > PAUSE:
            drawn = time.perf_counter()
            view.tick()  # a bar and a line of words take almost no time
            if allowed["pictures"]:
                view.figure.update()
                if record.step:  # the picture before any training lays out the axes: it would delay the next for long
                    spent["pictures"] += time.perf_counter() - drawn
    status = trainer.status("run this cell again")
    view.show_end(status)
    view.figure.update()
    print(status)
    say(end_in_words(trainer))
    return texts if prompt is not None else None
