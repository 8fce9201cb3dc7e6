"""Watching: it shows what the training does, changes no bit of it, stops when asked, and costs next to nothing."""

import base64
import math
import os
import queue
import signal
import time
from types import SimpleNamespace

import pytest
import torch
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

from foundry_lib import TrainConfig, tales
from foundry_lib.panels import watch
from foundry_lib.panels.loss_figure import LEAST, end_in_words, in_short
from foundry_lib.panels.watch import JudgedText, LossFigure, View, pace
from foundry_lib.text.baselines import reference_lines
from foundry_lib.training.optimizer import learning_rate
from foundry_lib.training.recipes import new_trainer

PNG = b"\x89PNG\r\n"
LINES = {"ln V": 6.9}
SMALL = dict(max_iters=12, eval_interval=4, dim=32, n_layers=1, n_heads=2, n_kv_heads=1)


class FakeTrainer:
    """A trainer's history without a training."""

    def __init__(self, steps: int, seconds: float = 0.0):
        self.history, self.step, self.seconds = [], 0, seconds
        self.config = TrainConfig(max_iters=steps, eval_interval=1)
        self.loader = SimpleNamespace(floor=None, tokenizer=None)
        self.model, self.schedule = None, learning_rate

    def run(self):
        for step in range(self.config.max_iters + 1):
            self.step = step
            time.sleep(self.seconds)
            loss = 4 + 3 * math.exp(-self.step / 50)
            record = dict(step=self.step, train_loss=loss if self.step else None, tokens_per_s=1e4, remaining=3.0)
            record |= dict(val_loss=loss + 0.1 if self.step % 50 == 0 else None, lr=1e-3)
            self.history.append(SimpleNamespace(**record))
            yield self.history[-1]

    def status(self, how):
        return f"Finished: {self.config.max_iters} steps."


@pytest.fixture(scope="module")
def small_tales():
    told = tales.generate("en", seed=5, n=220)
    return lambda: new_trainer(told_corpus(told), vocab_size=1024, **SMALL)


def told_corpus(told):
    """A corpus of a few tales, whose grammar is known."""
    from foundry_lib.text.corpus import Corpus

    return Corpus("few tales", tuple(one.text for one in told), grammar="en")


def test_the_figure_shows_the_history(capsys):
    trainer = FakeTrainer(200)
    assert watch.watch(trainer, LINES) is None
    join, *_, status, _, _ = capsys.readouterr().out.splitlines()
    assert "To join it: open the page, run this cell, press ■ once" in join and status == "Finished: 200 steps."
    figure = LossFigure(trainer, LINES)
    assert not figure.axes.get_title(loc="left"), "the line beside the bar counts, and nothing else does"
    legend = figure.axes.get_legend().get_window_extent()
    assert legend.y0 >= figure.axes.get_window_extent().y1, "no known line crosses the legend"
    batches, mean, validation = figure.axes.lines[:3]
    assert list(batches.get_xdata()) == list(range(1, 201)) and list(validation.get_xdata()) == [0, 50, 100, 150, 200]
    assert mean.get_ydata()[-1] == pytest.approx(sum(r.train_loss for r in trainer.history[-20:]) / 20)
    assert mean.get_xdata()[-1] == 190.5 and mean.get_xdata()[4] == 3, "a mean stands at the middle of its steps"
    assert figure.axes.get_xlim() == (0, 200) == figure.rate_axes.get_xlim()


def test_before_any_training_it_says_so():
    assert pace(FakeTrainer(30)) == "step 0 of 30, before any training"
    trainer = FakeTrainer(30)
    next(trainer.run())
    assert pace(trainer) == "step 0 of 30, before any training, validation loss 7.10" and "nan" not in pace(trainer)


def test_an_update_shows_what_a_whole_drawing_shows():
    """The quick way draws only what moves; a curve that leaves the axes makes it draw everything."""
    trainer = FakeTrainer(200)
    figure = LossFigure(trainer, LINES)
    low = figure.bottom
    for _ in trainer.run():
        pass
    before = figure.value
    figure.update()
    quick = figure.value
    assert quick != before and figure.bottom < min(r.train_loss for r in trainer.history[1:]) < 5 and low > 5
    trainer.history[-1].val_loss = 0.5
    figure.update()
    assert figure.bottom <= 0.5 and figure.value != quick
    top = figure.top
    trainer.history[-1].val_loss = 20.0
    figure.update()
    assert figure.top > 20 > top


