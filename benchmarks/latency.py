"""Slider to repaint in a real browser, for every panel; writes benchmarks/latency.md. Run it while nothing else runs.

    .venv/bin/python benchmarks/latency.py              # about four minutes; needs Playwright and a Chromium
    .venv/bin/python benchmarks/latency.py --kernel     # only what a move costs the kernel: printed, no browser
    .venv/bin/python benchmarks/latency.py --pictures   # only the two pictures of the README, in data/

Measured inside the page: from the key's own event to the second animation frame after the new picture was decoded.
The floor is the same path with nothing to draw: a slider whose callback swaps two tiny pictures. Measured in this
process, without a browser and on one thread: what a move costs the kernel, for the costliest slider of the panel. Exit
code 1 where a panel is above the promise (median 100 ms, worst of 50 at 250 ms, of them 20 ms in the kernel).
"""

import argparse
import math
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import ipywidgets
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
sys.path.insert(0, str(ROOT))
from in_browser import CHROMIUM, first_panel, launch, press, run_all, running_lab, settled  # noqa: E402

from foundry_lib.panels.loss_figure import LossFigure  # noqa: E402
from foundry_lib.text.baselines import reference_lines  # noqa: E402
from foundry_lib.training.recipes import new_trainer  # noqa: E402

PRESSES, MEDIAN, WORST, KERNEL = 50, 100, 250, 20
PICTURED = 400  # steps of lesson 07's training: some rules are learned by then and some are not; at its end all are
START = """
import ipywidgets
from foundry_lib import tales
from foundry_lib.analysis import heads as look
from foundry_lib.analysis.neurons import gather
from foundry_lib.training.checkpoint import load_checkpoint
from foundry_lib.panels.ablation_matrix import ablation_matrix
from foundry_lib.panels.budget import budget
from foundry_lib.panels.cache_quality import cache_quality
from foundry_lib.panels.clock_wall import clock_wall
from foundry_lib.panels.gate_landscape import gate_landscape
from foundry_lib.panels.hands import hands
from foundry_lib.panels.head_explorer import head_explorer
from foundry_lib.panels.playground import playground
from foundry_lib.panels.token_ruler import token_ruler
from foundry_lib.panels.volume_knob import volume_knob
from foundry_lib.panels.walk import walk
model, pieces = load_checkpoint("../data/starter-en")
told = tales.generate("en", 5, 8)
"""
FLOOR = """
from foundry_lib.panels.live_figure import png
import numpy as np
tiny = [png(np.full((4, 4, 3), grey, dtype=np.uint8)) for grey in (0, 255)]
slider, picture = ipywidgets.IntSlider(50), ipywidgets.Image(value=tiny[0])
words = ipywidgets.HTML("<p>floor</p>")
slider.observe(lambda change: setattr(picture, "value", tiny[change.new % 2]), "value")
ipywidgets.VBox([slider, picture, words])
"""
# name → the cell, and which of its sliders is pressed
PANELS = {
    "floor of the path": (FLOOR, 0),
    "volume knob": ("volume_knob()", 0),
    "clock wall": ("clock_wall()", 2),
    "hands": ("hands()", 0),
    "head explorer": ("head_explorer(model, pieces, look.looks(model, pieces, told))", 1),
    "kv heads": ("cache_quality()", 1),
    "gate landscape": ("gate_landscape(gather(model, pieces, [tale.text for tale in told]))", 1),
    "budget": ("budget()", 1),
    "token ruler": ('token_ruler("The function returns a new list of names. 小猫在树下唱歌。")', 0),
    "playground": ('playground(model, pieces, "By the sea lived Clever Leo with his", "en")', 0),
    "ablation matrix": ("ablation_matrix()", 0),
    "walk": ('walk(model, pieces, "en")', 0),
}


def turn(slider, way: int):
    """Move a slider by one stop, as an arrow key does; at its end it stays."""
    if isinstance(slider, ipywidgets.SelectionSlider):
        slider.index = min(max(slider.index + way, 0), len(slider.options) - 1)
    elif isinstance(slider, ipywidgets.FloatLogSlider):
        power = math.log(slider.value, slider.base) + way * slider.step
        slider.value = slider.base ** min(max(power, slider.min), slider.max)
    else:
        slider.value += way * slider.step


def kernel(panel, slider) -> float:
    """Milliseconds of this thread: the median of PRESSES moves by code, up and down in runs of ten."""
    found, way = [], 1
    while len(found) < PRESSES + 3:
        before, started = slider.value, time.thread_time()
        turn(slider, way)
        seconds = time.thread_time() - started
        if slider.value != before:
            found.append(1000 * seconds)
        if slider.value == before or len(found) % 10 == 0:
            way = -way
    return statistics.median(found[3:])  # the first ones warm up


def kernels() -> dict[str, float]:
    """Name of a panel → what a move of its costliest slider costs the kernel; printed for every slider."""
    import torch  # here: foundry_lib comes first, so that idle threads sleep in the training that is pictured

    torch.set_num_threads(1)  # so that all of it is the time of this thread
    os.chdir(ROOT / "notebooks")
    names, worst = {}, {}
    exec(START, names)
    for name, (cell, _) in list(PANELS.items())[1:]:
        panel = eval(cell, names)
        for control in panel.controls.values():
            if isinstance(control, ipywidgets.Checkbox):
                control.value = True  # the head explorer then shows twice as much
        sliders = {key: control for key, control in panel.controls.items() if hasattr(control, "readout")}
        costs = {key: kernel(panel, slider) for key, slider in sliders.items()}
        print(f"{name}:", ", ".join(f"{key} {cost:.1f} ms" for key, cost in costs.items()), flush=True)
        worst[name] = max(costs.values())
    return worst


