"""Searches a voice's noise schedules for few timesteps: JSON of every candidate, and the winners.

    python tests/benchmarks/schedules.py --recordings PREPARED ... [--voice FILE] [--minutes 60]
        [--steps 6 10 25 50] [--into FILE] [--out FILE]

A candidate speaks held-out clips under their own recorded durations, always with the same noise,
and is judged by how it sounds (DistillMOS), what a recogniser hears (CER) and how far its spectrum
lies from the recording's. First a coarse grid, then one coordinate at a time from the best, as
long as the minutes last, which are shared out so that every number of timesteps tries about as
many. The finalists then speak whole sentences that nobody recorded. What adds no noise (DDIM
with eta 0) is judged too, but does not win: nothing can be trained by it. Every figure is the same
wherever it is computed anew; how many candidates there are depends on the machine, unless --most
says it. --into writes the voice anew with the winners in its card.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from progress import say
from torch import Tensor

from engine import checkpoint
from engine import profile as profiles
from engine.checkpoint import Voice, with_about
from engine.data import PreparedCorpus, read_prompts
from engine.device import set_threads
from engine.diffusion.schedule import build
from engine.files import replacing
from engine.profile import DeviceSpec, Profile, ProfileError, ScheduleSpec
from engine.rewards import registry
from engine.rewards.base import ScoreModel, score_clips
from engine.synthesis import Utterance, speak, utter

PROMPTS = Path(__file__).parents[2] / "engine" / "voices" / "sentences-50.txt"
MOS_A_CER = 2.0
"""MOS that a CER of 1 costs: a tenth of the characters weighs as 0.2 MOS."""
MOS_A_DB = 0.1
"""MOS that a decibel of spectral distance costs."""
FLOOR = 0.05
"""Magnitude (1024 audio samples, Hann) below which a spectral distance hears nothing."""
SHORTEST_SECONDS = 1.5
FIRST = (
    ScheduleSpec("respaced"),
    ScheduleSpec("snr"),
    ScheduleSpec("snr", low_db=-30.0, high_db=25.0),
    ScheduleSpec("snr", low_db=-20.0, high_db=15.0),
    ScheduleSpec("respaced", power=3.0),
    ScheduleSpec("snr", low_db=-35.0, high_db=20.0),
    ScheduleSpec("snr", low_db=-30.0, high_db=15.0),
    ScheduleSpec("snr", low_db=-20.0, high_db=25.0),
    ScheduleSpec("respaced", power=1.5),
    ScheduleSpec("snr", low_db=-15.0, high_db=20.0),
    ScheduleSpec("respaced", power=1.0),
)
"""The coarse grid, the likelier first; ancestral. The samplers come after, for the best of it."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What one candidate got; means over the clips."""

    distillmos: float
    cer: float
    distance_db: float | None
    """None where there are no recordings to lie near."""
    seconds: float
    """That it took; no part of the score."""

    @property
    def score(self) -> float:
        """In MOS; higher is better."""
        return self.distillmos - MOS_A_CER * self.cer - MOS_A_DB * (self.distance_db or 0.0)


Judge = Callable[[ScheduleSpec], Figures]


def distance_db(wave: Tensor, recorded: Tensor) -> float:
    """Mean difference of the two log spectra (S,), up to 8 kHz, in dB; sees no phase."""

    def spectrum(x: Tensor) -> Tensor:
        window = torch.hann_window(1024)
        bins = torch.stft(x, 1024, 256, window=window, center=False, return_complex=True)
        return 20 * bins.abs().clamp(min=FLOOR)[: round(8000 / 22050 * 1024)].log10()

    return float((spectrum(wave) - spectrum(recorded)).abs().mean())


def recorded_prompts(
    voice: Voice, corpus: PreparedCorpus, speaker: int, count: int
) -> list[tuple[Utterance, Tensor]]:
    """The shortest held-out clips, each with the conditioning of its own durations."""
    long = {clip.text: clip for clip in corpus.held_out if clip.seconds >= SHORTEST_SECONDS}
    found = []
    for clip in sorted(long.values(), key=lambda clip: (clip.seconds, clip.id))[:count]:
        conditioning = voice.model.condition_on(
            torch.tensor([clip.ids]), torch.tensor([len(clip.ids)]),
            torch.tensor([speaker]), torch.tensor([clip.frames]),
        )  # fmt: skip
        found.append((Utterance(clip.text, speaker, conditioning.cond[0]), corpus.wave(clip)))
    return found


