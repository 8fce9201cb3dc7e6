"""The repeated share, the recorded texts of lesson 08, and its prompts in the language of a learner's model."""

import json

import pytest
import torch
from helpers import ROOT

from foundry_lib import plots, tales
from foundry_lib.analysis.repetition import read_looping, repeated_share
from foundry_lib.analysis.surprise import true_distribution
from foundry_lib.lessons import own_model
from foundry_lib.lessons.sampling_words import OTHER, TEXTS, WORDS, prompt_for, tales_model
from foundry_lib.paths import DATA
from foundry_lib.text.corpus import Corpus
from foundry_lib.text.tokenizer import Tokenizer
from foundry_lib.training.checkpoint import load_checkpoint, save_checkpoint

# ---- The repeated share


@pytest.mark.parametrize(
    "tokens, share",
    [([], 0.0), ([1, 2, 3], 0.0), ([1, 2, 3, 4], 0.0), ([1] * 13, 0.9), ([1, 2, 3, 4, 1, 2, 3, 4], 0.2)],
)
def test_a_sequence_counts_when_it_has_occurred_before(tokens, share):
    assert repeated_share(tokens) == pytest.approx(share)


def test_the_recorded_shares_and_texts_are_what_the_lesson_says():
    looping = read_looping()
    assert len(looping.prompts) == len(set(looping.prompts)) == len(looping.people) == 40
    assert list(looping.shares) == list(looping.texts[looping.prompts[1]])
    assert all(len(values) == 40 for values in looping.shares.values())
    means = {name: sum(values) / 40 for name, values in looping.shares.items()}
    said = {"greedy": 0.53, "T = 0.7": 0.12, "top-p 0.9": 0.02, "min-p 0.05": 0.08, "greedy, penalty 1.2": 0.0}
    assert means == pytest.approx(said, abs=0.005)
    assert sum(looping.people) / 40 == pytest.approx(0.04, abs=0.005)
    table = looping.table().splitlines()
    assert len(table) == 7 and max(map(len, table)) <= 88
    assert sum("< 0.001" in line for line in table) == 4
    (lesson,) = (ROOT / "notebooks").glob("08_*.ipynb")
    words = " ".join("".join(cell["source"]) for cell in json.loads(lesson.read_text("utf-8"))["cells"])
    for number in ("(0.53)", "0.12", "0.02", "0.08", "0.00", "0.04"):
        assert number in words, number


def test_side_by_side_cuts_each_text():
    looping = read_looping()
    found = looping.side_by_side(looping.prompts[1], characters=30)
    assert [column.name for column in found.columns] == list(looping.shares)
    assert all(len("".join(column.halves)) == 30 for column in found.columns)


def test_the_picture_of_the_cache_counts_what_is_computed():
    from matplotlib.figure import Figure

    figure = Figure()
    reading = plots.draw_cache(figure, prompt=3, new=5)
    assert "without a cache 25; with the cache 7" in reading  # 3+4+5+6+7, and 3+1+1+1+1
    assert [len(ax.patches) for ax in figure.axes] == [25, 25]


# ---- Prompts in the model's language


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_words_are_those_of_the_grammar(language):
    words, (_, tokenizer) = WORDS[language], load_checkpoint(DATA / f"starter-{language}", "cpu")
    allowed = [
        (true_distribution(text, tokenizer, language) > 0).sum().item()
        for text in (words.begin, words.name, words.certain)
    ]
    assert allowed[0] > 1 and allowed[1:] == [12, 1]
    text = tales.generate(language, seed=5)[0].text
    assert text.count(words.right) == 1 and tales.parse(text, language).valid
    verdict = tales.parse(text.replace(words.right, words.wrong), language)
    assert verdict.rule == "binding"


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.setattr(own_model, "RUNS", tmp_path)
    return tmp_path


@pytest.mark.parametrize("folder", ["07_training", "07_own_text"])
def test_a_chinese_model_of_the_learner_gets_chinese_prompts(folder, runs):
    model, tokenizer = load_checkpoint(DATA / "starter-zh", "cpu")
    save_checkpoint(runs / folder / "step-000001", model, tokenizer)
    shown = tales_model("cpu")
    assert shown.yours and shown.grammar == "zh"
    assert prompt_for(shown.tokenizer) == WORDS["zh"].begin == "从前有个"
    idx = torch.tensor([tokenizer.encode(prompt_for(tokenizer), bos=True)])
    assert (model(idx)[0][0, -1].softmax(-1).topk(10).values.sum() > 0.25).item(), "the prompt is one that it knows"


def test_without_a_model_of_tales_the_english_starter_writes(runs):
    shown = tales_model("cpu")
    assert not shown.yours and shown.grammar == "en"


@pytest.mark.parametrize(
    "name, text, prompt",
    [
        ("python-docs", "If the object is a list, it is not a set.\n", TEXTS["python-docs"]),
        ("mine.txt", "The cat sat on the mat, and the dog did not.\n", OTHER["en"]),
        ("我的.txt", "他们在山下的小镇上住了很久，没有人知道为什么。\n", OTHER["zh"]),
    ],
)
def test_each_text_gets_a_prompt_in_its_language(name, text, prompt):
    tokenizer = Tokenizer.train(Corpus(name, (text * 60,)), 300)
    assert prompt_for(tokenizer) == prompt
