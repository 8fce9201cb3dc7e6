"""Text in: what is accepted as it is, what is mended and said, and what is refused with the next step."""

import bz2
import codecs
import gzip
import io
import lzma
import warnings
import zipfile
from pathlib import Path

import pytest

from foundry_lib import CorpusError, Notice, read_corpus, tales
from foundry_lib.text import textfile
from foundry_lib.text.corpus import python_docs, told

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
    "PNG": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20, "is a picture .PNG., not plain text"),
    "control characters": (bytes([1, 2, 3, 65]) * 200, "looks binary"),
    "NUL": (b"line one\nline \0two\n" + b"more text\n" * 50, "NUL character in line 2"),
    "cut in a character": (CHINESE.encode("utf-8")[:-2], "cut within its last character, of which it has only ef bc"),
    "Latin-1": ("café au lait, déjà vu\n".encode("latin-1") * 9, "looks like Windows-1252.*'café au lait, déjà vu'"),
}


@pytest.mark.parametrize("block", [textfile.BLOCK, 1000])
@pytest.mark.parametrize("kind", REFUSED)
def test_refused_with_the_next_step(tmp_path, monkeypatch, kind, block):
    monkeypatch.setattr(textfile, "BLOCK", block)
    data, message = REFUSED[kind]
    path = file(tmp_path, data)
    with pytest.raises(CorpusError, match=f"(?s).*文本.txt.*({message})"):
        read_corpus(path)
    assert path.read_bytes() == data and len(list(tmp_path.iterdir())) == 1  # nothing changed, nothing created


JAPANESE = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。\n" * 20
KOREAN = "나는 고양이로소이다. 이름은 아직 없다. 어디서 태어났는지 도무지 짐작이 가지 않는다.\n" * 20
RUSSIAN = "Все счастливые семьи похожи друг на друга, каждая несчастливая семья несчастлива по-своему.\n" * 9
FRENCH = "Longtemps, je me suis couché de bonne heure. Parfois, à peine ma bougie éteinte, mes yeux se fermaient…\n" * 9
GERMAN = "Als Gregor Samsa eines Morgens aus unruhigen Träumen erwachte, fand er sich in seinem Bett.\n" * 3
LONG_HEADER = "A header line of the site.\n" * 200
# encoding → a text in it, the name that the refusal must give, a line that it must show
ENCODED = {
    "gbk": (CHINESE, "GB18030", "its first line is '满纸荒唐言，一把辛酸泪。'"),
    "gb18030": (LONG_HEADER + CHINESE, "GB18030", "its line 201 is '满纸荒唐言，一把辛酸泪。'"),
    "big5": ("滿紙荒唐言，一把辛酸淚。\n" * 9, "Big5", "滿紙荒唐言"),
    "shift_jis": (JAPANESE, "Shift-JIS", "吾輩は猫である。"),
    "euc_jp": (LONG_HEADER + JAPANESE, "EUC-JP", "its line 201 is '吾輩は猫である。"),
    "iso2022_jp": (JAPANESE, "ISO-2022-JP", ""),
    "cp949": (KOREAN, "EUC-KR", "나는 고양이로소이다."),
    "cp1251": (RUSSIAN, "Windows-1251", "Все счастливые семьи"),
    "koi8_r": (RUSSIAN, "KOI8-R", "Все счастливые семьи"),
    "cp1252": (FRENCH, "Windows-1252", "Longtemps, je me suis couché"),
    "latin-1": (LONG_HEADER + GERMAN, "Windows-1252", "its line 201 is '"),
    "utf-16": (RUSSIAN, "UTF-16", "Все счастливые семьи"),
    "utf-32-be": (CHINESE, "UTF-32-BE", "满纸荒唐言"),
}


@pytest.mark.parametrize("encoding", ENCODED)
def test_another_encoding_is_guessed_and_its_line_of_python_converts_it(tmp_path, monkeypatch, encoding):
    text, name, shown = ENCODED[encoding]
    with pytest.raises(CorpusError) as refused:
        read_corpus(file(tmp_path, text.encode(encoding)))
    assert f"it looks like {name}" in str(refused.value) and shown in str(refused.value)
    assert converted(refused, tmp_path, monkeypatch) == text


def converted(refused, tmp_path, monkeypatch) -> str:
    """Run the line of Python that a refusal gives; returns the text of the new file."""
    monkeypatch.chdir(tmp_path)
    sentence = str(refused.value)
    exec(sentence[min(sentence.index(word) for word in ("import re; from", "from pathlib") if word in sentence) :])
    return str(read_corpus("new.txt").documents[0])


