"""The clips of one run for a browser, and nothing else."""

from __future__ import annotations

import http.client
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
