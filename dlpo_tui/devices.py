"""Output devices by name. Asking for them may take a second: never in the screen's thread."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

DEFAULT = ""
"""The name that means the system's own choice."""


class DeviceError(ValueError):
    """A device that is not there; a few words."""


@dataclass(frozen=True, slots=True)
class Output:
    name: str
    driver: str
    """Such as ALSA, Core Audio, MME."""
    channels: int
    default: bool


def outputs() -> list[Output]:
    """Every device that can play, the default one first.

    Errors: OSError without PortAudio; PortAudioError as it comes.
    """
    import sounddevice

    drivers = sounddevice.query_hostapis()
    first = sounddevice.default.device[1]
    found = [
        Output(
            str(one["name"]),
            str(drivers[one["hostapi"]]["name"]),
            int(one["max_output_channels"]),
            index == first,
        )
        for index, one in enumerate(sounddevice.query_devices())
        if one["max_output_channels"] > 0
    ]
    return sorted(found, key=lambda one: not one.default)


def named(name: str) -> int | None:
    """PortAudio's number of the device of this name, or of the only one whose name holds it.

    None: the default device. Errors: DeviceError.
    """
    if name == DEFAULT:
        return None
    import sounddevice

    numbers = {
        index: str(one["name"])
        for index, one in enumerate(sounddevice.query_devices())
        if one["max_output_channels"] > 0
    }
    exact = [index for index, known in numbers.items() if known == name]
    if exact:
        return exact[0]
    parts = [index for index, known in numbers.items() if name.lower() in known.lower()]
    if len(parts) == 1:
        return parts[0]
    if parts:
        raise DeviceError(f"several sound devices are called {name!r}")
    near = get_close_matches(name, numbers.values(), 1, 0.4)
    raise DeviceError(f"no sound device {name!r}" + (f" (there is {near[0]!r})" if near else ""))
