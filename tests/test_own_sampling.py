"""The learner's own filters, loop and cache generate the library's texts; a slow or broken one is named."""

import json
import re
import threading

import pytest
import torch
from helpers import functions_that_ran, random_model

from foundry_lib import ConfigError, FoundryError, SampleConfig, generate, sample_text, stream
from foundry_lib.analysis.quality import quality_curves, write_texts
from foundry_lib.analysis.side_by_side import compare_settings
from foundry_lib.inference.cuda_graphs import Recorded
from foundry_lib.inference.generation import PARTS, generate_tokens, read_and_choose
from foundry_lib.instructor.solutions import solutions as lessons_solutions
from foundry_lib.lessons import checks, progress
from foundry_lib.lessons.own_sampling import sampling_parts
from foundry_lib.panels.playground import Playground
from foundry_lib.panels.speak import speak
from foundry_lib.paths import DATA
from foundry_lib.training.checkpoint import load_checkpoint

ALL = dict(temperature=0.8, top_k=30, top_p=0.9, min_p=0.01)
PROMPT = "Once there was"


def solutions() -> dict[str, str]:
    """The solutions of lesson 08 as a learner would have passed them: name of the check → source."""
    return {name: source for name, source in lessons_solutions().items() if name in PARTS}


@pytest.fixture(scope="module")
def starter():
    return load_checkpoint(DATA / "starter-en")


@pytest.fixture
def keep(tmp_path, monkeypatch):
    """Store work as if it had passed its check."""
    monkeypatch.setattr(progress, "FILE", tmp_path / "progress.json")
    return lambda **work: progress.FILE.write_text(json.dumps({"work": work}), encoding="utf-8")


@pytest.fixture
def own(keep):
    keep(**solutions())
    return sampling_parts()


# ---- All parts the learner's


def test_the_reference_solutions_are_all_stored_as_the_learners(own):
    assert set(own) == set(PARTS) and set(solutions()) == set(PARTS)


@pytest.mark.parametrize("settings", [{}, dict(temperature=0), ALL, dict(repetition_penalty=1.1, top_p=0.8)], ids=str)
def test_the_texts_of_own_parts_are_the_librarys_token_for_token(starter, own, settings):
    theirs = sample_text(*starter, PROMPT, 300, seed=3, **settings)  # past the window of 256 tokens
    assert sample_text(*starter, PROMPT, 300, seed=3, own=own, **settings) == theirs


def test_the_functions_that_ran_are_those_of_the_notebook_and_not_the_librarys(starter, own):
    model, tokenizer = starter
    ran = functions_that_ran(lambda: sample_text(model, tokenizer, PROMPT, 12, seed=3, own=own, **ALL))
    theirs = {"my_temperature", "my_top_k", "my_top_p", "my_min_p", "my_generate"}
    assert {(f"my_{name}", f"<your {name}>") for name in ("temperature", "top_k", "top_p", "min_p", "generate")} <= ran
    assert {("store", "<your kv_cache>"), ("advance", "<your kv_cache>")} <= ran
    names = {name for name, _ in ran}
    assert theirs <= names and not names & {f"apply_{name}" for name in ALL} | names & {"read_and_choose"}
    assert not [file for name, file in ran if name == "store" and "kv_cache.py" in file]


def test_everything_that_generates_takes_own_parts(starter, own):
    model, tokenizer = starter
    config = SampleConfig(**ALL)
    assert list(stream(*starter, PROMPT, 40, config, 2, own=own)) == list(stream(*starter, PROMPT, 40, config, 2))
    idx = torch.tensor([tokenizer.encode(PROMPT, bos=True)] * 3)
    mine, theirs = (
        generate(model, idx, 30, generator=torch.Generator().manual_seed(4), own=parts, **ALL) for parts in (own, None)
    )
    assert torch.equal(mine, theirs)
    assert list(write_texts(*starter, 3, config, own=own)) == list(write_texts(*starter, 3, config))
    curves = functions_that_ran(lambda: quality_curves(*starter, "en", 1, {"min_p": (0.1,)}, own=own))
    assert ("my_min_p", "<your min_p>") in curves and ("my_generate", "<your generate>") in curves
    both = {"plain": {}, "cut": ALL}
    assert repr(compare_settings(*starter, PROMPT, both, n=30, own=own)) == repr(
        compare_settings(*starter, PROMPT, both, n=30)
    )
    mine, theirs = (Playground(*starter, "en", own=parts).distributions(PROMPT, **ALL)[1] for parts in (own, None))
    assert torch.equal(mine, theirs)
    voices = [speak(*starter, PROMPT, pace=0, n=40, own=parts) for parts in (own, None)]
    for voice in voices:
        voice.set(**ALL)
        voice.start()
        voice.wait()
    assert voices[0].text == voices[1].text and len(voices[0].text) > 60


