"""Several ranks: what they share out, and that a session of two is that of one.

Sums over rows come in another order where two ranks add up, so numbers agree to rounding: within
RELATIVE of themselves, and gradients and weights within that share of the largest of their tensor.
Later gradients differ by up to LATER of it: AdamW's first steps are as long for a tiny gradient as
for a large one, and the sign of a tiny one is rounding. What no sum is taken over, such as a clip's
noise, prompt and path, is the same.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor, nn

from engine import audio, distributed, journal, resume
from engine import messages as m
from engine.distributed import ALONE, Ranks, check, check_share, named
from engine.profile import DistributedSpec, ProfileError
from tests import ranks as scenarios
from tests.voices import write_profile, write_voice

RELATIVE, LATER = 2e-4, 2e-2
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


pytestmark = [
    pytest.mark.usefixtures("restored_threads"),
    pytest.mark.xdist_group("ranks"),  # two processes go through every scenario once
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two ranks have been through every scenario."""
    folder = tmp_path_factory.mktemp("ranks")
    write_profile(folder, write_voice(folder / "voice.safetensors", ("anna", "ben")))
    scenarios.together(folder)
    return folder


def of(folder: Path, kind: type) -> list:
    return [event for event in journal.events(folder) if isinstance(event, kind)]


def close(one: Tensor, other: Tensor, share: float = RELATIVE) -> bool:
    return bool((one - other).abs().max() <= share * other.abs().max())


# --- two are one ------------------------------------------------------------------

SAME = ("once", "dlpo", "rwr", "dpok", "draft", "failing", "silent")


@pytest.mark.parametrize("name", SAME)
def test_two_ranks_train_as_one_does(place: Path, name: str) -> None:
    scenarios.run(place, name)
    one, two = place / f"{name}-1", place / f"{name}-2"
    assert of(two, m.SessionEnded) == of(one, m.SessionEnded)
    ours, theirs = (of(folder, m.UpdateFinished) for folder in (two, one))
    assert len(ours) == len(theirs) > 0
    for mine, its in zip(ours, theirs, strict=True):
        told, due = asdict(mine.stats), asdict(its.stats)
        for whole in (told, due):
            del whole["seconds"], whole["memory_bytes"]
            whole |= whole.pop("reward") or {}
        assert told == pytest.approx(due, rel=RELATIVE, abs=1e-5), mine.update
    assert {e.update for e in of(two, m.EvaluationFinished)} == {
        e.update for e in of(one, m.EvaluationFinished)
    }
    same_clips(two, one)
    same_state(two, one, rough=name == "draft")


def same_clips(two: Path, one: Path) -> None:
    ours, theirs = ([c for e in of(f, m.ClipsScored) for c in e.clips] for f in (two, one))
    assert len(ours) == len(theirs)
    for mine, its in zip(ours, theirs, strict=True):
        told, due = asdict(mine), asdict(its)
        for key in ("scores", "reward", "advantage"):
            assert told.pop(key) == pytest.approx(due.pop(key), rel=1e-3, abs=2e-3)
        assert told == due
        if not mine.path:
            continue
        wave, its_wave = (audio.read(folder / mine.path)[0] for folder in (two, one))
        assert torch.allclose(wave, its_wave, atol=1e-3)


def same_state(two: Path, one: Path, rough: bool = False) -> None:
    """`rough`: the gradient goes through a predictor, which makes much of rounding."""
    ours, theirs = resume.newest(two), resume.newest(one)
    assert (ours.update, ours.skipped) == (theirs.update, theirs.skipped)
    assert ours.optimizer.keys() == theirs.optimizer.keys()
    assert ours.statistics.keys() == theirs.statistics.keys()
    for key, value in theirs.optimizer.items():
        if key.endswith("exp_avg"):  # after one optimizer step, a tenth of the gradient
            exact = theirs.optimizer[key.replace("exp_avg", "step")] == 1 and not rough
            assert close(ours.optimizer[key], value, RELATIVE if exact else LATER), key
    for key, value in theirs.policy.items():
        assert close(ours.policy[key], value, LATER if rough else RELATIVE), key


def test_the_ranks_hold_the_same_bits(place: Path) -> None:
    for name in (*SAME, "spoilt", "astray"):
        one, other = (load_file(place / f"{name}-2" / f"rank-{at}.safetensors") for at in (0, 1))
        assert [key for key in one if not torch.equal(one[key], other[key])] == [], name


def test_a_rank_without_a_clip_to_learn_from_waits_for_nobody(place: Path) -> None:
    failed = [event.stats.failed for event in of(place / "failing-2", m.UpdateFinished)]
    assert 2 in failed  # one group of two: all that a rank had
    (notice, *_) = [
        e.sentence for e in of(place / "failing-2", m.Noticed) if "failed" in e.sentence
    ]
    assert "of 4: it is out of order" in notice


def test_a_loss_that_is_not_finite_on_one_rank_is_skipped_by_both(place: Path) -> None:
    folder = place / "spoilt-2"
    assert [event.stats.skipped for event in of(folder, m.UpdateFinished)] == [1, 0]
    assert of(folder, m.SessionEnded) == [m.SessionEnded(2, "finished")]
    start = load_file(folder / "resume" / "start.safetensors")
    first = load_file(folder / "checkpoints" / "update-000001.safetensors")
    assert [key for key in first if not torch.equal(first[key], start[key])] == []


def test_clips_that_are_not_finite_are_masked_whichever_rank_has_them(place: Path) -> None:
    done = [event.stats for event in of(place / "silent-2", m.UpdateFinished)]
    assert [(stats.failed, stats.skipped) for stats in done] == [(1, 0), (4, 1), (1, 0)]
    paths = [[bool(c.path) for c in e.clips] for e in of(place / "silent-2", m.ClipsScored)]
    assert paths == [[False, True, True, True], [False] * 4, [False, True, True, True]]


