"""Public-domain texts for people with a network: `python -m foundry_lib download` lists them, `… NAME` fetches one.

The only module that opens a connection, and nothing else in the library calls it. What it leaves is either
NAME.txt, whole and with the checksum of `data/catalog.toml`, or NAME.txt.part, from which the next call goes on.
"""

import hashlib
import os
import re
import ssl
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse, IncompleteRead
from itertools import chain
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tqdm import tqdm

from ..errors import CorpusError
from ..paths import DATA

CATALOG = DATA / "catalog.toml"
TIMEOUT = 30.0  # seconds without a byte


@dataclass(frozen=True)
class Entry:
    """A text of the catalogue: what it is, where it lies, and by what it is known (`sha256` and `bytes`)."""

    name: str
    title: str
    author: str
    language: str
    licence: str
    source: str
    url: str
    sha256: str
    bytes: int

    @property
    def by_hand(self) -> str:
        """The way that is left when the address fails."""
        return f"get it by hand from {self.source}, save it as plain text in UTF-8 and use that file"


def catalog(path: Path = CATALOG) -> tuple[Entry, ...]:
    """The texts that can be fetched. Raises CorpusError when the catalogue is not there or not well-formed."""
    try:
        return tuple(Entry(**text) for text in tomllib.loads(path.read_text(encoding="utf-8"))["text"])
    except FileNotFoundError:
        raise CorpusError(f"There is no catalogue {path}: it comes with the course's folder. Run from there.") from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CorpusError(f"{path} cannot be read: {error}. Restore it as it came with the course.") from error


def download(name: str, folder: Path | str = "downloads") -> Path:
    """Fetch the text `name` of the catalogue; return its file in `folder`. At once when it is there already.

    Raises CorpusError for an unknown name and as `fetch` does.
    """
    return fetch(find(name), folder)


def find(name: str) -> Entry:
    texts = {entry.name: entry for entry in catalog()}
    if name not in texts:
        raise CorpusError(f"The catalogue has no text {name!r}. Choose one of {', '.join(texts)}.")
    return texts[name]


def fetch(entry: Entry, folder: Path | str = "downloads", timeout: float = TIMEOUT) -> Path:
    """Fetch a text into `folder` and check it; return its file. Goes on with what an earlier call left in .part.

    Raises CorpusError, with the next step, when another file has that name, the network or the server fails, the
    content is not what the catalogue says, or the folder cannot be written.
    """
    path = Path(folder) / f"{entry.name}.txt"
    part = path.with_name(path.name + ".part")
    try:
        if is_there(entry, path):
            return path
        receive(entry, part, timeout)
        check(entry, part)
        if not is_there(entry, path):  # another file of that name may have come meanwhile
            os.replace(part, path)
    except OSError as error:  # what the network raises became a CorpusError further down: this is the disk
        raise CorpusError(
            f"{error.filename or part} cannot be used: {error.strerror or error}. "
            f"Free some room, or choose another folder with --folder."
        ) from error
    return path


def is_there(entry: Entry, path: Path) -> bool:
    """Whether the finished download is there. Raises CorpusError when another file has its name."""
    if not os.path.lexists(path):
        return False
    found = path.read_bytes()
    if hashlib.sha256(found).hexdigest() != entry.sha256:
        raise CorpusError(
            f"{path} exists and is not {entry.title}: its {len(found):,} bytes have another checksum. It was left as "
            f"it is; move it away, or choose another folder with --folder."
        )
    return True


