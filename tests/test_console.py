"""How commands end, and what they print where the output is no terminal."""

import os
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from foundry_lib import FoundryError
from foundry_lib.console import command_line, moving, run_command
from foundry_lib.instructor.refresh import normalise

ROOT = Path(__file__).resolve().parent.parent


def run(*arguments, cwd=None, **options) -> subprocess.CompletedProcess:
    env = dict(os.environ, PYTHONPATH=str(ROOT), PYTHONIOENCODING="cp1252")  # as Windows redirects
    env.pop("PYTHONUTF8", None)
    command = [sys.executable, "-m", "foundry_lib", *map(str, arguments)]
    return subprocess.run(command, env=env, capture_output=True, cwd=cwd, **options)


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["tales", "write", "zh", 1], "。"),
        (["generate", "--checkpoint", ROOT / "data" / "starter-zh", "--prompt", "从前", "--tokens", 4], "从前"),
        (["download"], "紅樓夢"),
        (["train", "--data", "没有.txt"], "没有.txt"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_redirected_output_is_utf8_whatever_the_code_page(tmp_path, arguments, expected):
    done = run(*arguments, cwd=tmp_path)
    text = (done.stdout + done.stderr).decode("utf-8")
    assert expected in text and "Traceback" not in text and "?" not in text.replace("?\n", "")[:200], text


def test_a_reader_that_has_read_enough_is_no_error():
    process = subprocess.Popen(
        [sys.executable, "-m", "foundry_lib", "tales", "write", "en", "2000"],
        env=dict(os.environ, PYTHONPATH=str(ROOT)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) == 1 and process.stderr.read() == b""


@pytest.mark.skipif(os.name == "nt", reason="a shell of another kind")
def test_a_printed_command_can_be_pasted():
    line = command_line("tales", "write", "en", "1")
    env = dict(os.environ, PYTHONPATH=str(ROOT))
    assert subprocess.run(line, shell=True, env=env, capture_output=True, text=True).stdout.count("\n") == 1
    awkward = ["my book.txt", "it's", "$HOME", "猫"]
    printed = command_line(*awkward).replace("-m foundry_lib", "-c 'import sys; print(sys.argv[1:])'")
    assert subprocess.run(printed, shell=True, capture_output=True, text=True).stdout == f"{awkward}\n"


def test_exit_codes(capsys):
    def refuse():
        raise FoundryError("no")

    def stop():
        raise KeyboardInterrupt

    assert [run_command(command) for command in (lambda: None, lambda: 1, refuse, stop)] == [0, 1, 2, 130]
    assert capsys.readouterr().err == "error: no\n\nStopped.\n"


def test_a_python_without_torch_gets_a_sentence(tmp_path):
    """As when a printed command is typed with the system's Python."""
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')")
    env = dict(os.environ, PYTHONPATH=os.pathsep.join([str(tmp_path), str(ROOT)]))
    done = subprocess.run([sys.executable, "-m", "foundry_lib", "tales"], env=env, capture_output=True, text=True)
    assert done.returncode == 1 and "has no torch" in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert os.path.join(".venv", "Scripts" if os.name == "nt" else "bin", "python -m foundry_lib") in done.stderr
    imported = subprocess.run([sys.executable, "-c", "import foundry_lib"], env=env, capture_output=True, text=True)
    assert "ModuleNotFoundError" in imported.stderr, "who imports the library sees where"


def test_a_line_moves_while_something_takes_long_and_is_not_stored(capsys):
    def slow():
        for step in range(4):
            time.sleep(0.2)
            yield step

    assert list(moving(slow(), "counting", 4)) == [0, 1, 2, 3] and list(moving(range(9), "quick", 9)) == [*range(9)]
    printed = capsys.readouterr()
    assert printed.out == "" and "counting" in printed.err and "4 of 4" in printed.err and "quick" not in printed.err
    last = printed.err.split("\r")[-1]  # what nbclient keeps of it
    texts = printed.err, last, last + last, "Beware!\n", last + "Beware!\n"
    outputs = [nbformat.v4.new_output("stream", name="stderr", text=text) for text in texts]
    cell = nbformat.v4.new_code_cell(outputs=list(outputs))
    normalise(nbformat.v4.new_notebook(cells=[cell]))
    assert cell.outputs == outputs[3:]
