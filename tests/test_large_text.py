"""A text that is too large for the memory: read in pieces, with a bar, stopped at any moment, nothing half-written.

--long: 1 GiB, and 40 stops; otherwise some MiB, for which the sizes that the library calls large are set lower.
"""

import os
import random
import re
import signal
import subprocess
import sys
import time

import pytest
from helpers import kernel, run_cell

from foundry_lib import DataLoader
from foundry_lib.text import corpus

MIB = 2**20
TRAIN = """
import sys
from foundry_lib.commands import train
from foundry_lib.text import corpus, vocabulary
corpus.LARGE_TEXT = vocabulary.LARGEST_LESSON = {large}
sys.exit(train.main(sys.argv[1:]))
"""
signals = pytest.mark.skipif(os.name == "nt", reason="this system cannot send another process Ctrl-C alone")


def write_text(path, mib: int):
    """Lines of invented words, Chinese ones and signs that need four bytes among them."""
    dice = random.Random(1)
    words = ["".join(dice.choices("etaoinshrdlu", k=dice.randint(2, 9))) for _ in range(5000)]
    kinds = [lambda: " ".join(dice.choices(words, k=10)), lambda: "".join(dice.choices("猫坐在橡树上看月亮，", k=20))]
    lines = [dice.choices(kinds, (9, 1))[0]() + " 🦉" * (n % 50 == 0) + "\n" for n in range(25_000)]
    part = "".join(lines).encode()[:MIB].decode(errors="ignore").encode()
    with open(path, "wb") as file:
        while file.tell() < mib * MIB:
            file.write(part)
    return path


def start(tmp_path, *options, large: int, **pipes) -> subprocess.Popen:
    """The command that trains, in a process of its own; Ctrl-C reaches it even where the tests run in background."""
    command = [sys.executable, "-c", TRAIN.format(large=large), *map(str, options)]
    env = dict(os.environ, FOUNDRY_CACHE=str(tmp_path / "cache"), PYTHONUTF8="1")
    ready = None if os.name == "nt" else lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(command, env=env, cwd=tmp_path, text=True, encoding="utf-8", preexec_fn=ready, **pipes)


def greatest_memory(process) -> float:
    """MiB that the process had of its own at most, until its end: what it maps from files is not counted."""
    most = 0
    while process.poll() is None:
        with open(f"/proc/{process.pid}/status") as status:
            found = re.search(r"RssAnon:\s*(\d+)", status.read())
        most = max(most, int(found[1]) if found else 0)  # a process that has just ended has none
        time.sleep(0.02)
    return most / 1024


@pytest.mark.skipif(
    not os.path.exists("/proc/self/status"), reason="this system does not tell what memory is one's own"
)
def test_memory_does_not_grow_with_the_text(tmp_path, request):
    long, peaks, options = request.config.getoption("--long"), [], ["--steps", 3, "--block-size", 32, "--device", "cpu"]
    for mib in (64, 1024) if long else (3, 19):
        path, began = write_text(tmp_path / f"{mib}.txt", mib), time.monotonic()
        with open(tmp_path / "said.txt", "w+", encoding="utf-8") as said:
            process = start(
                tmp_path, "--data", path, *options, large=8 * MIB if long else MIB, stdout=said, stderr=said
            )
            peaks.append(greatest_memory(process))
            said.seek(0)
            words = said.read()
        assert process.returncode == 0 and "Saved to" in words, words[-2000:]
        assert re.search(rf"{mib}.txt, tokenizing: +\d+%\|.*/.*<", words), "a bar with bytes done and time left"
        print(f"\n{mib} MiB in {time.monotonic() - began:.0f} s: {peaks[-1]:.0f} MiB of memory at most")
    assert peaks[1] - peaks[0] < 40 and peaks[1] < 500


def wait_for(stream, words: str) -> str:
    """Read until the words have come; returns what was read."""
    read = ""
    while words not in read:
        more = stream.read(1)
        assert more, read
        read += more
    return read


@signals
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_a_stop_at_any_moment_leaves_nothing_half_written(tmp_path, how, request, monkeypatch):
    stops = 20 if request.config.getoption("--long") else 2
    path, dice, slowest = write_text(tmp_path / "大 text.txt", 5), random.Random(2), 0.0
    cache, options = tmp_path / "cache", ["--data", path, "--out", "run", "--steps", 3, "--block-size", 32]
    for number in range(stops):
        process = start(tmp_path, *options, large=MIB, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        wait_for(process.stderr, "reading" if number % 4 == 0 else "tokenizing")
        time.sleep(dice.random() * 0.4)
        process.send_signal(how)
        sent = time.monotonic()
        _, said = process.communicate(timeout=60)
        slowest = max(slowest, time.monotonic() - sent)
        if how == signal.SIGINT:
            assert process.returncode == 130 and re.search(r"\nStopped[^\n]*\.\n$", said), said
            assert not list(cache.glob("*.new")) and not (tmp_path / "run").exists()
    print(f"\n{stops} stops, the slowest after {slowest:.2f} s")
    assert not (tmp_path / "run").exists()
    monkeypatch.setenv("FOUNDRY_CACHE", str(cache))
    monkeypatch.setattr(corpus, "LARGE_TEXT", MIB)
    monkeypatch.setattr("foundry_lib.text.vocabulary.LARGEST_LESSON", MIB)
    after = DataLoader(path, block_size=32)
    assert len(list(cache.iterdir())) == 2, "what was half-written is gone"
    monkeypatch.setenv("FOUNDRY_CACHE", str(tmp_path / "another cache"))
    never_stopped = DataLoader(path, block_size=32)
    assert after.train_tokens.tobytes() == never_stopped.train_tokens.tobytes()
    assert after.val_tokens.tobytes() == never_stopped.val_tokens.tobytes()


@signals
def test_the_stop_button_is_one_sentence_in_a_notebook(tmp_path, monkeypatch):
    path = write_text(tmp_path / "text.txt", 12)
    monkeypatch.setenv("FOUNDRY_CACHE", str(tmp_path / "cache"))
    with kernel() as (manager, client):
        run_cell(client, f"from foundry_lib.text import corpus; corpus.LARGE_TEXT = {MIB}")
        run_cell(client, "from foundry_lib import DataLoader")
        cell = client.execute(f"loader = DataLoader({str(path)!r})")
        said, pressed, error, state = "", False, None, "busy"
        while state != "idle":
            message = client.get_iopub_msg(timeout=60)
            if message["parent_header"].get("msg_id") == cell:
                content = message["content"]
                said, state = said + content.get("text", ""), content.get("execution_state", "busy")
                error = content if message["msg_type"] == "error" else error
                if "tokenizing" in said and not pressed:
                    manager.interrupt_kernel()
                    pressed = True
        assert run_cell(client, "print(1 + 1)") == "2\n", "the next cell answers"
    assert error["ename"] == "Stopped" and len(error["traceback"]) == 2
    assert error["traceback"][0] == f"Stopped: Stopped before {path} was in tokens; nothing half-written is left."
    assert list((tmp_path / "cache").iterdir()) == []
