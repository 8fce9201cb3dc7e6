"""Public-domain texts for people with a network: `python -m foundry_lib download` lists them, `… NAME` fetches one.

In the library only this module opens a connection, and only the command `download` uses it. pooch fetches a file, which
gets its name after its checksum is that of `data/catalog.toml`. A text in traditional characters is stored as
NAME-traditional.txt. NAME.txt then has the simplified characters, so that a tokenizer of 紅樓夢 knows the prompt
满纸荒唐言.
"""

import hashlib
import os
import tomllib
import warnings
from dataclasses import dataclass
from pathlib import Path

import pooch
from requests.exceptions import HTTPError, RequestException  # pooch fetches by requests

from ..console import interpreter
from ..errors import CorpusError, Notice, explain_interrupt
from ..files import write_whole
from ..paths import DATA

try:
    import opencc
except ImportError:  # the extra `chinese` installs it
    opencc = None

CATALOG = DATA / "catalog.toml"
TIMEOUT = 30.0  # seconds without a byte
WEB_PAGE = (b"<!doctype html", b"<html")  # how a page begins, in small letters
pooch.get_logger().setLevel("WARNING")  # the bar is enough


@dataclass(frozen=True)
class Entry:
    """A text of the catalogue: what it is, its address, and its checksum (`sha256`) and size (`bytes`)."""

    name: str
    title: str
    author: str
    language: str
    licence: str
    source: str
    url: str
    sha256: str
    bytes: int

    def original(self, folder: Path) -> Path:
        """The file that has the checksum of the catalogue."""
        return folder / (f"{self.name}-traditional.txt" if self.language == "zh-Hant" else f"{self.name}.txt")


def catalog(path: Path = CATALOG) -> tuple[Entry, ...]:
    """The texts that can be fetched. Raises CorpusError when the catalogue is missing or cannot be read."""
    try:
        return tuple(Entry(**text) for text in tomllib.loads(path.read_text(encoding="utf-8"))["text"])
    except FileNotFoundError:
        raise CorpusError(f"There is no catalogue {path}: it comes with the course's folder. Run from there.") from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CorpusError(f"{path} cannot be read: {error}. Restore it as it came with the course.") from error


def find(name: str) -> Entry:
    """The entry of that name. Raises CorpusError, which lists the names, when there is none."""
    texts = {entry.name: entry for entry in catalog()}
    if name not in texts:
        raise CorpusError(f"The catalogue has no text {name!r}. Choose one of {', '.join(texts)}.")
    return texts[name]


def download(name: str, folder: Path | str = "downloads") -> Path:
    """Fetch the text `name` of the catalogue; return its file in `folder`.

    A file that is already there is not fetched again.
    Raises CorpusError for an unknown name and as `fetch` does.
    """
    return fetch(find(name), folder)


def fetch(entry: Entry, folder: Path | str = "downloads", timeout: float = TIMEOUT) -> Path:
    """Fetch a text into `folder`, check it, simplify it if its characters are traditional; return the file to read.

    Raises CorpusError, with the next step, in five cases: another file has that name; the network or the server fails;
    the checksum is wrong; the folder cannot be written to; OpenCC is missing.
    """
    path, original = Path(folder) / f"{entry.name}.txt", entry.original(Path(folder))
    try:
        with explain_interrupt(
            f"Stopped while {entry.title} was fetched; nothing was stored. The same call starts again."
        ):
            if not is_there(entry, original):
                receive(entry, original, timeout)
            if original != path:
                simplify(entry, original, path)
    except RequestException as error:
        raise unreachable(entry, error) from error
    except OSError as error:
        raise CorpusError(
            f"{error.filename or original} cannot be used: {error.strerror or error}. Free some room, or choose "
            f"another folder with --folder."
        ) from error
    return path


def is_there(entry: Entry, path: Path) -> bool:
    """Whether the checked text is in `path`. Raises CorpusError when another file has its name."""
    if not os.path.lexists(path):
        return False
    if hashlib.sha256(path.read_bytes()).hexdigest() != entry.sha256:
        raise another_file(entry, path)
    return True


def another_file(entry: Entry, path: Path) -> CorpusError:
    return CorpusError(
        f"{path} exists and is not {entry.title}: its {path.stat().st_size:,} bytes have another checksum. It was left "
        f"as it is; move it away, or choose another folder with --folder."
    )


def receive(entry: Entry, path: Path, timeout: float):
    """Fetch the file, with a bar, and give it its name when its checksum is right. Raises CorpusError otherwise."""
    fetch_file = pooch.HTTPDownloader(progressbar=True, timeout=timeout)

    def fetch_text(url: str, file: str, _):
        fetch_file(url, file, None)
        data = Path(file).read_bytes()
        if data[:200].removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(WEB_PAGE):
            raise CorpusError(
                f"What {url} gave looks like a web page, not like {entry.title}. Open any page in a browser: a "
                f"network that asks for a login sends such a page. Then call again."
            )
        if (checksum := hashlib.sha256(data).hexdigest()) != entry.sha256:
            raise CorpusError(
                f"{entry.title} arrived with a wrong checksum: expected {entry.sha256} ({entry.bytes:,} bytes), found "
                f"{checksum} ({len(data):,} bytes). It was removed. Call again; if that changes nothing, "
                f"{by_hand(entry)}."
            )

    pooch.retrieve(entry.url, f"sha256:{entry.sha256}", path.name, path.parent, downloader=fetch_text)
    path.chmod(0o644)  # pooch makes it readable for its owner only, and a class may share one copy


def simplify(entry: Entry, original: Path, path: Path):
    """Write the text of `original` in simplified characters to `path`. Raises CorpusError when OpenCC is missing."""
    if opencc is None:
        raise CorpusError(
            f"{original} is {entry.title} in traditional characters, whole and checked. OpenCC would turn them into "
            f'simplified ones: install it with `{interpreter()} -m pip install -e ".[chinese]"` and call again, or '
            f"learn from that file as it is."
        )
    text = opencc.OpenCC("t2s").convert(original.read_bytes().decode("utf-8")).encode("utf-8")
    if os.path.lexists(path):
        if path.read_bytes() != text:
            raise another_file(entry, path)
        return
    write_whole(path, text)
    warnings.warn(
        f"{path.name} has {entry.title} in simplified characters; {original.name} has the original.",
        Notice,
        stacklevel=4,  # the line that called download
    )


def by_hand(entry: Entry) -> str:
    """The advice for an address that fails."""
    return f"get it by hand from {entry.source}, save it as plain text in UTF-8 and use that file"


def unreachable(entry: Entry, error: RequestException) -> CorpusError:
    """The sentence for a network or a server that fails."""
    if isinstance(error, HTTPError):
        status, gone = error.response.status_code, error.response.status_code in (401, 403, 404, 410, 451)
        step = f"The text is not available there: {by_hand(entry)}." if gone else "Try again in some minutes."
        return CorpusError(f"{entry.url} answered {status} {error.response.reason}. {step}")
    cause = error
    while inner := cause.__cause__ or cause.__context__:  # requests wraps the operating system's error
        cause = inner
    reason = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
    return CorpusError(
        f"{entry.url} cannot be fetched: {reason}. Check the network (a proxy goes into https_proxy), then call again."
    )


def state(entry: Entry, folder: Path) -> str:
    """Whether the folder has the text, in words."""
    original, path = entry.original(folder), folder / f"{entry.name}.txt"
    try:
        return "already there" if is_there(entry, original) and path.exists() else "not there"
    except (CorpusError, OSError):
        return f"another file has its name: {original}"
