"""Questions and progress: every choice has a word of its own, unanswered raises nothing, evidence alone ticks."""

import json
import re

import nbformat
import pytest

from foundry_lib import ConfigError, Notice
from foundry_lib.lessons import checks, progress, questions, quiz
from foundry_lib.lessons.checks.ladder import Exercise
from foundry_lib.paths import LESSONS as NOTEBOOKS

LESSONS = sorted(path.stem for path in questions.FOLDER.glob("*.toml"))
QUESTIONS = [(lesson, key) for lesson in LESSONS for key in questions.read_questions(lesson) if key != "checklist"]


@pytest.fixture(autouse=True)
def own_file(tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "FILE", tmp_path / "runs" / "progress.json")
    monkeypatch.setattr(quiz, "given", {})


@pytest.mark.parametrize("lesson, key", QUESTIONS)
def test_a_question_is_whole(lesson, key):
    asked = quiz.question(key)
    letters = quiz.choices(asked)
    assert key.startswith(lesson) and 3 <= len(letters) <= 5 and letters == sorted(letters)
    assert asked["right"] in letters and set(asked["why"]) == set(letters)
    assert set(asked) == {"question", "right", "why", *letters}
    assert len(set(asked["why"].values())) == len(letters), "each choice has a word of its own"


@pytest.mark.parametrize("lesson", LESSONS)
def test_each_question_is_asked_and_each_need_can_be_met(lesson):
    path = next(NOTEBOOKS.glob(f"{lesson}_*.ipynb"))
    code = "\n".join(c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code")
    asked = set(re.findall(r'(?:ask|predict)\("([\w-]+)", "\?"', code))
    texts = questions.read_questions(lesson)
    assert asked == {key for key in texts if key != "checklist"}, "asked, unanswered, in the stored lesson"
    predicted = set(re.findall(r'predict\("([\w-]+)"', code))
    assert predicted == set(re.findall(r'confront\("([\w-]+)"', code)), "every prediction is confronted"
    assert sum("-exit-" in key for key in asked) >= 5
    used = set(re.findall(r"checks\.(\w+)\(", code))
    exercises = {f"check {name}" for name in used if isinstance(getattr(checks, name), Exercise)}
    wanted = exercises | {key for key in texts if "-exit-" in key}
    assert set(texts["checklist"]["needs"]) == wanted, "the checklist counts all that the lesson asks, and no more"


def test_answers_get_their_own_word(capsys):
    quiz.ask("01-exit-1")
    assert "Not yet" in capsys.readouterr().out and not progress.FILE.exists()
    said = {}
    for letter in "abc":
        quiz.ask("01-exit-1", letter)
        said[letter] = re.search(r"[✓✗] \w: .*", capsys.readouterr().out)[0]
    assert said["c"].startswith("✓ c:") and said["a"].startswith("✗ a:") and len(set(said.values())) == 3
    quiz.ask("01-exit-1", "z")
    assert "There is no choice 'z'; write one of a, b, c." in capsys.readouterr().out


def test_a_prediction_is_confronted(capsys):
    quiz.confront("01-gain")
    assert "You made no prediction." in capsys.readouterr().out
    quiz.predict("01-gain", "?")
    assert "1 is a guess, 2 likely, 3 certain" in capsys.readouterr().out
    quiz.predict("01-gain", "A", sure=3)
    assert "Noted: a, sure 3 of 3" in capsys.readouterr().out
    quiz.confront("01-gain")
    out = capsys.readouterr().out
    assert "You predicted a and were certain" in out and "✓ b)" in out
    assert "  ✗ a) 100 times as much ← you\n       The root mean square grows" in out, "the reason on lines of its own"
    assert progress.read()["predictions"]["01-gain"] == {"answer": "a", "sure": 3}
    quiz.predict("01-gain", "b")
    quiz.confront("01-gain")
    assert "that is what was measured" in capsys.readouterr().out


def test_another_session_does_not_change_what_is_printed(capsys):
    """The stored lesson must read the same whoever has answered before: only this kernel's answers are shown."""
    progress.keep("predictions", "01-gain", {"answer": "a", "sure": 3})
    quiz.confront("01-gain")
    assert "You made no prediction." in capsys.readouterr().out


def test_an_unknown_question_is_refused():
    for key in ("01-nothing", "77-gain"):
        with pytest.raises(ConfigError):
            quiz.ask(key)


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
    assert out.startswith("☐") and "still to do: 01-exit-1" in out, "a wrong answer is no evidence"
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
    for letter, right in (("a", False), ("c", True), ("b", False)):
        quiz.ask("01-exit-1", letter)
        assert progress.read()["answers"]["01-exit-1"] == {"answer": letter, "right": right}


def test_work_is_found_by_its_name_after_what_it_uses():
    text = "def my_silu(x):\n    return x * torch.sigmoid(x)\ndef rms_norm(x, weight, eps):\n    return my_silu(x)\n"
    progress.keep("work", "rms_norm", text)
    work = progress.own_work("rms_norm")
    import torch

    assert work.__name__ == "rms_norm" and torch.equal(work(torch.zeros(2), None, 0.0), torch.zeros(2))
