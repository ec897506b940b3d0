"""The user's settings: read strictly, never written but when asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Stager
from typer.testing import CliRunner

from dlpo_tui import config, keys
from dlpo_tui.cli import app
from engine.messages import Pause


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "config.toml"
    monkeypatch.setenv("DLPO_TUI_CONFIG", str(path))
    before = config.in_use
    yield path
    config.in_use = before
    keys.remapped.clear()


def test_without_a_file_all_is_as_it_was(file: Path) -> None:
    assert config.load(config.path()) == config.Config()


def test_every_setting_is_read(file: Path) -> None:
    file.write_text(
        'theme = "paper"\nascii = true\n[sound]\ndevice = "HDMI"\nvolume = 80\n'
        '[keys]\npause = "P, f5"\nalpha = "A"\ncharts.page-next = "ctrl+n"\nvolume-previous = ";"\n'
    )
    wanted = {
        "pause": "P,f5",
        "alpha": "A",
        "charts.page-next": "ctrl+n",
        "volume-previous": "semicolon",
    }
    assert config.load(file) == config.Config("paper", True, "HDMI", 80, wanted)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("theme = 'papr'", "there is no theme 'papr'; did you mean paper?"),
        ("them = 'paper'", "there is no setting them; did you mean theme?"),
        ("ascii = 1", "ascii must be true or false, not 1"),
        ("sound = 3", "sound must be a table, [sound], not 3"),
        ("[sound]\nvolum = 3", "there is no setting sound.volum; did you mean sound.volume?"),
        ("[sound]\nvolume = 151", "sound.volume must lie between 0 and 150, not at 151"),
        ("[sound]\ndevice = 1", "sound.device must be a name, not 1"),
        ("[keys]\npuase = 'P'", "there is no key 'puase' to change; did you mean pause?"),
        ("[keys]\npause = 3", 'keys.pause must be a key, such as "p", not 3'),
        ("[keys]\npause = 'kaboom'", "keys.pause: there is no key 'kaboom'"),
        ("[keys]\npause = ''", "keys.pause: there is no key ''"),
        ("[keys]\npause = 'ctrl+q'", "keys.pause: ctrl+q always leaves"),
        ("[keys]\npause = 'p'", "keys.pause: p is play already (play the selected clip)"),
        ("[keys]\nclips.sort = 'z'", "keys.clips.sort: z is charts.zoom already"),
        ("[keys]\npause = 'P'\nplay = 'P'", "keys.pause: P is play already"),
        ("theme = ", "cannot be read"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_exit_code_2(file: Path, text: str, told: str) -> None:
    file.write_text(text)
    done = CliRunner().invoke(app, ["replay", "nowhere"])
    assert done.exit_code == 2
    assert told in done.stderr.replace("\n", " ")
    assert str(file) in done.stderr
    assert file.read_text() == text


def test_two_keys_can_change_places(file: Path) -> None:
    file.write_text("[keys]\npause = 'p'\nplay = 'space'")
    assert config.load(file).keys == {"pause": "p", "play": "space"}


def test_the_command_writes_a_file_once_and_shows_what_holds(file: Path) -> None:
    run = CliRunner().invoke
    assert run(app, ["config", "path"]).stdout.strip() == str(file)
    assert run(app, ["config", "init"]).exit_code == 0
    assert config.load(file) == config.Config()
    written = file.read_text()
    assert run(app, ["config", "init"]).exit_code == 2
    assert file.read_text() == written
    # Each example in the file is one that can be used.
    for line in written.splitlines():
        if line.startswith("# ") and " = " in line:
            example = line.removeprefix("# ")
            section = "[keys]" if '= "P"' in line or "ctrl" in line or "page" in line else ""
            section = "[sound]" if "device" in line or "volume" in line else section
            file.write_text(f"{section}\n{example}\n")
            config.load(file)
    file.write_text('[keys]\npause = "P"')
    shown = run(app, ["config", "show"])
    assert shown.exit_code == 0, shown.stderr
    assert 'pause = "P"' in shown.stdout
    assert 'play = "p"' in shown.stdout


async def test_a_key_of_the_users_works_and_is_shown(stage: Stager, file: Path) -> None:
    file.write_text("[keys]\npause = 'P'\nvolume-next = ';'\nhelp = 'f9'")
    config.use(config.load(file))
    async with stage(size=(120, 40)) as at:
        assert "P pause" in at.lines()[-1]
        assert "f9 help" in at.lines()[-1].lower()
        await at.press("space")
        assert "PAUSING" not in at.text()
        await at.press("P", "semicolon")
        assert "PAUSING" in at.lines()[0]
        assert at.sound.volume == 110
        await at.press("f9")
        assert "< ;  softer, louder" in at.text()
        await at.press("escape")
        assert at.commands() == [Pause()]


async def test_theme_and_volume_hold_from_the_start(stage: Stager, file: Path) -> None:
    from dlpo_tui.sound import speaker

    file.write_text('theme = "clear"\n[sound]\nvolume = 30\ndevice = "HDMI"')
    config.use(config.load(file))
    async with stage() as at:
        assert at.app.theme == "clear"
    made = speaker()
    assert (made.volume, made.device) == (30, "HDMI")


@pytest.mark.parametrize(("encoding", "ascii_only"), [("UTF-8", False), ("ISO-8859-1", True)])
def test_without_utf_8_the_screens_are_ascii(
    file: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, ascii_only: bool
) -> None:
    monkeypatch.setattr("locale.getencoding", lambda: encoding)
    CliRunner().invoke(app, ["replay", "nowhere"])
    assert config.in_use.ascii is ascii_only


@pytest.mark.parametrize(("colours", "theme"), [("truecolor", ""), ("standard", "sixteen")])
def test_16_colours_have_a_theme_of_their_own(
    file: Path, monkeypatch: pytest.MonkeyPatch, colours: str, theme: str
) -> None:
    from types import SimpleNamespace

    from dlpo_tui.commands import config as command

    monkeypatch.setattr(command, "err", SimpleNamespace(color_system=colours))
    CliRunner().invoke(app, ["replay", "nowhere"])
    assert config.in_use.theme == theme
    file.write_text('theme = "paper"')
    CliRunner().invoke(app, ["replay", "nowhere"])
    assert config.in_use.theme == "paper"


def test_ascii_can_be_asked_for_once(file: Path) -> None:
    CliRunner().invoke(app, ["--ascii", "replay", "nowhere"])
    assert config.in_use.ascii


def test_no_setting_writes_on_the_terminal(file: Path) -> None:
    file.write_text('sound.device = "\\u001b[2J\\u009b"\n')
    shown = CliRunner().invoke(app, ["config", "show"]).output
    assert 'device = "␛[2J�"' in shown
    assert shown.replace("\n", "").isprintable()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[keys]\npause = "\\u001b"', "there is no key"),
        ("theme = " + "[" * 100_000, "cannot be read"),
        ("sound.volume = " + "9" * 5000, "cannot be read"),
    ],
)
def test_what_nobody_would_write_is_refused(file: Path, text: str, told: str) -> None:
    file.write_text(text)
    result = CliRunner().invoke(app, ["config", "show"])
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert told in line
    assert line.isprintable()
