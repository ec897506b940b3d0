"""The clips of one run for a browser, and nothing else."""

from __future__ import annotations

import http.client
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from dlpo_tui.serving import Serving, byte_range, forwarding

SOUND = bytes(range(256)) * 40


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    samples = tmp_path / "samples"
    (samples / "below").mkdir(parents=True)
    (samples / "a clip.flac").write_bytes(SOUND)
    (samples / "b.wav").write_bytes(SOUND[:10])
    (samples / "below" / "c.wav").write_bytes(SOUND)
    (samples / ".hidden.wav").write_bytes(SOUND)
    (samples / "notes.toml").write_text("secret")
    (tmp_path / "outside.wav").write_bytes(SOUND)
    (samples / "link.wav").symlink_to(tmp_path / "outside.wav")
    made = Serving(samples)
    yield made
    made.close()


def ask(
    serving: Serving, path: str, method: str = "GET", **headers: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", serving.port(), timeout=10)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, answer.headers, body


def test_a_clip_is_served_whole_with_its_type(serving: Serving) -> None:
    url = urlsplit(serving.address("a clip.flac"))
    assert url.hostname == "127.0.0.1"
    status, headers, body = ask(serving, url.path)
    assert (status, body) == (200, SOUND)
    assert headers["Content-Type"] == "audio/flac"
    assert headers["Accept-Ranges"] == "bytes"
    status, headers, body = ask(serving, urlsplit(serving.address("b.wav")).path, "HEAD")
    assert (status, headers["Content-Type"], headers["Content-Length"]) == (200, "audio/wav", "10")
    assert body == b""


def test_a_part_is_served_as_a_browser_seeks(serving: Serving) -> None:
    path = urlsplit(serving.address("a clip.flac")).path
    status, headers, body = ask(serving, path, Range="bytes=1000-1999")
    assert (status, body) == (206, SOUND[1000:2000])
    assert headers["Content-Range"] == f"bytes 1000-1999/{len(SOUND)}"
    assert ask(serving, path, Range="bytes=-7")[2] == SOUND[-7:]
    status, headers, body = ask(serving, path, Range=f"bytes={len(SOUND)}-")
    assert (status, headers["Content-Range"], body) == (416, f"bytes */{len(SOUND)}", b"")


@pytest.mark.parametrize(
    "name",
    [
        "", "none.wav", "notes.toml", ".hidden.wav", "link.wav", "below/c.wav", "below%2Fc.wav",
        "../outside.wav", "..%2Foutside.wav", "%2e%2e%2foutside.wav", "/etc/hostname",
        "b.wav%00.toml", "below",
    ],
)  # fmt: skip
def test_nothing_else_is_served(serving: Serving, name: str) -> None:
    status, _, body = ask(serving, f"/{serving.token}/{name}")
    assert status == 404
    assert SOUND[:8] not in body


def test_without_the_token_nothing_is_served(serving: Serving) -> None:
    for path in ("/b.wav", "//b.wav", "/wrong/b.wav", "/", f"/{serving.token}x/b.wav"):
        assert ask(serving, path)[0] == 404
    assert len(serving.token) >= 16
    assert Serving(serving.folder).token != serving.token


def test_it_is_read_only(serving: Serving) -> None:
    for method in ("POST", "PUT", "DELETE"):
        assert ask(serving, f"/{serving.token}/b.wav", method)[0] == 501
    assert (serving.folder / "b.wav").read_bytes() == SOUND[:10]


def test_it_stops(serving: Serving) -> None:
    port = serving.port()
    serving.close()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with pytest.raises(ConnectionRefusedError):
        connection.request("GET", "/")


@pytest.mark.parametrize(
    ("header", "asked"),
    [
        ("", (0, 10, False)),
        ("bytes=0-", (0, 10, True)),
        ("bytes=2-4", (2, 3, True)),
        ("bytes=2-400", (2, 8, True)),
        ("bytes=-400", (0, 10, True)),
        ("bytes=-0", None),
        ("bytes=4-2", None),
        ("bytes=10-", None),
        ("bytes=0-1,3-4", (0, 10, False)),
        ("bytes=-", (0, 10, False)),
        ("lines=1-2", (0, 10, False)),
    ],
)
def test_ranges(header: str, asked: tuple[int, int, bool] | None) -> None:
    assert byte_range(header, 10) == asked


def test_the_line_for_the_far_end() -> None:
    here = {"SSH_CONNECTION": "10.0.0.9 50000 10.0.0.5 22", "USER": "ann"}
    assert forwarding(4000, here) == "ssh -N -L 4000:127.0.0.1:4000 ann@10.0.0.5"
    here["SSH_CONNECTION"] = "10.0.0.9 50000 10.0.0.5 2222"
    assert forwarding(4000, here) == "ssh -N -L 4000:127.0.0.1:4000 -p 2222 ann@10.0.0.5"
    assert forwarding(4000, {}).startswith("ssh -N -L 4000:127.0.0.1:4000 ")


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1.evil.example",
        "127.0.0.1@evil.example",
        "0.0.0.0:{port}",
        "",
        "[::2]:{port}",
    ],
)
def test_a_name_that_was_made_to_mean_this_machine_is_turned_away(
    serving: Serving, host: str
) -> None:
    path = urlsplit(serving.address("b.wav")).path
    status, _, body = ask(serving, path, Host=host.format(port=serving.port()))
    assert status == 421
    assert SOUND[:8] not in body


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:9", "LOCALHOST", "[::1]:80"])
def test_this_machines_own_names_are_heeded_at_a_forwarded_port_too(
    serving: Serving, host: str
) -> None:
    path = urlsplit(serving.address("b.wav")).path
    assert ask(serving, path, Host=host.format(port=serving.port()))[0] == 200


@pytest.mark.parametrize(
    "name", ["x" * 300 + ".wav", "x" * 5000 + ".wav", "%ff%fe.wav", "pipe.wav"]
)
def test_what_is_asked_for_never_writes_on_the_terminal(
    serving: Serving, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(serving.folder / "pipe.wav")
    assert ask(serving, f"/{serving.token}/{name}")[0] == 404
    range_ = f"bytes={'9' * 5000}-"
    path = urlsplit(serving.address("b.wav")).path
    assert ask(serving, path, Range=range_)[0] == 200
    with socket.create_connection(("127.0.0.1", serving.port()), timeout=10) as connection:
        connection.sendall(b"\x1b[2J \x1b]0;x\x07\r\n\r\n")
        while connection.recv(4096):
            pass
    told = capfd.readouterr()
    assert (told.out, told.err) == ("", "")


def test_a_connection_that_breaks_off_is_for_the_log(
    serving: Serving, capfd: pytest.CaptureFixture[str]
) -> None:
    serving.port()
    assert serving._server is not None
    try:
        raise BrokenPipeError
    except BrokenPipeError:
        serving._server.handle_error(None, ("127.0.0.1", 1))  # type: ignore[arg-type]
    assert capfd.readouterr().err == ""
