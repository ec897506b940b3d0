"""The sizes of one WaveGrad 2: a checkpoint's metadata carries them as JSON. No torch here."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import MISSING, asdict, dataclass, fields, replace
from difflib import get_close_matches
from math import prod
from typing import Any

from engine import plain_json
from engine.types import HOP

_FALLING = ((1, 2, 4, 8),) * 3 + ((1, 2, 1, 2),) * 2
_DOWN = ((1, 2, 4),) * 4

SPEECH_RMS = 0.08
"""Of prepared speech: what a signal-to-noise ratio is counted from."""
LARGEST_SIZE, MOST_LAYERS = 100_000, 64
"""What a config may ask for: far more than any voice has, and little to lay out unfilled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """Every size that shapes a weight or a tensor of WaveGrad 2.

    Raises ValueError, in one sentence, for sizes that do not fit together.
    """

    symbols: int
    """Rows of the text embedding."""
    encoder_channels: int
    encoder_kernel: int
    encoder_layers: int
    speaker_channels: int
    duration_lstm: int
    """Units of each direction."""
    range_lstm: int
    """Units of each direction."""
    hop: int
    """Audio samples per frame."""
    sample_rate: int
    """Hz."""
    u_pre: int
    u_out: tuple[int, ...]
    """Channels of each upsampling level, coarsest first."""
    u_factors: tuple[int, ...]
    """Their product is the hop."""
    u_dilations: tuple[tuple[int, ...], ...]
    """Four for each upsampling level."""
    d_pre: int
    d_out: tuple[int, ...]
    """Channels of each downsampling level, finest first; one fewer than u_out."""
    d_dilations: tuple[tuple[int, ...], ...]
    """Three for each downsampling level."""
    speakers: int = 1
    window_frames: int = 256
    """Frames of the piece of a sentence that supervised training sees."""
    blocks_per_level: int = 1
    """1 in Base, 2 in Large."""
    position_scale: float = 5000.0
    """Multiplies the noise level before its sinusoids."""
    speech_rms: float = 0.0
    """0: the decoder's output is the noise, as in maum-ai's. Above 0: it is what the noisy audio
    does not tell of the noise, where speech has this RMS (`engine.model.decoder.as_noise`)."""

    def __post_init__(self) -> None:
        for problem, found in self._problems():
            if found:
                raise ValueError(f"model config: {problem}")

    def _problems(self) -> list[tuple[str, bool]]:
        levels = len(self.u_factors)
        given = asdict(self)
        rms = given.pop("speech_rms")
        sizes = [v for v in _numbers(given) if not 0 < v <= LARGEST_SIZE]
        return [
            (
                f"every size must be above 0 and at most {LARGEST_SIZE:,}, not {sizes[:1]}",
                bool(sizes),
            ),
            (f"speech_rms is {rms}, and must be from 0 to below 1", not 0 <= rms < 1),
            (
                f"encoder_layers is {self.encoder_layers}, and the most is {MOST_LAYERS}",
                self.encoder_layers > MOST_LAYERS,
            ),
            (f"u_factors has {levels} levels, and the most is {MOST_LAYERS}", levels > MOST_LAYERS),
            (f"u_out has {len(self.u_out)} levels, u_factors {levels}", len(self.u_out) != levels),
            (
                f"u_dilations has {len(self.u_dilations)} levels, u_factors {levels}",
                len(self.u_dilations) != levels,
            ),
            (
                f"d_out has {len(self.d_out)} levels, and needs one fewer than u_out's {levels}",
                len(self.d_out) != levels - 1,
            ),
            (
                f"d_dilations has {len(self.d_dilations)} levels, d_out {len(self.d_out)}",
                len(self.d_dilations) != len(self.d_out),
            ),
            (
                "each level of u_dilations needs four dilations",
                any(len(d) != 4 for d in self.u_dilations),
            ),
            (
                "each level of d_dilations needs three dilations",
                any(len(d) != 3 for d in self.d_dilations),
            ),
            (
                f"u_factors multiply to {prod(self.u_factors)}, and hop is {self.hop}",
                prod(self.u_factors) != self.hop,
            ),
            (f"hop is {self.hop}, and a frame is {HOP} audio samples here", self.hop != HOP),
            ("encoder_kernel must be odd", self.encoder_kernel % 2 == 0),
            (
                "encoder_channels must be even, half for each direction",
                self.encoder_channels % 2 == 1,
            ),
            (
                "d_pre and d_out must be even, half sines and half cosines",
                any(c % 2 for c in (self.d_pre, *self.d_out)),
            ),
            (
                f"blocks_per_level is {self.blocks_per_level}, and only 1 and 2 exist",
                self.blocks_per_level not in (1, 2),
            ),
        ]

    @property
    def cond_channels(self) -> int:
        """Channels of the conditioning: the encoder's, then the speaker's."""
        return self.encoder_channels + self.speaker_channels

    @property
    def d_factors(self) -> tuple[int, ...]:
        """Downsampling factors, finest first: the upsampling ones mirrored, less the coarsest."""
        return self.u_factors[:0:-1]

    @property
    def frames_per_second(self) -> float:
        return self.sample_rate / self.hop

    @classmethod
    def base(cls, speakers: int = 1) -> ModelConfig:
        """WaveGrad 2 Base, 44,079,009 parameters with one speaker (spec of maum-ai/wavegrad2)."""
        return _full(speakers, 1, _FALLING)

    @classmethod
    def base_light(cls, speakers: int = 1) -> ModelConfig:
        """Base's encoder and decoder behind smaller predictors: 24.8 M parameters, 50 MB in fp16.

        Half of Base's parameters predict one duration and one range a symbol.
        """
        return replace(
            _full(speakers, 1, _FALLING), duration_lstm=128, range_lstm=128, speech_rms=SPEECH_RMS
        )

    @classmethod
    def large(cls, speakers: int = 1) -> ModelConfig:
        """WaveGrad 2 Large, 55,788,961 parameters with one speaker: two blocks a level."""
        return _full(speakers, 2, ((1, 2, 4, 8),) * 5)

    @classmethod
    def narrow(cls, speakers: int = 1) -> ModelConfig:
        """A WaveGrad 2 that two CPU cores can speak with; the bundled voice has these sizes.

        Wide where there are few steps a second, up to 367 Hz: 78 % of the decoder's weights take
        23 % of its multiplications there.
        """
        return cls(
            symbols=151,
            encoder_channels=256,
            encoder_kernel=5,
            encoder_layers=3,
            speaker_channels=16,
            duration_lstm=64,
            range_lstm=64,
            hop=HOP,
            sample_rate=22050,
            u_pre=384,
            u_out=(256, 128, 64, 32, 24),
            u_factors=(5, 5, 3, 2, 2),
            u_dilations=_FALLING,
            d_pre=16,
            d_out=(24, 32, 64, 128),
            d_dilations=_DOWN,
            speakers=speakers,
            speech_rms=SPEECH_RMS,
        )

    def to_json(self) -> str:
        """One line of JSON, cond_channels included; `from_json` reads it back."""
        return json.dumps({**asdict(self), "cond_channels": self.cond_channels})

    @classmethod
    def from_json(cls, text: str) -> ModelConfig:
        """Reads a config; a field with a default may be absent, cond_channels may be present.

        Raises:
            ValueError: not JSON, an unknown or missing key, a value of the wrong type, or sizes
                that do not fit together; one sentence that names the key.
        """
        try:
            given = plain_json.parse(text)
        except ValueError as error:
            raise ValueError(f"model config: not JSON ({error})") from None
        if not isinstance(given, dict):
            raise ValueError("model config: the JSON must be an object")
        cond_channels = given.pop("cond_channels", None)
        known = {field.name: field for field in fields(cls)}
        for key in given:
            if key not in known:
                near = get_close_matches(key, known, n=1)
                hint = f"; did you mean '{near[0]}'?" if near else ""
                raise ValueError(f"model config: unknown key '{key}'{hint}")
        for key, field in known.items():
            if key not in given and field.default is MISSING:
                raise ValueError(f"model config: missing key '{key}'")
        config = cls(**{key: _READ[str(known[key].type)](key, v) for key, v in given.items()})
        if cond_channels not in (None, config.cond_channels):
            raise ValueError(
                f"model config: cond_channels is {cond_channels!r}, and encoder_channels + "
                f"speaker_channels is {config.cond_channels}"
            )
        return config


