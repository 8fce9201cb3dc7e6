"""What data/README.md says is what is there: facts of the tales, the starter models' figures, checksums."""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from foundry_lib import tales
from foundry_lib.commands.tales import facts, facts_table, main
from foundry_lib.training.checkpoint import Checkpoint

DATA = Path(__file__).resolve().parent.parent / "data"
README = (DATA / "README.md").read_text(encoding="utf-8")


def test_the_facts_are_those_of_the_grammars():
    assert facts_table() in README


def test_the_world_is_as_large_as_promised():
    for language in ("en", "zh"):
        found = facts(language)
        assert 80 <= int(found["words per tale"]) <= 120 and 300 <= int(found["different words"]) <= 600
        # e to the floor is about how many tales there are, were all equally likely; there are more
        assert float(found["floor, nats per tale"]) > 12 * 2.303


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_samples_are_the_first_tales(language):
    lines = (DATA / f"tales-{language}.txt").read_text(encoding="utf-8").splitlines()
    assert lines == [tale.text for tale in tales.generate(language, 0, 30)]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_starter_is_as_good_as_said(language):
    note = Checkpoint.open(DATA / f"starter-{language}").values
    share = note["1,000 unseen tales"]["share"]
    valid = re.match(r"([\d.]+%) of 1000 tales valid \(± ([\d.]+%)\)", note["1,000 tales written at temperature 1"])
    assert f"| `starter-{language}` | {share:.2%} | {valid[1]} ± {valid[2]} | {note['seconds'] / 60:.0f} |" in README


def test_checksums():
    files = sorted(path for path in DATA.rglob("*") if path.suffix in (".txt", ".safetensors", ".toml"))
    for path in files:
        line = f"    {hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(DATA).as_posix()}"
        assert line in README, line
    assert len(files) == 6


def test_the_command_judges(tmp_path, capsys):
    good = tales.generate("zh", 4, 2)
    file = tmp_path / "我的.txt"
    file.write_text(f"{good[0].text}\n\n{good[1].text[:-5]}\n", encoding="utf-8")
    assert main(["judge", str(file), "--language", "zh"]) == 1
    said = capsys.readouterr().out
    assert "   1  valid" in said and "1 of 2 are tales" in said and "第" in said
    assert main(["judge", str(file)]) == 1 and capsys.readouterr().out == said, "the language is recognised"
    assert main(["judge", str(file), "--language", "en"]) == 1 and "0 of 2 are tales" in capsys.readouterr().out
    mixed = tmp_path / "mixed.txt"
    mixed.write_text(f"{good[0].text}\n{tales.generate('en', 4)[0].text}\n", encoding="utf-8")
    assert main(["judge", str(mixed)]) == 0 and "2 of 2 are tales" in capsys.readouterr().out
    assert main(["judge", str(tmp_path / "none.txt")]) == 2 and "no file" in capsys.readouterr().err
    assert main(["write", "en", "2", "--seed", "4"]) == 0
    assert capsys.readouterr().out.splitlines() == [tale.text for tale in tales.generate("en", 4, 2)]


def test_redirected_output_is_utf8(tmp_path):
    """In a code page, as on Windows, `> file` would end in a UnicodeEncodeError."""
    command = [sys.executable, "-m", "foundry_lib", "tales", "write", "zh", "2"]
    environment = dict(os.environ, PYTHONIOENCODING="cp1252")
    done = subprocess.run(command, cwd=DATA.parent, env=environment, capture_output=True, check=True)
    expected = [tale.text for tale in tales.generate("zh", 0, 2)]
    assert done.stdout.decode("utf-8").splitlines() == expected and not done.stderr
