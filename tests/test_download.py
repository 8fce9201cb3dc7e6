"""Downloads from a server on this machine: what arrives whole is kept, what does not is resumed or refused."""

import hashlib
import os
import re
import socket
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from foundry_lib import CorpusError, read_corpus
from foundry_lib.commands import download as command
from foundry_lib.text import download

TEXT = "".join(f"第{i}回　滿紙荒唐言，一把辛酸淚。\n" for i in range(6000)).encode("utf-8")  # several reads long
HALF = len(TEXT) // 2 + 1  # in the middle of a character
PAGE = b"<!DOCTYPE html>\n<html><body>Please log in.</body></html>\n"


class Server:
    """Gives `body`, and what its fields say of errors; `ranges` are the Range headers of all requests so far."""

    def __init__(self):
        self.body, self.status, self.kind = TEXT, 200, "text/plain; charset=utf-8"
        self.stop_after = None  # bytes of the body after which the connection ends
        self.understands_range, self.refuses_range, self.says_length = True, False, True
        self.content_range = None  # a false one
        self.hang = threading.Event()  # set: nothing more comes
        self.ranges = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.answer(self)

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.http.handle_error = lambda *args: None  # a client that hangs up early is what some tests are about
        self.url = f"http://127.0.0.1:{self.http.server_port}/text.txt"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, handler):
        asked = handler.headers.get("Range")
        self.ranges.append(asked)
        start, status = 0, self.status
        if asked and self.understands_range:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
            status = 416 if self.refuses_range else 206
        handler.send_response(status)
        handler.send_header("Content-Type", self.kind)
        if status == 206:
            true = f"bytes {start}-{len(self.body) - 1}/{len(self.body)}"
            handler.send_header("Content-Range", self.content_range or true)
        if self.says_length:
            handler.send_header("Content-Length", str(len(self.body) - start))
        handler.end_headers()
        handler.wfile.write(self.body[start : self.stop_after])
        if self.hang.is_set():
            handler.wfile.flush()
            threading.Event().wait(3)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