def measure(page, box, slider: int) -> list[float]:
    """Milliseconds of PRESSES key presses, up and down the slider in runs of ten; a press that changes nothing is None
    and is repeated the other way."""
    handle, found, key = box.locator(".noUi-handle").nth(slider), [], "ArrowRight"
    handle.scroll_into_view_if_needed()
    for _ in range(4 * PRESSES):
        if len(found) == PRESSES + 3:
            break
        seconds = press(page, box, handle, [key], limit=1.5)
        if seconds is None or len(found) % 10 == 9:
            key = "ArrowLeft" if key == "ArrowRight" else "ArrowRight"
        if seconds is not None:
            found.append(1000 * seconds)
    return found[3:]  # the first ones warm up


def storm(page, box, slider: int) -> float:
    """Milliseconds from the last of 30 quick presses until nothing changes any more; the wait for quiet taken off."""
    handle = box.locator(".noUi-handle").nth(slider)
    handle.focus()
    for number in range(30):
        page.keyboard.down("ArrowRight" if number % 20 < 10 else "ArrowLeft")
        page.wait_for_timeout(15)
    page.evaluate("window.released = performance.now(); window.changed = window.released")
    box.evaluate(
        "box => new MutationObserver(() => window.changed = performance.now()).observe(box, "
        "{subtree: true, childList: true, attributes: true})"
    )
    settled(page, box)
    return page.evaluate("window.changed - window.released")


def training_picture(trainer, steps: int = PICTURED) -> bytes:
    """A training after some of its steps, as `watch` shows it: a PNG."""
    figure = LossFigure(trainer, reference_lines(trainer.loader))
    for _ in trainer.run(steps):
        pass
    figure.update()
    return figure.value


def playground_picture(page, lab) -> bytes:
    """The playground with two filters set, as a learner sees it: a PNG."""
    cell = PANELS["playground"][0].replace("By the sea lived Clever Leo with his", "By the sea lived")
    run_all(
        page, lab.address(lab.write("picture", [START, f"play = {cell}\nplay", "play.set(temperature=1.4, top_k=8)"]))
    )
    box = first_panel(page)
    settled(page, box)
    return box.screenshot()


def store(lesson: str, picture: bytes):
    """A picture of the README, which says below it what it shows."""
    path = ROOT / "data" / f"lesson-{lesson}.png"
    path.write_bytes(picture)
    print(f"{path.relative_to(ROOT)}: {len(picture) / 1024:.0f} KiB", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", action="store_true", help="only the pictures of the README")
    parser.add_argument("--kernel", action="store_true", help="only what a move costs the kernel")
    options = parser.parse_args()
    if options.kernel:
        kernels()
        return
    if CHROMIUM is None:
        raise SystemExit("There is no Chromium on this machine.")
    busy = os.getloadavg()[0]
    if options.pictures:  # before JupyterLab starts: the picture says how fast the training is
        store("07", training_picture(new_trainer("tales-en")))
    with tempfile.TemporaryDirectory() as folder, running_lab(Path(folder)) as lab, sync_playwright() as driver:
        browser = launch(driver)
        window = {"width": 1280, "height": 1400}
        if options.pictures:
            store("08", playground_picture(browser.new_page(viewport=window), lab))
            return
        rows, bad, costs = [], [], kernels()
        for name, (cell, slider) in PANELS.items():
            page = browser.new_page(viewport=window)  # a page with an unsaved notebook would not be left
            book = lab.write(name.replace(" ", "_"), [START, cell])
            run_all(page, lab.address(book))
            box = first_panel(page)
            found, after = measure(page, box, slider), storm(page, box, slider)
            page.close()
            median, worst = statistics.median(found), max(found)
            cost = costs.get(name, 0)
            rows.append(f"| {name} | {median:.0f} | {worst:.0f} | {len(found)} | {after:.0f} | {cost:.0f} |")
            print(rows[-1], flush=True)
            if name in costs and (median > MEDIAN or worst > WORST or cost > KERNEL):
                bad.append(name)
        browser.close()
    text = "\n".join(
        [
            "# Slider to repaint",
            "",
            "Written by `benchmarks/latency.py`: milliseconds from a key's own event to the second animation frame",
            "after the new picture was decoded, in JupyterLab in a headless Chromium. The floor is the same path with",
            "nothing to draw. Settled: from the last of 30 quick presses until nothing changes any more. Kernel: what",
            f"a move costs the kernel's own thread, the median of {PRESSES} by the panel's costliest slider.",
            "",
            f"{os.cpu_count()} CPU cores, load {busy:.1f} before the start (below 0.5 is a quiet machine).",
            "",
            "| panel | median | worst | presses | settled after a storm | kernel |",
            "| --- | --- | --- | --- | --- | --- |",
            *rows,
            "",
            f"Promise: median {MEDIAN} ms, worst of {PRESSES} {WORST} ms, kernel {KERNEL} ms. "
            + (f"Not held by: {', '.join(bad)}." if bad else "Held by all."),
            "",
        ]
    )
    (ROOT / "benchmarks" / "latency.md").write_text(text, encoding="utf-8")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
