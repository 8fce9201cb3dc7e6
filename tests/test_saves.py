"""Saving under violence: kill -9 at random moments, flipped bits, cut files, two writers, a disk that refuses.

The long form (--long) is the proof whose figures stand in benchmarks/RELIABILITY.md; the short one runs every time.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from functools import partial

import pytest
from helpers import OWL_TEXT, TOKENIZER, small_model, small_trainer

from foundry_lib import CheckpointError
from foundry_lib.files import writing
from foundry_lib.training.checkpoint import (
    Checkpoint,
    checkpoints,
    clear_unfinished,
    keep_newest,
    load_checkpoint,
    save_checkpoint,
)

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork a process to kill")


def killed(work, first: int, seconds: float) -> int:
    """Start `work(pipe)` in a process and kill it, so many seconds after it has confirmed a `first` number of saves;
    the highest step that it had confirmed."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            work(write)
        finally:
            os._exit(1)
    os.close(write)
    with os.fdopen(read) as pipe:
        confirmed = [int(pipe.readline()) for _ in range(first)]
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return max([*confirmed, *map(int, pipe.read().split())])


def save_for_ever(folder, same: bool, pipe: int):
    """Save step after step (or one step again and again), and tell the parent each one that is confirmed."""
    made, step = small_model(1), 0
    while True:
        step += 1
        save_checkpoint(folder / ("step-000001" if same else f"step-{step:06d}"), made, TOKENIZER, values={"n": step})
        os.write(pipe, b"%d\n" % step)
        for old in sorted(folder.glob("step-??????"))[:-3]:
            shutil.rmtree(old)


@needs_fork
@pytest.mark.parametrize("same", [False, True], ids=["new steps", "the same step"])
def test_a_kill_at_any_moment_loses_nothing_confirmed(tmp_path, same, request):
    kills = 200 if request.config.getoption("--long") else 8
    dice, unreadable, older, in_the_middle = random.Random(5), 0, 0, 0
    for number in range(kills):
        folder = tmp_path / f"跑 {number}"
        folder.mkdir()
        confirmed = killed(partial(save_for_ever, folder, same), 1, dice.random() * 0.05)
        found = checkpoints(folder)
        in_the_middle += any(folder.glob("*.new"))
        try:
            load_checkpoint(found[-1])
            saved = int((found[-1] / "trainer.json").read_text().split(":")[1].strip(" }\n"))
            older += saved < confirmed
        except (CheckpointError, IndexError):
            unreadable += 1
        shutil.rmtree(folder)
    print(f"\n{kills} kills, {in_the_middle} of them in the middle of a save: {unreadable} unreadable, {older} too old")
    assert unreadable == older == 0 and in_the_middle


def train_for_ever(trainer, folder, pipe: int):
    """Save after step after step, keep the newest two, and tell the parent each one that is done."""
    saved = []
    while True:
        trainer.step += 1
        saved = keep_newest([*saved, trainer.save(folder)])
        os.write(pipe, b"%d\n" % trainer.step)


@needs_fork
def test_a_kill_at_any_moment_leaves_the_newest_two(tmp_path, request):
    kills = 200 if request.config.getoption("--long") else 10
    (tmp_path / "text.txt").write_text(OWL_TEXT, encoding="utf-8")
    trainer, dice, removing, saving = small_trainer(tmp_path / "text.txt", 10_000), random.Random(9), 0, 0
    for number in range(kills):
        folder = tmp_path / f"run {number}"
        confirmed = killed(partial(train_for_ever, trainer, folder), 3, dice.random() * 0.1)
        whole = [path for path in checkpoints(folder) if Checkpoint.open(path)]
        assert len(whole) >= 2 and int(whole[-1].name[-6:]) >= confirmed
        left = [int(path.name[5:11]) for path in folder.glob("step-*.new")]
        removing, saving = removing + any(n < confirmed for n in left), saving + any(n > confirmed for n in left)
        keep_newest([*whole, trainer.save(folder)])
        assert all(Checkpoint.open(path) for path in folder.glob("step-*")), (
            "a half-written or half-removed one is gone"
        )
        shutil.rmtree(folder)
    print(
        f"\n{kills} kills, {saving} in the middle of a save and {removing} of a removal: the newest two whole each time"
    )
    assert saving


def test_a_damaged_checkpoint_is_not_counted_among_those_to_keep(tmp_path):
    saved = [save_checkpoint(tmp_path / f"step-{n:06d}", small_model(n), TOKENIZER) for n in range(5)]
    damage(saved[3] / "model.safetensors", random.Random(1))
    assert keep_newest(saved) == saved[2:] and sorted(tmp_path.iterdir()) == saved[2:]
    assert keep_newest(saved[2:], keep=1, also=saved[2]) == [saved[2], saved[4]] == sorted(tmp_path.iterdir())


