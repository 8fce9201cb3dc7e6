"""A wheel of the project, installed in another folder, does what the checkout does: it carries all that it reads."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the wheel's content and nothing else of the project; the packages are those of this Python."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in ("foundry_lib", "data"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, source / name)
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet", "-w", str(folder)]
    subprocess.run([*build, str(source)], check=True, capture_output=True, text=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def elsewhere(installed: Path, folder: Path, *arguments: str) -> str:
    """What this Python prints in another folder, with the wheel's package before the checkout's."""
    env = dict(os.environ, PYTHONPATH=str(installed), OMP_NUM_THREADS="1", PYTHONUTF8="1")
    for name in ("FOUNDRY_PROGRESS", "FOUNDRY_RUNS"):
        env.pop(name, None)
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=env, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_wheel_trains_and_generates(installed, tmp_path):
    text = "".join(f"The cat number {n} sat on the mat, and the dog {n * 7 % 31} did not.\n" for n in range(200))
    (tmp_path / "my.txt").write_text(text, encoding="utf-8")
    options = "--data my.txt --steps 4 --block-size 16 --batch-size 2 --out run --device cpu".split()
    assert "Saved to" in elsewhere(installed, tmp_path, "-m", "foundry_lib", "train", *options)
    options = "--checkpoint run/step-000004 --prompt The --tokens 5 --device cpu".split()
    assert "Plain" in elsewhere(installed, tmp_path, "-m", "foundry_lib", "generate", *options)


def test_a_wheel_asks_questions_and_finds_its_starter_model(installed, tmp_path):
    program = (
        "import foundry_lib, sys\n"
        "from foundry_lib.paths import DATA\n"
        "from foundry_lib.lessons.quiz import ask\n"
        "from foundry_lib.lessons import progress\n"
        "from foundry_lib.experiments import ablations\n"
        "from foundry_lib.training.checkpoint import load_checkpoint\n"
        "print(foundry_lib.__file__)\n"
        "model, tokenizer = load_checkpoint(DATA / 'starter-en')\n"
        "print(len(foundry_lib.read_corpus('tang-poems').documents), 'poems')\n"
        "print(foundry_lib.sample_text(model, tokenizer, '', 8, seed=1))\n"
        "ask('01-exit-1', 'a')\n"
        "progress.tick('01')\n"
        "print(ablations.table(['whole model', 'no norm']))\n"
    )
    said = elsewhere(installed, tmp_path, "-c", program)
    assert said.splitlines()[0].startswith(str(installed)), "the package in use is the wheel's"
    assert "313 poems" in said and "☐" in said and "no norm" in said
    assert (tmp_path / "runs" / "progress.json").exists(), "a learner's work lies in the folder that they work in"
    assert "tiny-shakespeare" in elsewhere(installed, tmp_path, "-m", "foundry_lib", "download")
