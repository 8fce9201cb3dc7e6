"""The two pages beside the lessons: every term once, plain sentences, links that lead somewhere, cells that run."""

import json
import re
from statistics import fmean

import pytest

from foundry_lib import CorpusError, DataLoader
from foundry_lib.lessons import progress
from foundry_lib.paths import LESSONS, lesson_files

GLOSSARY, TROUBLE = (LESSONS / name for name in ("glossary.md", "troubleshooting.md"))
ENTRY = re.compile(r"^- \*\*(.+?)\*\* \(\[(\d\d)\]\(([^)]+)\)\): (.+?)\\?$", re.MULTILINE)
FIELD_TERMS = (  # of the field, whatever the lessons say
    "residual stream, cross-entropy, entropy, perplexity, logit, softmax, gradient, epoch, hyperparameter, decoder, "
    "attention sink, induction head, RMSNorm, RoPE, GQA, MHA, MQA, KV cache, SwiGLU, embedding, weight tying, token, "
    "vocabulary, BPE, byte fallback, floor, no-memory baseline, learning rate, warmup, AdamW, weight decay, "
    "gradient clipping, batch, sequence, context length, temperature, top-k, top-p, min-p, repetition penalty, "
    "prefill, decode, bits per byte, overfitting, checkpoint, seed, ablation, confidence interval"
).split(", ")
PRIVATE_WORDS = (  # our own words for what the field has a word for
    r"places?|pieces?|says?|said|speaks?|owes?|owed|pays?|paid|costs?|prices?|forgetful|forgets|looks?|looked|looking|"
    r"likeliest|draws?|drawn|anew|mends?|mended|parts? from|stands?|holds?|rows?|(?<!residual )streams?"
)


def prose(page: str) -> str:
    """The sentences of a page, a paragraph per line: no code, no headings, no formulas, no addresses of links."""
    page = re.sub(r"<!--.*?-->", "", page, flags=re.DOTALL)
    page = re.sub(r"```.*?```", "\n", page, flags=re.DOTALL)
    page = re.sub(r"^(#|\| ---).*$|\\$\n", "", page, flags=re.MULTILINE)
    page = re.sub(r"\$[^$\n]*\$", "x", page)
    page = re.sub(r"`[^`\n]*`", "x", page)
    return re.sub(r"\]\([^)]*\)", "]", page).replace("**", "")


def sentences(page: str) -> list[str]:
    """The sentences of a page: they end with a full stop or a question mark, or with their line or table cell."""
    parts = re.split(r"(?<=[.?!])\s+|\n| \| |\]\): ", prose(page))
    return [part for part in parts if len(re.findall(r"[^\W\d_]{2,}", part)) > 2]


def words(sentence: str) -> list[str]:
    return re.findall(r"[\w’'-]+", sentence)


@pytest.fixture(params=[GLOSSARY, TROUBLE], ids=["glossary", "troubleshooting"])
def page(request) -> str:
    return request.param.read_text(encoding="utf-8")


def test_sentences_are_short(page):
    lengths = {sentence: len(words(sentence)) for sentence in sentences(page)}
    assert max(lengths.values()) <= 30, max(lengths, key=lengths.get)
    assert fmean(lengths.values()) <= 15


def test_words_are_the_field_s(page):
    found = re.findall(rf"[^\n]*\b(?:{PRIVATE_WORDS})\b[^\n]*", prose(page), re.IGNORECASE)
    assert not found, found


def test_links_lead_to_files_and_headings(page):
    links = re.findall(r"\]\(([^)]+)\)", page)
    assert links
    for link in links:
        file, _, heading = link.partition("#")
        assert not file or (LESSONS / file).is_file(), link
        if heading:
            text = (LESSONS / file).read_text(encoding="utf-8") if file else page
            headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
            assert heading in [words.replace(" ", "-") for words in headings], link  # as JupyterLab names them


# ---- The glossary


def entries() -> list[tuple[str, str, str, str]]:
    """(term, number of the lesson, file of the lesson, sentence)."""
    return ENTRY.findall(GLOSSARY.read_text(encoding="utf-8"))


def test_each_term_has_one_entry_in_order():
    terms = [term.casefold() for term, *_ in entries()]
    assert len(terms) == GLOSSARY.read_text(encoding="utf-8").count("\n- ") > 90, "an entry of another form"
    assert len(set(terms)) == len(terms) and terms == sorted(terms, key=lambda term: term.replace(" ", "-"))


def test_each_entry_is_below_its_letter():
    for part in GLOSSARY.read_text(encoding="utf-8").split("\n## ")[1:]:
        assert {term[0].upper() for term, *_ in ENTRY.findall(part)} == {part[0]}