def entry(server, data: bytes = TEXT, **changes) -> download.Entry:
    fields = {"name": "a-text", "title": "A Text", "author": "Someone", "language": "zh", "licence": "none"}
    checks = {"url": server.url, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    return download.Entry(**(fields | {"source": "https://example.org/a-text"} | checks | changes))


def files(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_good_download_is_a_text_to_learn_from(server, tmp_path):
    folder = tmp_path / "new" / "downloads"
    path = download.fetch(entry(server), folder)
    assert path == folder / "a-text.txt" and files(folder) == {"a-text.txt": TEXT}
    assert read_corpus(path).documents == (TEXT.decode("utf-8"),)
    assert server.ranges == [None]


def test_what_is_there_is_not_asked_for_again(server, tmp_path):
    path = download.fetch(entry(server), tmp_path)
    before = path.stat().st_mtime_ns
    assert download.fetch(entry(server), tmp_path) == path
    assert len(server.ranges) == 1 and path.stat().st_mtime_ns == before


def cut(server, folder) -> bytes:
    """A first call whose connection ends in the middle; what it left."""
    server.stop_after = HALF
    with pytest.raises(CorpusError, match=f"ended after {HALF:,} of {len(TEXT):,} bytes.*call again"):
        download.fetch(entry(server), folder)
    server.stop_after = None
    assert files(folder) == {"a-text.txt.part": TEXT[:HALF]}
    return TEXT[:HALF]


def test_a_cut_download_goes_on_where_it_was(server, tmp_path):
    cut(server, tmp_path)
    path = download.fetch(entry(server), tmp_path)
    assert server.ranges == [None, f"bytes={HALF}-"]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == entry(server).sha256
    assert files(tmp_path) == {"a-text.txt": TEXT}


def test_a_server_without_ranges_starts_anew(server, tmp_path):
    cut(server, tmp_path)
    server.understands_range = False
    download.fetch(entry(server), tmp_path)
    assert server.ranges == [None, f"bytes={HALF}-"] and files(tmp_path) == {"a-text.txt": TEXT}


@pytest.mark.parametrize("false", [f"bytes 0-{len(TEXT) - 1}/{len(TEXT)}", "bytes */9", "nonsense"])
def test_a_piece_from_another_place_is_not_appended(server, tmp_path, false):
    cut(server, tmp_path)
    server.content_range = false
    download.fetch(entry(server), tmp_path)
    assert server.ranges == [None, f"bytes={HALF}-", None] and files(tmp_path) == {"a-text.txt": TEXT}


def test_an_empty_answer_does_not_cost_what_is_there(server, tmp_path):
    kept = cut(server, tmp_path)
    server.body, server.understands_range, server.says_length = b"", False, False
    with pytest.raises(CorpusError, match="ended after 0 of"):
        download.fetch(entry(server), tmp_path)
    assert files(tmp_path) == {"a-text.txt.part": kept}


def test_a_range_that_cannot_be_had_starts_anew(server, tmp_path):
    cut(server, tmp_path)
    server.refuses_range = True
    download.fetch(entry(server), tmp_path)
    assert server.ranges == [None, f"bytes={HALF}-", None] and files(tmp_path) == {"a-text.txt": TEXT}


def test_a_part_that_is_too_long_starts_anew(server, tmp_path):
    (tmp_path / "a-text.txt.part").write_bytes(TEXT + b"x")
    download.fetch(entry(server), tmp_path)
    assert server.ranges == [None] and files(tmp_path) == {"a-text.txt": TEXT}


def test_a_part_that_is_whole_needs_no_network(server, tmp_path):
    (tmp_path / "a-text.txt.part").write_bytes(TEXT)
    download.fetch(entry(server), tmp_path)
    assert server.ranges == [] and files(tmp_path) == {"a-text.txt": TEXT}


def test_a_part_of_something_else_fails_the_checksum_once(server, tmp_path):
    (tmp_path / "a-text.txt.part").write_bytes(b"x" * HALF)
    with pytest.raises(CorpusError, match="wrong checksum"):
        download.fetch(entry(server), tmp_path)
    assert files(tmp_path) == {}
    download.fetch(entry(server), tmp_path)
    assert files(tmp_path) == {"a-text.txt": TEXT}


@pytest.mark.parametrize(
    "status, step", [(404, "by hand from https://example.org/a-text"), (503, "Try again"), (429, "Try again")]
)
def test_an_error_of_the_server_is_said_and_the_part_kept(server, tmp_path, status, step):
    kept = cut(server, tmp_path)
    server.status, server.body, server.understands_range = status, PAGE, False
    with pytest.raises(CorpusError, match=f"answered {status} .*{step}"):
        download.fetch(entry(server), tmp_path)
    assert files(tmp_path) == {"a-text.txt.part": kept}


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "text/plain"])
@pytest.mark.parametrize("length", [True, False])
def test_a_web_page_is_refused_and_the_part_kept(server, tmp_path, kind, length):
    kept = cut(server, tmp_path)
    server.body, server.understands_range, server.kind, server.says_length = PAGE, False, kind, length
    with pytest.raises(CorpusError, match="looks like a web page.*browser"):
        download.fetch(entry(server), tmp_path)
    assert files(tmp_path) == {"a-text.txt.part": kept}


def test_a_web_page_of_the_right_size_is_refused(server, tmp_path):
    server.body = PAGE + b" " * (len(TEXT) - len(PAGE))
    with pytest.raises(CorpusError, match="looks like a web page"):
        download.fetch(entry(server), tmp_path)
    assert files(tmp_path) == {}
    (tmp_path / "a-text.txt.part").write_bytes(server.body)  # put there by something else
    with pytest.raises(CorpusError, match="looks like a web page"):
        download.fetch(entry(server), tmp_path)
    assert files(tmp_path) == {} and len(server.ranges) == 1


def test_a_wrong_checksum_says_both_and_leaves_nothing(server, tmp_path):
    server.body = TEXT[:-1] + b"!"
    found = hashlib.sha256(server.body).hexdigest()
    with pytest.raises(CorpusError, match=f"expected {entry(server).sha256}.*found {found}.*Call again.*by hand"):
        download.fetch(entry(server), tmp_path)
    assert files(tmp_path) == {}


