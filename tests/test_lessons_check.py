"""The instructor's check on small lessons: what it sees, what it says, its exit codes, and that no kernel is left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import nbformat
import psutil
import pytest
from helpers import ROOT, copy_of_course
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from foundry_lib.instructor import check, refresh, report

SLIDER = """\
import ipywidgets
slider = ipywidgets.IntSlider()
slider.observe(lambda change: 1 / 0, 'value')
slider.value = 3"""
PLOT = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()"
FIGURE = new_output("display_data", {"text/plain": "<Figure size 640x480 with 1 Axes>", "image/png": "iVBOR"})
BARE = new_output("display_data", {"text/plain": "<Figure size 640x480 with 1 Axes>"})


def cell(source, printed="", **more):
    outputs = [new_output("stream", name="stdout", text=printed)] if printed else []
    return new_code_cell(source, outputs=outputs, **more)


def write_lesson(path: Path, *cells, header="# A lesson\n\n**Time**: 1 minute (3 s of computing).") -> Path:
    for count, one in enumerate(cells, 1):
        one.setdefault("execution_count", None)
        one.execution_count = count if one.execution_count is None else one.execution_count
    nbformat.write(new_notebook(cells=[new_markdown_cell(header), *cells], metadata=refresh.METADATA), path)
    return path


NETWORK = """\
import socket, subprocess, sys

def reach(host, port):
    try:
        socket.create_connection((host, port), timeout=5).close()
        return "connected"
    except OSError as error:
        return type(error).__name__
