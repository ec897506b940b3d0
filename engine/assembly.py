"""From a profile to the parts of a session: voice, prompts, rewards, judges.

Where something a profile names is not there and the profile names a stand-in, the stand-in
is taken and a sentence says so; where it names none, that is an error. Never silently.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from engine import checkpoint
from engine.checkpoint import Voice
from engine.data import CorpusError, PreparedCorpus, read_prompts
from engine.device import generator
from engine.own_schedule import chain_length, resolve
from engine.profile import Profile, ProfileError, ScheduleSpec
from engine.recorded import Recording, record
from engine.rewards import ensemble, registry
from engine.rewards.base import ScoreModel, check_gradients
from engine.synthesis import Utterance, utter
from engine.text import TextError

VOICES = Path(__file__).parent / "voices"
BUNDLED_PROMPTS = {"bundled": "prompts", "ljspeech": "ljspeech"}
"""Names a profile may use instead of a file -> stem of the lists in the package."""

ALL_TRAINED = (
    "every prompt of prompts.evaluation is in prompts.train as well; name sentences that are not "
    "trained on, or: bundled"
)


@dataclass(frozen=True, slots=True)
class Parts:
    voice: Voice
    schedule: ScheduleSpec
    """The profile's, or the voice's own; never of kind "voice"."""
    rewards: tuple[ScoreModel, ...]
    weights: Mapping[str, float]
    """Score column -> weight in the reward."""
    judges: tuple[ScoreModel, ...]
    prompts: tuple[Utterance, ...]
    recordings: Mapping[str, Recording]
    """By sentence; empty unless the penalty is taken on recorded speech."""
    held_out: tuple[Utterance, ...]
    notices: tuple[str, ...]


def assemble(profile: Profile, device: torch.device) -> Parts:
    """Loads what the profile names; ProfileError or CheckpointError, one sentence."""
    notices: list[str] = []
    voice = load_voice(profile, device, notices)
    speaker = voice.speaker(profile.voice.speaker)
    schedule = choose_schedule(profile, voice, notices)
    weights = choose_rewards(profile).weights
    spread = profile.reward.spread
    if profile.reward.combine == "ensemble" and (why := ensemble.warning(weights, spread)):
        notices.append(why)
    try:
        registry.check_disjoint(weights, (*profile.judges.models, *profile.judges.optional))
        judges = choose_judges(profile, notices)
        rewards = load_models(weights, device)
        judging = load_models(judges, device)
        if profile.train.algorithm == "draft":
            check_gradients(rewards, weights)
    except ValueError as error:
        raise ProfileError(str(error)) from None

    def say(texts: Sequence[str]) -> list[Utterance]:
        try:
            return utter(voice.model, texts, speaker, profile.voice.pace)
        except TextError as error:
            raise ProfileError(f"a prompt of the profile cannot be spoken: {error}") from None

    rate = voice.card.config.sample_rate
    recordings: dict[str, Recording] = {}
    if profile.train.penalty_source == "data":
        corpus = PreparedCorpus.open(Path(profile.prompts.corpus))
        recordings = record(voice, corpus, profile.prompts.max_seconds, speaker)
        train = say(list(recordings))
    else:
        texts = prompt_texts(profile.prompts.train, 0, profile.prompts.fallback, notices)
        train = short(say(drawn(texts, profile)), profile.prompts.max_seconds, rate)
    texts = prompt_texts(profile.prompts.evaluation, 1, profile.prompts.fallback, notices)
    trained, longest = {u.text for u in train}, profile.prompts.max_seconds
    held_out: list[Utterance] = []
    for text in texts:  # one by one: a data set's list is long, and few are wanted
        held_out += say([text]) if text not in trained else []
        if sum(u.seconds(rate) <= longest for u in held_out) == profile.evaluation.prompts:
            break
    if not held_out:
        raise ProfileError(ALL_TRAINED)
    unseen = short(held_out, longest, rate)
    return Parts(
        voice,
        schedule,
        rewards,
        weights,
        judging,
        tuple(train),
        recordings,
        tuple(unseen),
        tuple(dict.fromkeys(notices)),
    )


def drawn(texts: tuple[str, ...], profile: Profile) -> list[str]:
    """At most `prompts.most` of the sentences, chosen by the session's seed, in their order."""
    count = min(profile.prompts.most or len(texts), len(texts))
    rng = generator(profile.seed, "which prompts")
    kept = torch.randperm(len(texts), generator=rng)[:count].sort().values
    return [texts[i] for i in kept.tolist()]


def load_voice(profile: Profile, device: torch.device, notices: list[str]) -> Voice:
    return checkpoint.load(choose_voice(profile, notices), device)


def choose_voice(profile: Profile, notices: list[str]) -> str:
    """The profile's voice, or its stand-in where there is no file of its name."""
    spec = profile.voice
    if spec.checkpoint == "bundled" or Path(spec.checkpoint).is_file() or not spec.fallback:
        return spec.checkpoint
    notices.append(f"{spec.checkpoint} is not there: {spec.fallback} voice stands in")
    return spec.fallback


