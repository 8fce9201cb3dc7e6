"""How a question looks: radio buttons in a live page, and the same words as plain text and HTML everywhere else."""

import html
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import ipywidgets

from ..console import folded

SURENESS = {1: "a guess", 2: "likely", 3: "certain"}
# ipywidgets gives each radio button one line and cuts what is longer. These rules let a long choice wrap.
STYLE = """<style>
.foundry-question .foundry-choices label {height: auto; line-height: 1.5; padding: 2px 0 2px 1.7em; white-space: normal;
  overflow-wrap: break-word; color: var(--jp-ui-font-color1, inherit); cursor: pointer}
.foundry-question .foundry-choices input {height: auto; margin: 0.3em 0 0 -1.6em; cursor: pointer}
.foundry-question p {line-height: 1.5; margin: 0 0 4px 0; white-space: normal; overflow-wrap: break-word}
</style>"""


CALL = re.compile(r"\b(?:ask|confront|predict)\([^)]*\)")  # what a learner copies stays on one line


@dataclass(frozen=True)
class State:
    """What a card shows of the learner: the letter, how sure (1 to 3), and sentences about it."""

    letter: str | None
    sure: int | None
    sentences: Sequence[str]


def escaped(text: str) -> str:
    """Plain text as HTML that breaks no call of a question between two lines.

    >>> escaped('or confront("06-merge")')
    'or <span style="white-space:nowrap">confront("06-merge")</span>'
    """
    return CALL.sub(r'<span style="white-space:nowrap">\g<0></span>', html.escape(text, quote=False))


def as_html(paragraphs: Sequence[str]) -> str:
    """Paragraphs of plain text as HTML that wraps between words."""
    return "".join(f'<p style="max-width:800px">{escaped(text)}</p>' for text in paragraphs)


class Words:
    """Paragraphs that a notebook shows as wrapped HTML and everything else as folded text.

    paragraphs: pairs of an indent, such as "  a) ", and a text.
    """

    def __init__(self, paragraphs: Sequence[tuple[str, str]]):
        self.paragraphs = paragraphs

    def __str__(self) -> str:
        return "\n".join(folded(text, indent=indent) for indent, text in self.paragraphs)

    def html(self) -> str:
        """Each paragraph is indented as its text form is, and its first word hangs to the left."""
        lines = []
        for indent, text in self.paragraphs:
            hang = 0.6 * len(indent)
            style = f"max-width:800px; margin:0 0 4px {hang:.1f}em; text-indent:-{hang if indent.strip() else 0:.1f}em"
            lines.append(f'<p style="{style}">{escaped(indent.strip() + " " + text).strip()}</p>')
        return "".join(lines)

    def _repr_mimebundle_(self, **options):
        return {"text/plain": str(self), "text/html": self.html()}, {}


def choice_lines(choices: dict[str, str]) -> list[tuple[str, str]]:
    return [(f"  {letter}) ", text) for letter, text in choices.items()]


def radio_buttons(options: dict, value, flat: bool = False, **layout):
    """Radio buttons with wrapped labels. options: what is shown → its value. Tab and space reach and choose each."""
    buttons = ipywidgets.RadioButtons(
        options=list(options.items()),
        value=value,
        orientation="horizontal" if flat else "vertical",
        layout=ipywidgets.Layout(max_width="100%", **({"width": "auto"} | layout)),
    )
    buttons.add_class("foundry-choices")
    return buttons


class Card(ipywidgets.VBox):
    """Base of the cards: it joins words for pages without widgets to the widgets of a live page."""

    def __init__(self, children: Sequence):
        super().__init__(children, layout=ipywidgets.Layout(max_width="820px"))
        self.add_class("foundry-question")

    def words(self) -> Words:
        raise NotImplementedError

    def __str__(self) -> str:
        return str(self.words())

    def _repr_mimebundle_(self, **options):
        bundle = super()._repr_mimebundle_(**options)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        return {**data, **self.words()._repr_mimebundle_()[0]}, metadata