MANY = CHINESE * 20
DAMAGED = {
    "one byte of Windows": (
        MANY.encode() + b"the cat\x92s tail\n" + MANY.encode(),
        "1 wrong byte,",
        r"the cat\x92s tail",
    ),
    "half a character": (MANY.encode() + "泪".encode()[:2] + b"!\n", "2 wrong bytes,", r"\xe6\xb3!"),
    "in two blocks": (MANY.encode() + b"\x92 and\n" + (MANY * 20).encode() + b"\x93", "2 wrong bytes,", r"\x92 and"),
}


@pytest.mark.parametrize("block", [textfile.BLOCK, 1000])
@pytest.mark.parametrize("kind", DAMAGED)
def test_a_few_wrong_bytes_are_counted_and_the_first_is_shown(tmp_path, monkeypatch, kind, block):
    monkeypatch.setattr(textfile, "BLOCK", block)
    data, count, words = DAMAGED[kind]
    with pytest.raises(CorpusError) as refused:
        read_corpus(file(tmp_path, data))
    for part in (f"is UTF-8 except for {count}", "the first in line 1,201:", words):
        assert part in str(refused.value)
    assert converted(refused, tmp_path, monkeypatch) == data.decode(errors="replace")


@pytest.mark.parametrize("n", [1, 2])
def test_a_file_cut_within_its_last_character_is_named(tmp_path, monkeypatch, n):
    with pytest.raises(CorpusError, match="is cut within its last character") as refused:
        read_corpus(file(tmp_path, CHINESE[:-1].encode()[:-n]))
    assert converted(refused, tmp_path, monkeypatch) == CHINESE[:-2]


COLOURS = {
    "colours": "\x1b[32m《春晓》\x1b[0m\n春眠不觉晓，处处闻啼鸟。\n" * 300,
    "late": "处处闻啼鸟。\n" * 5000 + "\x1b[1;31m《春晓》\x1b[m\n",
    "a link": "\x1b]8;;http://x.y\x07《春晓》\x1b]8;;\x1b\\\n",
    "as tput ends colours": "\x1b(B\x1b[m《春晓》\x1b(B\x1b[m\n",
    "other codes": "\x1bM\x1b[2J\x1b[?25l《春晓》\x1b7\x1b",
}


@pytest.mark.parametrize("kind", COLOURS)
def test_codes_of_a_terminal_are_named_with_the_line_that_removes_them(tmp_path, monkeypatch, kind):
    text = COLOURS[kind]
    with pytest.raises(CorpusError, match="colours of a terminal, the first, ESC.*re.sub") as refused:
        read_corpus(file(tmp_path, text.encode()))
    assert f"in line {'5,001' if kind == 'late' else '1'}." in str(refused.value)
    without = converted(refused, tmp_path, monkeypatch)
    assert "《春晓》" in without and not set("\x1b[(BM") & set(without)


def zipped(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "text")
    return file.getvalue()


FORMATS = {
    "docx": (zipped("[Content_Types].xml", "word/document.xml"), "a Word document, .*save it as plain text"),
    "xlsx": (zipped("xl/workbook.xml"), "an Excel workbook"),
    "epub": (zipped("mimetype", "META-INF/container.xml"), "an EPUB book"),
    "zip": (zipped("a.txt"), "a zip archive, .*Unpack it"),
    "a broken zip": (zipped("a.txt")[:20], "a zip archive"),
    "pdf": (b"%PDF-1.4\nthe rest of it is all ASCII here\n" * 9, "a PDF, not plain text"),
    "doc": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "an old Word"),
    "gzip": (gzip.compress(b"text"), "compressed with gzip.*gzip.decompress"),
    "bzip2": (bz2.compress(b"text"), "compressed with bzip2.*bz2.decompress"),
    "xz": (lzma.compress(b"text"), "compressed with xz.*lzma.decompress"),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_of_another_format_is_named_by_its_first_bytes(tmp_path, monkeypatch, kind):
    data, message = FORMATS[kind]
    with pytest.raises(CorpusError, match=message) as refused:
        read_corpus(file(tmp_path, data))
    if "from pathlib" in str(refused.value):
        assert converted(refused, tmp_path, monkeypatch) == "text"


