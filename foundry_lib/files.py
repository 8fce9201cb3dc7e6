"""One writer to a folder of runs. The operating system holds the lock, so it goes with the process that had it."""

import os
from contextlib import contextmanager
from pathlib import Path

from .errors import CheckpointError

NAME = ".lock"
_held: dict[Path, int] = {}  # how many times this process is inside, for each folder


def _lock(file) -> bool:
    """True if the open file is now locked by us, False if another process has it."""
    try:
        if os.name == "nt":
            import msvcrt

            file.seek(1000)  # a byte behind the text, so that the others may read who it is
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def writing(folder: Path | str):
    """While it lasts no other process may write into `folder`, which is made when it is missing; it may be nested.

    Raises CheckpointError, naming the folder and the process, when another one is writing there.
    """
    folder = Path(folder).resolve()
    if folder in _held:
        _held[folder] += 1
        try:
            yield
        finally:
            _held[folder] -= 1
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / NAME, "a+", encoding="utf-8")
    except OSError as error:
        raise CheckpointError(
            f"{folder} cannot be written to: {error.strerror or error}. The training is still in memory: choose "
            f"another folder, then save again."
        ) from error
    with file:
        if not _lock(file):
            file.seek(0)
            raise CheckpointError(
                f"{folder} is in use: process {file.read().strip() or 'of another user'} is writing there. Let it "
                f"finish or stop it, or choose another folder."
            )
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        _held[folder] = 1
        try:
            yield
        finally:
            del _held[folder]