class QuestionCard(Card):
    """One question with its choices, and a row for sureness where `with_sureness`.

    state() gives what is stored. answer(letter, sure) stores a click; sure is None where there is no such row.
    """

    def __init__(
        self,
        question: str,
        choices: dict[str, str],
        state: Callable[[], State],
        answer: Callable[[str, int | None], None],
        with_sureness: bool = False,
    ):
        self.question, self.choices, self.state, self.answer = question, choices, state, answer
        self.following = False  # True while the buttons follow what is stored
        now = state()
        lettered = {f"{letter})  {text}": letter for letter, text in choices.items()}
        self.choice = radio_buttons(lettered, now.letter, flex="1 1 420px")
        self.sure = radio_buttons({said: number for number, said in SURENESS.items()}, now.sure)
        self.feedback = ipywidgets.HTML()
        rows = [self.choice]
        if with_sureness:
            rows.append(ipywidgets.VBox([ipywidgets.HTML("<p>How sure are you?</p>"), self.sure]))
        beside = ipywidgets.Layout(display="flex", flex_flow="row wrap", width="100%", overflow="visible")
        super().__init__(
            [ipywidgets.HTML(STYLE + as_html([question])), ipywidgets.Box(rows, layout=beside), self.feedback]
        )
        self.follow()
        self.choice.observe(self.clicked, "value")
        self.sure.observe(self.clicked, "value")

    def clicked(self, change):
        if self.following:
            return
        if self.choice.value is not None:
            self.answer(self.choice.value, self.sure.value)
        self.follow()

    def follow(self):
        """Show what is stored: it may differ from what was clicked, for example after the answer was shown."""
        now = self.state()
        self.following = True
        try:
            if now.letter is not None:
                self.choice.value, self.sure.value = now.letter, now.sure
        finally:
            self.following = False
        self.feedback.value = f'<div role="status">{as_html(now.sentences)}</div>'

    def words(self) -> Words:
        lines = [("", self.question), *choice_lines(self.choices)]
        return Words([*lines, *(("", sentence) for sentence in self.state().sentences)])


class SharedChoices(Card):
    """Several questions that have the same choices. The choices stand once, above a row of letters per question.

    questions: key → text. hint: how to answer. state(key) gives what is stored. answer(key, letter) stores a click.
    """

    def __init__(
        self,
        questions: dict[str, str],
        choices: dict[str, str],
        hint: str,
        state: Callable[[str], State],
        answer: Callable[[str, str], None],
    ):
        self.questions, self.choices, self.hint, self.state, self.answer = questions, choices, hint, state, answer
        self.feedback = {key: ipywidgets.HTML() for key in questions}
        letters = {letter: letter for letter in choices}
        rows = [ipywidgets.HTML(STYLE + Words(choice_lines(choices)).html())]
        for key, question in questions.items():
            row = radio_buttons(letters, state(key).letter, flat=True, margin="2px 0 0 12px")
            row.observe(lambda change, key=key: self.clicked(key, change["new"]), "value")
            beside = ipywidgets.Layout(display="flex", flex_flow="row wrap", overflow="visible")
            rows += [ipywidgets.Box([ipywidgets.HTML(as_html([question])), row], layout=beside), self.feedback[key]]
            self.follow(key)
        super().__init__([*rows, ipywidgets.HTML(as_html([hint]))])

    def clicked(self, key: str, letter: str):
        self.answer(key, letter)
        self.follow(key)

    def follow(self, key: str):
        now = self.state(key)
        if now.letter is not None:
            self.feedback[key].value = f'<div role="status">{as_html(now.sentences)}</div>'

    def words(self) -> Words:
        lines = choice_lines(self.choices)
        for key, question in self.questions.items():
            now = self.state(key)
            sentences = now.sentences if now.letter is not None else ["not answered yet"]
            lines.append(("", " ".join([question, *sentences])))
        return Words([*lines, ("", self.hint)])
