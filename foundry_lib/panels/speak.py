"""A model that speaks: text that grows token by token, and follows the sliders while it grows.

    voice = speak(model, tokenizer, "Once there was", language="en")
    voice                                  # sliders, Speak and Stop
    voice.speak(temperature=0.5)           # by code: the same text in this cell, printed

Speak starts a thread, so that the sliders keep answering while the text runs; the settings are read at every token.
The draws come from `generation.stream`, with a generator of its own, on the model's device.
"""

import html
import threading
import time
from collections.abc import Iterator

import ipywidgets

from .. import tales
from ..config import SampleConfig
from ..console import say
from ..inference.generation import stream
from .panel import Slider, Words, place

KNOBS = dict(
    temperature=Slider(1.0, 0.0, 3.0, 0.05),
    top_k=Slider(0, 0, 50, label="top-k (0 is off)"),
    top_p=Slider(1.0, 0.05, 1.0, 0.05, label="top-p (1 is off)"),
    min_p=Slider(0.0, 0.0, 0.5, 0.01, label="min-p (0 is off)"),
    repetition_penalty=Slider(1.0, 1.0, 2.0, 0.05, label="repetition (1 is off)"),
)
FRAMES = 30  # pictures of the text a second, at most
BOX = "white-space:pre-wrap; max-width:800px; min-height:5em; padding:8px; border:1px solid #999; line-height:1.5"


class Stopped(Exception):
    """Raised where the next token would be drawn, after Stop."""


class Run:
    """One text on its way. tokens: drawn so far, the end sign too. seconds: of the model's work, without waiting.
    used: the settings of its draws, one behind the other as they changed."""

    def __init__(self, prompt: str, seed: int, n: int):
        self.prompt, self.seed, self.n = prompt, seed, n
        self.text, self.tokens, self.seconds, self.end = "", 0, 0.0, ""
        self.used: list[SampleConfig] = []
        self.started, self.stop = time.perf_counter(), threading.Event()
        self.thread: threading.Thread | None = None


def drawn(run: Run) -> str:
    """How a text was drawn: the sliders beside it may have moved on since."""
    last = vars(run.used[-1])
    words = [f"{name.replace('_', '-')} {last[name]:g}" for name, knob in KNOBS.items() if last[name] != knob.value]
    moved = "while the sliders moved, at the end" if len(run.used) > 1 else "at"
    return f"Drawn {moved} {', '.join(words) or 'temperature 1'}, seed {run.seed}."


