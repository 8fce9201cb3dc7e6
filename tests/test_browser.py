"""The lessons in JupyterLab, in a headless Chromium: run from the menu, every control of every panel moved by keyboard.

    python3 course.py test --browser        # installs the driver (Playwright); Chromium must be there already

Skipped with a sentence where either is missing.
"""

import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
import course  # noqa: E402

WITH_PANELS = sorted(
    path.stem for path in (ROOT / "notebooks").glob("*.ipynb") if "foundry_lib.panels" in path.read_text("utf-8")
)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
playwright = pytest.importorskip(
    "playwright.sync_api", reason="no Playwright: `python3 course.py test --browser` installs it", exc_type=ImportError
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine, so no browser test")
IDLE = ".jp-Notebook-ExecutionIndicator[data-status=idle]"
CONTROLS = ".noUi-handle, input[type=checkbox], input[type=text]"
KEYS = {"checkbox": ["Space"], "text": ["End", "Space", "a", "Enter"], "": ["ArrowLeft"]}  # "" is a slider
BACK = {"checkbox": ["Space"], "": ["ArrowRight"]}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab on loopback over a copy of the course, in a folder with a space and Chinese characters in its name."""
    copy = tmp_path_factory.mktemp("lab") / "课程 copy"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", "runs", "__pycache__"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = course.lab_command(sys.executable, port, browser=False)
    command = [part.replace(str(ROOT / "notebooks"), str(copy / "notebooks")) for part in command]
    settings = copy / "settings"
    quiet = settings / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    quiet.parent.mkdir(parents=True)
    quiet.write_text('{"fetchNews": "false", "checkForUpdates": false}', encoding="utf-8")
    env = dict(os.environ, PYTHONPATH=str(copy), JUPYTERLAB_SETTINGS_DIR=str(settings), OMP_WAIT_POLICY="PASSIVE")
    log = copy / "lab.log"
    with log.open("w") as out:
        server = subprocess.Popen(command, env=env, stdout=out, stderr=subprocess.STDOUT, cwd=copy)
    try:
        for _ in range(600):
            found = re.search(rf"http://127\.0\.0\.1:{port}/lab\?token=(\w+)", log.read_text())
            if found:
                break
            assert server.poll() is None, log.read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/lab/tree/{{}}.ipynb?token={found[1]}&reset"
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()


def run_all(page, address: str):
    """Open a lesson and choose Run → Run All Cells, as a learner does."""
    page.goto(address, wait_until="domcontentloaded")
    page.wait_for_selector(".jp-NotebookPanel .jp-CodeCell", timeout=120_000)
    page.wait_for_selector(IDLE, timeout=120_000, state="attached")
    for _ in range(5):  # the menu may not answer while JupyterLab is still loading
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        try:
            page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=busy]", timeout=4000, state="attached")
            break
        except playwright.TimeoutError:
            page.keyboard.press("Escape")
    page.wait_for_selector(IDLE, timeout=300_000, state="attached")


def panels(page):
    """Each panel of the open lesson once, scrolled into view: JupyterLab keeps only what is near the window."""
    height = page.evaluate("document.querySelector('.jp-WindowedPanel-outer').scrollHeight")
    seen = set()
    for top in range(0, int(height), 600):
        page.evaluate(f"document.querySelector('.jp-WindowedPanel-outer').scrollTop = {top}")
        page.wait_for_timeout(500)
        for box in page.locator(".jp-OutputArea-output .widget-vbox").all():
            cell = box.evaluate("e => e.closest('.jp-Cell').getAttribute('data-windowed-list-index')")
            if cell not in seen and box.is_visible() and box.locator(".widget-html-content p").count():
                seen.add(cell)
                yield cell, box


def state(box) -> tuple[str, str]:
    """The reading and the address of the picture, which is another one after each redraw."""
    return box.locator(".widget-html-content p").inner_text(), box.locator("img").first.get_attribute("src")


def press(page, box, control, keys) -> float | None:
    """Press keys on a focused control; seconds until the picture is another one, None if it stays for 6 s."""
    before, started = state(box), time.perf_counter()
    control.focus()
    for key in keys:
        page.keyboard.press(key)
    while time.perf_counter() - started < 6:
        if state(box)[1] != before[1]:
            return time.perf_counter() - started
        page.wait_for_timeout(10)
    return None


@pytest.mark.parametrize("lesson", WITH_PANELS)
def test_a_lesson_runs_and_every_control_moves_by_keyboard(lab, browser, lesson, record_property):
    page = browser.new_page(viewport={"width": 1280, "height": 1400})
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    try:
        run_all(page, lab.format(lesson))
        seconds, found = [], 0
        for cell, box in panels(page):
            found += 1
            for control in box.locator(CONTROLS).all():
                kind = control.evaluate("e => e.type || ''")
                before = state(box)
                keys, back = KEYS[kind], BACK.get(kind)
                took = press(page, box, control, keys)
                if took is None and back:  # it stood at that end
                    keys, back = back, keys
                    took = press(page, box, control, keys)
                assert took is not None, f"{lesson}, cell {cell}: a {kind or 'slider'} does not move the picture"
                page.wait_for_timeout(200)
                assert state(box)[0] != before[0], f"{lesson}, cell {cell}: the reading stays when a control moves"
                seconds.append(took)
                if back:  # as it was: at top-k 1, for example, no other slider would change anything
                    press(page, box, control, back)
        assert found, f"{lesson} has no panel with a reading"
        assert not errors and not page.locator('[data-mime-type="application/vnd.jupyter.error"]').count(), errors
        record_property("median seconds from key to picture", round(statistics.median(seconds), 3))
        print(f"\n{lesson}: {found} panels, {len(seconds)} controls, key to picture {statistics.median(seconds):.2f} s")
    finally:
        page.close()
