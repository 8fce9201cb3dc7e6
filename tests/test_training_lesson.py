"""Lesson 07 in Chinese: one word at its top, and everything after it follows."""

import re

import nbformat
import pytest

from foundry_lib import tales
from foundry_lib.paths import LESSONS

CODE = [
    cell.source for cell in nbformat.read(LESSONS / "07_training.ipynb", as_version=4).cells if cell.cell_type == "code"
]
(TOP,) = [source for source in CODE if source.count("LANGUAGE = ")]


def test_the_language_is_chosen_in_one_cell():
    for source in CODE:
        if source != TOP:
            assert not re.search(r"""tales-(en|zh)|["'](en|zh)["']|["']Once""", source), source
    assert 'LANGUAGE = "en"' in TOP and "first_words" in "".join(CODE).replace(TOP, "")


@pytest.mark.parametrize("language", tales.LANGUAGES)
def test_the_first_words_begin_a_tale_of_the_language(language):
    line = next(line for line in TOP.splitlines() if line.startswith("first_words = "))
    names = {"LANGUAGE": language}
    exec(line, names)
    assert any(tale.text.startswith(names["first_words"]) for tale in tales.generate(language, seed=0, n=100))