def test_another_size_is_refused_before_anything_is_written(server, tmp_path):
    kept = cut(server, tmp_path)
    server.understands_range = False
    for server.body in (TEXT + b"more", TEXT[:-4]):
        with pytest.raises(CorpusError, match=f"has {len(server.body):,} bytes, the catalogue says {len(TEXT):,}"):
            download.fetch(entry(server), tmp_path)
        assert files(tmp_path) == {"a-text.txt.part": kept}


def test_more_than_announced_is_stopped(server, tmp_path, monkeypatch):
    server.body, server.says_length = TEXT * 20, False
    largest, open_ = [0], download.Path.open

    def watched(path, mode):
        file = open_(path, mode)
        write = file.write
        monkeypatch.setattr(file, "write", lambda data: largest.append(largest[-1] + write(data)), raising=False)
        return file

    monkeypatch.setattr(download.Path, "open", watched)
    with pytest.raises(CorpusError, match="sent more than the .* was stopped"):
        download.fetch(entry(server), tmp_path)
    assert 0 < largest[-1] <= len(TEXT) and files(tmp_path) == {}


def test_a_foreign_file_is_left_alone(server, tmp_path):
    mine = tmp_path / "a-text.txt"
    mine.write_bytes(b"my own notes")
    with pytest.raises(CorpusError, match="a-text.txt exists and is not A Text.*left as it is.*--folder"):
        download.fetch(entry(server), tmp_path)
    assert files(tmp_path) == {"a-text.txt": b"my own notes"} and server.ranges == []


def test_a_foreign_file_that_comes_meanwhile_is_left_alone(server, tmp_path, monkeypatch):
    check = download.check

    def slow(entry, part):
        check(entry, part)
        (tmp_path / "a-text.txt").write_bytes(b"my own notes")

    monkeypatch.setattr(download, "check", slow)
    with pytest.raises(CorpusError, match="exists and is not A Text"):
        download.fetch(entry(server), tmp_path)
    assert files(tmp_path) == {"a-text.txt": b"my own notes", "a-text.txt.part": TEXT}


def test_not_utf8_is_refused_even_with_the_right_checksum(server, tmp_path):
    server.body = "déjà vu\n".encode("latin-1") * 50
    with pytest.raises(CorpusError, match="not UTF-8: byte 1 is 0xe9.*removed"):
        download.fetch(entry(server, server.body), tmp_path)
    assert files(tmp_path) == {}


