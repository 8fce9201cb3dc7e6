"""A model that writes: text that grows token by token, and follows the sliders while it grows.

    voice = speak(model, tokenizer, "Once there was", language="en")
    voice                                  # sliders, Speak and Stop
    voice.speak(temperature=0.5)           # by code: the same text in this cell, printed

Speak starts a thread, so that the sliders still answer while the text grows. The model reads the settings at every
token. The random numbers are those of `stream`: each text has its own generator.
"""

import html
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import ipywidgets
import torch

from .. import tales
from ..config import SampleConfig
from ..console import say
from ..errors import FoundryError
from ..inference.cuda_graphs import for_streaming
from ..inference.generation import generate_tokens, seeded
from ..text.tokenizer import EOS_ID, TextStream
from .controls import Slider, Words, in_columns, set_control
from .knobs import KNOBS, changed
from .stored import Stored

FRAMES = 30  # pictures of the text per second, at most
# Of a long text in a low window the newest lines show: a reversed column stays scrolled to its end.
BOX = (
    "display:flex; flex-direction:column-reverse; overflow:auto; max-width:880px; min-height:4.5em; padding:4px 8px; "
    "max-height:max(9em, calc(100vh - 400px)); border:1px solid #888; line-height:1.4"
)


@dataclass(eq=False)
class Utterance:
    """One text while it grows, and the thread that writes it.

    text: what the model wrote after the prompt. tokens: sampled so far, the end token included. seconds: the time of
    the model, without pauses. settings: those of its tokens, each time they changed. end: why it ended, in words.
    """

    prompt: str
    seed: int
    limit: int
    text: str = ""
    tokens: int = 0
    seconds: float = 0.0
    end: str = ""
    settings: list[SampleConfig] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)
    stop: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None

    def add(self, text: str, config: SampleConfig):
        """One more token: its characters and the settings it was sampled with."""
        self.text += text
        self.tokens += 1
        if self.settings[-1:] != [config]:
            self.settings.append(config)

    def how(self) -> str:
        """The settings in a sentence: the sliders beside the text may have moved since."""
        moved = "while the sliders moved, at the end" if len(self.settings) > 1 else "at"
        return f"Drawn {moved} {changed(vars(self.settings[-1])) or 'temperature 1'}, seed {self.seed}."

    def reading(self, ended: bool, language: str | None) -> str:
        """Tokens and speed; for an ended text also how it ended, its settings, and the parser's verdict."""
        rate = self.tokens / max(time.perf_counter() - self.started, 1e-9)
        words = f"{self.tokens} tokens, {rate:,.0f} tokens/s"
        if self.thread is not None:
            words += f" (the model alone: {self.tokens / max(self.seconds, 1e-9):,.0f} tokens/s)"
        if ended:
            words += f". {self.end}." + (f"\n{self.how()}" if self.settings else "")
            if language is not None:
                verdict = tales.parse(self.prompt + self.text, language)
                rule = "" if verdict.valid else f" (rule: {verdict.rule})"
                words += f"\nThe parser: {verdict.message}{rule}."
        return words


