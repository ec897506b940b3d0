"""What every voice of a study is scored on: held-out prompts, noise, recorded speech.

Loads the starting voice to choose them by; scores nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import accumulate
from pathlib import Path

import torch

from engine import assembly
from engine.assembly import ALL_TRAINED
from engine.checkpoint import Voice
from engine.data import Clip, PreparedCorpus
from engine.device import choose_device, set_threads
from engine.profile import Profile, ProfileError, ScheduleSpec
from engine.resume import digest
from engine.study import place
from engine.study.plan import Study
from engine.supervised.dataset import Dataset, gather
from engine.synthesis import Utterance, utter
from engine.text import TextError


@dataclass(frozen=True, slots=True)
class Recorded:
    """Recorded speech that nobody trained on."""

    data: Dataset
    """N clips, as the speakers of the voice."""
    ids: tuple[str, ...]
    speakers: Mapping[str, str]
    """Of the corpora -> of the voice, by name."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What every voice of a study is scored on."""

    start: Path
    """The starting voice's file."""
    schedule: ScheduleSpec
    prompts: tuple[Utterance, ...]
    speaker: str
    pace: float
    seed: int
    """Of the noise."""
    microbatch: int
    device: torch.device
    recorded: Recorded | None
    notices: tuple[str, ...] = ()

    @property
    def identity(self) -> str:
        """Names all that a voice's scores come from, but for the voice and the score model."""
        told = (*(u.text for u in self.prompts), repr(asdict(self.schedule)), self.speaker)
        return digest((*told, repr((self.pace, self.seed))))


def prepare(study: Study, prompts: int | None, corpus: PreparedCorpus | None) -> Ground:
    """Loads the starting voice, and chooses what all are scored on.

    Args:
        study: whose methods; their first says where, with how many threads, and who speaks.
        prompts: held-out ones to score; None: the profiles' evaluation.prompts.
        corpus: whose held-out clips give the diffusion loss; None: nobody does.

    Errors: ProfileError, CheckpointError or CorpusError, one sentence.
    """
    profile = study.methods[0].profile
    set_threads(profile.device)
    device, count = choose_device(profile.device), prompts or profile.evaluation.prompts
    notices: list[str] = []
    voice = assembly.load_voice(profile, device, notices)
    speaker = voice.speaker(profile.voice.speaker)
    held_out = held_out_prompts(study, voice, speaker, count, notices)
    if len(held_out) < count:
        notices.append(f"there are {len(held_out)} held-out prompts and not {count}")
    recorded = recordings(voice, corpus, speaker, count, device) if corpus else None
    for method in study.methods:
        if told := assembly.choose_rewards(method.profile).notice:
            notices.append(told)
    if recorded:
        known = ", ".join(f"{name} as {own}" for name, own in recorded.speakers.items())
        notices.append(f"diffusion loss: held-out recordings: {len(recorded.ids)}; {known}")
    return Ground(
        start=place.voice_file(profile),
        schedule=assembly.choose_schedule(profile, voice, notices),
        prompts=held_out,
        speaker=voice.card.speakers[speaker],
        pace=profile.voice.pace,
        seed=profile.evaluation.seed,
        microbatch=profile.rollout.rows,
        device=device,
        recorded=recorded,
        notices=tuple(dict.fromkeys(notices)),
    )


def held_out_prompts(
    study: Study, voice: Voice, speaker: int, count: int, notices: list[str]
) -> tuple[Utterance, ...]:
    """The first `count` prompts short enough that no run of the study can have trained on."""
    profile = study.methods[0].profile
    seen: set[str] = set()
    for run in study.runs:
        seen |= trained_on(run.profile, notices)
    spec, rate = profile.prompts, voice.card.config.sample_rate
    found: list[Utterance] = []
    for text in assembly.prompt_texts(spec.evaluation, 1, spec.fallback, notices):
        if text in seen:
            continue
        try:
            (said,) = utter(voice.model, [text], speaker, profile.voice.pace)
        except TextError as error:
            raise ProfileError(f"a prompt of the study cannot be spoken: {error}") from None
        found += [said] if said.seconds(rate) <= spec.max_seconds else []
        if len(found) == count:
            break
    if not found:
        raise ProfileError(ALL_TRAINED)
    return tuple(found)


def trained_on(profile: Profile, notices: list[str]) -> set[str]:
    """The sentences that a run of this profile draws from."""
    spec = profile.prompts
    if profile.train.penalty_source == "data":
        return {clip.text for clip in PreparedCorpus.open(Path(spec.corpus)).training}
    return set(
        assembly.drawn(assembly.prompt_texts(spec.train, 0, spec.fallback, notices), profile)
    )


def recordings(
    voice: Voice, corpus: PreparedCorpus, speaker: int, count: int, device: torch.device
) -> Recorded:
    """At most `count` held-out clips, evenly over the corpora.

    A clip's speaker is the voice's of that name, case aside; `speaker` where it has none.

    Errors: CorpusError where no clip is held out.
    """
    clips = corpus.held_out
    kept = [clips[i * len(clips) // min(count, len(clips))] for i in range(min(count, len(clips)))]
    known = [name.casefold() for name in voice.card.speakers]
    rows = {
        clip.speaker: known.index(clip.speaker.casefold())
        if clip.speaker.casefold() in known
        else speaker
        for clip in kept
    }
    data = gather(excerpt(corpus, kept, rows), True, device)
    names = {name: voice.card.speakers[row] for name, row in rows.items()}
    return Recorded(data, tuple(clip.id for clip in kept), names)


def excerpt(
    corpus: PreparedCorpus, clips: Sequence[Clip], speakers: Mapping[str, int]
) -> PreparedCorpus:
    """These clips alone, held out, with their audio in memory and other speaker ids."""
    ends = list(accumulate(clip.audio_length for clip in clips))
    rows = tuple(
        replace(
            clip,
            audio_start=end - clip.audio_length,
            held_out=True,
            speaker_id=speakers[clip.speaker],
        )
        for clip, end in zip(clips, ends, strict=True)
    )
    audio = tuple((corpus.wave(clip) * 32768).round().to(torch.int16).numpy() for clip in clips)
    return PreparedCorpus(rows, corpus.speakers, audio)
