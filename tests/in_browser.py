"""JupyterLab on loopback and a headless Chromium: shared by tests/test_browser.py and benchmarks/latency.py."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import nbformat

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
import course  # noqa: E402

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
IDLE = ".jp-Notebook-ExecutionIndicator[data-status=idle]"
# idle for a second: between two cells it is for a moment
AT_REST = f"""() => {{
    if (!document.querySelector('{IDLE}')) window.idleSince = null;
    else window.idleSince ??= performance.now();
    return window.idleSince !== null && performance.now() - window.idleSince > 1000;
}}"""
READY = "Python 3 (ipykernel) | Idle"  # the status bar, once the notebook has its kernel
STARTED = "() => [...document.querySelectorAll('.jp-InputPrompt')].some(prompt => prompt.textContent.includes('*'))"


class Lab:
    """A running JupyterLab. notebooks: its folder. address(name): of a notebook there."""

    def __init__(self, copy: Path, port: int, token: str):
        self.notebooks, self.port, self.token = copy / "notebooks", port, token

    def address(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/lab/tree/{name}.ipynb?token={self.token}&reset"

    def stop_kernels(self):
        """As one would by hand: each open lesson's kernel keeps some hundred megabytes."""
        kernels, ask = f"http://127.0.0.1:{self.port}/api/kernels", {"Authorization": f"token {self.token}"}
        for kernel in json.load(urlopen(Request(kernels, headers=ask))):
            urlopen(Request(f"{kernels}/{kernel['id']}", headers=ask, method="DELETE")).close()

    def cut(self, lesson: str, name: str, keep) -> str:
        """A copy of a lesson with only the cells that keep(number of the code cell, source) wants; returns its name."""
        book, n = nbformat.read(ROOT / "notebooks" / f"{lesson}.ipynb", as_version=4), 0
        cells = []
        for cell in book.cells:
            if cell.cell_type == "code":
                n += 1
                if keep(n, cell.source):
                    cell.outputs, cell.execution_count = [], None
                    cells.append(cell)
        book.cells = cells
        nbformat.write(book, self.notebooks / f"{name}.ipynb")
        return name

    def as_far_as_its_panels(self, lesson: str) -> tuple[str, int]:
        """A copy of a lesson, stored outputs and all, that ends with its last panel; its name, and how many cells with
        panels it has. What comes after shows nothing that needs a front end, and nbval re-runs and compares it."""
        book = nbformat.read(ROOT / "notebooks" / f"{lesson}.ipynb", as_version=4)
        places = [place for place, cell in enumerate(book.cells) if any(map(is_panel, cell.get("outputs", [])))]
        book.cells = book.cells[: places[-1] + 1]
        nbformat.write(book, self.notebooks / f"{lesson}_panels.ipynb")
        return f"{lesson}_panels", len(places)

    def write(self, name: str, sources: list[str]) -> str:
        """A notebook of these cells; returns its name."""
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
        book.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(book, self.notebooks / f"{name}.ipynb")
        return name


def n_panels(path: Path) -> int:
    """How many cells of a lesson have a panel in their stored outputs."""
    cells = nbformat.read(path, as_version=4).cells
    return sum(any(map(is_panel, cell.get("outputs", []))) for cell in cells)


def is_panel(output) -> bool:
    """A panel's stored output is its picture, and as text <its name: its reading>."""
    data = output.get("data", {})
    return "image/png" in data and re.match("<[^:>]+: ", data.get("text/plain", "")) is not None


@contextmanager
def running_lab(folder: Path, launched: bool = False) -> Iterator[Lab]:
    """JupyterLab over a copy of the course, in a folder with a space and Chinese characters in its name.

    launched: as `course.py lab` starts it, on the learner's copies and the start page; else on the lessons themselves.
    """
    copy = folder / "课程 copy"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", "runs", "work", "__pycache__"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = course.lab_command(sys.executable, copy / "notebooks", port, browser=False)
    if launched:
        command = [sys.executable, str(copy / "course.py"), "--here", "lab", "--no-browser", "--port", str(port)]
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
            found = re.search(rf"http://127\.0\.0\.1:{port}/lab\S*\?token=(\w+)", log.read_text())
            if found:
                break
            assert server.poll() is None, log.read_text()
            time.sleep(0.2)
        yield Lab(copy, port, found[1])
    finally:
        server.terminate()
        server.wait(30)


def launch(driver):
    return driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])


