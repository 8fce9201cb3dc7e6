"""A picture that was moved is, pixel for pixel, the one that is drawn whole; and a storm of moves ends on the last.

The storm is sent to a real kernel, through the same messages as the sliders of a browser send.
"""

import io
import time
from pathlib import Path

import numpy as np
import pytest
from jupyter_client.manager import start_new_kernel
from PIL import Image

from foundry_lib import ConfigError, tales
from foundry_lib.analysis import heads as look
from foundry_lib.analysis.neurons import gather
from foundry_lib.panels import Panel, Slider
from foundry_lib.panels.ablation_matrix import ablation_matrix
from foundry_lib.panels.budget import budget
from foundry_lib.panels.cache_quality import cache_quality
from foundry_lib.panels.clock_wall import clock_wall
from foundry_lib.panels.gate_landscape import gate_landscape
from foundry_lib.panels.hands import hands
from foundry_lib.panels.head_explorer import head_explorer
from foundry_lib.panels.live_figure import png
from foundry_lib.panels.panel import MOST_BUILT
from foundry_lib.panels.picture import Picture
from foundry_lib.panels.playground import playground
from foundry_lib.panels.token_ruler import token_ruler
from foundry_lib.panels.volume_knob import volume_knob
from foundry_lib.panels.walk import walk
from foundry_lib.training.checkpoint import load_checkpoint

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def starter():
    return load_checkpoint(ROOT / "data" / "starter-en")


@pytest.fixture(scope="module")
def makers(starter):
    told = tales.generate("en", 5, 8)
    found, neurons = look.looks(*starter, told), gather(*starter, [tale.text for tale in told])
    short = "By the sea lived Clever Leo with"
    return {
        "volume knob": volume_knob,
        "clock wall": clock_wall,
        "hands": hands,
        "head explorer": lambda: head_explorer(*starter, found),
        "head explorer with numbers": lambda: head_explorer(*starter, found, short),
        "cache quality": cache_quality,
        "gate landscape": lambda: gate_landscape(neurons),
        "budget": budget,
        "token ruler": lambda: token_ruler("A function $of 猫 and naïve names"),
        "playground": lambda: playground(*starter, "By the sea lived", "en"),
        "ablation matrix": ablation_matrix,
        "walk": lambda: walk(*starter, "en"),
    }


# name → moves one after the other; a move marked True may build the picture anew
MOVES = {
    "volume knob": [(dict(gain=100.0), False), (dict(offset=-2.0), False), (dict(gain=0.001, offset=0.5), False)],
    "clock wall": [(dict(shift=50), False), (dict(m=3, n=90), False), (dict(m=100, n=0, shift=200), False)],
    "hands": [(dict(base=500.0), False), (dict(context=8192), False), (dict(base=10.0, context=64), False)],
    "head explorer": [(dict(head=(0, 1)), False), (dict(silent=True), True), (dict(head=(1, 2)), False),
                      (dict(text="There was a red $hat"), True), (dict(silent=False), True),
                      (dict(head=(1, 3)), False)],
    "head explorer with numbers": [(dict(head=(0, 1)), False), (dict(head=(1, 2)), False)],
    "cache quality": [(dict(kv_heads=1), False), (dict(tokens=8192), False), (dict(kv_heads=4, tokens=16), False)],
    "gate landscape": [(dict(kind="numbers"), False), (dict(rank=2), False), (dict(rank=300), False),
                       (dict(activation="ReLU"), True), (dict(rank=1, kind="colours"), False),
                       (dict(activation="SiLU", rank=4), False)],
    "budget": [(dict(preset="medium"), False), (dict(vocab_size=512), False),
               (dict(preset="tiny", n_kv_heads=2), False)],
    "token ruler": [(dict(vocabulary="characters"), False), (dict(vocabulary="8,192 entries"), False),
                    (dict(text="another $1 text 唱"), True), (dict(vocabulary="2,048 entries"), False)],
    "playground": [(dict(top_k=1), True), (dict(top_k=5), True), (dict(temperature=1.05), False),
                   (dict(top_p=0.5), True), (dict(prompt="Once $there"), True), (dict(min_p=0.1, top_k=0), True)],
    "ablation matrix": [(dict(row="no norm"), False), (dict(column="all, %"), False),
                        (dict(row="whole model", column="spell"), False)],
    "walk": [(dict(head=2, token=9), False), (dict(stop="embedding"), True),
             (dict(stop="layer 1, residual stream after attention", token=16), False),
             (dict(stop="probabilities"), False), (dict(text="By the $sea", token=3), True),
             (dict(stop="layer 0, attention weights"), True), (dict(stop="layer 1, attention weights"), False)],
}  # fmt: skip