def test_each_entry_has_one_short_sentence_and_the_file_of_its_lesson():
    files = {path.name[:2]: path.name for path in lesson_files()}
    lengths = {}
    for term, number, file, sentence in entries():
        assert files[number] == file, term
        assert sentence.endswith((".", "`.")) and sentence.count(". ") == 0, term
        lengths[term] = len(words(sentence))
    assert max(lengths.values()) <= 25, max(lengths, key=lengths.get)
    assert fmean(lengths.values()) <= 15


def test_the_field_s_terms_have_an_entry():
    assert not set(FIELD_TERMS) - {term for term, *_ in entries()}


# ---- The troubleshooting page

CELLS = r"(?<!<!-- long -->\n)```python\n(.*?)```(?:\n\n```text\n(.*?)```)?"  # not below this comment; what it prints


def cells_by_question() -> dict[str, list[tuple[str, str]]]:
    """question → its Python cells, each with lines that it prints. A later cell continues the earlier ones."""
    questions = re.split(r"^#+ (.+)$", TROUBLE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    cells = {
        question: re.findall(CELLS, answer, re.DOTALL)
        for question, answer in zip(questions[::2], questions[1::2], strict=True)
    }
    return {question: found for question, found in cells.items() if found}


SECTIONS = {  # (lesson, section) → what the section has, by which the page names it
    ("07", "8"): "watch(trainer",
    ("07", "13"): "my_accumulate",
    ("08", "6"): "compare_settings",
    ("08", "7"): "quality_curves",
    ("07", "7"): "reference_lines(loader)",
    ("07", "3"): "ln V",
    ("05", "4"): "after 25 steps on one batch",
    ("07", "4"): "zero_grad()",
    ("09", "6"): "learning_rate",
    ("07", "14"): "five_curves.json",
    ("07", "11"): "watch(own",
    ("09", "8"): "too short",
}


def test_the_sections_that_the_page_names_are_about_that():
    page, named = TROUBLE.read_text(encoding="utf-8"), set()
    for lesson, rest in re.findall(r"\]\((\d\d)_\w+\.ipynb\)([^\[\n]*)", page):
        named |= {(lesson, section) for section in re.findall(r"section (\d+)", rest)}
    assert named == set(SECTIONS)
    for (lesson, section), words in SECTIONS.items():
        (path,) = LESSONS.glob(f"{lesson}_*.ipynb")
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        text = "\n".join("".join(cell["source"]) for cell in cells)
        (found,) = re.findall(rf"^## {section} · .*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
        assert words in found, (lesson, section)


@pytest.fixture
def newcomer(tmp_path, monkeypatch):
    """A learner with a text of their own in the working folder, and nothing else."""
    monkeypatch.setattr(progress, "FILE", tmp_path / "progress.json")
    for module in ("paths", "lessons.own_model"):
        monkeypatch.setattr(f"foundry_lib.{module}.RUNS", tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_text.txt").write_text("The cat sat on the mat, and the dog did not.\n" * 300, encoding="utf-8")


@pytest.mark.parametrize("question", cells_by_question())
def test_the_cells_run_and_print_what_the_page_shows(question, newcomer, capsys):
    names = {"__name__": "__main__"}
    for code, shown in cells_by_question()[question]:
        exec(compile(code, question, "exec"), names)
        printed = " ".join(capsys.readouterr().out.split())
        assert printed, code
        for line in shown.splitlines():
            assert line in printed, line


FILES = {  # what a message contains → a file that gets it
    "There is no file": None,
    "is empty (0 bytes)": b"",
    "is too short": b"To be, or not to be.",
    "is not UTF-8; it looks like": "第一行中文的文字。\n".encode("gb18030") * 100,
    "is a PDF, not plain text": b"%PDF-1.4\n" + b"x" * 5000,
    "NUL character": b"Some text\n" * 500 + b"\0",
    "is an address": None,
    "is a folder": None,
}
NAMES = {"is an address": "https://example.org/text.txt", "is a folder": "."}


def test_the_table_has_the_library_s_messages(tmp_path):
    assert re.findall(r"^\| `([^`]+)` \|", TROUBLE.read_text(encoding="utf-8"), re.MULTILINE) == list(FILES)
    for sentence, content in FILES.items():
        if content is not None:
            (tmp_path / "text.txt").write_bytes(content)
        with pytest.raises(CorpusError, match=re.escape(sentence)):
            DataLoader(NAMES.get(sentence, tmp_path / "text.txt"), block_size=64)