def run_all(page, address: str, wait: bool = True):
    """Open a lesson and choose Run → Run All Cells, as a learner does. wait: until every cell has run."""
    page.goto(address, wait_until="domcontentloaded")
    page.wait_for_selector(".jp-NotebookPanel .jp-CodeCell", timeout=120_000)
    page.wait_for_selector(IDLE, timeout=120_000, state="attached")
    for _ in range(8):  # while JupyterLab is still loading the menu may not answer, and a dialog may ask for a kernel
        try:
            for dialog in page.locator("dialog.jp-Dialog").all():
                dialog.locator("select").first.select_option(label="Python 3 (ipykernel)", timeout=4000)
                dialog.locator(".jp-mod-accept").click(timeout=4000)
            page.get_by_text(READY).wait_for(timeout=8000)
            page.get_by_role("menuitem", name="Run", exact=True).click(timeout=4000)
            page.get_by_role("menuitem", name="Run All Cells", exact=True).click(timeout=4000)
            page.wait_for_function(STARTED, timeout=8000)
            break
        except Exception:  # Playwright's TimeoutError, which this file does not import
            if not page.locator("dialog.jp-Dialog").count():  # Escape in that dialog would choose to have no kernel
                page.keyboard.press("Escape")
    else:
        raise AssertionError(f"Run All did not start: {page.locator('dialog.jp-Dialog').all_inner_texts()}")
    if wait:
        at_rest(page)


def at_rest(page):
    """Wait until every cell has run."""
    page.wait_for_function(AT_REST, timeout=300_000)


def panels(page, expected: int = 0):
    """Each panel of the open lesson once, scrolled into view: JupyterLab keeps only what is near the window.

    On a busy machine a cell can take longer to come into view; while some of the expected ones are missing, each round
    waits longer.
    """
    seen = set()
    for pause in (100, 500, 2000):
        height = page.evaluate("document.querySelector('.jp-WindowedPanel-outer').scrollHeight")
        for top in range(0, int(height), 600):
            page.evaluate(f"document.querySelector('.jp-WindowedPanel-outer').scrollTop = {top}")
            page.wait_for_timeout(pause)
            for box in page.locator(".jp-OutputArea-output .widget-vbox").all():
                cell = box.evaluate("e => e.closest('.jp-Cell').getAttribute('data-windowed-list-index')")
                parts = box.locator(".widget-html-content p").count(), box.locator("img").count()
                if cell not in seen and box.is_visible() and all(parts):  # a question has words and no picture
                    seen.add(cell)
                    yield cell, box
        if len(seen) >= expected:
            return


def first_panel(page):
    """The first panel of the open lesson, once it is on the page."""
    page.wait_for_selector(".jp-OutputArea-output .widget-vbox img", timeout=60_000, state="attached")
    for _ in range(20):
        for _, box in panels(page):
            return box
    raise AssertionError("there is no panel to be seen")


def state(box) -> tuple[str, str]:
    """The reading and the address of the picture, which is another one after each redraw."""
    return box.locator(".widget-html-content p").inner_text(), box.locator("img").first.get_attribute("src")


# From the key's own event to the second animation frame after the new picture has been decoded. null where it is known
# that none will come: a slider stands where it stood, at its end, or the reading, which is sent after the picture, has
# been another one for a while.
WATCH = """box => {
    const first = box.querySelector('img').src, said = box.querySelector('.widget-html-content p').textContent;
    const knob = document.activeElement.closest('.noUi-origin'), place = knob?.style.transform;
    window.painted = new Promise(done => box.addEventListener('keydown', () => {
        const pressed = performance.now();
        let other = null;
        const look = async () => {
            const picture = box.querySelector('img'), now = performance.now();
            if (picture.src === first) {
                if (box.querySelector('.widget-html-content p').textContent !== said) other ??= now;
                const stays = knob && knob.style.transform === place && now - pressed > 300;
                if (stays || (other !== null && now - other > 500)) { done(null); return; }
                requestAnimationFrame(look);
                return;
            }
            try { await picture.decode(); } catch (error) { requestAnimationFrame(look); return; }
            requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - pressed)));
        };
        look();
    }, {once: true, capture: true}));
}"""


def press(page, box, control, keys, limit: float = 6) -> float | None:
    """Press keys on a focused control; seconds until the new picture is painted, None if it stays the same.

    With several keys (a text, then Enter) only the last is timed.
    """
    control.focus()
    for key in keys[:-1]:
        page.keyboard.press(key)
    box.evaluate(WATCH)
    page.keyboard.press(keys[-1])
    wait = f"Promise.race([window.painted, new Promise(done => setTimeout(() => done(null), {1000 * limit}))])"
    ms = page.evaluate(wait)
    return None if ms is None else ms / 1000


def settled(page, box, quiet: float = 0.8, limit: float = 15) -> tuple[str, str]:
    """The state of a panel when it has stayed the same for a while."""
    last, since, ends = state(box), time.perf_counter(), time.perf_counter() + limit
    while time.perf_counter() - since < quiet and time.perf_counter() < ends:
        page.wait_for_timeout(50)
        if state(box) != last:
            last, since = state(box), time.perf_counter()
    return last
