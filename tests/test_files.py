"""Whole files: replaced in one step, or not at all; and a folder that is made for nothing does not stay."""

import os
import subprocess
import sys

import pytest

from foundry_lib.files import write_whole, writing


@pytest.mark.parametrize("data", [b"new", "new", [b"n", b"ew"]], ids=["bytes", "text", "blocks"])
@pytest.mark.parametrize("sync", [True, False])
def test_a_file_is_replaced(tmp_path, data, sync):
    (tmp_path / "a.txt").write_bytes(b"old")
    write_whole(tmp_path / "a.txt", data, sync=sync)
    assert (tmp_path / "a.txt").read_bytes() == b"new" and len(list(tmp_path.iterdir())) == 1


def test_line_ends_stay_as_they_are(tmp_path):
    write_whole(tmp_path / "a.txt", "one\ntwo\r\n")
    assert (tmp_path / "a.txt").read_bytes() == b"one\ntwo\r\n"


def test_an_error_in_the_middle_leaves_the_earlier_file(tmp_path):
    def blocks():
        yield b"half"
        raise KeyboardInterrupt

    (tmp_path / "a.txt").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "a.txt", blocks())
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"] and (tmp_path / "a.txt").read_bytes() == b"old"


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_stays(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    living = tmp_path / f"b [1].txt.{os.getppid()}.new"
    for path in (living, tmp_path / f"b [1].txt.{dead.pid}.new", tmp_path / "my.own.new"):
        path.write_bytes(b"half")
    write_whole(tmp_path / "a.txt", b"x")
    assert {path.name for path in tmp_path.iterdir()} == {"a.txt", living.name, "my.own.new"}


def test_a_folder_that_was_made_for_nothing_is_removed(tmp_path):
    with writing(tmp_path / "made"):
        pass
    (tmp_path / "stood").mkdir()
    with writing(tmp_path / "stood"), writing(tmp_path / "used"):
        (tmp_path / "used" / "a").touch()
    assert {path.name for path in tmp_path.iterdir()} == {"stood", "used"}
