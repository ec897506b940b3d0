from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engine import checkpoint, preflight
from engine import profile as profiles
from engine.profile import ProfileError
from engine.rewards import registry
from tests.voices import write_corpus, write_profile, write_voice

Check = Callable[..., None]


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    """Checks the tiny profile with changes, where no model can be loaded."""

    def loaded(*_: object) -> None:
        raise AssertionError("a model was loaded")

    path = write_profile(tmp_path, write_voice(tmp_path / "voice.safetensors"))
    write_corpus(tmp_path / "corpus")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(checkpoint, "load", loaded)
    monkeypatch.setattr(registry, "load", loaded)
    return lambda *changes: preflight.check(profiles.load(path, changes))


@pytest.mark.parametrize(
    "changes",
    [
        (),
        ("voice.checkpoint=bundled",),
        ("voice.checkpoint=away.safetensors", "voice.fallback=bundled"),
        ("prompts.train=away.txt", "prompts.fallback=bundled"),
        ("reward.models={nosuchweights=1.0}", "reward.fallback={clipping=-1.0}"),
        ("judges.optional=['distillmos']",),
        ("train.penalty_source=data", "prompts.corpus=corpus"),
        ("prompts.evaluation=train.txt", "prompts.most=1"),
    ],
)
def test_what_a_session_would_take_passes_and_nothing_is_loaded(
    check: Check, monkeypatch: pytest.MonkeyPatch, changes: tuple[str, ...]
) -> None:
    known = registry.model_of
    monkeypatch.setattr(
        registry, "model_of", lambda name: "utmos" if name == "nosuchweights" else known(name)
    )
    monkeypatch.setitem(registry.WEIGHTS_MISSING, "utmos", lambda: "no weights")
    check(*changes)


def test_only_what_is_drawn_counts_as_trained_on(check: Check) -> None:
    with pytest.raises(ProfileError, match="name sentences that are not trained on"):
        check("prompts.evaluation=train.txt", "prompts.most=3")


def test_a_judge_without_its_weights_is_refused(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.WEIGHTS_MISSING, "distillmos", lambda: "no weights")
    with pytest.raises(ProfileError, match=r"^judges\.models: no weights$"):
        check("judges.models=['distillmos']")
