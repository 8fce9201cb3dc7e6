"""Questions and progress: each choice has its own reason, no answer stands before its question, only evidence ticks."""

import html
import json
import re
from collections import Counter
from unittest import mock

import nbformat
import numpy as np
import pytest
from scipy import stats

from foundry_lib import ConfigError, Notice
from foundry_lib.lessons import checks, progress, questions, quiz
from foundry_lib.lessons.checks.ladder import Exercise
from foundry_lib.paths import LESSONS as NOTEBOOKS

LESSONS = sorted(path.stem for path in questions.FOLDER.glob("*.toml"))
QUESTIONS = [(lesson, key) for lesson in LESSONS for key in questions.read_questions(lesson) if key != "checklist"]


PREDICTED = sorted(
    set(
        re.findall(
            r'\bpredict\("([\w-]+)"',
            " ".join(p.read_text("utf-8") for p in NOTEBOOKS.glob("*.ipynb")).replace('\\"', '"'),
        )
    )
)


@pytest.fixture(autouse=True)
def own_file(tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "FILE", tmp_path / "runs" / "progress.json")
    monkeypatch.setattr(quiz, "answered", {})


def new_kernel():
    quiz.answered.clear()


def cells(lesson) -> list:
    return nbformat.read(next(NOTEBOOKS.glob(f"{lesson}_*.ipynb")), as_version=4).cells


def calls(function: str, source: str) -> list[str]:
    """The keys with which a cell calls predict, confront or ask."""
    return re.findall(rf'\b{function}\("([\w-]+)"', source)


def words(text: str) -> str:
    """A text in small letters with single spaces, without marks of emphasis, to look for another one in it."""
    return f" {' '.join(re.sub(r'[*_`‘’“”.,;:!?()|]', ' ', text).lower().split())} "


# ---- The questions


@pytest.mark.parametrize("lesson, key", QUESTIONS)
def test_a_question_is_whole(lesson, key):
    asked = quiz.question(key)
    letters = list(quiz.choices(asked))
    assert key.startswith(lesson) and 3 <= len(letters) <= 5 and letters == sorted(letters)
    assert asked["right"] in letters and set(asked["why"]) == set(letters)
    assert set(asked) == {"question", "right", "why", *letters}
    assert len(set(asked["why"].values())) == len(letters), "each choice has its own reason"
    assert len(letters) >= 4 or key not in PREDICTED, "a prediction has at least four choices"


@pytest.mark.parametrize("lesson", LESSONS)
def test_each_question_is_asked_and_each_need_can_be_met(lesson):
    code = "\n".join(c.source for c in cells(lesson) if c.cell_type == "code")
    asked = re.findall(r'(?:ask|predict)\("([\w-]+)", "\?"|"([\w-]+)": "\?"', code)
    texts = questions.read_questions(lesson)
    assert {one or other for one, other in asked} == {key for key in texts if key != "checklist"}, "unanswered"
    if "checklist" in texts:
        assert sum("-exit-" in key for key in texts) >= 5
        used = set(re.findall(r"checks\.(\w+)\(", code))
        exercises = {f"check {name}" for name in used if isinstance(getattr(checks, name), Exercise)}
        wanted = exercises | {key for key in texts if "-exit-" in key or "-curve-" in key}
        assert set(texts["checklist"]["needs"]) == wanted, "the checklist counts all that the lesson asks, and no more"


def chance(keys) -> tuple[Counter, Counter]:
    """How often each letter is right, and how often it would be by chance."""
    found, expected = Counter(quiz.question(key)["right"] for key in keys), Counter()
    for key in keys:
        letters = quiz.choices(quiz.question(key))
        expected.update({letter: 1 / len(letters) for letter in letters})
    return found, expected


@pytest.mark.parametrize("keys", [PREDICTED, [key for _, key in QUESTIONS]], ids=["predictions", "all"])
def test_right_letters_are_spread_evenly(keys):
    """Chi-square against equal chances. It is below its median: dealt out evenly, not only not provably uneven."""
    found, expected = chance(keys)
    statistic = sum((found[letter] - expected[letter]) ** 2 / expected[letter] for letter in expected)
    assert stats.chi2.sf(statistic, len(expected) - 1) > 0.5, (found, expected)


