"""The panel that speaks: the same tokens as sample.stream, sliders that act at the next one, and Stop."""

import threading
import time
from pathlib import Path

import pytest
import torch

from foundry_lib import FoundryError, SampleConfig, stream, tales
from foundry_lib.panels.speak import speak
from foundry_lib.training.checkpoint import load_checkpoint

DATA = Path(__file__).resolve().parent.parent / "data"
PROMPT = "Once there was"
PLAIN = SampleConfig()


@pytest.fixture(scope="module")
def starter():
    return load_checkpoint(DATA / "starter-en")


@pytest.fixture
def voice(starter):
    voice = speak(*starter, PROMPT, language="en", pace=0)
    yield voice
    voice.stop(wait=True)


class Steps:
    """Hold the model before each of its passes until `release` is called, so that a test decides when a token comes."""

    def __init__(self, model):
        self.gate, self.calls = threading.Semaphore(0), 0
        self.hook = model.register_forward_pre_hook(self.hold)

    def hold(self, *given):
        self.calls += 1
        assert self.gate.acquire(timeout=20)

    def release(self, n: int = 1):
        self.gate.release(n)

    def until(self, calls: int):
        """Wait until the model has been asked `calls` times, and is held there."""
        for _ in range(2000):
            if self.calls >= calls:
                return
            time.sleep(0.01)
        raise AssertionError(f"the model was asked {self.calls} times and not {calls}")


@pytest.fixture
def steps(starter):
    steps = Steps(starter[0])
    yield steps
    steps.hook.remove()
    steps.release(1000)


def expected(starter, settings=PLAIN, seed=1, n=240):
    return list(stream(*starter, PROMPT, n, settings, seed))


def test_the_text_is_that_of_stream(starter, voice, capsys):
    settings = SampleConfig(temperature=0.8, top_k=20, top_p=0.95, min_p=0.02, repetition_penalty=1.05)
    voice.set(temperature=0.8, top_k=20, top_p=0.95, min_p=0.02, repetition_penalty=1.05, seed=7)
    told = PROMPT + "".join(expected(starter, settings, 7))
    voice.go.click()
    voice.wait()
    assert voice.text == told and told[len(PROMPT) :] in voice.page.value
    by_thread = voice.reading
    voice.speak()
    assert voice.text == told and " ".join(capsys.readouterr().out.split()).startswith(told)
    verdict = tales.parse(told, "en").message
    assert verdict in voice.reading and verdict in by_thread and verdict in voice.words.value
    tokens = len(starter[1].encode(told)) - len(starter[1].encode(PROMPT)) + 1  # the end sign counts
    assert voice.reading.startswith(f"{tokens} tokens, ") and "tokens/s. The model ended it." in voice.reading
    voice.set(temperature=1.0, top_k=0, seed=1)  # the text stays, and what it says of itself
    how = "Drawn at temperature 0.8, top-k 20, top-p 0.95, min-p 0.02, repetition-penalty 1.05, seed 7."
    assert how in voice.words.value and how in by_thread


def test_settings_at_rest_are_named_too(voice):
    voice.speak()
    assert "\nDrawn at temperature 1, seed 1.\n" in voice.reading


def test_the_global_generator_and_other_runs_are_left_alone(voice):
    torch.manual_seed(0)
    wanted = torch.rand(3)
    torch.manual_seed(0)
    voice.speak()
    assert torch.equal(torch.rand(3), wanted)


def test_text_grows_and_follows_a_slider_at_the_next_token(starter, voice, steps):
    seen = []
    voice.page.observe(lambda change: seen.append(change.new), names="value")
    voice.controls["temperature"].value = 0.0
    voice.start()
    steps.until(1)
    steps.release(4)
    steps.until(5)
    voice.controls["temperature"].value = 3.0  # while the fifth pass is held: the fifth token is the first to be hot
    steps.release(1000)
    voice.wait()
    asked = []

    def by_hand():
        asked.append(1)
        return SampleConfig(temperature=0.0 if len(asked) <= 4 else 3.0)

    assert voice.text == PROMPT + "".join(expected(starter, by_hand))
    assert voice.text != PROMPT + "".join(expected(starter, SampleConfig(temperature=0.0)))
    assert "\nDrawn while the sliders moved, at the end temperature 3, seed 1.\n" in voice.reading
    assert len(seen) > 2 and [len(page) for page in seen] == sorted(len(page) for page in seen)


def test_stop_ends_before_the_next_token(starter, voice, steps):
    voice.start()
    steps.release(5)
    steps.until(6)
    voice.halt.click()
    steps.release(1000)
    voice.wait()
    assert steps.calls == 6 and voice.text == PROMPT + "".join(expected(starter)[:5])
    assert voice.reading.startswith("5 tokens") and ". Stopped." in voice.reading
    assert "in sentence 1," in voice.reading and "(rule: grammar)" in voice.reading, "a tale that is cut off is no tale"


def test_stop_ends_the_wait_of_a_slow_pace(voice):
    voice.set(pace=1)
    voice.start()
    while not voice.run.text:
        time.sleep(0.01)
    started = time.perf_counter()
    voice.stop(wait=True)
    assert time.perf_counter() - started < 0.7 and not voice.run.thread.is_alive()


