"""The start page: what it says is done, whose each part is, and what comes next."""

import json
from html.parser import HTMLParser

import pytest
from helpers import ROOT

from foundry_lib.lessons import checklist, checks, lesson_map, progress, start_page
from foundry_lib.lessons.questions import read_questions
from foundry_lib.lessons.start_page import Lesson, StartPage, next_lesson
from foundry_lib.paths import DATA, LESSONS


@pytest.fixture(autouse=True)
def newcomer(tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "FILE", tmp_path / "progress.json")
    monkeypatch.setattr(checklist, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(checklist.trainings, "__defaults__", (tmp_path / "runs",))
    monkeypatch.setattr(lesson_map.Map, "png", lambda self: b"the map")  # drawing it takes half a second


def page() -> StartPage:
    return StartPage(LESSONS)


def pass_checks(*names):
    for name in names:
        progress.keep("work", name, f"def my_{name}(x):\n    return x\n")


def item(says: str) -> checklist.Item:
    return next(item for items in checklist.GROUPS.values() for item in items if says in item.says)


# ---- The checklist


def test_sixteen_items_in_four_groups_ask_for_what_exists():
    assert list(checklist.GROUPS) == ["Basics", "Parts", "Practice", "Advanced"]
    assert [len(items) for items in checklist.GROUPS.values()] == [4, 4, 4, 4]
    known = {f"check {name}" for name in checks.EXERCISES} | {checklist.TRAINED, checklist.OWN_TEXT}
    for path in LESSONS.glob("0[1-9]_*.ipynb"):
        known |= set(read_questions(path.stem[:2]))
    for items in checklist.GROUPS.values():
        for one in items:
            exists = bool(list(LESSONS.glob(f"{one.lesson}_*.ipynb")))
            assert exists == bool(one.needs), "an item without evidence names a lesson that does not exist yet"
            assert set(one.needs) <= known, set(one.needs) - known


def test_an_item_is_ticked_by_all_its_evidence_and_by_nothing_less():
    wanted = item("RMSNorm")
    pass_checks("rms_norm")
    progress.keep("answers", "01-exit-1", {"choice": "b", "right": False})
    assert page().item(wanted) == ("☐", "1 of 6, lesson 01")
    for number in range(1, 6):
        progress.keep("answers", f"01-exit-{number}", {"choice": "a", "right": True})
    assert page().item(wanted) == ("☑", "")
    assert page().item(item("faster")) == ("☐", "not in the course yet")


def save_run(folder, step: int, text: str):
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}", encoding="utf-8")
    values = {"step": step, "config": {"max_iters": 100}, "loader": {"file_path": text}}
    (folder / "trainer.json").write_text(json.dumps(values), encoding="utf-8")


def test_trainings_count_when_they_have_ended(tmp_path):
    runs = tmp_path / "runs"
    assert checklist.trainings(runs) == set()
    save_run(runs / "stopped" / "step-000099", 99, str(tmp_path / "mine.txt"))
    (runs / "damaged" / "step-1").mkdir(parents=True)
    (runs / "damaged" / "step-1" / "manifest.json").write_text("{}", encoding="utf-8")
    assert checklist.trainings(runs) == set()
    save_run(runs / "tales" / "step-000100", 100, "tales-en")
    save_run(runs / "file of the course" / "step-000100", 100, str(DATA / "tales-zh.txt"))
    assert checklist.trainings(runs) == {checklist.TRAINED}
    save_run(runs / "own" / "step-000100", 100, str(tmp_path / "mine.txt"))
    assert checklist.trainings(runs) == {checklist.TRAINED, checklist.OWN_TEXT}
    pass_checks("train_step")
    assert page().item(item("train a model")) == ("☑", "")


# ---- What comes next


def lesson(number: str, shown=0, needed=5, run=0, cells=9) -> Lesson:
    return Lesson(number, f"{number}.ipynb", "", 10, shown, needed, run, cells)


