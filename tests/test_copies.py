"""The learner's copies in work/: in no situation is a learner's byte lost, in none an original changed."""

import errno
import json
import multiprocessing
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest

from foundry_lib import files
from foundry_lib.errors import CheckpointError, ConfigError
from foundry_lib.lessons import copies, lesson_map, prepare_work, progress
from foundry_lib.lessons.start_page import StartPage
from foundry_lib.paths import lesson_files

KERNEL = {"name": "python3", "display_name": "Python 3"}


def cell(source: str, kind: str = "code", **more) -> dict:
    outputs = {"outputs": [], "execution_count": None} if kind == "code" else {}
    return {
        "cell_type": kind,
        "id": kind + str(len(source)),
        "metadata": {},
        "source": source.splitlines(True),
        **outputs,
        **more,
    }


def notebook(*cells) -> str:
    book = {"cells": list(cells), "metadata": {"kernelspec": KERNEL}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(book, indent=1) + "\n"


STORED = {"outputs": [{"output_type": "stream", "name": "stdout", "text": ["1\n"]}], "execution_count": 3}


class Course:
    """A course of two lessons with stored outputs, in a folder with Chinese characters in its name."""

    def __init__(self, root: Path):
        self.lessons, self.work = root / "课程 notebooks", root / "课程 work"
        self.lessons.mkdir()
        self.write("00_one", "print(1)")
        self.write("02_two", "print(2)")

    def write(self, name: str, source: str):
        card = cell(f"# {name[:2]} · The lesson\n\n**Time**: 5 minutes (1 s of computing).", "markdown")
        (self.lessons / f"{name}.ipynb").write_text(notebook(card, cell(source, **STORED)), encoding="utf-8")

    def update(self) -> copies.Update:
        """Update the copies, and require that no original is written to."""
        before = contents(self.lessons)
        done = copies.update(self.lessons, self.work)
        assert contents(self.lessons) == before, "an original was changed"
        return done

    def copy(self, name: str) -> Path:
        return self.work / f"{name}.ipynb"

    def type_into(self, name: str, source: str) -> bytes:
        """What a learner types and saves; returns the bytes of the file."""
        book = json.loads(self.copy(name).read_text(encoding="utf-8"))
        book["cells"][1]["source"] = [source]
        self.copy(name).write_text(json.dumps(book), encoding="utf-8")
        return self.copy(name).read_bytes()

    def source(self, name: str) -> str:
        return "".join(json.loads(self.copy(name).read_text(encoding="utf-8"))["cells"][1]["source"])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


@pytest.fixture
def course(tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "FILE", tmp_path / "progress.json")
    monkeypatch.setattr(lesson_map.Map, "png", lambda self: b"the map")  # drawing it takes half a second
    return Course(tmp_path)


# ---- The situations


def test_first_start(course):
    done = course.update()
    assert [path.name for path in done.paths] == ["00_one.ipynb", "02_two.ipynb"] and not done.sentences
    copy = json.loads(course.copy("00_one").read_text(encoding="utf-8"))
    assert copy["cells"][1]["outputs"] == [] and copy["cells"][1]["execution_count"] is None
    assert copy["metadata"] == {"kernelspec": KERNEL}
    before = contents(course.work)
    assert course.update() == copies.Update() and contents(course.work) == before, "a second start changes nothing"


def test_an_updated_lesson_replaces_an_untouched_copy(course):
    course.update()
    course.write("00_one", "print('new')")
    done = course.update()
    assert [path.name for path in done.paths] == ["00_one.ipynb"] and not done.sentences
    assert course.source("00_one") == "print('new')"


def test_a_copy_that_jupyterlab_saved_unchanged_counts_as_untouched(course):
    """It notes the kernel's version and joins or splits lines; that is nobody's work."""
    course.update()
    book = json.loads(course.copy("00_one").read_text(encoding="utf-8"))
    book["metadata"]["language_info"] = {"name": "python", "version": "3.12.1"}
    book["cells"][0]["source"] = "".join(book["cells"][0]["source"])
    course.copy("00_one").write_text(json.dumps(book), encoding="utf-8")
    course.write("00_one", "print('new')")
    course.update()
    assert course.source("00_one") == "print('new')"


@pytest.mark.parametrize("touch", ["source", "output", "cell", "damaged"])
def test_an_updated_lesson_leaves_a_touched_copy_and_says_so(course, touch):
    course.update()
    book = json.loads(course.copy("00_one").read_text(encoding="utf-8"))
    if touch == "source":
        book["cells"][0]["source"] += ["my note"]
    elif touch == "output":
        book["cells"][1].update(STORED)
    elif touch == "cell":
        book["cells"].append(cell("mine", "raw"))
    text = json.dumps(book)[:-20] if touch == "damaged" else json.dumps(book)
    course.copy("00_one").write_text(text, encoding="utf-8")
    assert course.update() == copies.Update(), "as long as the lesson is the same there is nothing to say"
    course.write("00_one", "print('new')")
    for _ in range(2):  # at every start, until the learner has decided
        (sentence,) = course.update().sentences
        assert "00_one has changed" in sentence and "course.py lab --fresh 00" in sentence
    assert course.copy("00_one").read_text(encoding="utf-8") == text
    assert copies.kept_back(course.lessons, course.work) == [sentence]


def test_a_deleted_copy_comes_back_untouched(course):
    course.update()
    course.type_into("00_one", "mine")
    course.copy("00_one").unlink()
    assert [path.name for path in course.update().paths] == ["00_one.ipynb"]
    assert course.source("00_one") == "print(1)"


def test_a_renamed_copy_stays_and_the_lesson_comes_back(course):
    course.update()
    mine = course.type_into("00_one", "mine")
    course.copy("00_one").rename(course.work / "my one.ipynb")
    course.update()
    assert (course.work / "my one.ipynb").read_bytes() == mine and course.source("00_one") == "print(1)"


def test_a_folder_that_cannot_be_written_to(course, monkeypatch, capsys):
    def refuse(*arguments, **options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(files.FileLock, "acquire", refuse)
    with pytest.raises(CheckpointError, match="cannot be written to: Permission denied. Copy the course to a folder"):
        course.update()
    monkeypatch.setattr(prepare_work, "WORK", course.work)
    monkeypatch.setattr(prepare_work, "prepare", lambda again: copies.update(course.lessons, course.work))
    monkeypatch.setattr(prepare_work.sys, "argv", ["course.py lab"])
    assert prepare_work.main() == 2, "nothing can be opened"
    (course.work / prepare_work.START).write_text("an earlier page", encoding="utf-8")
    assert prepare_work.main() == 0, "the copies of an earlier start are opened"
    assert "Permission denied" in capsys.readouterr().out


def slow_update(lessons, work, started):
    with files.writing(work):
        started.set()
        time.sleep(0.5)
        copies.update(lessons, work)


def test_two_windows_start_at_once(course):
    context = multiprocessing.get_context("fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn")
    started = context.Event()
    other = context.Process(target=slow_update, args=(course.lessons, course.work, started))
    other.start()
    assert started.wait(60)
    assert course.update() == copies.Update(), "this one waited; the other made the copies"
    other.join()
    assert other.exitcode == 0 and course.source("02_two") == "print(2)"


def git(folder: Path, *arguments):
    identity = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)


@pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")
def test_git_pull_with_local_changes_in_the_lessons(course, tmp_path):
    """A learner of the first edition typed into notebooks/; the merge leaves a file that is no notebook."""
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", course.lessons.name)
    git(tmp_path, "commit", "-qm", "first")
    course.update()
    mine = course.type_into("02_two", "mine too")
    git(tmp_path, "checkout", "-qb", "theirs")
    course.write("00_one", "print('theirs')")
    git(tmp_path, "commit", "-qam", "an update")
    git(tmp_path, "checkout", "-q", "main")
    course.write("00_one", "print('mine')")
    git(tmp_path, "commit", "-qam", "my work")
    assert git(tmp_path, "merge", "theirs").returncode != 0
    conflict = (course.lessons / "00_one.ipynb").read_text(encoding="utf-8")
    assert "<<<<<<<" in conflict
    copy = course.copy("00_one").read_bytes()
    (sentence,) = course.update().sentences
    assert "00_one.ipynb was not copied" in sentence
    assert course.copy("00_one").read_bytes() == copy and course.copy("02_two").read_bytes() == mine
    assert (course.lessons / "00_one.ipynb").read_text(encoding="utf-8") == conflict


def test_without_git(course, monkeypatch):
    """Nothing asks git: the other situations run in a folder that has none, and here there is no program."""
    monkeypatch.setenv("PATH", "")
    course.update()
    mine = course.type_into("00_one", "mine")
    course.write("00_one", "print('new')")
    assert len(course.update().sentences) == 1 and course.copy("00_one").read_bytes() == mine


OPEN = open


class FullDisk:
    """`open` as on a disk with room for `room` more bytes."""

    def __init__(self, room: int):
        self.room = room

    def __call__(self, path, mode="r", *more, **options):
        file = OPEN(path, mode, *more, **options)
        if "w" in mode:
            write = file.write
            disk = self

            class Limited:
                def __getattr__(self, name):
                    return getattr(file, name)

                def __enter__(self):
                    return self

                def __exit__(self, *error):
                    file.close()

                def write(self, data):
                    part = data[: disk.room]
                    disk.room -= len(part)
                    write(part)
                    if len(part) < len(data):
                        raise OSError(errno.ENOSPC, "No space left on device")

            return Limited()
        return file


@pytest.mark.parametrize("room", [100, 700, 900, 1200, 1500])
def test_a_full_disk_leaves_each_copy_whole(course, monkeypatch, room):
    course.update()
    mine, old = course.type_into("02_two", "mine"), course.copy("00_one").read_bytes()
    course.write("00_one", "print('new')")
    course.write("02_two", "print('new')")
    course.write("03_three", "print(3)")
    with monkeypatch.context() as patch:
        disk = FullDisk(room)
        patch.setattr(files, "open", disk, raising=False)
        patch.setattr("io.open", disk)  # what Path.write_text calls
        done = course.update()
    assert course.copy("02_two").read_bytes() == mine
    assert course.copy("00_one").read_bytes() == old or course.source("00_one") == "print('new')"
    assert not course.copy("03_three").exists() or course.source("03_three") == "print(3)"
    assert not list(course.work.glob("*.new"))
    assert len([s for s in done.sentences if "No space left" in s]) == 2 - len(done.paths)
    course.update()  # with room again
    assert course.source("00_one") == "print('new')" and course.source("03_three") == "print(3)"
    assert course.copy("02_two").read_bytes() == mine


def test_a_disk_without_any_room_gets_a_sentence(course, monkeypatch):
    course.update()
    course.write("00_one", "print('new')")
    before = contents(course.work)
    monkeypatch.setattr("io.open", FullDisk(0))  # not even the lock's note fits
    with pytest.raises(CheckpointError, match="No space left on device"):
        course.update()
    assert {name: data for name, data in contents(course.work).items() if not name.startswith(".w")} == before


def test_without_its_record_every_copy_counts_as_the_learner_s(course):
    course.update()
    (course.work / copies.RECORD).unlink()
    course.write("00_one", "print('new')")
    assert course.update() == copies.Update() and course.source("00_one") == "print(1)"
    course.write("00_one", "print('newer')")
    assert len(course.update().sentences) == 1, "and is told of the next change"


def test_fresh_keeps_the_old_copy_and_every_older_one(course):
    course.update()
    kept = []
    for turn in range(3):
        mine = course.type_into("00_one", f"mine {turn}")
        path = copies.set_aside("00_one", course.work)
        kept.append((path, mine))
        course.update()
        assert course.source("00_one") == "print(1)"
    assert len({path for path, _ in kept}) == 3
    assert all(path.read_bytes() == mine and path.name.startswith("00_one.20") for path, mine in kept)
    assert copies.set_aside("03_none", course.work) is None


@pytest.mark.parametrize("name", ["00", "00_one", "notebooks/00_one.ipynb"])
def test_a_lesson_is_found_by_its_beginning(course, name):
    assert copies.find_lesson(name, course.lessons) == "00_one"


@pytest.mark.parametrize("name", ["", "0", "9", "two"])
def test_a_name_of_no_lesson_is_refused_before_anything_moves(course, name):
    course.update()
    before = contents(course.work)
    with pytest.raises(ConfigError, match="the lessons are 00_one, 02_two"):
        prepare_work.prepare(["00", name], course.lessons, course.work)
    assert contents(course.work) == before


# ---- The pages of text


def write_page(course, text: str) -> Path:
    """The course's glossary with this text; returns the path of the learner's copy."""
    (course.lessons / "glossary.md").write_text(text, encoding="utf-8")
    return course.work / "glossary.md"


def test_a_page_is_copied_and_replaced_while_it_is_untouched(course):
    copy = write_page(course, "# Glossary\n\nRoPE: 旋转位置编码\n")
    assert copy in course.update().paths and copy.read_text(encoding="utf-8").endswith("旋转位置编码\n")
    assert course.update() == copies.Update()
    write_page(course, "# Glossary 2\n")
    assert course.update().paths == [copy] and copy.read_text(encoding="utf-8") == "# Glossary 2\n"
    copy.unlink()
    assert course.update().paths == [copy], "a deleted copy comes back"


def test_a_page_with_the_learner_s_notes_stays_to_the_last_byte(course, monkeypatch):
    copy = write_page(course, "# Glossary\n")
    course.update()
    mine = b"# Glossary\r\nmy note\r\n"
    copy.write_bytes(mine)
    assert course.update() == copies.Update(), "as long as the page is the same there is nothing to say"
    write_page(course, "# Glossary 2\n")
    for _ in range(2):
        done = course.update()
        assert not done.paths and "The page glossary.md has changed since you wrote into it." in done.sentences[0]
    assert copies.kept_back(course.lessons, course.work) == done.sentences and copy.read_bytes() == mine
    copy.rename(course.work / "my glossary.md")
    assert course.update() == copies.Update([copy]) and copy.read_text(encoding="utf-8") == "# Glossary 2\n"
    assert (course.work / "my glossary.md").read_bytes() == mine


def test_other_pages_beside_the_lessons_are_not_copied(course):
    (course.lessons / "notes.md").write_text("mine", encoding="utf-8")
    course.update()
    assert not (course.work / "notes.md").exists()


# ---- The start page as a file


def test_the_start_page_is_written_and_a_note_in_it_is_kept(course, tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    start = course.work / prepare_work.START
    prepare_work.prepare([], course.lessons, course.work)
    first = start.read_bytes()
    assert b"Begin with 00" in first
    assert prepare_work.write_start_page(course.work) == [], "nothing is written when nothing has changed"
    book = json.loads(first)
    book["cells"][0]["outputs"] = []
    start.write_text(json.dumps(book), encoding="utf-8")
    prepare_work.prepare([], course.lessons, course.work)
    assert start.read_bytes() == first, "only its own output was missing"
    book["cells"].append(cell("my note", "markdown"))
    start.write_text(json.dumps(book), encoding="utf-8")
    prepare_work.prepare([], course.lessons, course.work)
    (kept,) = course.work.glob("start.20*.ipynb")
    assert "my note" in kept.read_text(encoding="utf-8") and start.read_bytes() == first


def test_jupyter_trusts_what_was_written(course, tmp_path, monkeypatch):
    import nbformat
    from nbformat.sign import NotebookNotary

    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    write_page(course, "# Glossary\n")
    prepare_work.prepare([], course.lessons, course.work)
    assert b"glossary.md" in (course.work / "start.ipynb").read_bytes()
    notary = NotebookNotary()
    for name in ("start", "00_one", "02_two"):
        assert notary.check_signature(nbformat.read(course.copy(name), as_version=4)), name


def test_the_page_names_a_copy_that_was_kept(course, monkeypatch):
    for name in ("WORK", "LESSONS"):
        monkeypatch.setattr("foundry_lib.lessons.start_page." + name, getattr(course, name.lower()))
    course.update()
    course.type_into("00_one", "mine")
    course.write("00_one", "print('new')")
    monkeypatch.setattr(copies.kept_back, "__defaults__", (course.lessons, course.work))
    page = StartPage(course.work)._repr_mimebundle_()
    assert all("Lesson 00_one has changed since you began it." in page[kind] for kind in page)


def test_the_start_page_follows_the_learner(course, monkeypatch):
    monkeypatch.setattr(progress, "after_keeping", None)
    monkeypatch.setattr(prepare_work, "WORK", course.work)
    monkeypatch.setattr(copies, "WORK", course.work)
    monkeypatch.delenv("FOUNDRY_PROGRESS", raising=False)
    prepare_work.keep_start_page_current()
    assert progress.after_keeping is None, "there is no start page to keep current"
    course.update()
    prepare_work.write_start_page(course.work)
    monkeypatch.setenv("FOUNDRY_PROGRESS", "elsewhere")
    prepare_work.keep_start_page_current()
    assert progress.after_keeping is None, "a test keeps its progress elsewhere"
    monkeypatch.delenv("FOUNDRY_PROGRESS")
    prepare_work.keep_start_page_current()
    before = (course.work / "start.ipynb").read_text(encoding="utf-8")
    progress.keep("work", "rms_norm", "def my_rms_norm(x):\n    return x\n")
    for thread in threading.enumerate():
        if thread.name == "start page":
            thread.join()
    after = (course.work / "start.ipynb").read_text(encoding="utf-8")
    assert "Yours: norm" not in before and "Yours: norm" in after


@pytest.mark.parametrize("stem", ["00_setup_check-Copy1", "01_rms_norm mine", "01_rms_norm.2026-12-01", "notes"])
def test_a_notebook_of_the_learner_beside_the_lessons_is_no_lesson(course, stem):
    """JupyterLab's duplicate, a copy under another name, notes: no link, no line of the path and no copy has them."""
    lessons = [path.stem for path in lesson_files(course.lessons)]
    shutil.copy(course.lessons / f"{lessons[0]}.ipynb", course.lessons / f"{stem}.ipynb")
    assert [path.stem for path in lesson_files(course.lessons)] == lessons
    assert copies.find_lesson(lessons[0], course.lessons) == lessons[0]
    assert stem not in {path.stem for path in copies.update(course.lessons, course.work).paths}
