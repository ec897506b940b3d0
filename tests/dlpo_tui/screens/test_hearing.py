"""Volume, device and browser, by their keys."""

from __future__ import annotations

import urllib.request
from collections.abc import Sequence
from pathlib import Path

import pytest
from conftest import Stager

from dlpo_tui.devices import Output
from dlpo_tui.screens import devices, hearing
from dlpo_tui.screens.devices import Devices
from dlpo_tui.screens.hearing import Served


async def test_volume_goes_by_tens_between_its_ends(stage: Stager) -> None:
    async with stage() as at:
        await at.press("less_than_sign")
        assert at.sound.volume == 90
        assert "› volume 90 %" in at.text()
        await at.press(*["greater_than_sign"] * 8)
        assert at.sound.volume == 150
        await at.press(*["less_than_sign"] * 20)
        assert at.sound.volume == 0


async def test_mute_and_back(stage: Stager) -> None:
    async with stage() as at:
        await at.press("less_than_sign", "M")
        assert at.sound.muted
        assert "› muted" in at.text()
        await at.press("M")
        assert not at.sound.muted
        assert "› volume 90 %" in at.text()
        await at.press("M", "greater_than_sign")
        assert not at.sound.muted


async def listed(at: object, found: object, monkeypatch: pytest.MonkeyPatch) -> Devices:
    """The list of devices after it has looked."""
    monkeypatch.setattr(devices.Devices.__init__, "__defaults__", (found,))
    await at.press("D")  # type: ignore[attr-defined]
    screen = at.app.screen  # type: ignore[attr-defined]
    assert isinstance(screen, Devices)
    for _ in range(1000):
        if "looking" not in at.text():  # type: ignore[attr-defined]
            return screen
        await at.pilot.pause(0.01)  # type: ignore[attr-defined]
    raise AssertionError("the devices were never listed")


async def test_a_device_is_chosen_from_the_list(
    stage: Stager, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look() -> Sequence[Output]:
        return [Output("Card [a]", "ALSA", 2, True), Output("HDMI", "ALSA", 8, False)]

    async with stage() as at:
        await listed(at, look, monkeypatch)
        assert "the system's default is Card [a]" in at.text()
        await at.press("down", "down", "enter")
        assert at.app.screen is at.app.run_screen
        assert at.sound.device == "HDMI"
        assert "clips play through HDMI" in at.text()
        await listed(at, look, monkeypatch)
        assert "● HDMI" in at.text()
        await at.press("k", "k", "j", "escape")
        assert at.sound.device == "HDMI"
        await listed(at, look, monkeypatch)
        await at.press("home", "enter")
        assert at.sound.device == ""
        assert "clips play through the default device" in at.text()


async def test_without_a_sound_library_the_list_says_so(
    stage: Stager, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look() -> Sequence[Output]:
        raise OSError("PortAudio library not found")

    async with stage() as at:
        await listed(at, look, monkeypatch)
        assert "no sound library (PortAudio)" in at.text()
        await at.press("enter", "escape")
        assert at.app.screen is at.app.run_screen


async def test_the_selected_clip_is_served_while_the_screen_is_there(
    stage: Stager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "10.0.0.9 50000 10.0.0.5 22")
    async with stage() as at:
        at.app.run_screen.folder = tmp_path
        await at.press("o")
        assert "there is no file at" in at.text()
        clip = at.app.run_screen.clip_file()
        assert clip is not None
        clip.parent.mkdir()
        clip.write_bytes(b"sound")
        await at.press("o")
        page = at.app.screen
        assert isinstance(page, Served)
        port = page.address.split("/")[2].partition(":")[2]
        assert f"ssh -N -L {port}:127.0.0.1:{port}" in at.text()
        assert at.app.clipboard == page.address
        with urllib.request.urlopen(page.address) as answer:
            assert answer.read() == b"sound"
        await at.press("escape", "o")
        again = at.app.screen
        assert isinstance(again, Served)
        assert again.address == page.address
        await at.press("escape")
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(page.address)


async def test_without_a_port_the_file_is_told(
    stage: Stager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> str:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(hearing.Serving, "address", refuse)
    async with stage() as at:
        at.app.run_screen.folder = tmp_path
        clip = at.app.run_screen.clip_file()
        assert clip is not None
        clip.parent.mkdir()
        clip.write_bytes(b"sound")
        await at.press("o")
        assert "no port could be opened" in at.text()


async def test_without_clips_nothing_is_served(stage: Stager) -> None:
    async with stage("fresh") as at:
        await at.press("o")
        assert "there is no clip yet" in at.text()
