"""One voice or two that say the same sentence, and the models that score it; loads torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dlpo_tui.speaking import Between
from dlpo_tui.speech_settings import Settings, VoiceFacts
from dlpo_tui.takes import SIDES, Side, Take

if TYPE_CHECKING:
    from engine.checkpoint import Voice
    from engine.messages import Column
    from engine.profile import ScheduleSpec
    from engine.rewards.base import ScoreModel

MODELS = ("loudness", "distillmos", "intelligibility")
"""The cheapest first: its number is there while the others load."""


class VoiceStudio:
    """Speaks into a folder; every take a file."""

    def __init__(
        self,
        sources: tuple[str, ...],
        folder: Path,
        tell: Callable[[str], None],
        speaker: str = "",
    ) -> None:
        """Reads one or two voices, with `tell` called for what is being loaded.

        Errors: ValueError, one sentence, for a voice that cannot be read or has no such
        speaker, or two that have no sample rate or speaker in common.
        """
        tell("torch")
        from engine import checkpoint
        from engine.comparison import common_rate, common_speaker
        from engine.device import choose_device
        from engine.profile import DeviceSpec

        device = choose_device(DeviceSpec())
        self._folder = folder
        self._voices: dict[Side, Voice] = {}
        for side, source in zip(SIDES, sources, strict=False):
            tell(source)
            self._voices[side] = checkpoint.load(source, device)
        if len(self._voices) == 2:
            a, b = self._voices.values()
            common_rate(a, b)
            common_speaker(a, b, speaker)
        else:
            self._voices["A"].speaker(speaker)
        self._models: dict[str, ScoreModel] = {}
        self.voices = tuple(self._facts(voice) for voice in self._voices.values())

    def _facts(self, voice: Voice) -> VoiceFacts:
        from engine.own_schedule import chain_length, schedule_for

        cards = [v.card for v in self._voices.values()]
        names = tuple(n for n in cards[0].speakers if all(n in card.speakers for card in cards))
        spec = schedule_for(voice)
        return VoiceFacts(
            voice.source,
            names,
            chain_length(spec),
            voice.card.config.sample_rate,
            spec.eta if spec.sampler == "ddim" else None,
        )

    def speak(
        self, number: int, text: str, settings: Settings, between: Between
    ) -> dict[Side, Take]:
        """The same sentence, seed and settings by every voice."""
        from engine import audio, levels
        from engine.diffusion.schedule import build
        from engine.synthesis import speak, utter

        waves = {}
        for side, voice in self._voices.items():
            device = next(voice.model.parameters()).device
            schedule = build(chain(voice, settings)).to(device)
            between(side, 0, schedule.timesteps)
            speaker = voice.speaker(settings.speaker or self.voices[0].speakers[0])
            prompts = utter(voice.model, [text], speaker, settings.pace)

            def step(done: int, total: int, side: Side = side) -> None:
                between(side, done, total)

            (waves[side],) = speak(voice, schedule, prompts, settings.seed, between=step)
        rate = self.voices[0].sample_rate
        level = dict(zip(waves, levels.matched(list(waves.values()), rate), strict=True))
        takes = {}
        for side, wave in waves.items():
            name = f"{number:03d}-{side.lower()}" if len(waves) > 1 else f"{number:03d}"
            path = self._folder / f"{name}.wav"
            audio.write(path, wave, rate)
            heard = path
            if len(waves) > 1:
                heard = self._folder / f"{name}-level.wav"
                audio.write(heard, level[side], rate)
            takes[side] = Take(path, heard, len(wave) / rate)
        return takes

    def models(self) -> tuple[list[str], list[str]]:
        from engine.rewards import registry

        whys = {name: registry.missing(name) for name in MODELS}
        return [n for n, why in whys.items() if not why], [why for why in whys.values() if why]

    def loaded(self, model: str) -> bool:
        return model in self._models

    def score(
        self, model: str, text: str, take: Take
    ) -> tuple[tuple[Column, ...], dict[str, float | None], str]:
        import torch

        from engine import audio
        from engine.clips import named
        from engine.rewards import registry
        from engine.rewards.base import score_clips

        if model not in self._models:
            device = next(self._voices["A"].model.parameters()).device
            self._models[model] = registry.load(model, device)
        wave, rate = audio.read(take.path)
        lengths = torch.tensor([len(wave)])
        done = score_clips([self._models[model]], wave[None], lengths, rate, [text])
        names = tuple(column.name for column in done.columns)
        return done.columns, named(names, done.values[0]), " ".join(done.failures)


def chain(voice: Voice, settings: Settings) -> ScheduleSpec:
    """The voice's schedule with the settings' timesteps and eta in place of its own.

    Errors: ValueError, one sentence, where its timesteps are not free.
    """
    from engine.own_schedule import chain_length, schedule_for

    spec = schedule_for(voice, settings.timesteps)
    if settings.timesteps not in (None, chain_length(spec)):
        raise ValueError(
            f"{voice.source} follows a schedule of kind {spec.kind}, whose timesteps are not "
            "free; leave them its own"
        )
    if settings.eta is None:
        return spec
    return replace(spec, sampler="ddim", eta=settings.eta)
