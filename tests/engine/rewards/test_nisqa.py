"""The published network on recorded speech, where its weights are; without them, what is said.

They are not part of the project: the tests that need them look beside it and where torchmetrics
keeps them, and are skipped where neither has them.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

from engine.rewards import registry, weights
from engine.rewards.base import ScoreError, score_clips
from engine.rewards.nisqa import FILE, FOLDER, LONGEST_SECONDS, NISQA, SHORTEST, fetch, path
from engine.rewards.weights import WeightsError, WeightsFile

if TYPE_CHECKING:
    from .conftest import Clip

BESIDE = Path(__file__).parents[4] / "shared" / "weights" / FILE.name
KEPT = next((p for p in (BESIDE, Path(FOLDER).expanduser() / FILE.name) if p.is_file()), None)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder, and torchmetrics installed or not, as a test sees it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(registry, "package_missing", lambda model: "")
    return tmp_path


@pytest.fixture(scope="module")
def nisqa(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NISQA]:
    pytest.importorskip("torchmetrics")
    if KEPT is None:
        pytest.skip("NISQA's weights are not here")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        path().parent.mkdir(parents=True)
        shutil.copy(KEPT, path())
        yield NISQA()


# With its weights


def test_recorded_speech_scores_as_measured_and_noise_pulls_every_column_down(
    nisqa: NISQA, clips: tuple[Clip, ...]
) -> None:
    clean = torch.cat([nisqa(clip.wave[None]) for clip in clips])
    noisy = torch.cat([nisqa(clip.noisy[None]) for clip in clips])
    assert clean.shape == (3, len(nisqa.columns))
    torch.testing.assert_close(
        clean,
        torch.tensor(
            [
                [3.865, 2.544, 4.330, 4.039, 3.464],
                [4.160, 3.434, 4.600, 4.318, 4.420],
                [3.118, 2.928, 4.308, 3.965, 4.214],
            ]
        ),
        atol=0.02,
        rtol=0.0,
    )
    assert bool((noisy < clean - 0.4).all())
    assert bool((noisy[:, 0] < clean[:, 0] - 1.0).all())


def test_a_batch_equals_its_rows(nisqa: NISQA, clips: tuple[Clip, ...]) -> None:
    waves = torch.stack([clips[0].wave, clips[0].noisy])
    rows = torch.cat([nisqa(wave[None]) for wave in waves])
    torch.testing.assert_close(nisqa(waves), rows, atol=1e-4, rtol=0.0)


def test_it_hears_the_voices_own_rate_and_carries_no_gradient(
    nisqa: NISQA, clips: tuple[Clip, ...]
) -> None:
    wave = clips[1].wave[None]
    scores = score_clips([nisqa], wave, torch.tensor([wave.shape[-1]]), 22_050, ("",))
    assert scores.failures == ()
    told = nisqa(wave.clone().requires_grad_())
    torch.testing.assert_close(scores.values, told, atol=1e-4, rtol=0.0)
    assert not told.requires_grad
    assert not nisqa.differentiable


@pytest.mark.parametrize(
    ("wave", "told"),
    [
        (torch.randn(1, SHORTEST - 1), "is 0.19 s long, and NISQA takes 0.19 s to 52 s"),
        (torch.ones(1, LONGEST_SECONDS * 22_050 + 1), "is 52.00 s long"),
        (torch.zeros(2, 22_050), "is silent throughout"),
    ],
)
def test_what_it_cannot_score_is_refused(nisqa: NISQA, wave: Tensor, told: str) -> None:
    with pytest.raises(ScoreError, match=told):
        nisqa(wave)


def test_the_limits_are_the_networks_own(nisqa: NISQA, noise: Tensor) -> None:
    assert nisqa(noise[None, :SHORTEST]).isfinite().all()
    # The front end alone, which is what refuses: the network takes seconds over so much.
    from torchmetrics.functional.audio import nisqa as theirs

    frames = 1 + LONGEST_SECONDS * 22_050 // int(22_050 * 0.01)
    limits = {"ms_seg_length": 15, "ms_seg_hop_length": 4, "ms_max_segments": 1300}
    assert int(theirs._segment_specs(torch.zeros(1, 1, frames), limits)[1]) <= 1300


def test_loading_leaves_the_random_numbers_of_others_alone(nisqa: NISQA) -> None:
    from torchmetrics.functional.audio import nisqa as theirs

    theirs._load_nisqa_model.cache_clear()  # It was loaded for the tests above.
    before = torch.get_rng_state()
    NISQA()
    assert torch.equal(torch.get_rng_state(), before)


def test_a_file_beside_the_project_is_the_published_one_and_is_kept(
    home: Path, nisqa: NISQA
) -> None:
    assert KEPT is not None
    assert fetch(KEPT, lambda done, total: None) == home / ".torchmetrics/NISQA/nisqa.tar"
    assert registry.missing("nisqa") == ""
    assert registry.load("nisqa").name == nisqa.name


# Without them


def test_missing_weights_are_one_sentence_that_states_the_licence(home: Path) -> None:
    sentence = registry.missing("nisqa_noisiness")
    assert "\n" not in sentence
    for part in ("dlpo-tui fetch nisqa", "CC BY-NC-SA 4.0", FILE.address, f"{home}/.torchmetrics"):
        assert part in sentence
    with pytest.raises(WeightsError) as raised:
        registry.load("nisqa")
    assert str(raised.value) == sentence
    assert list(home.iterdir()) == []  # Nothing was downloaded by the way.


def test_another_file_in_their_place_is_never_loaded(home: Path) -> None:
    path().parent.mkdir(parents=True)
    path().write_bytes(bytes(FILE.size_bytes))
    assert "its SHA-256 is not the published file's" in registry.missing("nisqa")
    with pytest.raises(WeightsError, match="dlpo-tui fetch nisqa"):
        NISQA()


def test_what_is_fetched_lies_where_torchmetrics_looks(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = b"weights"
    file = WeightsFile("nisqa", FILE.name, "", len(data), hashlib.sha256(data).hexdigest())
    asked: list[Path] = []

    def download(file: WeightsFile, target: Path, *_others: object) -> None:
        asked.append(target)
        target.parent.mkdir(parents=True)
        target.write_bytes(data)

    monkeypatch.setattr(weights, "fetch", download)
    place = home / ".torchmetrics" / "NISQA" / "nisqa.tar"
    assert fetch(None, lambda done, total: None, file) == place == path()
    assert fetch(None, lambda done, total: None, file) == place
    assert asked == [place]


def test_torchmetrics_still_looks_there() -> None:
    theirs = pytest.importorskip("torchmetrics.functional.audio.nisqa")
    assert theirs.NISQA_DIR == FOLDER