class Speak(ipywidgets.VBox):
    """Made by `speak`. text: what was written last, with its prompt. reading: tokens, speed, how it ended, verdict."""

    def __init__(self, model, tokenizer, prompt: str, language: str | None, n: int, pace: int, seed: int):
        self.model, self.tokenizer, self.language, self.n = model, tokenizer, language, n
        self.knobs = {name: knob.widget(name) for name, knob in KNOBS.items()}
        self.controls = {
            "prompt": Words(prompt).widget("prompt"),
            **self.knobs,
            "seed": Slider(seed, 0, 99).widget("seed"),
            "pace": Slider(pace, 0, 60, label="tokens/s (0: fastest)").widget("pace"),
        }
        for control in self.controls.values():
            control.style.description_width = "150px"
        self.go, self.halt = ipywidgets.Button(description="Speak"), ipywidgets.Button(description="Stop")
        self.page, self.words = ipywidgets.HTML(), ipywidgets.HTML()
        self.run: Run | None = None
        self.text, self.reading = "", "press Speak"
        self.starting = threading.Lock()
        self.go.on_click(lambda button: self.start())
        self.halt.on_click(lambda button: self.stop())
        super().__init__([*self.controls.values(), ipywidgets.HBox([self.go, self.halt]), self.page, self.words])
        for widget, name in ((self, "foundry-speak"), (self.page, "foundry-text"), (self.words, "foundry-reading")):
            widget.add_class(name)
        self.paint(prompt, "")

    @property
    def settings(self) -> SampleConfig:
        """What the sliders say now."""
        return SampleConfig(**{name: widget.value for name, widget in self.knobs.items()})

    def set(self, **values):
        """Move controls by code. Raises ConfigError as `place` does."""
        for name, value in values.items():
            place(self.controls, name, value)

    # ---- One text; both ways of running it go through here

    def draw(self, run: Run) -> Iterator[None]:
        """Let `run` grow, one piece for each step, until the model ends it, n tokens are drawn, or it is stopped."""

        def settings():
            if run.stop.is_set():
                raise Stopped
            run.tokens += 1
            now = self.settings
            if run.used[-1:] != [now]:
                run.used.append(now)
            return now

        pieces = stream(self.model, self.tokenizer, run.prompt, run.n, settings, run.seed)
        try:
            while True:
                began = time.perf_counter()
                piece = next(pieces, None)
                run.seconds += time.perf_counter() - began
                if piece is None:
                    break
                run.text += piece
                yield
            run.end = "The model ended it" if run.tokens < run.n else f"{run.n} tokens are the most that it may write"
        except (Stopped, KeyboardInterrupt):
            run.end = "Stopped"

    def begin(self) -> Run:
        """Wait for the end of the run before, and put a new one in its place."""
        self.stop(wait=True)
        self.run = Run(self.controls["prompt"].value, self.controls["seed"].value, self.n)
        return self.run

    def start(self):
        """What Speak does: write in a thread, at the pace of its slider; a text on its way is stopped first."""
        self.stop()
        with self.starting:
            run = self.begin()
            run.thread = threading.Thread(target=self.work, args=(run,), name="speak", daemon=True)
            run.thread.start()

    def stop(self, wait: bool = False):
        """What Stop does: no further token is drawn. wait: return when the thread has ended."""
        run = self.run
        if run is not None:
            run.stop.set()
            if wait and run.thread is not None and run.thread is not threading.current_thread():
                run.thread.join()

    def wait(self, seconds: float = 60):
        """Return when the thread has ended; for a cell that presses Speak by code."""
        if self.run is not None and self.run.thread is not None:
            self.run.thread.join(seconds)

    def work(self, run: Run):
        shown = 0.0
        try:
            for _ in self.draw(run):
                if time.perf_counter() - shown >= 1 / FRAMES:
                    self.show(run)
                    shown = time.perf_counter()
                pace = self.controls["pace"].value
                if pace:
                    run.stop.wait(1 / pace)
        except Exception as error:  # a thread's error would be lost, so it is said where the learner looks
            run.used.clear()  # the last of them drew nothing
            run.end = f"It broke off with {type(error).__name__}: {error}".rstrip(".")
        self.show(run, last=True)

    def speak(self, **values):
        """Move the controls that are named, write in this cell at full speed, and print the text and its reading."""
        self.set(**values)
        self.stop()
        with self.starting:
            run = self.begin()
            for _ in self.draw(run):
                pass
            self.show(run, last=True)
        say(self.text)
        print()
        for line in self.reading.splitlines():
            say(line)

    # ---- What is seen

    def show(self, run: Run, last: bool = False):
        """The text so far, counted; after the last token also how it ended, and what the parser says."""
        if run is not self.run:
            return
        rate = run.tokens / max(time.perf_counter() - run.started, 1e-9)
        reading = f"{run.tokens} tokens, {rate:,.0f} tokens/s"
        if run.thread is not None:
            reading += f" (the model alone: {run.tokens / max(run.seconds, 1e-9):,.0f} tokens/s)"
        text = run.prompt + run.text
        if last:
            reading += f". {run.end}." + (f"\n{drawn(run)}" if run.used else "")
            if self.language is not None:
                verdict = tales.parse(text, self.language)
                rule = "" if verdict.valid else f" (rule: {verdict.rule})"
                reading += f"\nThe parser: {verdict.message}{rule}."
        self.text, self.reading = text, reading
        self.paint(run.prompt, run.text)

    def paint(self, prompt: str, text: str):
        """Put text and reading on the page; whatever is in them is shown as it is and never obeyed as HTML."""
        begun = f'<span style="border-bottom:2px dotted #777">{html.escape(prompt)}</span>'
        self.page.value = f'<div style="{BOX}">{begun}{html.escape(text)}</div>'
        self.words.value = f'<div role="status" style="white-space:pre-wrap">{html.escape(self.reading)}</div>'

    def _repr_mimebundle_(self, **options):
        bundle = super()._repr_mimebundle_(**options)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        return {
            **data,
            "text/plain": f"<speak: {self.text or self.controls['prompt'].value}\n{self.reading}>",
        }, metadata


def speak(
    model, tokenizer, prompt: str = "", language: str | None = None, n: int = 240, pace: int = 12, seed: int = 1
) -> Speak:
    """The panel. language: "en" or "zh" lets the parser judge each tale; None for any other text.

    n: the most tokens. pace: tokens a second at which they are shown, so that there is time to move a slider; 0 as fast
    as the model can.
    """
    return Speak(model, tokenizer, prompt, language, n, pace, seed)