"""
EMPTY_RUNS = """\
import os, pathlib
runs = pathlib.Path(os.environ["FOUNDRY_RUNS"])
print([path.name for path in runs.glob("*")])
runs.mkdir(exist_ok=True)
(runs / "07_training").touch()"""
SERVER = "server = socket.create_server(('127.0.0.1', 0))\nprint(reach('127.0.0.1', server.getsockname()[1]))"
CHILD = """\
code = "import socket; socket.socket().connect(('192.0.2.1', 80))"
print(subprocess.run([sys.executable, "-c", code], capture_output=True).returncode)"""
LESSONS = {
    "green": [cell("print(1)", "1\n"), cell("import time; print(f'{time.time() % 9:.3f} s')", "0.5 s\n")],
    "runs": [cell(EMPTY_RUNS, "[]\n")],
    "number": [cell("print(1)", "1\n"), cell("print('a\\nb\\n<b>4.5678</b>')", "a\nb\n<b>4.5679</b>\n")],
    "raises": [cell("print(1)", "1\n"), cell("raise ValueError('<i>six</i> is wanted')"), cell("print(3)", "3\n")],
    "dies": [cell("print(1)", "1\n"), cell("import os; os._exit(1)"), cell("print(3)", "3\n")],
    "endless": [cell("print(1)", "1\n"), cell("while True: pass"), cell("print(3)", "3\n")],
    "stripped": [new_code_cell("print(1)", execution_count=0), new_code_cell("print(2)", execution_count=0)],
    "order": [cell("print(1)", "1\n"), cell("print(2)", "2\n", execution_count=7), cell("print(3)", "3\n")],
    "nothing compared": [cell("x = 1")],
    "callback": [cell(SLIDER)],
    "mixed": [cell("print(1)", "2\n"), cell("raise ValueError('late')"), cell("print(3)", "4\n")],
    "no picture": [new_code_cell(PLOT, outputs=[BARE])],
    "network": [
        cell(NETWORK),
        cell(SERVER, "connected\n"),
        cell("print(reach('192.0.2.1', 80))", "ConnectionRefusedError\n"),
        cell(CHILD, "1\n"),
        cell("socket.create_connection(('192.0.2.1', 80))"),
        cell("udp = socket.socket(type=socket.SOCK_DGRAM)\nudp.sendto(b'?', ('192.0.2.1', 53))"),
    ],
    "picture": [new_code_cell(PLOT, outputs=[FIGURE]), new_code_cell("x = 1", outputs=[FIGURE])],
}
EXPECTED = {  # lesson → verdict, the cell that is named, words of the difference
    "green": (None, None, ""),
    "runs": (None, None, ""),
    "number": ("differs", 2, "-<b>4.5679</b>\n+<b>4.5678</b>"),
    "raises": ("raises", 2, "ValueError: <i>six</i> is wanted"),
    "dies": ("dies", 2, "the kernel died in this cell"),
    "endless": ("endless", 2, "Timeout of 8 seconds exceeded"),
    "stripped": ("stripped", 1, "The stored lesson was not run"),
    "order": ("disorder", 2, "run number 7: not run from top to bottom"),
    "nothing compared": ("stripped", 1, "No cell of the lesson is compared"),
    "callback": ("raises", 1, "ZeroDivisionError"),
    "mixed": ("differs", 1, "-2\n+1"),
    "no picture": ("differs", 1, "Pictures: 0 stored, 1 drawn now."),
    "picture": ("differs", 2, "-<Figure size 640x480 with 1 Axes>"),
    "network": ("raises", 3, "this cell asked for 192.0.2.1 port 80"),
    "no notebook": ("broken", 1, "NotJSONError"),
}


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """All of them in one check: lesson → Run, and the seconds of the whole."""
    course = copy_of_course(tmp_path_factory.mktemp("course 课程"))
    paths = [write_lesson(course / "notebooks" / f"{name}.ipynb", *cells) for name, cells in LESSONS.items()]
    stripped = course / "notebooks" / "stripped.ipynb"
    text = stripped.read_text(encoding="utf-8")
    assert text.count('"execution_count": 0') == 2
    stripped.write_text(text.replace('"execution_count": 0', '"execution_count": null'), encoding="utf-8")
    paths.append(course / "notebooks" / "no notebook.ipynb")
    paths[-1].write_text("{ a half", encoding="utf-8")
    seen, before = [], set(psutil.Process().children(recursive=True))
    runs = check.check(paths, root=course, jobs=2, timeout=8, watch=lambda runs: seen.append(len(runs)))
    assert seen and set(psutil.Process().children(recursive=True)) <= before, "a kernel is left"
    return {run.path.stem: run for run in runs}


@pytest.mark.parametrize("name", EXPECTED)
def test_verdict_cell_and_difference(checked, name):
    verdict, number, words = EXPECTED[name]
    fault = checked[name].fault
    assert (fault and fault["verdict"]) == verdict
    if verdict:
        assert fault["cell"] == number
        assert words in report.what_happened(fault)
        assert len(report.what_happened(fault).splitlines()) <= report.LONGEST + 1, "never 200 lines"


def test_a_lesson_reaches_its_own_machine_and_no_other(checked):
    """A loopback server answers. A cell that asks for another machine is red: also where it catches the refusal, where
    a child of the kernel asks, and where it only sends a packet."""
    verdicts = [(record["verdict"], record["message"]) for record in checked["network"].records]
    assert [verdict for verdict, _ in verdicts] == ["ok", "ok", "raises", "raises", "raises", "raises"]
    assert "asked for 192.0.2.1 port 80; lessons run without a network" in verdicts[3][1], "the child's call"
    assert "ConnectionRefusedError: No lesson may connect to 192.0.2.1 port 80" in verdicts[4][1]
    assert "192.0.2.1 port 53" in verdicts[5][1]


def test_a_dead_kernel_is_reported_within_seconds(checked):
    assert sum(record["seconds"] for record in checked["dies"].records) < 10
    assert len(checked["dies"].records) == 2, "what can not run is not tried"


def test_costs_and_counts(checked):
    run = checked["green"]
    assert len(run.records) == run.n_cells == run.compared == 2
    assert 20 < run.memory < 500 and 0 < run.computing < 30 and 0 < run.seconds < 120
    assert len(checked["raises"].records) == 3, "the cells behind an error are run too"
    assert checked["stripped"].compared == 0
    assert len(checked["picture"].records[0]["pictures"]) == 1 and not checked["picture"].records[1]["pictures"]


def test_the_table_and_the_report(checked):
    runs = [*checked.values(), made_up("ok", missing="The lesson was stored with 3 cells, and now has 2.")]
    text = report.text(runs)
    for words in (
        "green",
        "DIFFERS",
        "RAISES",
        "KERNEL DIED",
        "TIME-OUT",
        "STRIPPED",
        "OUT OF ORDER",
        "CELLS MISSING",
        "DID NOT RUN",
        "2 of 16 lessons",
    ):
        assert words in text
    assert "number, code cell 2: DIFFERS" in text and "    +<b>4.5678</b>" in text and "Traceback" not in text
    page = report.html(runs)
    assert "<b>4.56" not in page and "&lt;b&gt;4.5678" in page and "<i>six" not in page, "all text is escaped"
    assert page.count('src="data:image/png;base64,iVBOR') == 2 and 'alt="picture, code cell 1"' in page
    assert "http" not in page.replace("http-equiv", ""), "it needs no other file"


def made_up(*verdicts, n_cells=None, name="06_tokens", done=True, missing=""):
    """A Run whose cells have these verdicts; "?" is a cell that was not run, "!" one that was run as the ninth."""
    records = [
        dict(
            cell=n,
            verdict="ok" if one in "?!" else one,
            count={"?": None, "!": 9}.get(one, n),
            compared=True,
            source=f"cell_{n}()",
        )
        | dict(message=f"what cell {n} says", expected="1", found="2", processor_seconds=1.0, memory=1.0, pictures=[])
        for n, one in enumerate(verdicts, 1)
    ]
    path = refresh.LESSONS / f"{name}.ipynb"
    return check.LessonRun(path, 1, n_cells or len(records), records, log="Killed", done=done, missing=missing)


@pytest.mark.parametrize(
    ("run", "verdict", "where", "heading"),
    [
        (made_up("ok", "differs"), "DIFFERS", "cell 2", "cell 2: DIFFERS\n"),
        (made_up("differs", "differs"), "DIFFERS", "cell 1", "cell 1: DIFFERS (1 later cell differs too)\n"),
        (
            made_up("ok", "differs", "differs", "raises", "differs", "raises"),
            "RAISES",
            "cell 2; cell 4 raises",
            "cell 2: DIFFERS (2 later cells differ too, 2 raise)\n",
        ),
        (made_up("raises", "differs"), "RAISES", "cell 1", "cell 1: RAISES (1 later cell differs)\n"),
        (
            made_up("differs", "dies", n_cells=5),
            "KERNEL DIED",
            "cell 1; cell 2 kills the kernel",
            "cell 1: DIFFERS (1 later cell kills the kernel)\n",
        ),
        (
            made_up("ok", "!", "!"),
            "OUT OF ORDER",
            "cell 2",
            "cell 2: OUT OF ORDER (1 later cell is out of order too)\n",
        ),
        (made_up("?", "?", "?"), "STRIPPED", "cell 1", "cell 1: STRIPPED (2 later cells are stripped too)\n"),
        (
            made_up("differs", "ok", n_cells=5),
            "DID NOT RUN",
            "cell 1; cell 3 ends the run",
            "cell 1: DIFFERS (1 later cell ends the run)\n",
        ),
    ],
)
def test_the_worst_verdict_is_shown_and_later_cells_are_counted(run, verdict, where, heading):
    """Behind a number that moved a cell may raise: it is not one more that differs."""
    assert report.row(run)[-2:] == (verdict, where)
    text, page = report.text([run]), report.html([run])
    assert f"06_tokens, code {heading}" in text and f"Code {heading.strip()}</p>" in page
    assert f"<table><tr><th>{report.HEAD[0]}</th>" in page
    worst = report.shown(run)[-1]
    assert worst["verdict"] == "differs" or (worst["message"] in text and worst["message"] in page)
    assert ("cell_1()" in text) == ("cell_1()" in page) == (run.fault["cell"] == 1 and verdict != "STRIPPED"), (
        "there is nothing wrong in it"
    )


def test_a_later_cell_that_raises_is_seen(checked):
    text = report.text([checked["mixed"]])
    assert "mixed, code cell 1: DIFFERS (1 later cell differs too, 1 raises)" in text
    assert "mixed, code cell 2: RAISES" in text and "ValueError: late" in text


def test_a_run_that_goes_on_is_not_broken_off():
    assert made_up("ok", n_cells=5, done=False).fault is None and made_up("ok", n_cells=5).fault["cell"] == 2
    assert [fault["verdict"] for fault in made_up("differs", n_cells=5, done=False).faults] == ["differs"]


@pytest.mark.parametrize(
    ("run", "says"),
    [
        (made_up("differs"), "If the change was meant, `python3 course.py refresh 06_tokens` stores"),
        (made_up("differs", "raises"), "`git diff` shows what was changed. Once the lesson runs"),
        (made_up("?"), "`git checkout notebooks/06_tokens.ipynb` brings the lesson back as it came, without what"),
        (made_up("!"), "`python3 course.py refresh 06_tokens` runs it as it is, from top to bottom, and stores"),
        (made_up("endless"), "as by `--timeout 1800`; else `git diff`"),
        (made_up("ok", n_cells=3), "If the file is damaged, `git checkout notebooks/06_tokens.ipynb`"),
        (made_up("ok"), None),
    ],
)
def test_a_red_lesson_says_what_to_do_next(run, says):
    text, page = report.text([run]), report.html([run])
    if says is None:
        assert "`" not in text and "git" not in text and "refresh" not in page and "<code>" not in page
    else:
        commands = says.split("`")[1::2]
        assert says in text and commands and all(page.count(f"<code>{command}</code>") == 1 for command in commands)
        assert "`" not in page


def test_the_next_step_names_a_lesson_as_refresh_takes_it(tmp_path):
    run = made_up("differs")
    assert refresh.find_lessons([run.name]) == [run.path]
    run.path = write_lesson(tmp_path / "a lesson.ipynb", cell("1"))
    assert f'refresh "{run.path}"`' in report.text([run])
    assert refresh.find_lessons([run.name.strip('"')]) == [run.path]


@pytest.mark.parametrize(
    ("stated", "computing", "says"),
    [(10, 10, "ok"), (10, 19, "ok"), (10, 21, "too low"), (10, 6, "ok"), (10, 4, "too high"), (None, 4, "none")],
)
def test_a_header_holds_to_a_factor_of_two(stated, computing, says):
    run = check.LessonRun(Path("x"), stated, 1, [{"processor_seconds": computing * 3, "memory": 0}], slower=3.0)
    assert run.header == says


def test_a_run_that_broke_off_says_nothing_of_the_header():
    assert made_up("ok").header == "ok" and made_up("dies", n_cells=3).header == "none"
    assert "says 1 s" in report.row(made_up("dies", n_cells=3))


def test_the_time_is_read_from_the_header(tmp_path):
    path = write_lesson(tmp_path / "a.ipynb", cell("1"))
    assert check.begin(path).stated == 3
    assert check.begin(write_lesson(path, cell("1"), header="# A lesson")).stated is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["no-such-lesson"], "There is no lesson"),
        (["--jobs", "0"], "at least 1"),
        (["--timeout", "x"], "invalid int"),
        (["--html", "01_rms_norm"], "ends in .html"),
        (["--all"], "unrecognized"),
    ],
)
def test_wrong_use_is_2(arguments, says, capsys):
    with pytest.raises(SystemExit) as stopped:
        check.main(arguments)
    assert stopped.value.code == 2 and says in capsys.readouterr().err


def test_a_lesson_outside_of_any_course_is_refused_in_a_sentence(tmp_path, capsys):
    path = write_lesson(tmp_path / "mine.ipynb", cell("print(1)", "1\n"))
    test_wrong_use_is_2([str(path)], "lies in no folder of the course; copy it into notebooks", capsys)


@pytest.mark.parametrize(("name", "code"), [("green", 0), ("number", 1)])
def test_exit_code_and_report(name, code, checked, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(check, "check", lambda *_, **__: [checked[name]])
    file = tmp_path / "made" / "report.html"
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert check.main(["--html", str(file)]) == code
    finally:
        signal.signal(signal.SIGTERM, before)
    assert name in file.read_text(encoding="utf-8") and name in capsys.readouterr().out


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_leaves_no_kernel(tmp_path, sent, code):
    course = copy_of_course(tmp_path)
    path = write_lesson(
        course / "notebooks" / "slow.ipynb", cell("print(1)", "1\n"), cell("import time; time.sleep(99)")
    )
    program = "import sys; from foundry_lib.instructor import check; sys.exit(check.main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, str(path)]
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, cwd=ROOT)
    family, deadline = [], time.monotonic() + 90
    while not any("ipykernel" in " ".join(one.cmdline()) for one in family):
        assert process.poll() is None and time.monotonic() < deadline, process.stderr.read()
        family = psutil.Process(process.pid).children(recursive=True)
        time.sleep(0.3)
    process.send_signal(sent)
    assert process.wait(20) == code
    _, left = psutil.wait_procs(family, 5)
    assert not left
    assert b"Traceback" not in process.stderr.read()


def test_a_lesson_with_fewer_cells_than_stored_is_red(tmp_path):
    path = write_lesson(tmp_path / "less.ipynb", cell("print(1)", "1\n"), cell("print(2)", "2\n"))
    book = nbformat.read(path, 4)
    for stored, verdicts in ((4, ["missing"]), (3, []), (2, [])):
        book.metadata["n_cells"] = stored
        nbformat.write(book, path)
        run = check.begin(path)
        assert [fault["verdict"] for fault in run.faults] == verdicts
        assert run.missing == (
            "The lesson was stored with 4 cells of text and code, and now has 3." if verdicts else ""
        )


def test_a_long_difference_is_cut():
    (fault,) = made_up("differs").faults
    fault |= {"expected": "\n".join(map(str, range(1, 301))), "found": "\n".join(map(str, range(300)))}
    shown = report.what_happened(fault).splitlines()
    assert "+0" in shown and len(shown) <= report.LONGEST + 1
    fault |= {"expected": "", "found": "\n".join(map(str, range(300)))}
    shown = report.what_happened(fault).splitlines()
    assert len(shown) == report.LONGEST + 1 and shown[-1] == "… 263 lines more"


def test_progress_is_one_line_on_a_screen_and_one_a_lesson_elsewhere(checked):
    written = []
    out = SimpleNamespace(isatty=lambda: True, write=written.append, flush=lambda: None)
    going = check.LessonRun(Path("02_rope.ipynb"), None, 35, checked["green"].records, seconds=2.0)
    report.Progress(1, out)([checked["green"], going])
    assert "1 of 2 lessons, 4 of 37 cells" in "".join(written) and "02_rope 2/35" in "".join(written)
    written.clear()
    out.isatty = lambda: False
    progress = report.Progress(1, out)
    progress([checked["number"], going])
    progress([checked["number"], going])
    assert "".join(written).count("number: DIFFERS") == 1 and "rope" not in "".join(written)


def test_each_lesson_states_its_computing():
    for path in refresh.find_lessons([]):
        assert check.begin(path).stated, f"{path.name}: its first cell does not say (N s of computing)"
