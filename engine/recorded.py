"""Recorded speech for the penalty: each prompt's own recording, under its own alignment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.checkpoint import Voice
from engine.data import PreparedCorpus
from engine.device import generator
from engine.profile import ProfileError
from engine.rl.update import Speech
from engine.synthesis import Utterance, stack
from engine.types import HOP


@dataclass(frozen=True, slots=True)
class Recording:
    """Recorded speech of a prompt, with the conditioning of its own alignment."""

    wave: Tensor
    """(S,)"""
    cond: Tensor
    """(C, S / 300)"""


def record(
    voice: Voice, corpus: PreparedCorpus, longest: float, speaker: int
) -> dict[str, Recording]:
    """Recorded speech by sentence, of at most `longest` seconds, spoken as `speaker`.

    Errors: ProfileError where the corpus has no clip so short.
    """
    recordings: dict[str, Recording] = {}
    device = next(voice.model.parameters()).device
    for clip in corpus.training:
        if clip.text in recordings or clip.seconds > longest:
            continue
        conditioning = voice.model.condition_on(
            torch.tensor([clip.ids], device=device),
            torch.tensor([len(clip.ids)], device=device),
            torch.tensor([speaker], device=device),
            torch.tensor([clip.frames], device=device),
        )
        recordings[clip.text] = Recording(corpus.wave(clip), conditioning.cond[0])
    if not recordings:
        raise ProfileError(
            f"prompts.corpus has no clip of at most prompts.max_seconds = {longest:g} s"
        )
    return recordings


def windows(
    recordings: Mapping[str, Recording],
    prompts: Sequence[Utterance],
    width: int,
    group: int,
    identity: tuple[int, int],
    first: int = 0,
) -> Speech:
    """A stretch of at most `width` frames of each prompt's recording, as pretraining sees it.

    The stretch is drawn by identity (seed, update, group), so the rows of a group share it;
    `first` is the place of the first prompt in the whole batch.
    """
    cut, waves = [], []
    for row, prompt in enumerate(prompts):
        recording = recordings[prompt.text]
        room = max(recording.cond.shape[-1] - width, 0)
        rng = generator(*identity, first + row - row % group, "window")
        start = int(torch.randint(0, room + 1, (), generator=rng))
        cond = recording.cond[:, start : start + width]
        cut.append(Utterance(prompt.text, prompt.speaker, cond))
        waves.append(recording.wave[start * HOP : (start + cond.shape[-1]) * HOP])
    conditioning, frames = stack(cut)
    padded = torch.zeros(len(waves), max(frames) * HOP)
    for row, wave in enumerate(waves):
        padded[row, : len(wave)] = wave
    return Speech(padded.to(conditioning.cond.device), conditioning, frames)
