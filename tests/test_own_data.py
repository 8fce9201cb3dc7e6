"""Own data: every bad file gets its sentence, nothing is written, and a refusal is one sentence."""

import warnings

import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from foundry_lib import CorpusError, DataLoader, FoundryError, read_corpus
from foundry_lib.experiments.sweeps import sweep

LINE = "The {0}th line of somebody's own text, 第{0}行中文的文字在这里。\n"
TEXT = "".join(LINE.format(i) for i in range(400))
UTF8 = TEXT.encode("utf-8")
BAD = {
    "empty": b"",
    "blanks only": b" \n\n  \n",
    "too short": b"one line\n",
    "in GBK": TEXT.encode("gb18030"),
    "in UTF-16": TEXT.encode("utf-16"),
    "binary": bytes(range(256)) * 40,
    "with NUL": TEXT[:500].encode("utf-8") + b"\0" + UTF8,
    "byte-order mark": b"\xef\xbb\xbf" + UTF8,
    "Windows line ends": TEXT.replace("\n", "\r\n").encode("utf-8"),
    "old Mac line ends": TEXT.replace("\n", "\r").encode("utf-8"),
    "one giant line": TEXT.replace("\n", " ").encode("utf-8"),
}


# name → what the sentence must say, the next step at the end
REFUSED = {
    "empty": ("is empty (0 bytes)", "Put the text to learn into it"),
    "blanks only": ("all of them blank", "Put the text to learn into it"),
    "too short": ("is too short", "Use more text, or block_size="),
    "in GBK": ("looks like GB18030 (or GBK)", "convert it to a new file"),
    "in UTF-16": ("looks like UTF-16", "convert it to a new file"),
    "binary": ("looks binary", "Export it as plain text in UTF-8"),
    "with NUL": ("NUL character in line", "Remove it, or export the text again"),
    "missing": ("There is no file", "Check the path"),
    "a folder": ("is a folder", "Name one text file in it"),
}
TAKEN = {
    "byte-order mark": "a byte-order mark at the start was removed",
    "Windows line ends": "400 line ends of another system became",
    "old Mac line ends": "400 line ends of another system became",
    "one giant line": None,
}


@pytest.fixture
def folder(tmp_path):
    for name, data in BAD.items():
        (tmp_path / f"{name}.txt").write_bytes(data)
    (tmp_path / "a folder.txt").mkdir()
    return tmp_path


def contents(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def test_the_tables_name_every_file():
    assert set(BAD) | {"missing", "a folder"} == set(REFUSED) | set(TAKEN)


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("way", ["loader", "sweep"])
def test_each_bad_file_gets_its_sentence_and_nothing_is_written(name, way, folder):
    before, path = contents(folder), folder / f"{name}.txt"
    with pytest.raises(CorpusError) as caught:
        if way == "loader":
            DataLoader(path, block_size=64)
        else:
            sweep("mine", {"a": {}}, text=path, root=folder, max_iters=1, block_size=64)
    found, step = REFUSED[name]
    assert str(path) in str(caught.value) and found in str(caught.value) and step in str(caught.value)
    assert isinstance(caught.value, FoundryError) and contents(folder) == before


@pytest.mark.parametrize("name", TAKEN)
def test_what_can_be_repaired_is_and_is_said(name, folder):
    before, path = contents(folder), folder / f"{name}.txt"
    with warnings.catch_warnings(record=True) as notices:
        warnings.simplefilter("always")
        loader = DataLoader(path, block_size=64)
    said = " ".join(str(notice.message) for notice in notices)
    assert said == "" if TAKEN[name] is None else TAKEN[name] in said and path.name in said
    text = "".join(loader.corpus.documents)
    assert "\r" not in text and not text.startswith("\ufeff") and contents(folder) == before
    if name != "one giant line":
        assert text == BAD["byte-order mark"].decode("utf-8").removeprefix("\ufeff"), "the same text as ever"


def test_in_a_notebook_a_refusal_is_the_sentence_and_the_learners_line():
    """In a real kernel; an error that is not ours keeps its whole traceback."""
    sources = [
        "from foundry_lib import read_corpus\ndef mine(name):\n    return read_corpus(name)",
        "x = 1\n\nmine('没有 here.txt')",
        "from foundry_lib.training.recipes import new_trainer\nnew_trainer('tales-en',\n            preset='huge')",
        "1 / 0",
    ]
    notebook = new_notebook(cells=[new_code_cell(source) for source in sources])
    NotebookClient(notebook, kernel_name="python3", allow_errors=True).execute()
    _, own, direct, zero = (cell.outputs[0] if cell.outputs else None for cell in notebook.cells)
    assert own.ename == "CorpusError" and own.evalue.startswith("There is no file 没有 here.txt")
    assert own.traceback == [f"CorpusError: {own.evalue}", "  in line 3: return read_corpus(name)"]
    assert len(direct.traceback) == 2 and direct.traceback[1].startswith("  in line 2: new_trainer('tales-en',")
    assert "foundry_lib" not in "".join(own.traceback + direct.traceback[1:])
    assert zero.ename == "ZeroDivisionError" and "1" in "".join(zero.traceback) and len(zero.traceback) > 2


def test_the_shortened_form_is_the_notebooks_alone():
    import traceback

    try:
        read_corpus("nothing here.txt")
    except CorpusError as error:
        full = "".join(traceback.format_exception(error))
        short = error._render_traceback_()
    assert "in read_corpus" in full and "Traceback" in full, "Python outside a notebook shows all"
    assert short[1:] == ["  in line " + short[1].split()[2] + ' read_corpus("nothing here.txt")']
    assert CorpusError("alone")._render_traceback_() == ["CorpusError: alone"], "never raised: no line"
