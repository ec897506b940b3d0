"""An HTML page taken apart; and what a browser finds in it, where there is one."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)


def browsed(page: Path, probe: str, width: int) -> dict[str, Any]:
    """What a script that is put into the page reports, which is all that the console holds.

    `probe` ends in console.log('TOLD ' + btoa(JSON.stringify(...)) + ' END').
    """
    words = page.read_text("utf-8")
    page.write_text(words.replace("</body>", probe + "</body>"), "utf-8")
    done = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
         f"--user-data-dir={page.parent / 'browser'}", f"--window-size={width},900",
         "--virtual-time-budget=8000", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    consoles = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert len(consoles) == 1, done.stderr
    found = re.search(r"TOLD (\S+) END", consoles[0])
    assert found, consoles
    told: dict[str, Any] = json.loads(base64.b64decode(found[1]))
    return told


class Seen(HTMLParser):
    """Tags with their attributes, the text outside scripts, and whether all tags close."""

    VOID = ("meta", "br")

    def __init__(self, words: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words = ""
        self.feed(words)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.words += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]