def test_no_server(server, tmp_path):
    kept = cut(server, tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound and not listening: refused for certain
        nowhere = f"http://127.0.0.1:{free.getsockname()[1]}/text.txt"
        with pytest.raises(CorpusError, match=f"{nowhere} cannot be fetched: .*refused.*Check the network"):
            download.fetch(entry(server, url=nowhere), tmp_path, timeout=5)
    assert files(tmp_path) == {"a-text.txt.part": kept}


def test_no_name_server(server, tmp_path, monkeypatch):
    def fails(*args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    with pytest.raises(CorpusError, match="cannot be fetched: Name or service not known. Check the network"):
        download.fetch(entry(server, url="http://example.invalid/text.txt"), tmp_path)
    assert files(tmp_path) == {}


def test_a_silent_server_times_out(server, tmp_path):
    server.stop_after = HALF
    server.hang.set()
    start = time.monotonic()
    with pytest.raises(CorpusError, match="cannot be fetched: .*timed out.*call again"):
        download.fetch(entry(server), tmp_path, timeout=0.3)
    assert time.monotonic() - start < 2  # the server would hang for three seconds
    assert files(tmp_path) == {"a-text.txt.part": TEXT[:HALF]}
    server.stop_after = None
    server.hang.clear()
    download.fetch(entry(server), tmp_path)
    assert server.ranges[1:] == [f"bytes={HALF}-"] and files(tmp_path) == {"a-text.txt": TEXT}


def test_ctrl_c_keeps_the_part(server, tmp_path, monkeypatch, capsys):
    class Bar(download.tqdm):
        def update(self, n=1):
            raise KeyboardInterrupt

    monkeypatch.setattr(download, "tqdm", Bar)
    monkeypatch.setattr(download, "catalog", lambda: (entry(server),))
    with pytest.raises(KeyboardInterrupt):
        download.fetch(entry(server), tmp_path)
    (name,) = files(tmp_path)
    arrived = files(tmp_path)[name]
    assert name == "a-text.txt.part" and 0 < len(arrived) < len(TEXT) and TEXT.startswith(arrived)
    assert command.main(["a-text", "--folder", str(tmp_path)]) == 130
    assert "same command goes on" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setenv("no_proxy", "*")
    download.fetch(entry(server), tmp_path)
    assert server.ranges[1] == f"bytes={len(arrived)}-" and files(tmp_path) == {"a-text.txt": TEXT}


def test_a_read_only_folder(server, tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    if os.access(folder, os.W_OK):
        pytest.skip("this user may write everywhere")
    with pytest.raises(CorpusError, match="a-text.txt.part cannot be used: .*denied.*--folder"):
        download.fetch(entry(server), folder)


def test_a_folder_that_is_a_file(server, tmp_path):
    (tmp_path / "downloads").write_bytes(b"")
    with pytest.raises(CorpusError, match="cannot be used: .*--folder"):
        download.fetch(entry(server), tmp_path / "downloads")


def test_a_full_disk(server, tmp_path, monkeypatch):
    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CorpusError, match="a-text.txt.part cannot be used: No space left on device. Free some room"):
        download.fetch(entry(server), tmp_path)
    assert "a-text.txt" not in files(tmp_path)


def test_the_command_line(server, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "down loads"
    for module in (download, command):
        monkeypatch.setattr(module, "catalog", lambda: (entry(server), entry(server, name="other")))

    def say(*arguments):
        code = command.main([*arguments, "--folder", str(folder)])
        return code, capsys.readouterr()

    code, said = say()
    assert code == 0 and said.out.count("not there") == 2 and server.ranges == [] and not folder.exists()
    code, said = say("a-text")
    assert code == 0 and f'python -m foundry_lib train --data "{folder / "a-text.txt"}"' in said.out
    assert f"DataLoader({(folder / 'a-text.txt').resolve().as_posix()!r})" in said.out
    code, said = say("a-text")
    assert code == 0 and "already there" in said.out and len(server.ranges) == 1
    (folder / "other.txt.part").write_bytes(TEXT[: len(TEXT) // 4])
    code, said = say()
    assert code == 0 and "already there" in said.out and "begun: 25%" in said.out
    (folder / "a-text.txt").write_bytes(b"my own notes")
    assert "another file is in its place" in say()[1].out
    code, said = say("a-text")
    assert code == 2 and said.err.startswith("error: ") and "Traceback" not in said.err
    code, said = say("nothing")
    assert code == 2 and "has no text 'nothing'. Choose one of a-text, other." in said.err


def test_the_catalogue_is_well_formed():
    texts = download.catalog()
    for text in texts:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", text.name), text.name  # a file name everywhere
        assert re.fullmatch(r"[0-9a-f]{64}", text.sha256), text.name
        # one commit: what the address gives cannot change
        assert re.fullmatch(r"https://raw\.githubusercontent\.com/[\w.-]+/[\w.-]+/[0-9a-f]{40}/[\w./%-]+", text.url)
        assert text.source.startswith("https://") and type(text.bytes) is int and text.bytes > 100_000
        assert text.title and text.author and text.language in ("en", "zh-Hant", "zh-Hans")
        assert "public domain" in text.licence.lower()
    for field in ("name", "url", "sha256"):
        assert len({getattr(text, field) for text in texts}) == len(texts)
    assert {"hong-lou-meng", "tiny-shakespeare"} <= {text.name for text in texts}


def test_a_broken_catalogue_is_named(tmp_path):
    path = tmp_path / "catalog.toml"
    with pytest.raises(CorpusError, match="There is no catalogue .*catalog.toml"):
        download.catalog(path)
    for content in ("[[text]]\nname = ", "[[text]]\nname = 'a'\n", "[other]\n"):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(CorpusError, match="catalog.toml cannot be read"):
            download.catalog(path)


def test_download_takes_the_entry_of_that_name(server, tmp_path, monkeypatch):
    one = entry(server)
    monkeypatch.setattr(download, "catalog", lambda: (replace(one, name="other", sha256="0" * 64), one))
    assert download.download("a-text", tmp_path) == tmp_path / "a-text.txt"
