"""The README's pictures, drawn by the apps themselves: a real run's journal, a real voice.

    python tests/tools/pictures.py RUN [--out docs/pictures] [--voice bundled] --against FILE

RUN is a run's folder with its clips; --against is a second voice, such as a snapshot of it.
Nothing is trained; each voice speaks four sentences.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

from textual.app import App

from dlpo_tui.attached_app import AttachedApp, bridged
from dlpo_tui.blind_app import BlindApp
from dlpo_tui.commands.compare import Asked
from dlpo_tui.listening import ListenApp
from dlpo_tui.rendering import Rendering
from dlpo_tui.replay_app import ReplayApp
from dlpo_tui.replaying import Replay
from dlpo_tui.sound import Silent
from dlpo_tui.speaking import Speaking
from dlpo_tui.speech_settings import Settings
from dlpo_tui.studio import VoiceStudio
from engine.attached import Attachment
from engine.preference import trials
from engine.serving import Server

ROOT = Path(__file__).parents[2]
SENTENCES = ("The boats came home before the storm.", "Tell me what you see from there.")
Size = tuple[int, int]
SIZE = (120, 40)


async def draw(
    app: App[Any], keys: tuple[str, ...], out: Path, ready: Callable[[], bool], size: Size = SIZE
) -> None:
    """Presses keys, waits until `ready`, and keeps what the app shows."""
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        for key in keys:
            await pilot.press(key)
            app.tick()  # type: ignore[attr-defined]
            await pilot.pause(0.2)
        while not ready():
            app.tick()  # type: ignore[attr-defined]
            await pilot.pause(0.1)
        for _ in range(8):
            app.tick()  # type: ignore[attr-defined]
            await pilot.pause(0.2)
        picture = app.export_screenshot()
    picture = re.sub(r"@font-face\s*\{.*?\}", "", picture, flags=re.DOTALL)  # no font from afar
    picture = picture.replace("Fira Code", "DejaVu Sans Mono")
    out.write_text(picture, encoding="utf-8")
    print(out)


def typed(text: str) -> tuple[str, ...]:
    names = {" ": "space", ".": "full_stop", ",": "comma", "?": "question_mark"}
    return tuple(names.get(c, c) for c in text)


async def session(folder: Path, out: Path) -> None:
    """The session's screen by its journal, live but for the badge."""
    for name, keys, size in (
        ("run", (), SIZE),
        ("clip", ("3", "v"), SIZE),
        ("cursor", ("c", "comma", "comma", "m"), SIZE),
        ("help", ("question_mark",), SIZE),
        ("small", (), (60, 20)),
        ("wide", ("v",), (200, 60)),
    ):
        replay = Replay(folder)
        replay.join(60)
        app = ReplayApp(replay, Silent(), folder, clock=lambda: 0.0)
        await draw(app, keys, out / f"{name}.svg", lambda: True, size)


@contextmanager
def served(run: Path) -> Iterator[AttachedApp]:
    """The screen on the run as it stood after half of its updates, attached, beside a watcher."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / run.name
        folder.mkdir()
        (folder / "samples").symlink_to((run / "samples").resolve())
        (folder / "events.jsonl").write_text("".join(lines_to_half(run)), encoding="utf-8")
        server = Server(folder)
        path = server.path
        ann, ben = Attachment(path, folder, "ann@here"), Attachment(path, folder, "ben@there", True)
        ann.open()
        bridge = bridged(ann)
        ben.emit = lambda event: None
        ben.open()
        watching = Thread(target=ben.run)
        watching.start()
        yield AttachedApp(bridge, ann, Silent(), folder, clock=lambda: 0.0)
        for one in (ann, ben):
            one.leave()
        watching.join()
        bridge.join(10)
        server.close()


def lines_to_half(run: Path) -> list[str]:
    """The journal's lines up to the clips of an update, in the middle of the run."""
    lines = (run / "events.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    scored = [i for i, line in enumerate(lines) if '"kind": "ClipsScored"' in line]
    return lines[: scored[len(scored) // 2] + 1]


async def attached(run: Path, out: Path) -> None:
    for name, keys in (
        ("attached", ()),
        ("log", ("l",)),
        ("devices", ("D",)),
        ("question", ("q",)),
    ):
        with served(run) as app:
            await draw(app, keys, out / f"{name}.svg", lambda: True)


async def listen(voices: tuple[str, ...], out: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        speaking = Speaking(lambda tell: VoiceStudio(voices, Path(folder), tell, ""))
        app = ListenApp(speaking, Silent(), voices, Settings(), clock=lambda: 0.0)
        keys = tuple(k for text in SENTENCES for k in (*typed(text), "enter"))

        def spoken() -> bool:
            done = [u for u in speaking.now.utterances if u.state == "spoken"]
            scored = all(len(take.scores) > 1 for u in done for take in u.takes.values())
            return len(done) == len(SENTENCES) and scored and not speaking.now.loading

        await draw(app, keys, out / "listen.svg", spoken)
        speaking.close(30)


async def blind(a: str, b: str, out: Path) -> None:
    asked = Asked(a, b, "bundled", 2, "", None, 1.0, 1234, ("loudness",))
    with tempfile.TemporaryDirectory() as folder:
        rendering = Rendering(
            lambda advance: asked.compare(advance, scored=False),
            asked.judge,
            lambda prompts: trials(prompts, 0),
            Path(folder),
        )
        app = BlindApp(rendering, Silent(), (a, b))
        await draw(app, (), out / "blind.svg", lambda: rendering.pairs is not None, (80, 24))
        rendering.close()
        rendering.join(60)


async def drawn(options: argparse.Namespace) -> None:
    options.out.mkdir(parents=True, exist_ok=True)
    await session(options.run, options.out)
    await attached(options.run, options.out)
    await listen((options.voice, options.against), options.out)
    await blind(options.voice, options.against, options.out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures")
    parser.add_argument("--voice", default="bundled")
    parser.add_argument("--against", required=True)
    asyncio.run(drawn(parser.parse_args()))


if __name__ == "__main__":
    main()