@pytest.mark.parametrize("keys", [PREDICTED, [key for _, key in QUESTIONS]], ids=["predictions", "all"])
def test_the_right_choice_is_as_often_the_longest_as_chance_has_it(keys):
    """Two-sided, from the exact distribution of the count: never the longest would give the answer away too."""
    distribution, count = np.ones(1), 0
    for key in keys:
        asked = quiz.question(key)
        lengths = {letter: len(text) for letter, text in quiz.choices(asked).items()}
        count += lengths.pop(asked["right"]) > max(lengths.values())
        distribution = np.convolve(distribution, [1 - 1 / (1 + len(lengths)), 1 / (1 + len(lengths))])
    fewer, more = distribution[: count + 1].sum(), distribution[count:].sum()
    assert min(fewer, more) > 0.1, f"the longest choice is right {count} times in {len(keys)}"


# ---- Nothing is spoiled


@pytest.mark.parametrize("lesson", LESSONS)
def test_each_prediction_is_confronted_once_and_later(lesson):
    order = [(kind, key) for cell in cells(lesson) if cell.cell_type == "code"
             for kind in ("predict", "confront") for key in calls(kind, cell.source)]  # fmt: skip
    assert len(order) == len(set(order)), "once each"
    for key in {key for _, key in order}:
        assert order.index(("predict", key)) < order.index(("confront", key)), key
    for cell in cells(lesson):
        assert not (calls("predict", cell.source) and calls("confront", cell.source))
        if calls("predict", cell.source):  # the question's cell holds nothing else, so no result either
            lines = [line for line in cell.source.splitlines() if line and line != "print()"]
            assert all(re.match(r"predict\(|from foundry_lib.lessons.quiz import ", line) for line in lines), (
                cell.source
            )


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_lesson_opens_with_a_prediction_before_any_result(lesson):
    for cell in cells(lesson):
        if cell.cell_type == "code" and not cell.id.endswith("-here"):
            if calls("predict", cell.source):
                return
            lines = [line for line in cell.source.splitlines() if line and line != "print()"]
            allowed = r"from foundry_lib.lessons.quiz import |ask\("
            assert all(re.match(allowed, line) for line in lines), f"before the first prediction: {cell.source}"
    raise AssertionError("no prediction")


@pytest.mark.parametrize("lesson", LESSONS)
def test_no_stored_output_gives_a_prediction_away(lesson):
    keys = [key for key in questions.read_questions(lesson) if key in PREDICTED]
    for cell in cells(lesson):
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            text = "\n".join(
                [output.get("text", ""), *(str(data.get(kind, "")) for kind in ("text/plain", "text/html"))]
            )
            if calls("confront", cell.source):
                assert not re.search(r"✓ \w\)", text), cell.source
            for key in keys:
                given = [why for why in quiz.question(key)["why"].values() if words(why) in words(text)]
                assert not given, f"{cell.id}: {given}"


@pytest.mark.parametrize("lesson", LESSONS)
def test_prose_does_not_answer_before_the_confrontation(lesson):
    """A number or a single word may occur by chance before its question, but not between question and confrontation."""
    for key in (key for key in questions.read_questions(lesson) if key in PREDICTED):
        asked, between = quiz.question(key), False
        right = words(asked[asked["right"]])
        for cell in cells(lesson):
            if key in calls("confront", cell.source):
                break
            between = between or key in calls("predict", cell.source)
            if cell.cell_type == "markdown" and (between or len(right.split()) > 2):
                assert right not in words(cell.source), f"{cell.id} says {right!r}, the answer of {key}"


# ---- Asking


def test_each_answer_gets_its_own_reason(capsys):
    quiz.ask("01-exit-1")
    out = capsys.readouterr().out
    assert "Not yet" in out and "in quotes" in out and 'ask("01-exit-1", "a")' in out and not progress.FILE.exists()
    asked, reasons = quiz.question("01-exit-1"), {}
    for letter in quiz.choices(asked):
        quiz.ask("01-exit-1", letter)
        reasons[letter] = re.search(r"[✓✗] \w: .*", capsys.readouterr().out)[0]
        assert reasons[letter].startswith(f"{'✓' if letter == asked['right'] else '✗'} {letter}:")
    assert len(set(reasons.values())) == len(reasons)
    quiz.ask("01-exit-1", "z")
    assert "There is no choice 'z'; write one of a, b, c." in capsys.readouterr().out


