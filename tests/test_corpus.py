"""Text in: what is accepted as it is, what is mended and said, and what is refused with the next step."""

import codecs
import warnings

import pytest

from foundry_lib import CorpusError, Notice, read_corpus
from foundry_lib.text import textfile
from foundry_lib.text.corpus import python_docs

CHINESE = "满纸荒唐言，一把辛酸泪。\n都云作者痴，谁解其中味？\n" * 30


def file(tmp_path, data: bytes, name: str = "文本.txt"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


def test_plain_utf8_comes_back_as_it_is(tmp_path):
    path = file(tmp_path, CHINESE.encode("utf-8"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        corpus = read_corpus(path)
    assert corpus.documents == (CHINESE,) and corpus.name == "文本.txt" and corpus.n_bytes == len(CHINESE.encode())
    assert corpus.sha256 == read_corpus(str(path)).sha256 and len(corpus.sha256) == 64
    assert path.read_bytes() == CHINESE.encode("utf-8") and len(list(tmp_path.iterdir())) == 1


def test_mark_and_line_ends_are_mended_and_said(tmp_path):
    with pytest.warns(Notice, match="byte-order mark"):
        assert read_corpus(file(tmp_path, codecs.BOM_UTF8 + b"one\ntwo\n")).documents == ("one\ntwo\n",)
    with pytest.warns(Notice, match="3 line ends"):
        assert read_corpus(file(tmp_path, b"one\r\ntwo\rthree\r\n")).documents == ("one\ntwo\nthree\n",)


REFUSED = {
    "empty": (b"", "is empty"),
    "blank": (b" \n\t\n", "all of them blank"),
    "GBK": (CHINESE.encode("gb18030"), "looks like GB18030 .*满纸荒唐言，一把辛酸泪.*read_text..*gb18030"),
    "Big5": ("滿紙荒唐言，一把辛酸淚。\n".encode("big5") * 9, "looks like Big5.*滿紙荒唐言"),
    "UTF-16": (CHINESE.encode("utf-16"), "looks like UTF-16.*满纸荒唐言"),
    "UTF-16, no mark": ("plain English text\n".encode("utf-16-le") * 9, "looks like UTF-16-LE.*plain English text"),
    "UTF-16, big end first": ("plain English\n".encode("utf-16-be") * 9, "looks like UTF-16-BE.*plain English"),
    "UTF-16, Chinese": (CHINESE.encode("utf-16-be"), "looks like UTF-16-BE.*满纸荒唐言"),
    "UTF-32, no mark": (CHINESE.encode("utf-32-be"), "looks like UTF-32-BE.*满纸荒唐言"),
    "UTF-32": (CHINESE.encode("utf-32"), "looks like UTF-32.*满纸荒唐言"),
    "PNG": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20, "is not UTF-8|binary|NUL"),
    "control characters": (bytes([1, 2, 3, 65]) * 200, "looks binary"),
    "NUL": (b"line one\nline \0two\n" + b"more text\n" * 50, "NUL character in line 2"),
    "cut in a character": (CHINESE.encode("utf-8")[:-2], "is not UTF-8: byte"),
    "Latin-1": ("café au lait, déjà vu\n".encode("latin-1") * 9, "is not UTF-8: byte 3 is 0xe9"),
}


@pytest.mark.parametrize("piece", [textfile.PIECE, 1000])
@pytest.mark.parametrize("kind", REFUSED)
def test_refused_with_the_next_step(tmp_path, monkeypatch, kind, piece):
    monkeypatch.setattr(textfile, "PIECE", piece)
    data, message = REFUSED[kind]
    path = file(tmp_path, data)
    with pytest.raises(CorpusError, match=f"(?s).*文本.txt.*({message})"):
        read_corpus(path)
    assert path.read_bytes() == data and len(list(tmp_path.iterdir())) == 1  # nothing changed, nothing created


START = b"a line of plain English\n" * 100  # 2,400 bytes
LATE = {
    "GBK": (START + CHINESE.encode("gb18030"), "GB18030 .*the line at byte 2,400 is '满纸荒唐言，一把辛酸泪。'"),
    "NUL": (START + b"and \0\n", "NUL character in line 101,"),
    "Latin-1": (START + "déjà vu\n".encode("latin-1") * 9, "not UTF-8: byte 2,401 is 0xe9"),
    "cut in a character": (START + "的".encode()[:-1], "not UTF-8: byte 2,400 is 0xe7"),
}


@pytest.mark.parametrize("kind", LATE)
def test_what_is_wrong_far_from_the_start_is_found_in_its_place(tmp_path, monkeypatch, kind):
    data, message = LATE[kind]
    monkeypatch.setattr(textfile, "PIECE", 1000)
    with pytest.raises(CorpusError, match=message):
        read_corpus(file(tmp_path, data))


def test_the_conversion_that_the_message_names_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CorpusError) as refused:
        read_corpus(file(tmp_path, CHINESE.encode("gb18030")))
    exec(str(refused.value).split("convert it to a new file: ")[1])
    assert read_corpus("new.txt").documents == (CHINESE,)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(CorpusError, match="no file .*nothing.txt.*built-in texts are tales-en"):
        read_corpus(tmp_path / "nothing.txt")
    with pytest.raises(CorpusError, match="is a folder|cannot be read"):
        read_corpus(tmp_path)
    for name in ("no\0name", "the text itself, by mistake, " * 200):
        with pytest.raises(CorpusError, match="cannot be read"):
            read_corpus(name)
    assert list(tmp_path.iterdir()) == []


def test_python_docs_repeats_no_paragraph():
    corpus = read_corpus("python-docs")
    paragraphs = [" ".join(p.split()) for d in corpus.documents for p in d.split("\n\n") if p.strip()]
    assert len(set(paragraphs)) == len(paragraphs) > 1000
    assert 300_000 < corpus.n_bytes < 700_000 and len(corpus.documents) > 50
    assert corpus.sha256 == read_corpus("python-docs").sha256


def test_a_python_without_its_docs_is_told(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pydoc_data.topics", None)
    python_docs.cache_clear()
    with pytest.raises(CorpusError, match="Use a text file of your own"):
        read_corpus("python-docs")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_tales_are_a_text_like_any_other(language):
    from foundry_lib import tales

    documents = read_corpus(f"tales-{language}").documents
    assert len(documents) == 12_000 and len(set(documents)) > 11_900
    assert all(tales.parse(text, language).valid for text in documents[:50])