MARKUP = {
    '{"a": [1, 2]}\n': "JSON",
    '[\n  {"a": 1}\n]': "JSON",
    '["one", "two"]': "JSON",
    "a,b,c\n1,2,3\n" * 5: "a table (CSV)",
    'name,"last, first",n\n' * 9: "a table (CSV)",
    "a\tb\n" * 9: "a table (CSV)",
    "<!DOCTYPE html>\n<p>owl": "HTML",
    "\n <HTML><body>": "HTML",
    "<?xml version='1.0'?><a/>": "XML",
    "{\\rtf1\\ansi owl}": "RTF",
    "[Illustration]\nOnce, twice, thrice.\nThen, now, here.\nA, b.\nC, d.\nE.\n": None,
    "La, la, la,\n" * 9: None,
    "<p> in running text, <html> too": None,
    "import os\n\nx = {'a': 1}\n" * 5: None,
}


@pytest.mark.parametrize("text", MARKUP)
def test_markup_is_learned_with_a_notice(tmp_path, text):
    with warnings.catch_warnings(record=True) as notices:
        warnings.simplefilter("always")
        assert read_corpus(file(tmp_path, text.encode())).documents == (text,)
    said = [f"文本.txt looks like {MARKUP[text]} and is learned without a change." in str(n.message) for n in notices]
    assert said == [True] * (MARKUP[text] is not None)


def test_names_that_are_no_paths_of_a_file(tmp_path, monkeypatch):
    for source, message in {
        "file:///tmp/my%20text.txt": "Name its path: '.*my text.txt'",
        "https://example.org/a.txt": "is an address.*Save the page as plain text",
        Path("http://example.org/a.txt"): "is an address",
        ("a.txt", "b.txt"): "takes one text, found a tuple of 2. Join the files",
        5: "named by a path or by a built-in name, found 5",
    }.items():
        with pytest.raises(CorpusError, match=message):
            read_corpus(source)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    file(tmp_path, b"an owl\n", "owl.txt")
    assert read_corpus("~/owl.txt").documents == ("an owl\n",)
    with pytest.raises(CorpusError, match="There is no file .*none.txt"):
        read_corpus("~/none.txt")


START = b"a line of plain English\n" * 100  # 2,400 bytes
LATE = {
    "GBK": (START + CHINESE.encode("gb18030"), "GB18030 .*its line 101 is '满纸荒唐言，一把辛酸泪。'"),
    "NUL": (START + b"and \0\n", "NUL character in line 101,"),
    "Latin-1": (START + "déjà vu\n".encode("latin-1") * 9, "looks like Windows-1252.*its line 101 is 'déjà vu'"),
    "cut in a character": (START + "的".encode()[:-1], "cut within its last character, of which it has only e7 9a"),
}


@pytest.mark.parametrize("kind", LATE)
def test_what_is_wrong_far_from_the_start_is_found_in_its_place(tmp_path, monkeypatch, kind):
    data, message = LATE[kind]
    monkeypatch.setattr(textfile, "BLOCK", 1000)
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


def test_tales_name_themselves_and_are_found_again():
    for n, seed, name in ((40, 0, "40 tales-en"), (40, 3, "40 tales-en, seed 3")):
        corpus = told("en", n, seed)
        assert corpus.name == name and read_corpus(name).sha256 == corpus.sha256
    own = tales.grammar("zh").with_(lists={"colours": "红 粉"})
    assert told(own, 5).name == "5 tales-zh of your own grammar"
    with pytest.raises(CorpusError, match="There is no file 5 tales-zh of your own grammar"):
        read_corpus("5 tales-zh of your own grammar")
    assert told("en", 5, name="mine").name == "mine"
    for source in ("0 tales-en", "0 tales-zh, seed 4"):
        with pytest.raises(CorpusError, match="at least one tale, found n=0"):
            read_corpus(source)


def test_a_split_keeps_the_words_of_whole_documents():
    corpus = told("en", 30)
    train, val = corpus.split(0.2)
    assert train.documents + val.documents == corpus.documents and train.grammar is val.grammar is corpus.grammar
    assert train.words == corpus.words[: len(train.documents)] and val.words == ()
    assert ["".join(words) for words in train.words] == list(train.documents)
    cut, rest = told("en", 3).split(0.5)
    assert len(cut.words) == len(cut.documents) - 1 and "".join(cut.documents + rest.documents) == "".join(
        told("en", 3).documents
    )


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_tales_are_a_text_like_any_other(language):
    documents = read_corpus(f"tales-{language}").documents
    assert len(documents) == 12_000 and len(set(documents)) > 11_900
    assert all(tales.parse(text, language).valid for text in documents[:50])