class Speak(Stored, ipywidgets.VBox):
    """Made by `speak`. text: the newest text with its prompt. reading: the sentences below it. own: parts of sampling
    for the next text, as `generate_tokens` takes them.
    """

    def __init__(self, model, tokenizer, prompt: str, language: str | None, n: int, pace: int, seed: int, own, title):
        self.model, self.tokenizer, self.language, self.n, self.own = model, tokenizer, language, n, own
        self.title = title
        self.knobs = {name: knob.widget(name) for name, knob in KNOBS.items()}
        self.controls = {
            "prompt": Words(prompt).widget("prompt"),
            **self.knobs,
            "seed": Slider(seed, 0, 99).widget("seed"),
            "pace": Slider(pace, 0, 60, label="tok/s (0 max)").widget("pace"),
        }
        self.go, self.halt = ipywidgets.Button(description="Speak"), ipywidgets.Button(description="Stop")
        self.page, self.words = ipywidgets.HTML(), ipywidgets.HTML()
        self.run: Utterance | None = None
        self.text, self.reading = "", f"{title}: press Speak" if title else "press Speak"
        self.starting = threading.Lock()
        self.go.on_click(lambda button: self.start())
        self.halt.on_click(lambda button: self.stop())
        buttons = ipywidgets.HBox([self.go, self.halt])
        super().__init__([in_columns([*self.controls.values()]), buttons, self.page, self.words])
        for widget, name in ((self, "foundry-speak"), (self.page, "foundry-text"), (self.words, "foundry-reading")):
            widget.add_class(name)
        self.paint(prompt, "")

    @property
    def settings(self) -> SampleConfig:
        """The present values of the sliders."""
        return SampleConfig(**{name: widget.value for name, widget in self.knobs.items()})

    def set(self, **values):
        """Move controls by code. Raises ConfigError as `set_control` does."""
        for name, value in values.items():
            set_control(self.controls, name, value)

    # ---- One text: the thread and the cell both write it by `grow`

    def grow(self, run: Utterance) -> Iterator[None]:
        """Sample a token per step, until the model ends the text, `run.limit` tokens are there, or Stop is pressed."""
        ids = torch.tensor([self.tokenizer.encode(run.prompt, bos=True)], device=self.model.device)
        generator = seeded(run.seed)
        characters, config = TextStream(self.tokenizer), self.settings

        def settings() -> SampleConfig:
            nonlocal config
            config = self.settings
            return config

        began = time.perf_counter()
        run.end = f"{run.limit} tokens are the most that it may write"
        with for_streaming(self.model, self.own) as writer:
            for token in generate_tokens(writer, ids, run.limit, settings, generator, self.own):
                if run.stop.is_set():
                    run.end = "Stopped"
                    return
                run.seconds += time.perf_counter() - began
                run.add("" if token.item() == EOS_ID else characters.push(token.item()), config)
                if token.item() == EOS_ID:
                    run.end = "The model ended it"
                    break
                yield
                began = time.perf_counter()
        run.text += characters.finish()

    def begin(self) -> Utterance:
        """Wait until the text before has ended, and begin a new one."""
        self.stop(wait=True)
        self.run = Utterance(self.controls["prompt"].value, self.controls["seed"].value, self.n)
        return self.run

    def start(self):
        """The Speak button: write in a thread, at the pace of its slider. A text that still grows is stopped first."""
        self.stop()
        with self.starting:
            run = self.begin()
            run.thread = threading.Thread(target=self.work, args=(run,), name="speak", daemon=True)
            run.thread.start()

    def stop(self, wait: bool = False):
        """The Stop button: the text gets no further token. wait: return when the thread has ended."""
        run = self.run
        if run is not None:
            run.stop.set()
            if wait and run.thread is not None and run.thread is not threading.current_thread():
                run.thread.join()

    def wait(self, seconds: float = 60):
        """Return when the thread has ended; for a cell that presses Speak by code."""
        if self.run is not None and self.run.thread is not None:
            self.run.thread.join(seconds)

    def work(self, run: Utterance):
        """The thread of one text. A FoundryError ends the text with its sentence; any other error is raised too."""
        shown = 0.0
        try:
            for _ in self.grow(run):
                if time.perf_counter() - shown >= 1 / FRAMES:
                    self.show(run)
                    shown = time.perf_counter()
                pace = self.controls["pace"].value
                if pace:
                    run.stop.wait(1 / pace)
        except FoundryError as error:
            run.end = str(error).rstrip(".")
        except Exception as error:  # no cell shows this error: the panel and the log do
            run.end = f"It broke off with {type(error).__name__}: {error}".rstrip(".")
            raise
        finally:
            self.show(run, ended=True)

    def speak(self, **values):
        """Move the named controls, write in this cell at full speed, and print the text and its reading."""
        self.set(**values)
        self.stop()
        with self.starting:
            run = self.begin()
            try:
                for _ in self.grow(run):
                    pass
            except KeyboardInterrupt:  # the notebook's stop button
                run.end = "Stopped"
            self.show(run, ended=True)
        say(self.text)
        print()
        for line in self.reading.splitlines():
            say(line)

    # ---- What the learner sees

    def show(self, run: Utterance, ended: bool = False):
        """Show this text and its reading, unless a newer text has begun."""
        if run is self.run:
            self.text, self.reading = run.prompt + run.text, run.reading(ended, self.language)
            self.paint(run.prompt, run.text)

    def paint(self, prompt: str, text: str):
        """Put text and reading on the page. HTML in them is escaped, so the page shows it and does not obey it."""
        prompt_html = f'<span style="border-bottom:2px dotted #777">{html.escape(prompt)}</span>'
        self.page.value = (
            f'<div style="{BOX}"><div style="white-space:pre-wrap">{prompt_html}{html.escape(text)}</div></div>'
        )
        self.words.value = (
            f'<div role="status" style="white-space:pre-wrap; line-height:1.35">{html.escape(self.reading)}</div>'
        )

    def stored_text(self) -> str:
        name = f"speak, {self.title}" if self.title else "speak"
        return f"<{name}: {self.text or self.controls['prompt'].value}\n{self.reading}>"


def speak(
    model,
    tokenizer,
    prompt: str = "",
    language: str | None = None,
    n: int = 240,
    pace: int = 12,
    seed: int = 1,
    own: dict[str, Callable] | None = None,
    title: str = "",
) -> Speak:
    """The panel. language: "en" or "zh" lets the parser judge each tale; None for any other text.

    n: the most tokens. pace: tokens per second that are shown, so that there is time to move a slider; 0 is as fast as
    the model can. own: your parts of sampling, as `generate_tokens` takes them. title: the model's name, from
    `learners_model`.
    """
    return Speak(model, tokenizer, prompt, language, n, pace, seed, own, title)
