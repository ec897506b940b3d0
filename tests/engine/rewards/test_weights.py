"""Downloads from a server on this machine, whole and otherwise."""

from __future__ import annotations

import errno
import hashlib
import io
import threading
import urllib.request
from collections.abc import Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.response import addinfourl

import pytest

from engine.rewards import weights
from engine.rewards.weights import WeightsError, WeightsFile, check, fetch, keep

DATA = bytes(range(256)) * 4096
"""1 MiB: four pieces."""

DIGEST = hashlib.sha256(DATA).hexdigest()


class Server(ThreadingHTTPServer):
    """Answers every request with `status` and `body`, of which it promises `promised` bytes."""

    status = 200
    body = DATA
    promised = len(DATA)
    asked = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/good.bin"


class Answer(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked += 1
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(self.server.promised))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, format: str, *_arguments: object) -> None:
        """Nothing on stderr."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "good.bin"


def published(address: str) -> WeightsFile:
    return WeightsFile("toy", "good.bin", address, len(DATA), DIGEST)


def plain() -> urllib.request.HTTPHandler:
    return urllib.request.HTTPHandler()


def quiet(done: int, total: int) -> None:
    del done, total


def refused(server: Server, target: Path) -> str:
    """The sentence of a download that fails, and leaves nothing behind."""
    with pytest.raises(WeightsError) as raised:
        fetch(published(server.address), target, quiet, plain())
    assert not target.exists()
    assert not any(p.is_file() for p in target.parent.glob("*"))
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_a_good_file_arrives_whole_and_says_how_far_it_is(server: Server, target: Path) -> None:
    told: list[tuple[int, int]] = []
    fetch(published(server.address), target, lambda *far: told.append(far), plain())
    assert target.read_bytes() == DATA
    assert [p.name for p in target.parent.iterdir()] == ["good.bin"]
    assert len(told) >= 4
    assert told == sorted(told)
    assert told[-1] == (len(DATA), len(DATA))


def test_a_wrong_digest_is_refused(server: Server, target: Path) -> None:
    server.body = DATA[:-1] + b"x"
    assert "its SHA-256 is not the published file's; nothing was kept" in refused(server, target)


def test_what_was_there_stays_where_the_download_is_not_good(server: Server, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(b"before")
    server.body = DATA[:-1] + b"x"
    with pytest.raises(WeightsError):
        fetch(published(server.address), target, quiet, plain())
    assert target.read_bytes() == b"before"


@pytest.mark.parametrize("promised", [len(DATA), len(DATA) // 2])
def test_a_file_cut_short_is_refused(server: Server, target: Path, promised: int) -> None:
    """By a connection that ends early, and by a server that has no more."""
    server.body, server.promised = DATA[: len(DATA) // 2], promised
    told = refused(server, target)
    assert "is 524,288 bytes long and should be 1,048,576: it is cut short" in told or (
        "cannot be fetched" in told and "IncompleteRead" in told
    )


def test_a_longer_file_is_given_up_on(server: Server, target: Path) -> None:
    server.body = DATA * 3
    server.promised = len(server.body)
    assert "it is another file" in refused(server, target)


@pytest.mark.parametrize("status", [403, 404, 503])
def test_a_server_that_refuses_is_one_sentence(server: Server, target: Path, status: int) -> None:
    server.status = status
    told = refused(server, target)
    assert f"(the server says {status} " in told
    assert f"dlpo-tui fetch toy --from FILE, or put it at {target}" in told


def test_where_there_is_no_network_the_way_by_hand_is_told(server: Server, target: Path) -> None:
    address = server.address
    server.shutdown()
    server.server_close()
    with pytest.raises(WeightsError, match=rf"good\.bin \(1 MB\) cannot be fetched from {address}"):
        fetch(published(address), target, quiet, plain())


def test_a_full_disk_is_not_the_network(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.BytesIO):
        def write(self, _data: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", lambda *_arguments: Full())
    told = refused(server, target)
    assert f"good.bin (1 MB) cannot be written into {target.parent}: No space left" in told
    assert "make room there, then: dlpo-tui fetch toy" in told


# https alone


def test_plain_http_is_never_asked(server: Server, target: Path) -> None:
    with pytest.raises(WeightsError, match="unknown url type: http"):
        fetch(published(server.address), target, quiet)
    assert server.asked == 0


def test_a_redirection_to_plain_http_is_not_followed(server: Server, target: Path) -> None:
    class Redirecting(urllib.request.BaseHandler):
        def https_open(self, request: urllib.request.Request) -> addinfourl:
            headers = Message()
            headers["Location"] = server.address
            answer = addinfourl(io.BytesIO(), headers, request.full_url, 302)
            answer.msg = "Found"  # type: ignore[attr-defined]
            return answer

    with pytest.raises(WeightsError, match="unknown url type: http"):
        fetch(published("https://example.invalid/good.bin"), target, quiet, Redirecting())
    assert server.asked == 0


# A file the user has


def test_a_file_the_user_has_is_copied_if_it_is_the_one(tmp_path: Path, target: Path) -> None:
    mine, file = tmp_path / "mine", published("https://example.invalid/good.bin")
    with pytest.raises(WeightsError, match=r"there is no file .*mine$"):
        keep(file, target, mine)
    mine.write_bytes(DATA[:-1])
    with pytest.raises(WeightsError, match=r"it is cut short; get it with: dlpo-tui fetch toy$"):
        keep(file, target, mine)
    mine.write_bytes(DATA[:-1] + b"x")
    with pytest.raises(WeightsError, match="its SHA-256 is not the published file's"):
        keep(file, target, mine)
    assert not target.parent.exists()
    mine.write_bytes(DATA)
    keep(file, target, mine)
    assert target.read_bytes() == DATA
    check(target, file)


def test_a_copy_that_the_disk_cannot_take_is_one_sentence(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "mine").write_bytes(DATA)
    monkeypatch.setattr(weights.shutil, "copyfile", full)
    with pytest.raises(WeightsError, match=r"cannot be written into .*: No space left on device"):
        keep(published("https://example.invalid/good.bin"), target, tmp_path / "mine")
    assert list(target.parent.iterdir()) == []