def test_own_parts_run_in_16_bits_and_on_a_full_window(own):
    model = random_model(dtype=torch.bfloat16)
    idx = torch.randint(3, 61, (2, 5), generator=torch.Generator().manual_seed(1))
    mine, theirs = (
        generate(model, idx, 70, generator=torch.Generator().manual_seed(2), own=parts, top_k=7) for parts in (own, {})
    )
    assert torch.equal(mine, theirs)


# ---- None, or one that is wrong


def test_without_own_parts_it_says_so_and_the_librarys_run(starter, keep, capsys):
    keep()
    own = sampling_parts()
    said = " ".join(capsys.readouterr().out.split())
    assert own == {} and said == ("Yours: none. The library's: temperature, top_k, top_p, min_p, generate, kv_cache.")
    assert sample_text(*starter, PROMPT, 20, seed=1, own=own) == sample_text(*starter, PROMPT, 20, seed=1)


@pytest.mark.parametrize("name", PARTS)
def test_one_part_that_no_longer_passes_is_replaced_by_the_librarys(starter, keep, capsys, name):
    wrong = solutions()
    head, _, _ = wrong[name].partition("\n")
    wrong[name] = head + ("\n    def store(self): ...\n" if name == "kv_cache" else "\n    return None\n")
    keep(**wrong)
    own = sampling_parts()
    assert set(own) == set(PARTS) - {name}
    said = " ".join(capsys.readouterr().out.split())
    assert f"{name}: the library's part runs. Yours no longer passes the check of lesson 08" in said
    assert f"The library's: {name}." in said
    assert sample_text(*starter, PROMPT, 20, seed=1, own=own, **ALL) == sample_text(*starter, PROMPT, 20, seed=1, **ALL)


def test_a_part_that_is_switched_off_is_the_librarys(keep, capsys):
    keep(**solutions())
    progress.switch_off("top_k")
    assert set(sampling_parts()) == set(PARTS) - {"top_k"}
    progress.switch_on("top_k")
    assert "top_k" in sampling_parts()


def test_names_of_parts_that_are_not_there_are_refused():
    with pytest.raises(
        ConfigError, match="no part 'loop'; its parts are temperature, top_k, top_p, min_p, generate, kv"
    ):
        generate(random_model(), torch.tensor([[1]]), 2, own={"loop": read_and_choose})


# ---- A part that is slow or breaks


LONGER = r"top_k: yours takes (\d+) ms longer than the library.s each time \(my_top_k, most of it in line 4: time.sleep"
SLOW = "import time\n\ndef my_top_k(logits, k):\n    time.sleep(0.006)\n"


def test_a_slow_filter_is_named_with_its_line(keep, capsys):
    keep(top_k=SLOW + solutions()["top_k"].split("\n", 1)[1])
    assert list(sampling_parts()) == ["top_k"]
    said = " ".join(capsys.readouterr().out.split())
    found = re.search(LONGER, said)
    assert found and 5 <= int(found[1]) < 500 and "progress.switch_off('top_k') lets the library's run." in said


def later(name: str, line: str) -> str:
    """The solution, which breaks on the 1,536 scores of the course's model or, for the others, past the check."""
    head, body = solutions()[name].split("\n", 1)
    return f"{head}\n    if logits.shape[-1] == 1536:\n        {line}\n{body}"