def choose_schedule(profile: Profile, voice: Voice, notices: list[str]) -> ScheduleSpec:
    """The profile's schedule, or the voice's own; a notice where that has another length."""
    spec = resolve(profile.schedule, voice)
    if profile.schedule.kind == "voice" and chain_length(spec) != profile.schedule.timesteps:
        notices.append(
            f"{voice.source} has a schedule of kind {spec.kind}: {chain_length(spec)} timesteps "
            f"instead of {profile.schedule.timesteps}"
        )
    return spec


@dataclass(frozen=True, slots=True)
class RewardChoice:
    weights: Mapping[str, float]
    """Score column -> weight."""
    stand_in: str = ""
    """Such as "distillmos for utmos"; empty where the profile's own models are there."""
    notice: str = ""
    """The same as a sentence, and why."""


def choose_rewards(profile: Profile) -> RewardChoice:
    """The reward's columns, or the stand-in's where one of their models cannot be had.

    Loads no model. Errors: ProfileError, one sentence.
    """
    spec = profile.reward
    try:  # a misspelt name is an error, never a reason for the stand-in
        for name in (*spec.models, *spec.fallback):
            registry.model_of(name)
    except ValueError as error:
        raise ProfileError(f"reward: {error}") from None
    missing = [why for name in spec.models if (why := registry.missing(name))]
    if not missing:
        return RewardChoice(spec.models)
    if not spec.fallback:
        raise ProfileError(f"reward.models: {missing[0]}")
    here, wanted = ", ".join(spec.fallback), ", ".join(spec.models)
    told = f"{here} stands in for {wanted} as the reward, and is another score: {missing[0]}"
    return RewardChoice(spec.fallback, f"{here} for {wanted}", told)


def choose_judges(profile: Profile, notices: list[str]) -> tuple[str, ...]:
    """The judges that can be had; an optional one that cannot is left out, and a notice says so."""
    spec = profile.judges
    if missing := [why for name in spec.models if (why := registry.missing(name))]:
        raise ProfileError(f"judges.models: {missing[0]}")
    found = list(spec.models)
    for name in spec.optional:
        if why := registry.missing(name):
            notices.append(f"{name} does not judge: {why}")
        else:
            found.append(name)
    return tuple(found)


def load_models(names: Iterable[str], device: torch.device) -> tuple[ScoreModel, ...]:
    """The score models behind columns or models of these names, each once, in order."""
    models = dict.fromkeys(registry.model_of(name) for name in names)
    return tuple(registry.load(name, device) for name in models)


def prompt_texts(source: str, half: int, fallback: str, notices: list[str]) -> tuple[str, ...]:
    """The sentences of a bundled list, a text file, a metadata.csv, or a prepared corpus.

    `half` is 0 for training and 1 for held-out sentences, where a source has both.
    """
    if source in BUNDLED_PROMPTS:
        stem = BUNDLED_PROMPTS[source]
        return read_prompts(VOICES / f"{stem}-{('train', 'evaluation')[half]}.txt")
    path = Path(source)
    if not path.exists():
        if not fallback:
            known = ", ".join(BUNDLED_PROMPTS)
            raise ProfileError(f"there are no prompts {source}; name a file, or one of: {known}")
        notices.append(f"{source} is not there: the {fallback} prompts stand in")
        return prompt_texts(fallback, half, "", notices)
    try:
        if path.is_dir():
            corpus = PreparedCorpus.open(path)
            clips = corpus.held_out if half else corpus.training
            texts = tuple(dict.fromkeys(clip.text for clip in clips))
        elif path.name == "metadata.csv":
            texts = metadata_texts(path, half)
        else:
            texts = read_prompts(path)
    except CorpusError as error:
        raise ProfileError(str(error)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileError(f"the prompts {path} cannot be read: {error}") from None
    if not texts:
        use = ("to train on", "to hold out")[half]
        raise ProfileError(f"{path} has no sentence {use}")
    return texts


def metadata_texts(path: Path, half: int) -> tuple[str, ...]:
    """LJSpeech's normalised texts; every 50th is held out."""
    rows = [line.split("|") for line in path.read_text(encoding="utf-8").splitlines() if line]
    texts = list(dict.fromkeys(row[-1] for row in rows if len(row) > 1))
    return tuple(text for i, text in enumerate(texts) if (i % 50 == 0) == bool(half))


def short(utterances: list[Utterance], longest: float, rate: int) -> list[Utterance]:
    """Leaves out what takes longer than `longest` seconds; ProfileError where nothing is left."""
    kept = [u for u in utterances if u.seconds(rate) <= longest]
    if not kept:
        least = min(u.seconds(rate) for u in utterances)
        raise ProfileError(
            f"no prompt is shorter than prompts.max_seconds = {longest:g} s; "
            f"the shortest takes {least:.1f} s"
        )
    return kept