def pixels(panel: Panel) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(panel.live.value)))


@pytest.mark.parametrize("name", MOVES)
def test_a_moved_picture_is_the_one_drawn_whole(makers, name, monkeypatch, capsys):
    panel, fresh, seen = makers[name](), makers[name](), set()
    whole = panel.live.redraw
    for move, may_build in MOVES[name]:
        built = []
        monkeypatch.setattr(panel.live, "redraw", lambda built=built: built.append(1) or whole())
        panel.set(**move)
        assert may_build or not built, f"{move} draws everything anew"
        fresh.built.clear()  # everything is drawn anew
        fresh.set(**panel.values)
        assert panel.reading == fresh.reading, move
        assert np.array_equal(pixels(panel), pixels(fresh)), f"{move}: {np.argwhere(pixels(panel) != pixels(fresh))}"
        seen.add(panel.live.value)
    assert len(seen) == len(MOVES[name]), "every move changes the picture"


def test_a_picture_that_moves_wrongly_would_be_seen(makers, monkeypatch):
    """The comparison itself: let a still part depend on a value, as the zero line of the volume knob once did."""
    real = type(volume_knob().picture).build

    def build(self, figure, gain, **values):
        real(self, figure, gain=gain, **values)
        figure.axes[0].axhline(min(gain, 1.0))

    monkeypatch.setattr(type(volume_knob().picture), "build", build)
    moved, fresh = volume_knob(), volume_knob()
    moved.set(gain=0.1)
    fresh.built.clear()
    fresh.set(gain=0.1)
    assert not np.array_equal(pixels(moved), pixels(fresh))


def test_the_png_is_the_pixels():
    given = np.random.default_rng(0).integers(0, 256, (7, 13, 4), dtype=np.uint8)
    Image.open(io.BytesIO(png(given))).verify()
    read = Image.open(io.BytesIO(png(given)))
    assert read.mode == "RGB" and np.array_equal(np.asarray(read), given[:, :, :3])


@pytest.mark.parametrize("name", MOVES)
def test_a_move_costs_a_part_of_a_whole_drawing(makers, name, capsys):
    """Of the thread's own time, in one run: the least of some moves against the least of some whole drawings."""
    panel, moves, whole = makers[name](), [], []
    for _ in range(3):
        for move, _ in MOVES[name]:
            before, built = time.thread_time(), len(panel.built)
            panel.set(**move)
            if len(panel.built) == built:
                moves.append(1000 * (time.thread_time() - before))
        panel.built.clear()
        before = time.thread_time()
        panel.redraw()
        whole.append(1000 * (time.thread_time() - before))
    with capsys.disabled():
        print(f"\n{name}: a move {min(moves):.1f} to {max(moves):.1f} ms, a whole drawing {min(whole):.1f} ms")
    assert min(moves) <= 0.4 * min(whole)


def test_the_last_few_built_pictures_are_kept():
    built, moved = [], []

    class Counted(Picture):
        def key(self, a, b):
            return a

        def build(self, figure, a, b):
            built.append(a)
            (self.line,) = figure.subplots().plot([0, a], animated=True)

        def move(self, a, b):
            moved.append((a, b))
            if b == 9:
                raise ConfigError("b is 9")
            self.line.set_ydata([a, b])
            return f"{a} {b}"

    panel = Panel(Counted(), a=Slider(1, 1, 20), b=Slider(1, 0, 9))
    first = panel.live.value
    for a in range(2, MOST_BUILT + 1):
        panel.controls["a"].value = a
    panel.controls["a"].value = 1
    assert built == list(range(1, MOST_BUILT + 1)) and panel.live.value == first and panel.reading == "1 1"
    panel.controls["a"].value = MOST_BUILT + 1  # one too many: of the kept ones, 2 was shown the longest ago
    for a, again in ((1, False), (3, False), (2, True)):
        built.clear()
        panel.controls["a"].value = a
        assert bool(built) == again and panel.reading == f"{a} 1", a
    assert len(panel.built) == MOST_BUILT
    panel.controls["b"].value = 9
    assert panel.reading == "b is 9"
    panel.set(b=1, a=1)
    assert panel.live.value == first, "an empty picture is not kept in the place of another"
    built.clear()
    panel.set(a=2)
    assert built == [2] and panel.reading == "2 1", "what broke off is built again"