def test_what_is_owed_stands_beside_the_curve(small_tales):
    trainer = small_tales()
    figure = LossFigure(trainer, reference_lines(trainer.loader))
    for _ in trainer.run(4):
        pass
    figure.update()
    last = trainer.history[-1]
    widths = dict(zip(figure._rules, figure._dots.get_xdata(), strict=True))
    assert widths == {rule: max(LEAST, last.owed[rule]) for rule in widths} and "free" not in widths
    assert figure.rule_axes.get_title() == f"step 4: {last.excess / trainer.loader.floor.nats:.1%} above the floor"
    numbers = {rule: text.get_text() for rule, text in zip(figure._rules, figure._numbers, strict=True)}
    assert numbers == {rule: in_short(last.owed[rule]) for rule in widths}
    assert max(widths.values()) < figure.rule_axes.get_xlim()[1], "no dot is beyond the axis"
    marks = [segment[1][0] for segment in figure._stems.get_segments()]
    assert marks == [trainer.loader.floor.forgetful_by_rule[rule] for rule in figure._rules]


def test_the_end_of_a_curve_is_told_in_words(small_tales, capsys):
    trainer = FakeTrainer(100)
    assert end_in_words(trainer) == ""
    watch.watch(trainer, LINES)
    said = "training loss 4.49 (mean of 20 steps), validation loss 4.51, lowest 4.51 at step 100."
    assert f"The curve at step 100: {said}" in " ".join(capsys.readouterr().out.split())
    trainer = small_tales()
    list(trainer.run(4))
    share = f"{trainer.history[-1].excess / trainer.loader.floor.nats:.1%}"
    assert end_in_words(trainer).endswith(f"at step 4, {share} above the floor.")


def test_a_small_excess_is_seen_near_the_floor(small_tales):
    """At the end of a training the curve is 3 % above the floor, and there is room between the two lines."""
    trainer = small_tales()
    figure = LossFigure(trainer, {"ln V": 7.3, "floor": 0.5})
    heights = figure.axes.transAxes.inverted().transform(
        figure.axes.transData.transform([(0, 0.5), (0, 0.53), (0, 14)])
    )
    assert heights[1][1] - heights[0][1] > 0.04 and heights[2][1] > 0.5


def test_watching_changes_no_bit(small_tales, capsys):
    seen, unseen = small_tales(), small_tales()
    texts = watch.watch(seen, reference_lines(seen.loader), prompt="Under")
    state = torch.get_rng_state()
    list(unseen.run())
    assert torch.equal(state, torch.get_rng_state())
    pairs = zip(seen.model.state_dict().values(), unseen.model.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs) and seen.step == 12
    assert [(r.train_loss, r.val_loss) for r in seen.history] == [(r.train_loss, r.val_loss) for r in unseen.history]
    assert texts[0].step == 0 and texts[-1].step == 12 and all(one.text.startswith("Under") for one in texts)
    assert all(one.valid is False and one.verdict for one in texts), "a dozen steps make no tale"


def test_texts_are_escaped_judged_and_few():
    said = [JudgedText(n, "<script>alert(1)</script> & so", False, 'found "<b>"') for n in range(10)]
    words = View(FakeTrainer(5), LINES, said).words.value
    assert "<script>" not in words and "<b>" not in words and "&lt;script&gt;" in words
    assert (
        words.count("<p ") == watch.TEXTS and words.index("step 9 ") < words.index("step 8 ") and "step 5 " not in words
    )
    assert (
        str(JudgedText(7, "a")) == "step 7 · a"
        and str(JudgedText(7, "a", True, "this is a tale")) == "step 7 · ✓ this is a tale · a"
    )


def test_without_a_front_end_a_picture_and_a_fixed_word_are_left(monkeypatch):
    shown = []
    monkeypatch.setattr(watch, "display", shown.append)
    watch.watch(FakeTrainer(30), LINES)
    data, _ = shown[0]._repr_mimebundle_()
    assert data["text/plain"].startswith("<loss curve: training and validation loss by step, with lines for ln V;")
    assert base64.b64decode(data["image/png"]).startswith(PNG)
    assert shown[0].bar.value == 30 == shown[0].bar.max and "Finished: 30 steps." in shown[0].numbers.value


def test_a_stop_is_said_beside_the_bar_and_an_old_text_takes_one_line():
    view = View(FakeTrainer(30), LINES, [JudgedText(0, "gre " * 100), JudgedText(1, "and " * 100)])
    view.show_end("Stopped at step 3 of 30")
    assert "Stopped at step 3 of 30" in view.numbers.value and "left" not in view.numbers.value
    newest, oldest = view.words.value.split("</p>")[:2]
    assert "nowrap" in oldest and "gre" in oldest and "nowrap" not in newest and "and" in newest
    assert "nowrap" in View(FakeTrainer(30), LINES, [JudgedText(0, "gre " * 100)]).words.value