def ask(entry: Entry, have: int, timeout: float) -> tuple[HTTPResponse, int, int | None]:
    """The server's answer, how many of our bytes it goes on from (0: it starts anew), the full size it announces."""
    headers = {"User-Agent": "llm-foundry"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urlopen(Request(entry.url, headers=headers), timeout=timeout)
    except HTTPError as error:
        error.close()
        if error.code == 416 and have:
            return ask(entry, 0, timeout)
        gone = error.code in (401, 403, 404, 410, 451)
        raise CorpusError(
            f"{entry.url} answered {error.code} {error.reason}. "
            + (f"The text cannot be had there: {entry.by_hand}." if gone else "Try again in some minutes.")
        ) from None
    except (OSError, HTTPException) as error:
        raise unreachable(entry, error) from error
    announced = answer.headers.get("Content-Length", "")
    if answer.status == 206 and have:
        place = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", "").strip())
        if not place or int(place[1]) != have:  # a piece of the text, but not the one to append
            answer.close()
            return ask(entry, 0, timeout)
        announced = place[2]
    else:
        have = 0
    return answer, have, int(announced) if announced.isdecimal() else None


def unreachable(entry: Entry, error: Exception) -> CorpusError:
    reason = getattr(error, "reason", None) or error  # URLError wraps what happened
    said = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
    step = "Check the network (a proxy goes into https_proxy), then call again: what has arrived is kept."
    if isinstance(reason, ssl.SSLCertVerificationError):
        step = "On macOS run this Python's 'Install Certificates.command'; elsewhere check the computer's clock."
    return CorpusError(f"{entry.url} cannot be fetched: {said}. {step}")


def pieces(entry: Entry, answer: HTTPResponse) -> Iterator[bytes]:
    """The body as it arrives; it may end early, which the size tells. Raises CorpusError when the network fails."""
    while True:
        try:
            piece = answer.read1(1 << 16)
        except IncompleteRead:
            return
        except (OSError, HTTPException) as error:
            raise unreachable(entry, error) from error
        if not piece:
            return
        yield piece


def refuse_web_page(entry: Entry, data: bytes, kind: str = "") -> None:
    start = data[:200].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if kind == "text/html" or start.startswith((b"<!doctype html", b"<html")):
        raise CorpusError(
            f"What {entry.url} gave looks like a web page, not like {entry.title}. Open any page in a browser: a "
            f"network that asks for a login answers so. Then call again."
        )


def receive(entry: Entry, part: Path, timeout: float) -> None:
    """Bring `part` to its full size. Raises CorpusError; what is there is given up only for something better."""
    have = part.stat().st_size if part.exists() else 0
    if have == entry.bytes:
        return
    answer, have, announced = ask(entry, have if have < entry.bytes else 0, timeout)
    with answer:
        body = pieces(entry, answer)
        first = next(body, b"")
        if not have:  # before it takes the place of what is kept
            refuse_web_page(entry, first, answer.headers.get_content_type())
        if announced not in (None, entry.bytes):
            raise CorpusError(
                f"{entry.url} has {announced:,} bytes, the catalogue says {entry.bytes:,}: it is another file. "
                f"Try again; if it stays so, {entry.by_hand}."
            )
        if first:
            part.parent.mkdir(parents=True, exist_ok=True)
            size = {"total": entry.bytes, "initial": have, "unit": "B", "unit_scale": True}
            with part.open("ab" if have else "wb") as file, tqdm(**size, desc=entry.name, dynamic_ncols=True) as bar:
                for piece in chain([first], body):
                    have += len(piece)
                    if have > entry.bytes:
                        break
                    file.write(piece)
                    bar.update(len(piece))
                file.flush()
                os.fsync(file.fileno())
    if have > entry.bytes:
        part.unlink()
        raise CorpusError(
            f"{entry.url} sent more than the {entry.bytes:,} bytes that the catalogue says, and was stopped: it is "
            f"another file. Nothing was kept; {entry.by_hand}."
        )
    if have < entry.bytes:
        raise CorpusError(
            f"The connection ended after {have:,} of {entry.bytes:,} bytes of {entry.title}. What has arrived is kept "
            f"in {part}: call again to go on from there."
        )


def check(entry: Entry, part: Path) -> None:
    """Raises CorpusError and removes `part` when it is not the text of the catalogue."""
    data = part.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if len(data) != entry.bytes or found != entry.sha256:
        part.unlink()
        refuse_web_page(entry, data)
        raise CorpusError(
            f"{entry.title} arrived with a wrong checksum: expected {entry.sha256} ({entry.bytes:,} bytes), found "
            f"{found} ({len(data):,} bytes). It was removed. Call again; if it stays so, {entry.by_hand}."
        )
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        part.unlink()
        raise CorpusError(
            f"{entry.title} is not UTF-8: byte {error.start:,} is 0x{data[error.start]:02x}. It was removed; "
            f"{entry.by_hand}."
        ) from None


def state(entry: Entry, folder: Path) -> str:
    """What of a text is in the folder, in words."""
    path = folder / f"{entry.name}.txt"
    part = path.with_name(path.name + ".part")
    try:
        if is_there(entry, path):
            return "already there"
    except (CorpusError, OSError):
        return f"another file is in its place: {path}"
    return f"begun: {part.stat().st_size / entry.bytes:.0%}" if part.is_file() else "not there"