def test_several_controls_set_at_once_are_drawn_once():
    calls = []

    def draw(figure, a, b):
        calls.append((a, b))
        return f"{a} {b}"

    panel = Panel(draw, a=Slider(1, 0, 9), b=Slider(1, 0, 9))
    panel.set(a=2, b=3)
    assert calls == [(1, 1), (2, 3)]


def test_html_in_a_text_is_shown_and_not_obeyed():
    panel = Panel(lambda figure, a: "<img src=x onerror=alert(1)> & <script>", a=Slider(1, 0, 9))
    assert "<script>" not in panel.words.value and "&lt;img src=x onerror=alert(1)&gt; &amp;" in panel.words.value


# ---- In a kernel

CODE = """
from foundry_lib.panels import Panel, Slider
from foundry_lib.panels.volume_knob import Knob
calls, threads = [], set()
class Counted(Knob):
    def move(self, **values):
        calls.append(values)
        if values["offset"] == 1.9:
            raise RuntimeError("broken here")
        return super().move(**values)
panel = Panel(Counted(), width=9.5, height=3, gain=Slider(1.0, 0.001, 1000.0, log=True), offset=Slider(0.0, -2, 2, 0.1))
print(panel.controls["offset"].model_id)
"""


@pytest.fixture(scope="module")
def kernel():
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(ROOT))
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def cell(client, code: str) -> tuple[str, dict]:
    """Text that a cell prints, and its reply."""
    printed = []
    reply = client.execute_interactive(
        code,
        timeout=120,
        output_hook=lambda m: printed.append(m["content"].get("text", "")) if m["msg_type"] == "stream" else None,
    )
    return "".join(printed), reply["content"]


def send(client, model: str, value: float):
    data = {"method": "update", "state": {"value": value}, "buffer_paths": []}
    message = client.session.msg("comm_msg", {"comm_id": model, "data": data})
    client.shell_channel.send(message)
    return message["header"]["msg_id"]


def wait_for(client, message: str):
    """Return when the kernel has read that message."""
    while True:
        got = client.get_iopub_msg(timeout=60)
        idle = got["msg_type"] == "status" and got["content"]["execution_state"] == "idle"
        if idle and got["parent_header"].get("msg_id") == message:
            return


def test_a_storm_ends_on_the_last_value(kernel):
    model = cell(kernel, CODE)[0].strip().splitlines()[-1]
    cell(kernel, "calls.clear()")
    for number in range(1000):
        last = send(kernel, model, round(-1.9 + 3.7 * ((number * 7919) % 1000) / 1000, 1))
    last = send(kernel, model, -1.3)
    wait_for(kernel, last)
    time.sleep(1.0)
    calls, reading, same = cell(
        kernel,
        "fresh = Panel(Knob(), width=9.5, height=3, gain=Slider(1.0, 0.001, 1000.0, log=True), "
        "offset=Slider(-1.3, -2, 2, 0.1))\n"
        "print(len(calls), panel.reading, fresh.live.value == panel.live.value, sep='|')",
    )[0].split("|")
    assert reading.startswith("Gain 1, offset -1.3") and same.strip() == "True"
    assert int(calls) <= 20, f"{calls} pictures for 1,001 moves"
    print(f"\n1,001 moves: {calls} pictures")


def test_a_single_move_is_drawn_at_once_and_one_by_code_too(kernel):
    model = cell(kernel, CODE)[0].strip().splitlines()[-1]
    wait_for(kernel, send(kernel, model, 0.7))
    assert "offset 0.7" in cell(kernel, "print(panel.reading)")[0]
    assert "offset 0.3" in cell(kernel, "panel.controls['offset'].value = 0.3; print(panel.reading)")[0]
    assert cell(kernel, "panel.controls['offset'].value = 1.9")[1]["status"] == "error", "seen by a strict test"
    assert cell(kernel, "panel.set(offset=1.9)")[1]["ename"] == "RuntimeError"


def test_an_error_under_a_hand_is_said_and_the_next_move_works(kernel):
    model = cell(kernel, CODE)[0].strip().splitlines()[-1]
    wait_for(kernel, send(kernel, model, 1.9))
    time.sleep(0.3)
    assert "broke off with RuntimeError: broken here" in cell(kernel, "print(panel.reading)")[0]
    wait_for(kernel, send(kernel, model, 0.5))
    time.sleep(0.3)
    assert "offset 0.5" in cell(kernel, "print(panel.reading)")[0]