def judging(
    voice: Voice,
    prompts: Sequence[Utterance],
    recordings: Sequence[Tensor],
    models: Sequence[ScoreModel],
    seed: int,
) -> Judge:
    """What a candidate is judged by, on these prompts under the noise of this seed."""

    def judge(spec: ScheduleSpec) -> Figures:
        began = time.perf_counter()
        waves = speak(voice, build(spec), prompts, seed)
        lengths = torch.tensor([len(wave) for wave in waves])
        padded = torch.zeros(len(waves), int(lengths.max()))
        for row, wave in enumerate(waves):
            padded[row, : len(wave)] = wave
        rate = voice.card.config.sample_rate
        scores = score_clips(models, padded, lengths, rate, [u.text for u in prompts])
        if scores.failures:  # a mean over fewer clips would be of other clips
            raise SystemExit(scores.failures[0])
        means = dict(zip((c.name for c in scores.columns), scores.values.mean(0), strict=True))
        near = [distance_db(x, y) for x, y in zip(waves, recordings, strict=False)]
        return Figures(
            round(float(means["distillmos"]), 4), round(float(means["cer"]), 4),
            round(sum(near) / len(near), 3) if near else None,
            round(time.perf_counter() - began, 1),
        )  # fmt: skip

    return judge


def trains(spec: ScheduleSpec) -> bool:
    """Whether its transitions add noise, without which no policy gradient exists."""
    return spec.sampler == "ancestral" or spec.eta > 0


def neighbours(spec: ScheduleSpec, stride: float) -> Iterator[ScheduleSpec]:
    """Candidates that differ in one coordinate; only what a profile may say."""
    if spec.kind == "snr":
        changed = [{"high_db": spec.high_db + sign * 5 * stride} for sign in (1, -1)]
        changed += [{"low_db": spec.low_db + sign * 5 * stride} for sign in (1, -1)]
    else:
        changed = [{"power": spec.power + sign * 0.5 * stride} for sign in (1, -1)]
    if spec.sampler == "ddim":
        changed += [{"eta": spec.eta + sign * 0.25 * stride} for sign in (1, -1)]
    near = [replace(spec, **change) for change in changed]
    samplers = (("ddim", 0.5), ("ddim", 0.0), ("ancestral", 1.0))
    near += [replace(spec, sampler=sampler, eta=eta) for sampler, eta in samplers]
    for candidate in near:
        try:
            yield profiles.check(Profile(schedule=candidate), "a candidate").schedule
        except ProfileError:
            continue


def search(
    timesteps: int, judge: Judge, until: float, most: int, first: Sequence[ScheduleSpec]
) -> dict[ScheduleSpec, Figures]:
    """Every candidate tried, in order; the grid, then coordinate descent with a shrinking stride.

    Ends at the time `until` (of time.monotonic), after `most` candidates, or where nothing near
    the best is better.
    """
    tried: dict[ScheduleSpec, Figures] = {}

    def over() -> bool:
        return bool(tried) and (time.monotonic() >= until or len(tried) >= most)

    def attempt(spec: ScheduleSpec) -> None:
        if spec in tried or over():
            return
        tried[spec] = judge(spec)
        say(f"{timesteps} timesteps, {len(tried)}: {said(spec)} -> {told(tried[spec])}")

    for spec in (FIRST[0], *first, *FIRST[1:]):
        attempt(replace(spec, timesteps=timesteps))
    stride = 1.0
    while stride >= 0.25 and not over():
        start = best(tried)
        for spec in neighbours(start, stride):
            attempt(spec)
            if best(tried) != start:
                break
        else:
            stride /= 2
    return tried


def best(tried: dict[ScheduleSpec, Figures]) -> ScheduleSpec:
    return max((spec for spec in tried if trains(spec)), key=lambda spec: tried[spec].score)


def confirm(
    tried: dict[ScheduleSpec, Figures], judge: Judge, finalists: int
) -> tuple[ScheduleSpec, dict[ScheduleSpec, Figures]]:
    """The best few and today's default on whole sentences; the best of both scores together."""
    order = sorted((s for s in tried if trains(s)), key=lambda s: -tried[s].score)[:finalists]
    default = next(spec for spec in tried if replace(spec, timesteps=10) == FIRST[0])
    final: dict[ScheduleSpec, Figures] = {}
    for spec in dict.fromkeys([*order, default]):
        final[spec] = judge(spec)
        say(f"finalist: {said(spec)} -> {told(final[spec])}")
    return max(final, key=lambda spec: tried[spec].score + final[spec].score), final


def said(spec: ScheduleSpec) -> str:
    levels = f"{spec.low_db:g} to {spec.high_db:g} dB" if spec.kind == "snr" else f"^{spec.power:g}"
    sampler = spec.sampler if spec.sampler == "ancestral" else f"ddim {spec.eta:g}"
    return f"{spec.kind} {levels}, {sampler}"


def told(figures: Figures) -> str:
    near = "" if figures.distance_db is None else f", {figures.distance_db:.2f} dB"
    return (
        f"{figures.score:.3f} (DistillMOS {figures.distillmos:.3f}, CER {figures.cer:.3f}{near}) "
        f"in {figures.seconds:.0f} s"
    )


