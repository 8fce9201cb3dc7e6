"""The minutes of a lesson: what counts, and that writing them twice changes nothing."""

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from foundry_lib.instructor import minutes


def lesson():
    """A card, a section with an exercise, a section that is only a heading, and a question."""
    picture = new_output("display_data", data={"image/png": "", "text/plain": "a picture"})
    return new_notebook(
        cells=[
            new_markdown_cell("# 01 · A lesson\n\n**Time**: 90 minutes (6 s of computing)."),
            new_markdown_cell("## 1 · Build it\n\n**Build it** · ●●○ · 7 minutes · it runs later.\n\n" + "word " * 130),
            new_code_cell("x = 1\n" * 20, outputs=[picture]),
            new_markdown_cell("## 2 · Before you go"),
            new_code_cell('ask("01-exit-1", "?")'),
        ]
    )


def test_words_code_pictures_questions_and_stated_exercises_count():
    found = minutes.sections(lesson(), "01")
    assert 10.4 < found[1] < 10.8  # 7 stated, 1 of reading with the task's own words, 2 of code, ½ for the picture
    assert 0.6 < found[3] < 1.6  # half a minute and the question's words


def test_hints_and_solutions_belong_to_the_exercises_own_minutes():
    text = "Read this.\n<details><summary>Solution</summary>\n\n```python\ndef f(x): return x\n```\n</details>"
    assert minutes.words(text) == 2


def test_writing_twice_changes_nothing():
    notebook = lesson()
    minutes.write(notebook, "01")
    once = nbformat.writes(notebook)
    assert "**Time**: 15 minutes (6 s" in notebook.cells[0].source
    assert notebook.cells[1].source.startswith("## 1 · Build it\n\n*11 minutes*\n\n**Build it**")
    assert notebook.cells[3].source.startswith("## 2 · Before you go\n\n*")
    minutes.write(notebook, "01")
    assert nbformat.writes(notebook) == once
