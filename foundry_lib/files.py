"""Files that are either whole or not there, and folders into which only one process writes at a time."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from .errors import CheckpointError

LOCK = ".lock"  # the file that `filelock` locks
WRITER = ".writer"  # the number of the process that holds the lock; on Windows nobody can read a locked file


def flush_to_disk(path: Path):
    """Ask the operating system to put a file on the disk, or a folder where the system can open one."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path | str, data: bytes | str | Iterable[bytes], sync: bool = True):
    """Replace a file in one step, so that no reader and no power cut finds half of it.

    data: bytes, a text (written as UTF-8, its line ends unchanged), or blocks of bytes one after the other.
    sync: wait until the content has reached the disk. Without it, a power cut may lose the newest version.
    Raises OSError when the system does not take the file; the earlier file then stays and nothing else is left.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "note.txt"
    >>> write_whole(file, "猫")
    >>> file.read_bytes(), len(list(file.parent.iterdir()))
    (b'\\xe7\\x8c\\xab', 1)
    """
    path, blocks = Path(path), data
    if isinstance(data, str):
        blocks = [data.encode("utf-8")]
    elif isinstance(data, bytes):
        blocks = [data]
    temporary = path.with_name(f"{path.name}.{os.getpid()}.new")
    for leftover in path.parent.glob("*.*.new"):
        number = leftover.suffixes[-2][1:]
        if number.isdigit() and not psutil.pid_exists(int(number)):  # its process was killed while it wrote
            leftover.unlink(missing_ok=True)  # another process may have removed it meanwhile
    try:
        with open(temporary, "wb") as file:
            for block in blocks:
                file.write(block)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink()  # exists only after an error


@contextmanager
def writing(folder: Path | str, advice: str = "Choose another folder.", wait: float = 0) -> Iterator[None]:
    """Hold the folder's lock: no other process can enter `writing(folder)`. Nested calls are allowed.

    wait: for so many seconds, wait until another process has left it.

    A missing folder is made, and removed again if nothing was written into it. The lock ends with its process.
    Raises CheckpointError when the folder cannot be written to, with `advice`, or when another process holds the lock;
    the message names the process.
    """
    folder = Path(folder).resolve()
    made = not folder.exists()
    lock = FileLock(folder / LOCK, blocking=False, is_singleton=True, thread_local=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=wait, blocking=wait > 0)
        if lock.lock_counter == 1:
            (folder / WRITER).write_text(str(os.getpid()))
    except Timeout:
        raise CheckpointError(
            f"{folder} is in use: process {_writer(folder)} is writing there. Let it finish or stop it, or choose "
            f"another folder."
        ) from None
    except OSError as error:
        lock.release(force=True)
        raise CheckpointError(f"{folder} cannot be written to: {error.strerror or error}. {advice}") from error
    try:
        yield
    finally:
        with suppress(OSError):
            if lock.lock_counter == 1:
                (folder / WRITER).unlink()
                if made and os.name != "nt" and [path.name for path in folder.iterdir()] == [LOCK]:
                    (folder / LOCK).unlink()  # before the release, or it might be another process's; Windows removes it
        lock.release()
        if made:
            with suppress(OSError):  # the folder is not empty
                folder.rmdir()


def _writer(folder: Path) -> str:
    with suppress(OSError):
        return (folder / WRITER).read_text().strip() or "of another user"
    return "of another user"