def test_looking_waits_while_it_has_cost_too_much(monkeypatch):
    """A picture of 40 ms and a text of 80 ms against steps of 2 ms: most are left out, the first and last never."""
    calls = {"picture": 0, "text": 0}
    draw = LossFigure.update

    def slow_update(figure):
        calls["picture"] += 1
        time.sleep(0.04)
        draw(figure)

    def slow_write(trainer, prompt):
        calls["text"] += 1
        time.sleep(0.08)
        return JudgedText(trainer.step, prompt)

    monkeypatch.setattr(LossFigure, "update", slow_update)
    monkeypatch.setattr(watch, "write_text", slow_write)
    monkeypatch.setattr(watch, "PAUSE", 0.0)
    trainer = FakeTrainer(450, seconds=0.002)
    texts = watch.watch(trainer, LINES, prompt="x")
    assert texts[0].step == 0 and texts[-1].step == 450
    assert calls["text"] <= 3 and calls["picture"] <= 4, calls
    calls |= {"picture": 0, "text": 0}
    monkeypatch.setattr(watch, "SHARES", {"texts": 1.0, "pictures": 0.0})
    watch.watch(FakeTrainer(450, seconds=0.002), LINES, prompt="x")
    assert calls["text"] == 10, "a text at each evaluation, however much the pictures have taken"


def test_the_bar_moves_while_the_pictures_wait_and_the_first_picture_is_soon(monkeypatch):
    """The picture before any training lays out the axes, for a minute's share of pictures; only then come the cheap."""
    steps = {"bar": [], "picture": []}
    tick, draw = watch.View.tick, LossFigure.update

    def slow_update(figure):
        steps["picture"].append(figure.trainer.step)
        time.sleep(0.2 if figure.trainer.step == 0 else 0.02)
        draw(figure)

    monkeypatch.setattr(watch.View, "tick", lambda view: steps["bar"].append(view.trainer.step) or tick(view))
    monkeypatch.setattr(LossFigure, "update", slow_update)
    monkeypatch.setattr(watch, "PAUSE", 0.0)
    watch.watch(FakeTrainer(100, seconds=0.005), LINES)
    assert steps["picture"][:3] == [0, 0, 1] and len(steps["picture"]) < 6, steps["picture"]
    assert steps["bar"] == [0, *range(101)]


@pytest.mark.skipif(os.name == "nt", reason="os.kill cannot send Ctrl-C to itself on Windows")
def test_an_interrupt_ends_after_the_step_and_running_again_goes_on(small_tales, capsys):
    trainer, whole = small_tales(), small_tales()
    list(whole.run())
    step_done = trainer.optimizer.step

    def interrupted_step():
        if trainer.step == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return step_done()

    trainer.optimizer.step = interrupted_step
    before = signal.getsignal(signal.SIGINT)
    first = watch.watch(trainer, LINES, prompt="Under")
    assert trainer.step == 6 and trainer.interrupted and signal.getsignal(signal.SIGINT) is before
    assert "Stopped at step 6 of 12; run this cell again to go on from here." in capsys.readouterr().out
    again = watch.watch(trainer, LINES, prompt="Under")
    assert again is first and [one.step for one in again][0] == 0 and again[-1].step == 12, "earlier texts stay"
    pairs = zip(trainer.model.parameters(), whole.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.skipif(os.name == "nt", reason="a kernel's interrupt works in another way there")
def test_the_stop_button_in_a_kernel_and_the_next_cell():
    """What ■ does: the kernel is interrupted; the cell ends in good order and the next one runs."""
    manager = KernelManager(kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        run = lambda code: client.execute_interactive(code, timeout=60, output_hook=out.append)  # noqa: E731
        out = []
        run(
            "from foundry_lib.training.recipes import new_trainer\nfrom foundry_lib.panels.watch import watch\n"
            "trainer = new_trainer('python-docs', vocab_size=400, max_iters=100_000, dim=32, n_layers=1, n_heads=2,"
            " n_kv_heads=1)"
        )
        client.execute("watch(trainer, {}, prompt='The')")
        for _ in range(200):
            if client.get_iopub_msg(timeout=60)["msg_type"] == "display_data":
                break
        time.sleep(3.0)  # on a busy machine the first step takes a while
        manager.interrupt_kernel()
        assert client.get_shell_msg(timeout=60)["content"]["status"] == "ok", "no traceback"
        reply = run("print('still here', trainer.step > 0, trainer.interrupted)")
        assert reply["content"]["status"] == "ok"
        said = "".join(m["content"].get("text", "") for m in out if m["msg_type"] == "stream")
        assert "still here True True" in said, said
    except queue.Empty:
        pytest.fail("the kernel did not answer")
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
