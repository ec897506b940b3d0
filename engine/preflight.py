"""What can be known to be wrong before a session opens: names, files, the device.

Reads headers and lists alone; loads no model, and writes nothing.
"""

from __future__ import annotations

from pathlib import Path

from engine import assembly, checkpoint, distributed
from engine.data import PreparedCorpus
from engine.device import choose_device
from engine.profile import Profile, ProfileError
from engine.rewards import registry


def check(profile: Profile) -> None:
    """Refuses what the session would refuse after it has loaded its models.

    Errors: ProfileError, CheckpointError or CorpusError, one sentence.
    """
    distributed.check(profile.distributed, choose_device(profile.device))
    check_scores(profile)
    voice = assembly.choose_voice(profile, [])
    checkpoint.read_card(checkpoint.BUNDLED if voice == "bundled" else Path(voice))
    check_prompts(profile)


def check_scores(profile: Profile) -> None:
    """Rewards and judges by name, and whether the weights and packages of each are here."""
    weights = assembly.choose_rewards(profile).weights
    try:
        registry.check_disjoint(weights, (*profile.judges.models, *profile.judges.optional))
    except ValueError as error:
        raise ProfileError(str(error)) from None
    assembly.choose_judges(profile, [])


def check_prompts(profile: Profile) -> None:
    """The lists of sentences, or the corpus; and that not every evaluation's is trained on."""
    spec = profile.prompts
    held_out = assembly.prompt_texts(spec.evaluation, 1, spec.fallback, [])
    if profile.train.penalty_source == "data":
        PreparedCorpus.open(Path(spec.corpus))
        return
    texts = assembly.prompt_texts(spec.train, 0, spec.fallback, [])
    if set(held_out) <= set(assembly.drawn(texts, profile)):
        raise ProfileError(assembly.ALL_TRAINED)
