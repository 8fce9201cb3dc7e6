"""Downloads from a server on this machine: what arrives whole is kept, anything else is refused in a sentence."""

import hashlib
import re
import socket
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from foundry_lib import CorpusError, Notice, read_corpus
from foundry_lib.commands import download as command
from foundry_lib.console import command_line
from foundry_lib.text import download
from foundry_lib.text.tokenizer import Tokenizer

TEXT = "".join(f"Chapter {i}: it was the best of times, it was the worst of times.\n" for i in range(6000)).encode()
CHINESE = "".join(f"第{i}回　滿紙荒唐言，一把辛酸淚。\n都云作者痴，誰解其中味？\n" for i in range(900)).encode()
HALF = len(TEXT) // 2
PAGE = b"<!DOCTYPE html>\n<html><body>Please log in.</body></html>\n"


class Server:
    """Gives `body`, and what its fields say of errors; `requests` counts what was asked of it."""

    def __init__(self):
        self.body, self.status, self.says_length, self.requests = TEXT, 200, True, 0
        self.stop_after = None  # bytes of the body after which the connection ends
        self.hang = threading.Event()  # set: nothing more comes
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
        self.requests += 1
        handler.send_response(self.status)
        if self.says_length:
            handler.send_header("Content-Length", str(len(self.body)))
        handler.end_headers()
        handler.wfile.write(self.body[: self.stop_after])
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
    fields = {"name": "a-text", "title": "A Text", "author": "Someone", "language": "en", "licence": "none"}
    checks = {"url": server.url, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    return download.Entry(**(fields | {"source": "https://example.org/a-text"} | checks | changes))


def novel(server) -> download.Entry:
    server.body = CHINESE
    return entry(server, CHINESE, name="a-novel", title="A Novel", language="zh-Hant")


def files(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_good_download_is_a_text_to_learn_from(server, tmp_path):
    folder = tmp_path / "new" / "downloads"
    path = download.fetch(entry(server), folder)
    assert path == folder / "a-text.txt" and files(folder) == {"a-text.txt": TEXT}
    assert read_corpus(path).documents == (TEXT.decode("utf-8"),)
    assert path.stat().st_mode & 0o444 == 0o444, "a class reads one copy"


def test_what_is_there_is_not_asked_for_again(server, tmp_path):
    path = download.fetch(entry(server), tmp_path)
    before = path.stat().st_mtime_ns
    assert download.fetch(entry(server), tmp_path) == path
    assert server.requests == 1 and path.stat().st_mtime_ns == before


@pytest.mark.parametrize(("says_length", "sentence"), [(True, "cannot be fetched: .*call again"), (False, "checksum")])
def test_a_cut_download_leaves_nothing_and_the_next_call_fetches_it(server, tmp_path, says_length, sentence):
    server.stop_after, server.says_length = HALF, says_length
    with pytest.raises(CorpusError, match=sentence):
        download.fetch(entry(server), tmp_path)
    assert files(tmp_path) == {}
    server.stop_after = None
    download.fetch(entry(server), tmp_path)
    assert files(tmp_path) == {"a-text.txt": TEXT}


@pytest.mark.parametrize(
    "status, step", [(404, "by hand from https://example.org/a-text"), (503, "Try again"), (429, "Try again")]
)
def test_an_error_of_the_server_is_told(server, tmp_path, status, step):
    server.status, server.body = status, PAGE
    with pytest.raises(CorpusError, match=f"answered {status} .*{step}"):
        download.fetch(entry(server), tmp_path)
    assert files(tmp_path) == {}


@pytest.mark.parametrize("says_length", [True, False])
@pytest.mark.parametrize("page", [PAGE, b"\xef\xbb\xbf  <HTML>" + PAGE, PAGE + b" " * (len(TEXT) - len(PAGE))])
def test_a_web_page_is_refused(server, tmp_path, page, says_length):
    server.body, server.says_length = page, says_length
    with pytest.raises(CorpusError, match="looks like a web page.*browser"):
        download.fetch(entry(server), tmp_path)
    assert files(tmp_path) == {}


@pytest.mark.parametrize("body", [TEXT[:-1] + b"!", TEXT + b"more", TEXT[:-4], b""])
def test_a_wrong_checksum_tells_both_and_leaves_nothing(server, tmp_path, body):
    server.body = body
    found = hashlib.sha256(body).hexdigest()
    with pytest.raises(CorpusError, match=f"expected {entry(server).sha256}.*found {found}.*Call again.*by hand"):
        download.fetch(entry(server), tmp_path)
    assert files(tmp_path) == {}


def test_a_foreign_file_is_left_alone(server, tmp_path):
    (tmp_path / "a-text.txt").write_bytes(b"my own notes")
    with pytest.raises(CorpusError, match="a-text.txt exists and is not A Text.*left as it is.*--folder"):
        download.fetch(entry(server), tmp_path)
    assert files(tmp_path) == {"a-text.txt": b"my own notes"} and server.requests == 0


def test_no_server(server, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound and not listening: refused for certain
        nowhere = f"http://127.0.0.1:{free.getsockname()[1]}/text.txt"
        with pytest.raises(CorpusError, match=f"{nowhere} cannot be fetched: .*refused.*Check the network"):
            download.fetch(entry(server, url=nowhere), tmp_path, timeout=5)
    assert files(tmp_path) == {}


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
    assert files(tmp_path) == {}


def test_ctrl_c_keeps_nothing(server, tmp_path, monkeypatch, capsys):
    def stopped(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(download.pooch.HTTPDownloader, "__call__", stopped)
    monkeypatch.setattr(command, "find", lambda name: entry(server))
    assert command.main(["a-text", "--folder", str(tmp_path)]) == 130
    assert "Stopped while A Text was fetched; nothing was stored" in capsys.readouterr().err
    assert files(tmp_path) == {}


def test_a_folder_that_cannot_be_written_to(server, tmp_path, monkeypatch):
    (tmp_path / "downloads").write_bytes(b"")
    with pytest.raises(CorpusError, match="cannot be used: .*--folder"):
        download.fetch(entry(server), tmp_path / "downloads")

    def locked(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", locked)  # as root, every folder takes a file
    with pytest.raises(CorpusError, match="cannot be used: .*Permission denied.*--folder"):
        download.fetch(entry(server), tmp_path)


# ---- Traditional characters


def test_a_novel_is_simplified_and_its_original_kept(server, tmp_path):
    with pytest.warns(Notice, match="a-novel.txt has A Novel in simplified characters; a-novel-traditional.txt has"):
        path = download.fetch(novel(server), tmp_path)
    assert files(tmp_path)["a-novel-traditional.txt"] == CHINESE and path == tmp_path / "a-novel.txt"
    assert "满纸荒唐言，一把辛酸泪。\n都云作者痴，谁解其中味？" in path.read_text(encoding="utf-8")
    assert download.fetch(novel(server), tmp_path) == path and server.requests == 1


def test_the_guide_s_prompt_is_spelled_in_characters_and_not_in_bytes(server, tmp_path):
    with pytest.warns(Notice):
        corpus = read_corpus(download.fetch(novel(server), tmp_path))
    tokenizer = Tokenizer.train(corpus)
    assert len(tokenizer.encode("满纸荒唐言")) <= 5 < len(tokenizer.encode("滿紙荒唐言"))


def test_a_foreign_file_in_the_novel_s_place_is_left_alone(server, tmp_path):
    (tmp_path / "a-novel.txt").write_bytes(b"my own notes")
    with pytest.raises(CorpusError, match="a-novel.txt exists and is not A Novel.*left as it is"):
        download.fetch(novel(server), tmp_path)
    assert files(tmp_path)["a-novel.txt"] == b"my own notes"


def test_without_opencc_the_extra_is_named_and_the_original_is_there(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "opencc", None)
    with pytest.raises(CorpusError, match=r'a-novel-traditional.txt is A Novel.*pip install -e "\.\[chinese\]"'):
        download.fetch(novel(server), tmp_path)
    assert files(tmp_path) == {"a-novel-traditional.txt": CHINESE}
    monkeypatch.undo()
    with pytest.warns(Notice):
        assert download.fetch(novel(server), tmp_path).name == "a-novel.txt"
    assert server.requests == 1


# ---- The command and the catalogue


def test_the_command_line(server, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "down loads"
    for module in (download, command):
        monkeypatch.setattr(module, "catalog", lambda: (entry(server), entry(server, name="other")))

    def say(*arguments):
        code = command.main([*arguments, "--folder", str(folder)])
        return code, capsys.readouterr()

    code, said = say()
    assert code == 0 and said.out.count("not there") == 2 and server.requests == 0 and not folder.exists()
    code, said = say("a-text")
    assert code == 0 and command_line("train", "--data", folder / "a-text.txt") in said.out
    assert f"DataLoader({(folder / 'a-text.txt').resolve().as_posix()!r})" in said.out
    code, said = say("a-text")
    assert code == 0 and "already there" in said.out and server.requests == 1
    (folder / "a-text.txt").write_bytes(b"my own notes")
    assert "another file has its name" in say()[1].out
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