def test_a_second_press_stops_the_first_and_starts_anew(starter, voice, steps):
    voice.start()
    steps.release(3)
    steps.until(4)
    first = voice.run
    voice.set(seed=9)
    pressed = threading.Thread(target=voice.go.click)
    pressed.start()
    while not first.stop.is_set():
        time.sleep(0.01)
    steps.release(1000)
    pressed.join(20)
    voice.wait()
    assert not first.thread.is_alive() and first.tokens == 3
    assert voice.run is not first and voice.text == PROMPT + "".join(expected(starter, seed=9))


def test_sliders_answer_while_it_runs(voice, steps):
    voice.start()
    steps.until(1)
    started = time.perf_counter()
    for value in range(30):
        voice.controls["top_k"].value = value
    assert time.perf_counter() - started < 1 and voice.settings.top_k == 29


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_error_is_shown_and_the_next_press_works(voice, starter):
    def fail(*given):
        raise RuntimeError("no memory <left>")

    hook = starter[0].register_forward_pre_hook(fail)
    voice.start()
    voice.wait()
    hook.remove()
    assert "RuntimeError: no memory <left>." in voice.reading and "Drawn" not in voice.reading
    assert "no memory &lt;left&gt;" in voice.words.value
    voice.start()
    voice.wait()
    assert "RuntimeError" not in voice.reading and "The model ended it" in voice.reading


def test_a_slip_of_the_program_in_the_thread_is_raised_too(voice, starter, monkeypatch):
    raised = []
    monkeypatch.setattr(threading, "excepthook", lambda given: raised.append(given.exc_type))
    hook = starter[0].register_forward_pre_hook(lambda *given: 1 / 0)
    voice.start()
    voice.wait()
    hook.remove()
    assert raised == [ZeroDivisionError] and "It broke off with ZeroDivisionError: division by zero" in voice.reading


def test_a_refusal_is_its_sentence_in_the_thread_and_raised_in_a_cell(voice, monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda given: pytest.fail("a refusal is no fault of the program"))
    voice.set(prompt="cat\0")
    voice.start()
    voice.wait()
    assert "The text holds a NUL character at 3" in voice.reading and "TokenizerError" not in voice.reading
    with pytest.raises(FoundryError, match="NUL"):
        voice.speak()


def test_the_stop_button_of_the_notebook_ends_a_cell_that_speaks(voice, monkeypatch):
    calls = []

    def push(stream, token):
        calls.append(token)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return "x"

    monkeypatch.setattr("foundry_lib.panels.speak.TextStream.push", push)
    voice.speak()
    assert voice.text == PROMPT + "xx" and ". Stopped." in voice.reading


def test_in_a_cell_an_error_is_raised(voice, starter):
    hook = starter[0].register_forward_pre_hook(lambda *given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        voice.speak()
    hook.remove()


def test_no_text_is_obeyed_as_html(starter):
    voice = speak(*starter, "<script>alert(1)</script> & <b>", n=3)
    voice.speak(temperature=0)
    assert "<script>" not in voice.page.value and "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &lt;b&gt;" in (
        voice.page.value
    )
    assert "3 tokens are the most that it may write" in voice.reading and "parser" not in voice.reading


def test_what_a_model_writes_is_not_obeyed_either(voice, monkeypatch):
    monkeypatch.setattr("foundry_lib.panels.speak.TextStream.push", lambda *given: "<img src=x onerror=alert(1)>")
    voice.speak()
    assert "<img" not in voice.page.value and "&lt;img src=x" in voice.page.value


def test_speak_pressed_while_a_cell_speaks_stops_the_cell(starter, voice, steps):
    cell = threading.Thread(target=voice.speak)
    cell.start()
    steps.release(3)
    steps.until(4)
    first = voice.run
    pressed = threading.Thread(target=voice.go.click)
    pressed.start()
    for _ in range(500):
        if first.stop.is_set():
            break
        time.sleep(0.01)
    steps.release(1000)
    cell.join(20)
    pressed.join(20)
    voice.wait()
    assert first.tokens == 3 and first.end == "Stopped"
    assert voice.run is not first and voice.text == PROMPT + "".join(expected(starter))


def test_without_a_front_end_there_is_text(voice):
    assert "press Speak" in voice._repr_mimebundle_()[0]["text/plain"]
    voice.speak(temperature=0)
    plain = voice._repr_mimebundle_()[0]["text/plain"]
    assert voice.text in plain and "The parser: this is a tale" in plain
    assert "foundry-speak" in voice._dom_classes and voice.go.description == "Speak"
    assert "foundry-text" in voice.page._dom_classes and "foundry-reading" in voice.words._dom_classes


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_it_samples_there(starter):
    model, tokenizer = load_checkpoint(DATA / "starter-en")
    model = model.cuda()
    voice = speak(model, tokenizer, PROMPT, language="en", pace=0)
    voice.start()
    voice.wait()
    assert voice.text == PROMPT + "".join(stream(model, tokenizer, PROMPT, 240, seed=1))