@pytest.mark.parametrize(
    ("lessons", "number"),
    [
        ([lesson("00", needed=0), lesson("01")], "00"),
        ([lesson("00", needed=0, run=9), lesson("01")], "01"),
        ([lesson("00", needed=0, run=8), lesson("01")], "00"),
        ([lesson("00", needed=0), lesson("01", shown=2), lesson("02")], "01"),
        ([lesson("00", needed=0), lesson("01", shown=5), lesson("02")], "02"),
        ([lesson("00", needed=0), lesson("01", shown=1), lesson("02", shown=5), lesson("03")], "03"),
        ([lesson("00", needed=0, run=9), lesson("01", shown=1), lesson("02", shown=5)], "01"),
    ],
)
def test_the_next_lesson(lessons, number):
    assert next_lesson(lessons).number == number


def test_when_all_is_done_the_page_says_so(monkeypatch):
    monkeypatch.setattr(start_page, "read_lessons", lambda *_: [lesson("00", shown=5)])
    assert next_lesson(page().lessons) is None
    assert "You have done every lesson." in page().html() and "foundry-next" not in page().html().split("</style>")[1]


# ---- The page


class Reader(HTMLParser):
    """The links, the alternative texts and the words of a page; every tag must be closed."""

    def __init__(self, html: str):
        super().__init__()
        self.links, self.alt, self.words, self.open = [], [], [], []
        self.feed(html)
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.links += [attributes["href"]] if tag == "a" else []
        self.alt += [attributes["alt"]] if tag == "img" else []
        self.open += [tag] if tag != "img" else []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1] != "style":
            self.words.append(data)


def test_a_newcomer_is_told_to_begin_with_00():
    shown = page()
    reader = Reader(shown.html())
    assert reader.links[0].startswith("00_") and reader.words[1].startswith("Begin with 00")
    pages = {"glossary.md", "troubleshooting.md"}
    assert {path.name for path in LESSONS.glob("*.ipynb")} | pages == set(reader.links)
    assert all(page in shown.text() for page in pages)
    assert shown.text().startswith("Begin with 00") and ": yours" not in shown.text() and "☑" not in shown.text()


def test_after_lesson_05_it_is_plain_which_parts_are_one_s_own():
    names = [name for name, number in progress.PARTS.items() if number <= "05"]
    pass_checks(*names)
    shown = page()
    words = " ".join(Reader(shown.html()).words)
    for number in ("01", "02", "03", "04", "05"):
        assert f"{shown.parts(number, 'yours')}: yours" in words and shown.parts(number, "yours")
        assert not shown.parts(number, "the library's")
    assert shown.item(item("change the architecture")) == ("☑", "")
    assert "Yours: " in Reader(shown.html()).alt[0], "the map marks them too"


def test_the_text_says_what_the_html_says():
    pass_checks("rms_norm", "swiglu")
    shown = page()
    text = shown.text()
    for words in Reader(shown.html()).words:
        words = words.splitlines()[0] if words else ""  # a block of code is one
        if words.strip(" ✓·,") and not words.endswith(" min"):
            assert words.strip(" ✓,") in text or words in (
                "lesson",
                "time",
                "done",
                "the part of your model",
                "On another computer",
            ), words


def test_a_damaged_lesson_does_not_keep_the_page_away(tmp_path):
    (tmp_path / "00_one.ipynb").write_text("{", encoding="utf-8")
    (tmp_path / "01_two.ipynb").write_text('{"cells": [{}, 3]}', encoding="utf-8")
    shown = StartPage(tmp_path)
    assert [one.title for one in shown.lessons] == ["one", "two"] and "Begin with 00 · one" in shown.html()


def test_a_hosted_jupyter_finds_the_cloned_lessons(tmp_path, monkeypatch):
    for name in ("WORK", "LESSONS"):  # the library is installed elsewhere, without lessons
        monkeypatch.setattr(start_page, name, tmp_path / "nowhere")
    cloned = tmp_path / "llm-foundry" / "notebooks"
    cloned.mkdir(parents=True)
    (cloned / "00_setup.ipynb").write_bytes((ROOT / "notebooks" / "00_setup_check.ipynb").read_bytes())
    assert StartPage(tmp_path).lessons[0].link == "llm-foundry/notebooks/00_setup.ipynb"
    assert StartPage(tmp_path / "elsewhere").lessons == []


def test_page_and_readme_say_the_same_three_lines_for_a_hosted_jupyter():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = page()
    words = "".join(Reader(shown.html()).words)
    for line in start_page.HOSTED_LINES:
        assert line in readme and line in words and line in shown.text()
