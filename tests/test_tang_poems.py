"""The built-in Tang poems: what the file holds, and that a reader gets one document per poem."""

import re

import opencc

from foundry_lib import DataLoader, read_corpus
from foundry_lib.text.corpus import TANG_POEMS

TEXT = TANG_POEMS.read_bytes().decode("utf-8")  # bytes, so that a line end of another system would be seen
POEMS = TEXT.removesuffix("\n").split("\n\n")
# Printed editions in simplified characters leave these seven as they are; OpenCC's table goes further than print does.
RARE = set("騧壈撝貙摐纆袷")


def test_poems_and_characters_are_counted():
    assert len(POEMS) == 313 and len(TEXT) == 27_967 and len(set(TEXT)) == 2_580


def test_no_poem_is_there_twice():
    verses = [re.sub(r"\W", "", poem.split("\n", 2)[2]) for poem in POEMS]
    assert len(set(verses)) == len(verses)


def test_the_characters_are_simplified():
    converted = opencc.OpenCC("t2s").convert(TEXT)
    assert {before for before, after in zip(TEXT, converted, strict=True) if before != after} == RARE


def test_no_character_but_han_and_chinese_punctuation():
    assert set(re.sub(r"[\u4e00-\u9fff]", "", TEXT)) == set("\n·，。；：？！“”《》")


def test_a_poem_is_a_title_an_author_and_verses():
    for poem in POEMS:
        title, author, *verses = poem.split("\n")
        assert re.fullmatch(r"[\w·，。]+", title) and re.fullmatch(r"\w{2,4}", author), poem
        assert verses and all(re.fullmatch(r"[\w，；：？！。“”《》]+[，：。？！]", verse) for verse in verses), poem
        assert verses[-1][-1] in "。？！", poem


def test_the_corpus_is_the_file_one_document_per_poem():
    corpus = read_corpus("tang-poems")
    assert corpus.documents == tuple(f"{poem}\n" for poem in POEMS) and "\n".join(corpus.documents) == TEXT
    assert next(d for d in corpus.documents if d.startswith("夜思\n")) == (
        "夜思\n李白\n床前明月光，疑是地上霜。\n举头望明月，低头思故乡。\n"
    )


def test_the_split_falls_between_two_poems():
    loader = DataLoader("tang-poems", vocab_size=2_800)
    training = loader.tokenizer.decode(loader.train_tokens.tolist())
    cut = len(loader.corpus.documents)
    while "".join(loader.corpus.documents[:cut]) != training:
        cut -= 1
    assert 0.88 < len(training) / (len(TEXT) - 313) < 0.92 and 270 < cut < 300