BROKEN = {
    "temperature": later("temperature", "return logits * float('nan')"),
    "top_k": later("top_k", "logits[5, 5, 5, 5]"),
    "min_p": later("min_p", "return logits[..., :9]"),
    "top_p": later("top_p", "return None"),
}
SENTENCES = {
    "temperature": r"temperature: yours left no token that can be drawn\. progress",
    "top_k": r"top_k: Your code raised IndexError: .* in my_top_k, line 3: logits\[5, 5, 5, 5\]\. progress",
    "min_p": r"min_p: yours gave \(1, 9\) on cpu, expected scores \(1, 1536\) on cpu\.",
    "top_p": r"top_p: yours gave a NoneType, expected scores \(1, 1536\) on cpu\.",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_filter_ends_the_text_with_its_name_and_line_in_a_cell_and_in_the_thread(
    starter, keep, name, monkeypatch
):
    monkeypatch.setattr(threading, "excepthook", lambda given: pytest.fail("an own part's error is a sentence"))
    keep(**{name: BROKEN[name]})
    own = sampling_parts()
    with pytest.raises(FoundryError, match=SENTENCES[name]):
        sample_text(*starter, PROMPT, 5, own=own, **ALL)
    voice = speak(*starter, PROMPT, pace=0, own=own)
    voice.set(**ALL)
    voice.start()
    voice.wait()
    assert re.search(SENTENCES[name], voice.reading) and voice.text == PROMPT


def test_a_loop_that_gives_another_shape_later_is_named(starter, keep):
    text = solutions()["generate"]
    keep(generate=text.replace("yield unread", "yield unread[0] if n > 20 else unread"))
    with pytest.raises(FoundryError, match=r"generate: yours gave \(1,\), expected new tokens \(1, 1\)\. progress"):
        sample_text(*starter, PROMPT, 30, own=sampling_parts())


def test_loops_and_caches_that_are_right_in_another_form_pass():
    def loop(model, idx, n, next_token, cache):
        for _ in range(n):
            idx = next_token(model(idx, None, cache)[0][:, -1])
            yield idx

    class Counted(PARTS["kv_cache"]):
        def __init__(self, *given):
            super().__init__(*given)
            self.length = torch.zeros((), dtype=torch.long)

        def advance(self, n_new):
            self.length += n_new

    def one_by_one(model, idx, n, next_token, cache):
        for token in idx.split(1, 1):
            scores = model(token, cache=cache)[0]
        for _ in range(n):
            idx = next_token(scores[:, -1])
            yield idx
            scores = model(idx, cache=cache)[0]

    class ByNumber(PARTS["kv_cache"]):
        def __init__(self, config, *given):
            super().__init__(config, *given)
            assert config.dim // config.n_heads == config.head_dim
            self.k, self.v = dict(enumerate(self.k)), dict(enumerate(self.v))

    right = [(checks.generate, loop), (checks.generate, one_by_one)]
    for exercise, work in [*right, (checks.kv_cache, Counted), (checks.kv_cache, ByNumber)]:
        verdict = exercise.judge(work)
        assert verdict.passed, verdict.message


WRONG_LOOPS = {
    "handed nothing over": "        idx = chosen",
    "Numbers came out": "        idx = chosen\n        yield chosen.item()",
    "told of each token twice": "        cache.advance(idx.shape[1])\n        idx = chosen\n        yield idx",
}


@pytest.mark.parametrize("says", WRONG_LOOPS)
def test_loops_that_hand_over_nothing_or_numbers_or_count_twice_are_named(says):
    text = "def loop(model, idx, n, next_token, cache):\n    for _ in range(n):\n        "
    text += "chosen = next_token(model(idx, cache=cache)[0][:, -1])\n" + WRONG_LOOPS[says]
    exec(text, names := {})
    assert says in " ".join(checks.generate.judge(names["loop"]).message.split())


def test_a_filter_that_breaks_when_it_is_tried_is_left_out_with_its_line(keep, capsys):
    keep(top_k=BROKEN["top_k"].replace("== 1536", "> 1000"), min_p=solutions()["min_p"])
    assert list(sampling_parts()) == ["min_p"]
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith("top_k: Your code raised IndexError: ") and "in my_top_k, line 3: logits[5, 5, 5, 5]" in said
    assert "Yours: min_p. The library's: temperature, top_k, top_p, generate, kv_cache." in said


def test_a_broken_filter_is_the_reading_of_the_playground(starter, keep):
    keep(top_k=BROKEN["top_k"].replace("logits[5, 5, 5, 5]", "1 / 0"))
    with pytest.raises(FoundryError, match="top_k: Your code raised ZeroDivisionError: .* line 3: 1 / 0"):
        Playground(*starter, "en", own=sampling_parts()).distributions(PROMPT, top_k=5)


def test_an_error_in_the_loop_or_the_cache_is_named(starter, keep):
    parts = solutions()
    head, body = parts["generate"].split("\n", 1)
    parts["generate"] = f"{head}\n    if n > 20:\n        n.count\n{body}"
    parts["kv_cache"] = parts["kv_cache"].replace(
        "def advance(self, n_new):", "def advance(self, n_new):\n        1 / (self.length < 12)"
    )
    keep(**parts)
    own = sampling_parts()
    with pytest.raises(
        FoundryError, match="generate: Your code raised AttributeError: .* in my_generate, line 3: n.count"
    ):
        sample_text(*starter, PROMPT, 30, own=own)
    with pytest.raises(
        FoundryError, match="kv_cache: Your code raised ZeroDivisionError: .* in advance, line .*switch_off"
    ):
        sample_text(*starter, PROMPT, 20, own={"kv_cache": own["kv_cache"]}, temperature=0)


def test_the_librarys_own_refusals_are_not_taken_for_the_learners(starter, own):
    with torch.inference_mode():
        model = random_model()
        model.output.weight.fill_(torch.nan)
    with pytest.raises(FoundryError, match="^The model's scores are no numbers"):
        list(generate_tokens(model, torch.tensor([[1]]), 3, SampleConfig(), own=own))


def test_a_graph_on_a_gpu_refuses_an_own_cache_in_words():
    class Nothing:
        new_cache = Recorded.new_cache

    with pytest.raises(ConfigError, match="recorded with the library's KVCache"):
        Nothing().new_cache(1, dict)


def test_the_librarys_own_loop_filters_and_cache_pass_the_checks():
    for name, part in PARTS.items():
        assert checks.EXERCISES[name].judge(part).passed, name