def _full(speakers: int, blocks: int, u_dilations: tuple[tuple[int, ...], ...]) -> ModelConfig:
    return ModelConfig(
        symbols=151,
        encoder_channels=512,
        encoder_kernel=5,
        encoder_layers=3,
        speaker_channels=64,
        duration_lstm=512,
        range_lstm=512,
        hop=HOP,
        sample_rate=22050,
        u_pre=768,
        u_out=(512, 512, 256, 128, 128),
        u_factors=(5, 5, 3, 2, 2),
        u_dilations=u_dilations,
        d_pre=32,
        d_out=(128, 128, 256, 512),
        d_dilations=_DOWN,
        speakers=speakers,
        blocks_per_level=blocks,
    )


def _numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [n for v in value.values() for n in _numbers(v)]
    if isinstance(value, tuple):
        return [n for v in value for n in _numbers(v)]
    return [value]


def _whole(key: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"model config: {key} must be a whole number, not {value!r}")
    return value


def _real(key: str, value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError(f"model config: {key} must be a number, not {value!r}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"model config: {key} is a number past every float") from None


def _row(key: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise ValueError(f"model config: {key} must be a list of whole numbers, not {value!r}")
    return tuple(_whole(key, v) for v in value)


def _rows(key: str, value: Any) -> tuple[tuple[int, ...], ...]:
    if not isinstance(value, list):
        raise ValueError(f"model config: {key} must be a list of lists, not {value!r}")
    return tuple(_row(key, v) for v in value)


_READ: dict[str, Callable[[str, Any], Any]] = {
    "int": _whole,
    "float": _real,
    "tuple[int, ...]": _row,
    "tuple[tuple[int, ...], ...]": _rows,
}
