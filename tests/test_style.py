"""The English of the lessons: short sentences, the field's words, no document that the reader cannot see.

Checked are the markdown cells, the texts and comments in code cells, and the questions with their answers. A private
word is forbidden only in the sense in which the course used it: `unless` is what a sentence may have beside it.
"""

import ast
import io
import json
import re
import statistics
import tokenize
import tomllib

import pytest
from helpers import ROOT

LONGEST, MEAN = 30, 15  # words in a sentence, and on average in a lesson
FORBIDDEN = {  # the word to write: where the other one is wrong, and unless the sentence matches this
    "position": (r"\bplaces?\b", r"\b(in|takes?) (its |their |the first |another )?place\b|decimal place"),
    "token": (r"\bpieces?\b", None),
    "residual stream": (r"(?<!residual )\bstreams?\b", None),
    "predict, generate": (
        r"\bspeaks?\b|\bspeaking\b|\bspoken?\b|\bmodels? (\w+ )?(says?|said|saying)\b"
        r"|\b(to be|word|words|token|tokens) said\b|\bsays? (the|a) (next )?(word|token|name)",
        r"Press Speak|Speak starts",
    ),
    "excess loss, loss": (
        r"\bow(e|es|ed|ing)\b|\bpa(ys?|id|ying)\b|\bpric(e|es|ed)\b|\bcosts?\b.{0,30}\bnats?\b",
        None,
    ),
    "the loss of a uniform guess": (r"\ball .{0,20}equally likely", None),
    "the no-memory baseline": (r"\bforgetful\b|\bforgets the story\b", None),
    "attends to": (
        r"\b(heads?|tokens?|layers?|positions?|words?) (\w+ )?look(s|ed|ing)?\b|\blook(s|ed|ing)? back\b",
        r"\b(heads?|tokens?|layers?|positions?|words?) (\w+ )?looks? (like|alike|the same|different|large|small)",
    ),
    "most probable": (r"\blikeliest\b", None),
    "sample": (
        r"\bdr(aws?|awn|ew|awing)\b",
        r"\b(pictures?|plots?|curves?|lines?|bars?|figures?|panels?|labels?|dots?|fonts?|browser|arrows?|maps?)\b",
    ),
    "again": (r"\banew\b", None),
    "fix": (r"\bmend(s|ed|ing)?\b", None),
    "differ from": (r"(?<!forward )\bparts? from\b", None),
    "be": (r"\b(stands?|standing|stood)\b", r"\bstands? for\b|\bstand-in"),
    "check": (r"\b(tests?|checks?) (holds?|held)\b", None),
    "sequence": (
        r"\brows?\b.{0,60}\bbatch(es)?\b|\bbatch(es)?\b.{0,60}\brows?\b|\btokens (of|in) (a|the|each|one) row\b",
        r"\((B|…), V\)|\b(table|matrix)\b",
    ),
    "after": (r"\bbehind\b", r"Behind the (moon|sea|hill|river)"),
    "before": (r"\bin front of\b", None),
    "per": (
        r"\b(nats?|bits?|bytes?|tokens|steps|numbers|radians|floats|parameters|multiplications|products|words|texts|"
        r"seconds?|times) an? (word|token|byte|character|second|step|tale|position|layer|head|channel|batch|row|"
        r"pair|sequence|number|weight|parameter|minute|model|text)\b",
        None,
    ),
    "not": (r"(?<!here )\b(is|are|was|were) no (?!longer|more|less|other|better|worse|different)\w+", None),
    "only X": (r"\balone\b", None),
    "another": (r"\bof (one's|its|their) own\b", None),
    "nothing: the reader cannot see it": (r"\bguides?(?!d)\b", None),
}


def plain(text: str) -> str:
    """Text without code blocks, HTML, formulas and marks; code inside a sentence is one word, as is a formula."""
    text = re.sub(r"(?ms)^ *```.*?^ *```", "\n\n", text)
    text = re.sub(r"(?m)^ {4}\S.*$", "", text)
    text = re.sub(r"\$\$.*?\$\$", "\n\n", text, flags=re.S)
    text = re.sub(r"\$[^$]+\$", "FORMULA", text)
    text = re.sub(r"``.+?``|`[^`]+`", "CODE", text)
    text = re.sub(r"</?(summary|details|p|br|li|ul)[^>]*>", "\n\n", text)
    text = re.sub(r"<[a-z/][^>]*>", "", text)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"\*+|(?<!\w)_|_(?!\w)", "", text)


