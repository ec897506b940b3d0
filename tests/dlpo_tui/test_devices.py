"""Output devices by name, with a PortAudio that only lists."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from dlpo_tui.devices import DeviceError, Output, named, outputs


def device(name: str, channels: int, driver: int = 0) -> dict[str, object]:
    return {"name": name, "max_output_channels": channels, "hostapi": driver}


@pytest.fixture(autouse=True)
def portaudio(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = [
        device("Microphone", 0),
        device("HDMI 0", 8),
        device("HDMI 1", 8),
        device("Headphones (USB)", 2, 1),
    ]
    listed = SimpleNamespace(
        query_devices=lambda: devices,
        query_hostapis=lambda: [{"name": "ALSA"}, {"name": "JACK"}],
        default=SimpleNamespace(device=(0, 3)),
    )
    monkeypatch.setitem(sys.modules, "sounddevice", listed)


def test_what_can_play_is_listed_the_default_first() -> None:
    assert outputs() == [
        Output("Headphones (USB)", "JACK", 2, True),
        Output("HDMI 0", "ALSA", 8, False),
        Output("HDMI 1", "ALSA", 8, False),
    ]


@pytest.mark.parametrize(
    ("name", "number"), [("", None), ("HDMI 1", 2), ("headphones", 3), ("usb", 3)]
)
def test_a_device_is_found_by_its_name_or_a_part(name: str, number: int | None) -> None:
    assert named(name) == number


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("hdmi", "several sound devices are called 'hdmi'"),
        ("Hedphones", "no sound device 'Hedphones' .there is 'Headphones .USB.'."),
        ("Microphone", "no sound device 'Microphone'"),
    ],
)
def test_a_device_that_is_not_there_is_told(name: str, told: str) -> None:
    with pytest.raises(DeviceError, match=told):
        named(name)