def test_ranks_that_run_away_go_back_together_and_take_half_the_steps(place: Path) -> None:
    folder = place / "astray-2"
    assert of(folder, m.SessionEnded) == [m.SessionEnded(6, "finished")]
    (back,) = of(folder, m.RolledBack)
    assert (back.update, back.reached) == (1, 5)
    (turned,) = of(folder, m.KnobsChanged)
    assert (turned.who, turned.new) == ("session", {"learning_rate": 5e-4})
    told = journal.replay(folder)
    assert [(update, stats.skipped) for update, stats in told.history] == [
        (update, 0) for update in range(1, 7)
    ]


# --- commands ---------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["rollout", "optimise", "evaluate"])
def test_a_stop_between_timesteps_ends_both(place: Path, phase: str) -> None:
    folder = place / f"stop-{phase}-2"
    assert of(folder, m.SessionEnded) == [m.SessionEnded(1, "stopped")]
    assert of(folder, m.CheckpointSaved)[-1].update == 1


def test_a_pause_holds_both_and_what_is_asked_meanwhile_is_done(place: Path) -> None:
    folder = place / "pause-2"
    told = journal.replay(folder)
    assert told.ended == m.SessionEnded(2, "stopped")
    assert told.knobs.alpha == 2.0
    (rendered,) = told.rendered
    assert (rendered.update, rendered.index) == (1, 3)
    assert (folder / rendered.path).is_file()


def test_a_session_that_loses_a_rank_has_not_ended(place: Path) -> None:
    folder = place / "lost-2"
    told = journal.replay(folder)
    assert (told.started is not None, told.update, told.ended) == (True, 0, None)
    assert (resume.newest(folder).update, list(folder.glob("checkpoints/*"))) == (0, [])


@pytest.mark.parametrize(
    ("name", "refused", "said"),
    [
        ("refused", True, "2 processes share 1 groups of rollouts"),
        ("failed", False, "the reward failed on"),
        ("crowded", False, "do not begin again: set rollout.microbatch = 2: OutOfMemoryError"),
    ],
)
def test_what_ends_one_ends_both_in_one_sentence(
    place: Path, name: str, refused: bool, said: str
) -> None:
    (end,) = of(place / f"{name}-2", m.SessionEnded)
    assert (end.reason, end.refused) == ("failed", refused)
    assert said in end.error


# --- shares and refusals ----------------------------------------------------------


@given(st.integers(0, 40), st.integers(1, 6), st.integers(1, 9))
def test_shares_are_whole_groups_and_every_row_is_in_one(
    groups: int, group: int, count: int
) -> None:
    shares = [Ranks(rank, count).share(groups * group, group) for rank in range(count)]
    assert [row for share in shares for row in share] == list(range(groups * group))
    assert {share.start % group for share in shares} == {0}
    sizes = [len(share) // group for share in shares]
    assert max(sizes) - min(sizes) <= 1


def test_alone_everything_is_the_identity() -> None:
    weight = nn.Parameter(torch.ones(2))
    ALONE.add([weight])
    assert weight.grad is None
    assert ALONE.share(6, 2) == range(6)
    assert ALONE.agree("this") == "this"
    assert ALONE.gather(3) == [3]
    assert ALONE.rows(weight) is weight
    assert (ALONE.every(True), ALONE.every(False)) == (True, False)
    assert ALONE.mean(0.25, 8.0) == 0.25
    assert ALONE.own(CUDA) is CUDA
    assert named(ALONE, CPU) == "cpu"
    ALONE.leave()


def test_several_devices_are_named_by_their_number() -> None:
    assert named(Ranks(0, 4), torch.device("cuda:0")) == "4 x cuda"


@pytest.mark.parametrize(
    ("shown", "spec", "device", "said"),
    [
        (4, DistributedSpec(8), CUDA, "write distributed.devices = 4 or"),
        (0, DistributedSpec(2, "nccl"), CPU, "has 0 (device.device = 'cpu'): write distributed.b"),
        (8, DistributedSpec(2), torch.device("cuda:1"), "device.device = 'cuda:1' is one device"),
    ],
)
def test_devices_that_are_not_there_are_refused_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, shown: int, spec: DistributedSpec, device, said: str
) -> None:
    monkeypatch.setattr(distributed.torch.cuda, "device_count", lambda: shown)
    with pytest.raises(ProfileError, match=r"^[^\n]+$") as caught:
        check(spec, device)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("shown", "spec", "device"),
    [
        (0, DistributedSpec(), CPU),
        (0, DistributedSpec(9), CPU),
        (8, DistributedSpec(8), CUDA),
        (1, DistributedSpec(2, "gloo"), CUDA),
    ],
)
def test_devices_that_are_there_are_taken(
    monkeypatch: pytest.MonkeyPatch, shown: int, spec: DistributedSpec, device
) -> None:
    monkeypatch.setattr(distributed.torch.cuda, "device_count", lambda: shown)
    check(spec, device)


def test_ranks_of_a_machine_take_its_devices_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[torch.device] = []
    monkeypatch.setattr(distributed.torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(distributed.torch.cuda, "set_device", chosen.append)
    own = [Ranks(rank, 6, rank % 3).own(CUDA) for rank in range(6)]
    assert [device.index for device in own] == [0, 1, 0, 0, 1, 0]
    assert chosen == own
    assert Ranks(1, 2, 1).own(CPU) is CPU


def test_a_rank_without_a_group_is_refused() -> None:
    check_share(8, 4, 2)
    with pytest.raises(ProfileError, match=r"raise rollout\.batch to 12 or more"):
        check_share(8, 4, 3)