def sentences(text: str) -> list[str]:
    """The sentences of prose: headings, list items and the cells of tables are sentences too, sources are not."""
    text, found = re.sub(r"(?m)^\*Sources: .*$", "", text), []
    for block in re.split(r"\n\s*\n|\n(?=\s*(?:[-*+]|\d+\.|#|\||>) ?)", plain(text)):
        parts = block.split("|") if block.strip().startswith("|") else [block]
        for part in parts:
            line = re.sub(r"^[\s#>+*-]+|^\s*\d+\.\s", "", " ".join(part.split()))
            found += re.split(r"(?<=[.?!])[)”’\"']?\s+(?=[(“‘\"']?[A-Z0-9αβγθε−])|(?<=[。！？])", line)
    return [sentence for sentence in found if re.search(r"[A-Za-z]{2}", sentence)]


def count_words(sentence: str) -> int:
    return sum(bool(re.search(r"\w", word)) for word in sentence.split())


def words_in_code(source: str) -> list[str]:
    """The texts with a space and the comments of a code cell: what it prints, draws and explains."""
    source = re.sub(r"(?m)^(\s*)[%!].*$", r"\1pass", source)
    texts = [node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)]
    comments = [t.string for t in tokenize.generate_tokens(io.StringIO(source).readline) if t.type == tokenize.COMMENT]
    return [text for text in texts if isinstance(text, str) and " " in text.strip()] + comments


def prose(lesson: str) -> list[tuple[str, str]]:
    """(where, sentence) for each sentence of a lesson and its questions."""
    found = []
    path = next((ROOT / "notebooks").glob(f"{lesson}_*.ipynb"))
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        if cell["cell_type"] == "markdown":
            found += [(f"{path.name} {cell['id']}", s) for s in sentences("".join(cell["source"]))]
    path = ROOT / "foundry_lib/lessons/questions" / f"{lesson}.toml"
    for key, asked in tomllib.loads(path.read_text("utf-8")).items():
        texts = [v for k, v in asked.items() if isinstance(v, str) and k != "right"] + [*asked.get("why", {}).values()]
        found += [(f"{path.name} {key}", s) for text in texts for s in sentences(text)]
    return found


def code_words(lesson: str) -> list[tuple[str, str]]:
    """(where, text) for each text in a code cell of a lesson."""
    path = next((ROOT / "notebooks").glob(f"{lesson}_*.ipynb"))
    cells = [cell for cell in json.loads(path.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    return [(f"{path.name} {cell['id']}", text) for cell in cells for text in words_in_code("".join(cell["source"]))]


def private_words(found: list[tuple[str, str]]) -> list[str]:
    return [
        f"{where}: “{match[0]}”, write “{word}”: {' '.join(sentence.split())}"
        for where, sentence in found
        for word, (pattern, unless) in FORBIDDEN.items()
        if (match := re.search(pattern, sentence, re.I)) and not (unless and re.search(unless, sentence, re.I))
    ]


LESSONS = sorted(path.name[:2] for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))


@pytest.mark.parametrize("lesson", LESSONS)
def test_words_are_those_of_the_field(lesson):
    offences = private_words(prose(lesson) + code_words(lesson))
    assert not offences, "\n" + "\n".join(offences)


@pytest.mark.parametrize("lesson", LESSONS)
def test_sentences_are_short(lesson):
    lengths = [(count_words(sentence), where, sentence) for where, sentence in prose(lesson)]
    long = [f"{where}: {count} words: {sentence}" for count, where, sentence in lengths if count > LONGEST]
    assert not long, "\n" + "\n".join(long)
    assert statistics.mean(count for count, _, _ in lengths) <= MEAN


@pytest.mark.parametrize(
    "sentence, word",
    [
        ("The piece at this place.", "position"),
        ("It stands in the stream.", "residual stream"),
        ("The residual stream changes in its place.", None),
        ("The words behind it.", "after"),
        ("This is no matrix.", "not"),
        ("There is no matrix.", None),
        ("It is given in nats a word.", "per"),
        ("The bars are drawn in blue.", None),
        ("The token is drawn.", "sample"),
        ("A batch has eight rows.", "sequence"),
        ("Each row of the table is a model.", None),
        ("The guide says so.", "nothing: the reader cannot see it"),
    ],
)
def test_a_private_word_is_found_only_in_its_sense(sentence, word):
    offences = private_words([("here", sentence)])
    assert any(f"write “{word}”" in offence for offence in offences) if word else not offences


def test_sentences_are_read_as_a_reader_sees_them():
    text = "## A title\n\nOne is `a b c`. Two is $x + y$!\n\n- three\n- four\n\n| a cell | another |\n| --- | --- |\n"
    expected = ["A title", "One is CODE.", "Two is FORMULA!", "three", "four", "a cell", "another"]
    assert sentences(text) == expected
    assert count_words("One is CODE.") == 3