def damage(file, dice):
    """One bit of a file, turned over."""
    data = bytearray(file.read_bytes())
    place = dice.randrange(8 * len(data))
    data[place // 8] ^= 1 << place % 8
    file.write_bytes(data)


def test_a_flipped_bit_or_a_cut_end_is_refused_and_the_good_one_named(tmp_path, request):
    flips = 500 if request.config.getoption("--long") else 60
    good = save_checkpoint(tmp_path / "step-000007", small_model(1), TOKENIZER, values={"n": 7})
    bad = save_checkpoint(tmp_path / "step-000008", small_model(2), TOKENIZER, values={"n": 8})
    files = sorted(bad.iterdir())
    sizes, dice = [file.stat().st_size for file in files], random.Random(3)
    for number in range(flips):
        file = files[number % len(files)] if number < 5 * len(files) else dice.choices(files, sizes)[0]
        whole = file.read_bytes()
        damage(file, dice)
        with pytest.raises(CheckpointError, match=rf"{file.name}|is missing|no file of") as refused:
            load_checkpoint(bad)
        assert good.name in str(refused.value)
        file.write_bytes(whole)
    cuts = 0
    for file in files:
        whole = file.read_bytes()
        for length in range(0, len(whole), 4096):
            file.write_bytes(whole[:length])
            with pytest.raises(CheckpointError, match=file.name):
                load_checkpoint(bad)
            cuts += 1
        file.write_bytes(whole)
    load_checkpoint(bad)
    print(f"\n{flips} flipped bits and {cuts} cut files: all refused, each naming the good one")
    shutil.rmtree(good)
    damage(files[0], dice)
    with pytest.raises(CheckpointError, match="no other beside it"):
        load_checkpoint(bad)


def test_the_earlier_one_is_found_between_the_two_renames(tmp_path):
    folder = save_checkpoint(tmp_path / "step-000001", small_model(1), TOKENIZER)
    folder.rename(tmp_path / "step-000001.old")
    assert [path.name for path in checkpoints(tmp_path)] == ["step-000001.old"]
    assert set(Checkpoint.open(folder).files) and load_checkpoint(folder)
    save_checkpoint(folder, small_model(2), TOKENIZER)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000001"]


SECOND = """
import sys
from foundry_lib.errors import CheckpointError
from foundry_lib.files import writing
try:
    with writing(sys.argv[1]):
        print("mine")
except CheckpointError as error:
    print(error)
"""


def test_a_second_process_is_refused_by_name(tmp_path):
    def other():
        command = [sys.executable, "-c", SECOND, str(tmp_path / "跑 1")]
        env = dict(os.environ, PYTHONUTF8="1")
        return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=env).stdout

    with writing(tmp_path / "跑 1"):
        with writing(tmp_path / "跑 1"):
            pass
        said = other()
        assert "跑 1 is in use" in said and str(os.getpid()) in said
    assert other() == "mine\n"


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match="cannot be written to.*Choose another folder"):
        with writing(tmp_path / "file" / "run"):
            pass


@needs_fork
def test_a_disk_that_is_full_at_any_place_leaves_the_earlier_one(tmp_path):
    """The operating system itself refuses to write on, after every 8 KiB of the largest file."""
    import resource

    first = save_checkpoint(tmp_path / "step-000001", small_model(1), TOKENIZER, values={"n": 1})
    largest, refused = max(file.stat().st_size for file in first.iterdir()), 0
    for limit in range(0, largest, 8192):
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            code = 2
            try:
                save_checkpoint(tmp_path / "step-000002", small_model(2), TOKENIZER)
            except CheckpointError as error:
                code = 0 if "could not be written" in str(error) and "still in memory" in str(error) else 3
            except BaseException:
                code = 4
            os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert [path.name for path in tmp_path.iterdir()] == ["step-000001"]
        load_checkpoint(first)
        refused += 1
    assert refused > 5


def test_a_removed_folder_is_made_again(tmp_path):
    save_checkpoint(tmp_path / "run" / "step-000001", small_model(1), TOKENIZER)
    shutil.rmtree(tmp_path / "run")
    load_checkpoint(save_checkpoint(tmp_path / "run" / "step-000002", small_model(1), TOKENIZER))


def test_leftovers_of_any_length_go_and_the_only_copy_stays(tmp_path):
    for name in ("step-1000000.new", "step-000001.new", "step-000002.old", "step-000002", "step-000003.old"):
        (tmp_path / name).mkdir()
    clear_unfinished(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000002", "step-000003.old"]