def row(spec: ScheduleSpec, figures: Figures) -> dict[str, Any]:
    return {"schedule": asdict(spec), "score": round(figures.score, 4), **asdict(figures)}


def paired(voice: Voice, folders: Sequence[str], count: int) -> list[tuple[Utterance, Tensor]]:
    """Recordings of SPEAKER=FOLDER, or of the speaker that the corpus itself names."""
    found = []
    for text in folders:
        name, _, folder = text.rpartition("=")
        corpus = PreparedCorpus.open(Path(folder))
        speaker = voice.speaker(name or corpus.speakers[0])
        found += recorded_prompts(voice, corpus, speaker, count)
    return found


def results(options: argparse.Namespace, voice: Voice) -> Iterator[tuple[int, dict[str, Any]]]:
    """The search for each number of timesteps, fewest first; each begins at the last winner."""
    pairs = paired(voice, options.recordings, options.clips)
    models = [registry.load(name) for name in ("distillmos", "intelligibility")]
    texts = read_prompts(options.prompts)
    every = max(len(texts) // max(options.sentences, 1), 1)
    whole = [
        utterance
        for speaker in range(len(voice.card.speakers))
        for utterance in utter(voice.model, texts[::every][: options.sentences], speaker, 1.0)
    ] if options.sentences else []  # fmt: skip
    prompts, recordings = [u for u, _ in pairs] or whole, [wave for _, wave in pairs]
    if not prompts:
        raise SystemExit("nothing to judge by: name --recordings, or --sentences above 0")
    near = judging(voice, prompts, recordings, models, options.seed)
    far = judging(voice, whole, [], models, options.seed + 1)
    first: list[ScheduleSpec] = []
    final: dict[ScheduleSpec, Figures] = {}
    for timesteps in sorted(options.steps):
        share = timesteps / sum(options.steps)
        until = time.monotonic() + 60 * options.minutes * share
        tried = search(timesteps, near, until, options.most, first)
        winner = best(tried)
        if whole:
            winner, final = confirm(tried, far, options.finalists)
        say(f"{timesteps} timesteps: {said(winner)}")
        first = [winner]
        yield (
            timesteps,
            {
                "winner": asdict(winner),
                "finalists": [row(spec, figures) for spec, figures in final.items()],
                "candidates": [row(spec, figures) for spec, figures in tried.items()],
            },
        )


def write_voice(voice: Voice, source: str, target: Path, found: dict[str, Any]) -> None:
    """The same weights in the same precision; the card says the winners, and 10's as its own."""
    winners = {steps: result["winner"] for steps, result in found.items()}
    card = with_about(voice.card, schedules={**voice.card.about.get("schedules", {}), **winners})
    if "10" in winners:
        card = with_about(card, schedule=winners["10"])
    path = checkpoint.BUNDLED if source == "bundled" else Path(source)
    half = any(t.dtype == torch.float16 for t in checkpoint.read(path)[1].values())
    checkpoint.save(target, voice.model, card, torch.float16 if half else None)
    say(f"{target}: {', '.join(winners)} timesteps")


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--voice", default="bundled")
    parser.add_argument("--steps", type=int, nargs="+", default=[6, 10, 25, 50])
    parser.add_argument("--recordings", nargs="*", default=[], metavar="[SPEAKER=]PREPARED")
    parser.add_argument("--clips", type=int, default=4, help="held-out clips a corpus")
    parser.add_argument("--prompts", type=Path, default=PROMPTS)
    parser.add_argument("--sentences", type=int, default=6, help="of the finalists, each speaker")
    parser.add_argument("--finalists", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=60.0, help="of search; finals come after")
    parser.add_argument("--most", type=int, default=40, help="candidates for each of --steps")
    parser.add_argument("--seed", type=int, default=4321)
    parser.add_argument("--threads", type=int, default=0, help="0: as many as there are cores")
    parser.add_argument("--out", type=Path, help="JSON, written after each of --steps")
    parser.add_argument("--into", type=Path, help="the voice anew, with the winners in its card")
    parser.add_argument("--found", type=Path, help="an earlier --out, written --into; no search")
    options = parser.parse_args()
    set_threads(DeviceSpec(threads=options.threads))
    voice = checkpoint.load(options.voice)
    found: dict[str, Any] = {}
    if options.found is not None:
        found = json.loads(options.found.read_text(encoding="utf-8"))["found"]
    for timesteps, result in [] if options.found else results(options, voice):
        found[str(timesteps)] = result
        report = {"voice": options.voice, "seed": options.seed, "clips": options.clips,
                  "sentences": options.sentences, "found": found}  # fmt: skip
        if options.out is not None:
            with replacing(options.out) as temporary:
                temporary.write_text(json.dumps(report, indent=2), encoding="utf-8")
    if options.into is not None:
        write_voice(voice, options.voice, options.into, found)
    print(json.dumps({steps: result["winner"] for steps, result in found.items()}, indent=2))


if __name__ == "__main__":
    main()
