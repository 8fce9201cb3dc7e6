"""From opening a lesson to a text that a model wrote, in a real browser; writes benchmarks/first_text.md.

    .venv/bin/python benchmarks/first_text.py       # about five minutes; needs Playwright and a Chromium
    .venv/bin/python benchmarks/first_text.py 08    # one lesson only: printed, not written

Run it while nothing else runs. JupyterLab is up already, as for a learner who has just done another lesson. The clock
starts when the lesson's address is opened; Run → Run All Cells is pressed as soon as JupyterLab lets it. It stops when
the text stands on the page: in lesson 08 the first one, of the starter model; in lesson 07 one of the model as it is at
the end of its training, under the curve. The lesson has no stored outputs, and no earlier trainings to draw on. Exit
code 1 where a promise is not held.
"""

import argparse
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from in_browser import CHROMIUM, launch, run_all, running_lab  # noqa: E402

# lesson → what is waited for, some code of the cell that shows it, how the text begins there, the promise in seconds
LESSONS = {
    "08_sampling": ("the starter model speaks", "tale = sample_text(starter", r"^Once there was \w+ \w+", 15),
    "07_training": ("the model just trained speaks", "said = watch(trainer", r"^step 1600 · ", 300),
}
SCROLL = "top => document.querySelector('.jp-WindowedPanel-outer').scrollTop = top"
HEIGHT = "document.querySelector('.jp-WindowedPanel-outer').scrollHeight"


def stripped(lab, lesson: str):
    """Take the stored outputs out of the lab's copy of a lesson, so that no text stands there already."""
    path = lab.notebooks / f"{lesson}.ipynb"
    book = nbformat.read(path, as_version=4)
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.write(book, path)


def find(page, code: str, text: re.Pattern, limit: float) -> float:
    """Keep the cell with this code in sight until the text stands below it; the time of that."""
    cell, ends = page.locator(".jp-CodeCell", has_text=code), time.perf_counter() + limit
    while time.perf_counter() < ends:
        for top in range(0, page.evaluate(HEIGHT), 800):  # JupyterLab keeps only what is near the window
            if cell.count():
                break
            page.evaluate(SCROLL, top)
            page.wait_for_timeout(50)
        else:
            continue
        cell.scroll_into_view_if_needed()
        if cell.get_by_text(text).count():
            return time.perf_counter()
        page.wait_for_timeout(50)
    raise SystemExit(f"No text {text.pattern!r} was seen within {limit:.0f} s.")


def measure(driver, lab, lesson: str) -> tuple[float, float]:
    """Seconds from opening the lesson until Run All has been pressed, and until its text is on the page."""
    _, code, begins, promise = LESSONS[lesson]
    stripped(lab, lesson)
    browser = launch(driver)
    page = browser.new_page(viewport={"width": 1280, "height": 1400})
    opened = time.perf_counter()
    run_all(page, lab.address(lesson), wait=False)
    pressed = time.perf_counter()
    seen = find(page, code, re.compile(begins), 4 * promise)
    browser.close()
    lab.stop_kernels()
    return pressed - opened, seen - opened


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lesson", nargs="?", choices=[lesson[:2] for lesson in LESSONS], help="only this one")
    only = parser.parse_args().lesson
    if CHROMIUM is None:
        raise SystemExit("There is no Chromium on this machine.")
    busy, rows, bad = os.getloadavg()[0], [], []
    with tempfile.TemporaryDirectory() as folder, running_lab(Path(folder)) as lab, sync_playwright() as driver:
        for lesson, (what, _, _, promise) in LESSONS.items():
            if only in (None, lesson[:2]):
                pressed, seen = measure(driver, lab, lesson)
                rows.append(f"| {lesson} | {what} | {pressed:.1f} | {seen:.1f} | {promise} |")
                print(rows[-1], flush=True)
                bad += [lesson] if seen > promise else []
    if only is None:
        text = "\n".join(
            [
                "# From opening a lesson to a text that a model wrote",
                "",
                "Written by `benchmarks/first_text.py`: seconds from opening the lesson's address in a headless",
                "Chromium, with JupyterLab up and the lesson without stored outputs, until Run All Cells was pressed",
                "in the menu, and until the text stood on the page.",
                "",
                f"{os.cpu_count()} CPU cores, load {busy:.1f} before the start (below 0.5 is a quiet machine).",
                "",
                "| lesson | what is waited for | Run All pressed | text seen | promise |",
                "| --- | --- | --- | --- | --- |",
                *rows,
                "",
                f"Not held by: {', '.join(bad)}." if bad else "Both promises are held.",
                "",
            ]
        )
        (ROOT / "benchmarks" / "first_text.md").write_text(text, encoding="utf-8")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