def test_a_prediction_is_confronted(capsys):
    asked = quiz.question("01-gain")
    right, wrong = asked["right"], next(letter for letter in quiz.choices(asked) if letter != asked["right"])
    quiz.predict("01-gain", "?")
    assert "1 is a guess, 2 likely, 3 certain" in capsys.readouterr().out
    quiz.predict("01-gain", right)
    quiz.predict("01-gain", wrong.upper(), sure=3)
    assert f"Noted: {wrong}, certain" in capsys.readouterr().out, "it may be changed"
    assert progress.read()["predictions"]["01-gain"] == {"answer": wrong, "sure": 3}
    new_kernel()
    quiz.confront("01-gain")
    out = capsys.readouterr().out
    assert f"You predicted {wrong} and were certain" in out and f"✓ {right}) " in out
    assert f"  ✗ {wrong}) {asked[wrong]} ← you\n       " in out, "the reason on lines of its own"
    quiz.predict("01-gain", right)
    assert f"You predicted {wrong}, certain. The answer has been shown" in capsys.readouterr().out
    quiz.confront("01-gain")
    assert "← you" in capsys.readouterr().out and progress.read()["predictions"]["01-gain"]["answer"] == wrong


def test_without_a_prediction_the_answer_waits(capsys):
    asked = quiz.question("01-gain")
    for _ in range(2):
        quiz.confront("01-gain")
        out = capsys.readouterr().out
        assert "Predict above" in out and 'confront("01-gain", reveal=True)' in " ".join(out.split())
        assert out.count("\n") <= 2 and "✓" not in out and not any(why in out for why in asked["why"].values())
    quiz.confront("01-gain", reveal=True)
    assert f"✓ {asked['right']}) " in capsys.readouterr().out
    new_kernel()
    quiz.predict("01-gain", asked["right"], sure=2)
    assert "does not count as a prediction" in capsys.readouterr().out
    stored = progress.read()["predictions"]["01-gain"]
    assert stored == {"answer": asked["right"], "sure": 2, "revealed": True, "after_answer": True}
    quiz.confront("01-gain")
    assert "✓" not in capsys.readouterr().out, "an answer after the answer is no prediction"


@pytest.mark.parametrize("stored", [None, 3, [], {}, {"answer": "z"}, {"answer": None, "sure": None}])
def test_a_record_that_means_nothing_is_no_prediction(stored, capsys):
    progress.keep("predictions", "01-gain", stored)
    quiz.predict("01-gain")
    quiz.confront("01-gain")
    out = capsys.readouterr().out
    assert "No prediction yet" in out and "✓" not in out


def shown(call, *arguments, **options):
    """What a call displays, as a notebook gets it."""
    with mock.patch.object(quiz, "display") as display:
        call(*arguments, **options)
    return display.call_args.args[0]


def test_a_click_does_what_a_typed_letter_does():
    card = shown(quiz.predict, "01-gain")
    assert card.choice.value is None and card.sure.value is None
    card.sure.value = 3
    assert not progress.FILE.exists(), "sure of nothing yet"
    card.choice.value = "a"
    assert progress.read()["predictions"]["01-gain"] == {"answer": "a", "sure": 3}
    card.choice.value = "b"
    typed = shown(quiz.predict, "01-gain", "b", sure=3)
    assert "Noted: b, certain" in card.feedback.value and card.feedback.value == typed.feedback.value
    new_kernel()
    again = shown(quiz.predict, "01-gain")
    assert (again.choice.value, again.sure.value) == ("b", 3), "a new kernel shows what was clicked"
    quiz.confront("01-gain")
    card.choice.value = "c"
    assert card.choice.value == "b" and "your prediction stays" in card.feedback.value
    assert progress.read()["predictions"]["01-gain"]["answer"] == "b"

    clicked, right = shown(quiz.ask, "01-exit-1"), quiz.question("01-exit-1")["right"]
    clicked.choice.value = right
    assert progress.read()["answers"]["01-exit-1"] == {"answer": right, "right": True}
    assert f"✓ {right}:" in clicked.feedback.value == shown(quiz.ask, "01-exit-1", right).feedback.value


def test_questions_with_the_same_choices_show_them_once():
    asked = dict.fromkeys(["10-curve-a", "10-curve-b"], "?")
    card, right = shown(quiz.ask_each, asked), quiz.question("10-curve-b")["right"]
    assert str(card).count("the learning rate is too high") == 1 and str(card).count("not answered yet") == 2
    rows = [row for box in card.children for row in getattr(box, "children", ()) if hasattr(row, "options")]
    rows[1].value = right
    assert progress.read()["answers"]["10-curve-b"]["right"] and f"✓ {right}:" in str(shown(quiz.ask_each, asked))
    assert str(shown(quiz.ask_each, asked | {"10-curve-a": "a"})).count("✗ a:") == 1
    with pytest.raises(ConfigError, match="same choices"):
        quiz.ask_each({"10-curve-a": "?", "07-exit-1": "?"})


@pytest.mark.parametrize("call", [quiz.predict, quiz.ask], ids=["predict", "ask"])
def test_a_page_without_widgets_gets_words(call):
    """The same words for every learner who has not answered, as folded text and as HTML that wraps by itself."""
    asked = quiz.question("09-rank")
    bundles = [shown(call, "09-rank")._repr_mimebundle_()[0] for _ in range(2)]
    assert bundles[0]["text/plain"] == bundles[1]["text/plain"] and bundles[0]["text/html"] == bundles[1]["text/html"]
    for text in (asked["question"], *quiz.choices(asked).values()):
        assert (
            text in " ".join(bundles[0]["text/plain"].split())
            and html.escape(text, quote=False) in bundles[0]["text/html"]
        )
    assert max(map(len, bundles[0]["text/plain"].splitlines())) <= 88
    assert "application/vnd.jupyter.widget-view+json" in bundles[0]


def test_an_unknown_question_is_refused():
    for key in ("01-nothing", "77-gain"):
        with pytest.raises(ConfigError):
            quiz.ask(key)


# ---- Progress


def test_only_evidence_ticks(capsys):
    progress.tick("01")
    assert capsys.readouterr().out.startswith("☐")
    for need in questions.read_questions("01")["checklist"]["needs"]:
        if need.startswith("check "):
            progress.keep("work", need.removeprefix("check "), "def f(): ...")
        else:
            progress.keep("answers", need, {"answer": "a", "right": False})
    progress.tick("01")
    out = capsys.readouterr().out
    assert out.startswith("☐") and "still to do: exit question 1" in out, "a wrong answer is no evidence"
    for need in questions.read_questions("01")["checklist"]["needs"]:
        progress.keep("answers", need, {"answer": "a", "right": True})
    progress.tick("01")
    assert capsys.readouterr().out.startswith("☑")


def test_work_comes_back(tmp_path):
    progress.keep(
        "work",
        "rms_norm",
        "import math\n\ndef mine(x, weight, eps):\n    return rms_norm(x, weight, eps) + 0 * math.pi",
    )
    from foundry_lib import rms_norm

    assert progress.own_work("rms_norm").__name__ == "mine" and progress.own_work("swiglu") is None
    import torch

    x = torch.ones(2, 3)
    assert torch.equal(progress.own_work("rms_norm")(x, torch.ones(3), 1e-5), rms_norm(x, torch.ones(3)))
    progress.keep("work", "rms_norm", "def mine(:")
    with pytest.warns(Notice, match="could not be read back"):
        assert progress.own_work("rms_norm") is None


@pytest.mark.parametrize("text", ["{", "[]", '{"work": 3}', ""])
def test_a_damaged_file_is_put_aside(text):
    progress.FILE.parent.mkdir()
    progress.FILE.write_text(text, encoding="utf-8")
    with pytest.warns(Notice, match="could not be read"):
        progress.keep("answers", "01-exit-1", {"answer": "c", "right": True})
    assert progress.FILE.with_suffix(".damaged.json").read_text(encoding="utf-8") == text
    assert json.loads(progress.FILE.read_text(encoding="utf-8"))["answers"]["01-exit-1"]["right"]


def test_a_wrong_answer_is_kept_as_wrong():
    right = quiz.question("01-exit-1")["right"]
    for letter in (*"abc", right, "a"):
        quiz.ask("01-exit-1", letter)
        assert progress.read()["answers"]["01-exit-1"] == {"answer": letter, "right": letter == right}


def test_work_is_found_by_its_name_after_what_it_uses():
    text = "def my_silu(x):\n    return x * torch.sigmoid(x)\ndef rms_norm(x, weight, eps):\n    return my_silu(x)\n"
    progress.keep("work", "rms_norm", text)
    work = progress.own_work("rms_norm")
    import torch

    assert work.__name__ == "rms_norm" and torch.equal(work(torch.zeros(2), None, 0.0), torch.zeros(2))
