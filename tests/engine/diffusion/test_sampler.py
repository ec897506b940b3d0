from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from engine.diffusion.sampler import RolloutNoise, choose_kept, ragged, rollout, split, trimmed
from engine.diffusion.schedule import NoiseSchedule, from_betas, respaced
from engine.model.config import ModelConfig
from engine.model.decoder import Decoder
from engine.types import HOP, Conditioning, Policy, Trajectory

pytestmark = pytest.mark.usefixtures("one_thread")

PARITY = Path(__file__).parents[2] / "data" / "parity"
RAGGED = (3, 5, 1, 4)
GROUPS = (3, 3, 5, 5)
"""Rows 0 and 1 speak one prompt, rows 2 and 3 another."""
CHAIN = from_betas(respaced(6))
EXACT = from_betas(respaced(6).double())
"""In fp64, where rounding cannot hide what one row does to another."""
T = CHAIN.timesteps

Make = Callable[[tuple[int, ...]], Conditioning]
frame_counts = st.lists(st.integers(1, 6), min_size=1, max_size=8).map(tuple)


@dataclass(frozen=True, slots=True)
class GivenNoise(RolloutNoise):
    """Noise from a table, each row its own."""

    table: dict[int, Tensor] = field(default_factory=dict)

    def __call__(self, t: int, rows: range | None = None) -> Tensor:
        return self.table[t][list(rows)] if rows else self.table[t]


@dataclass(frozen=True, slots=True)
class FineNoise(RolloutNoise):
    """The same numbers in fp64."""

    def __call__(self, t: int, rows: range | None = None) -> Tensor:
        return RolloutNoise.__call__(self, t, rows).double()


def fine(conditioning: Conditioning) -> Conditioning:
    return Conditioning(conditioning.cond.double(), conditioning.frames)


def rowwise(draw: RolloutNoise, rows: slice = slice(None)) -> GivenNoise:
    """The same numbers, with nothing left that could be shared."""
    frames = draw.frames[rows]
    table = {t: draw(t)[rows, : max(frames) * HOP] for t in range(T + 1)}
    return GivenNoise(draw.seed, draw.update, frames, draw.kept, table=table)


def close(a: Trajectory, b: Trajectory, atol: float = 1e-9) -> None:
    for name in ("x_t", "x_prev", "mean", "waveform"):
        torch.testing.assert_close(getattr(a, name), getattr(b, name), rtol=0, atol=atol)


# --- noise by identity


@settings(deadline=None, max_examples=30)
@given(frame_counts, st.integers(0, 7), st.sampled_from(["none", "prefix", "unkept"]))
def test_a_row_draws_the_same_whatever_is_around_it(
    frames: tuple[int, ...], t: int, shared: str
) -> None:
    batch = RolloutNoise(3, 1, frames, kept=(4, 2), shared=shared, antithetic=True)
    whole = batch(t)
    assert whole.shape == (len(frames), max(frames) * HOP)
    for row, count in enumerate(frames):
        assert torch.equal(batch(t, range(row, row + 1))[0], whole[row])
        alone = replace(batch, frames=frames[: row + 1])(t)[row, : count * HOP]
        assert torch.equal(alone, whole[row, : count * HOP])
        longer = replace(batch, frames=(*frames, 9))(t)[row]
        assert torch.equal(longer[: count * HOP], whole[row, : count * HOP])
        assert not bool(whole[row, count * HOP :].any())


def test_rows_timesteps_updates_and_sessions_draw_apart() -> None:
    base = RolloutNoise(3, 1, (2, 2))
    drawn = [base(4)[0], base(4)[1], base(3)[0]]
    drawn += [replace(base, update=2)(4)[0], replace(base, seed=4)(4)[0]]
    drawn += [base(T)[0]]
    correlation = torch.corrcoef(torch.stack(drawn)) - torch.eye(6)
    assert float(correlation.abs().max()) < 4.5 / (2 * HOP) ** 0.5


@pytest.mark.parametrize("shared", ["none", "prefix", "unkept"])
def test_pairs_are_opposite_only_at_kept_timesteps(shared: str) -> None:
    draw = RolloutNoise(0, 0, GROUPS, (4, 2), group=2, shared=shared, antithetic=True)
    for t in range(1, T + 1):
        z = draw(t)
        assert torch.equal(z[0], -z[1]) == (t in draw.kept)
        assert torch.equal(z[2], -z[3]) == (t in draw.kept)
        assert not torch.equal(z[0].abs()[: 3 * HOP], z[2].abs()[: 3 * HOP])


@pytest.mark.parametrize(
    ("shared", "together"),
    [("none", set()), ("prefix", {5, 6}), ("unkept", {1, 3, 5, 6})],
)
def test_a_group_shares_noise_at_the_timesteps_of_its_mode(shared: str, together: set[int]) -> None:
    draw = RolloutNoise(0, 0, GROUPS, (4, 2), group=2, shared=shared)
    for t in range(1, T + 1):
        z = draw(t)
        assert torch.equal(z[0], z[1]) == (t in together)
        assert torch.equal(z[2], z[3]) == (t in together)
        assert not torch.equal(z[1, : 3 * HOP], z[2, : 3 * HOP])


@pytest.mark.parametrize("shared", ["none", "prefix", "unkept"])
def test_a_rank_draws_the_numbers_of_its_place_in_the_batch(shared: str) -> None:
    whole = RolloutNoise(3, 1, GROUPS, (4, 2), 2, shared, antithetic=True)
    share = replace(whole, frames=GROUPS[2:], first=2)
    for t in range(1, T + 1):
        z = whole(t)[2:, : max(GROUPS[2:]) * HOP]
        assert torch.equal(share(t), z)
        assert not torch.equal(replace(share, first=0)(t), z)


def test_a_group_of_one_shares_nothing() -> None:
    plain = RolloutNoise(0, 0, RAGGED, (4, 2))
    for shared in ("prefix", "unkept"):
        for t in range(1, T + 1):
            assert torch.equal(replace(plain, shared=shared)(t), plain(t))


@pytest.mark.parametrize("antithetic", [False, True])
@pytest.mark.parametrize("shared", ["none", "prefix", "unkept"])
def test_every_row_keeps_its_own_distribution(shared: str, antithetic: bool) -> None:
    draw = RolloutNoise(5, 0, (40,) * 4, (4, 2), 2, shared, antithetic)
    z = torch.stack([draw(t) for t in range(1, T + 1)])
    count = 40 * HOP
    assert float(z.mean(-1).abs().max()) < 4.5 / count**0.5
    assert float((z.std(-1) - 1).abs().max()) < 4.5 / (2 * count) ** 0.5
    for row in range(4):  # and its timesteps are independent
        correlation = torch.corrcoef(z[:, row]) - torch.eye(T)
        assert float(correlation.abs().max()) < 4.5 / count**0.5


# --- which timesteps, which rows


@settings(deadline=None, max_examples=50)
@given(
    st.sets(st.integers(1, 99), min_size=1, max_size=12),
    st.integers(1, 15),
    st.integers(0, 99),
    st.integers(0, 99),
)
def test_kept_timesteps_are_distinct_descending_and_drawn_by_identity(
    allowed: set[int], count: int, seed: int, update: int
) -> None:
    offered = tuple(sorted(allowed, reverse=True))
    kept = choose_kept(offered, count, seed, update)
    assert kept == choose_kept(offered, count, seed, update)
    assert len(kept) == len(set(kept)) == min(count, len(offered))
    assert list(kept) == sorted(kept, reverse=True)
    assert set(kept) <= allowed


def test_every_allowed_timestep_is_trained_equally_often() -> None:
    kept = [t for update in range(600) for t in choose_kept((9, 8, 7, 6), 2, 0, update)]
    for t in (9, 8, 7, 6):
        assert abs(kept.count(t) - 300) < 4 * (600 * 0.25) ** 0.5


@settings(deadline=None, max_examples=50)
@given(frame_counts, st.integers(1, 5), st.data())
def test_microbatches_hold_every_row_once_longest_first(
    frames: tuple[int, ...], size: int, data: st.DataObject
) -> None:
    step = data.draw(st.integers(1, 3))
    rows = range(0, len(frames), step)
    parts = list(split(frames, size, rows))
    assert sorted(row for part in parts for row in part) == list(rows)
    assert all(len(part) == size for part in parts[:-1])
    assert 1 <= len(parts[-1]) <= size
    lengths = [frames[row] for part in parts for row in part]
    assert lengths == sorted(lengths, reverse=True)


def test_conditioning_is_cut_to_the_longest_row(conditioning: Make) -> None:
    whole = conditioning(RAGGED)
    part = trimmed(whole, [3, 0], RAGGED)
    assert torch.equal(part.frames, torch.tensor([4, 3]))
    assert torch.equal(part.cond, whole.cond[[3, 0], :, :4])
    assert ragged([3, 0], RAGGED)
    assert not ragged([3], RAGGED)
    assert not ragged([0, 1], GROUPS)


# --- against maum-ai/wavegrad2


@pytest.fixture(scope="module")
def maum_decoder() -> Decoder:
    sizes = ModelConfig(
        symbols=151,
        encoder_channels=32,
        encoder_kernel=5,
        encoder_layers=3,
        speaker_channels=8,
        duration_lstm=24,
        range_lstm=20,
        hop=HOP,
        sample_rate=22050,
        u_pre=48,
        u_out=(32, 32, 24, 16, 16),
        u_factors=(5, 5, 3, 2, 2),
        u_dilations=((1, 2, 4, 8),) * 3 + ((1, 2, 1, 2),) * 2,
        d_pre=8,
        d_out=(16, 16, 24, 32),
        d_dilations=((1, 2, 4),) * 4,
    )
    state = load_file(PARITY / "small_base_state_dict.safetensors")
    own = {k.removeprefix("decoder."): v for k, v in state.items() if k.startswith("decoder.")}
    decoder = Decoder(sizes)
    decoder.load_state_dict(own)
    return decoder.eval()


@pytest.mark.parametrize("name", ["manual8", "linear10"])
def test_the_rollout_is_maums_trajectory(maum_decoder: Decoder, name: str) -> None:
    vectors = load_file(PARITY / "small_base_vectors.safetensors")
    betas, cond, first, steps, theirs = (
        vectors[f"sample.{name}.{part}"]
        for part in ("betas", "hidden_rep", "noise_init", "noise_steps", "trajectory")
    )
    last = len(betas)
    given_ = {last: first} | {last - 1 - i: z for i, z in enumerate(steps)}
    frames = (cond.shape[-1],)
    draw = GivenNoise(0, 0, frames, tuple(reversed(range(last))), table=given_)
    chain, scale = from_betas(betas), float(theirs.abs().max())
    found = []
    for bits in range(-4, 5):
        # manual8's noisiest level has its sinusoids at 1,500 radians: the last bit of its root,
        # in which processors differ, moves the trajectory by 3e-4 of its scale.
        near = chain.alphas_cumprod.clone()
        near.view(torch.int32)[-1] += bits
        nudged = replace(chain, alphas_cumprod=near)
        traj = rollout(maum_decoder, nudged, Conditioning(cond, torch.tensor(frames)), draw)
        ours = torch.cat((traj.x_t, traj.waveform[None]))
        found.append((float((ours - theirs).abs().max()), traj))
    distance, traj = min(found, key=lambda pair: pair[0])
    assert distance < 1e-5 * scale
    torch.testing.assert_close(traj.x_prev[:-1], theirs[1:-1], rtol=0, atol=1e-4)


# --- the trajectory


@pytest.mark.parametrize("shared", ["none", "prefix", "unkept"])
def test_a_kept_action_is_its_mean_plus_its_noise(
    three_weights: Policy, conditioning: Make, shared: str
) -> None:
    draw = RolloutNoise(1, 0, GROUPS, (4, 3, 1), 2, shared, antithetic=True)
    traj = rollout(three_weights, CHAIN, conditioning(GROUPS), draw, microbatch=3)
    assert traj.timesteps.tolist() == [4, 3, 1]
    assert traj.x_t.shape == traj.x_prev.shape == traj.mean.shape == (3, 4, 5 * HOP)
    for k, t in enumerate(draw.kept):
        assert torch.equal(traj.x_prev[k], traj.mean[k] + CHAIN.sigma[t] * draw(t))
        assert not bool((traj.x_prev[k] * (1 - traj.mask)).any())
    assert torch.equal(traj.x_t[1], traj.x_prev[0])
    assert traj.lengths.tolist() == [count * HOP for count in GROUPS]


def test_the_chain_starts_from_its_noise_and_ends_in_the_waveform(
    three_weights: Policy, conditioning: Make
) -> None:
    draw = RolloutNoise(1, 0, RAGGED, tuple(reversed(range(T))))
    traj = rollout(three_weights, CHAIN, conditioning(RAGGED), draw)
    assert torch.equal(traj.x_t[0], draw(T))
    assert torch.equal(traj.x_prev[-1], traj.mean[-1])
    assert torch.equal(traj.waveform, traj.x_prev[-1].clamp(-1, 1 - 2**-10))
    assert float(traj.waveform.abs().max()) <= 1
    assert not bool((traj.waveform * (1 - traj.mask)).any())
    assert not traj.waveform.requires_grad


def test_the_microbatch_never_changes_a_trajectory(
    tiny_decoder: Decoder, conditioning: Make
) -> None:
    draw = FineNoise(2, 0, RAGGED, (5, 3))
    cond, decoder = fine(conditioning(RAGGED)), tiny_decoder.double()
    whole = rollout(decoder, EXACT, cond, draw, microbatch=4)
    for size in (1, 2, 3, 100):
        close(rollout(decoder, EXACT, cond, draw, microbatch=size), whole)


def test_in_fp32_the_microbatch_changes_rounding_alone(
    tiny_decoder: Decoder, conditioning: Make
) -> None:
    draw, cond = RolloutNoise(2, 0, RAGGED, (5,)), conditioning(RAGGED)
    whole, each = (rollout(tiny_decoder, CHAIN, cond, draw, microbatch=n) for n in (4, 1))
    for name in ("x_t", "x_prev", "mean"):
        torch.testing.assert_close(getattr(each, name), getattr(whole, name), rtol=0, atol=1e-5)


def test_a_row_comes_out_of_a_ragged_batch_as_it_would_alone(
    tiny_decoder: Decoder, conditioning: Make
) -> None:
    draw = FineNoise(2, 0, RAGGED, (5, 3))
    cond, decoder = fine(conditioning(RAGGED)), tiny_decoder.double()
    batch = rollout(decoder, EXACT, cond, draw)
    for row, count in enumerate(RAGGED):
        mine = slice(row, row + 1)
        alone = Conditioning(cond.cond[mine, :, :count], cond.frames[mine])
        single = rollout(decoder, EXACT, alone, rowwise(draw, mine))
        for name in ("x_t", "x_prev", "mean", "waveform"):
            found = getattr(batch, name)[..., mine, : count * HOP]
            torch.testing.assert_close(found, getattr(single, name), rtol=0, atol=1e-9)


@pytest.mark.parametrize("kept", [(5, 3), (3, 1), (1,), ()])
@pytest.mark.parametrize("shared", ["prefix", "unkept"])
def test_a_shared_prefix_equals_every_row_computed(
    tiny_decoder: Decoder,
    conditioning: Make,
    shared: str,
    kept: tuple[int, ...],
) -> None:
    cond, decoder = fine(conditioning(GROUPS)), tiny_decoder.double()
    for leader in (0, 2):  # one prompt, one conditioning
        cond.cond[leader + 1] = cond.cond[leader]
    draw = FineNoise(2, 0, GROUPS, kept, 2, shared, antithetic=True)
    every = rollout(decoder, EXACT, cond, rowwise(draw))
    for size in (8, 1):
        close(rollout(decoder, EXACT, cond, draw, microbatch=size), every)


def test_a_shared_prefix_is_computed_once(
    three_weights: Policy, conditioning: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[int] = []
    predict = three_weights.predict_noise

    def counting(x_t: Tensor, *rest: Tensor | None) -> Tensor:
        rows.append(len(x_t))
        return predict(x_t, *rest)

    monkeypatch.setattr(three_weights, "predict_noise", counting)
    draw = RolloutNoise(0, 0, (2,) * 8, (3, 1), 4, "prefix")
    rollout(three_weights, CHAIN, conditioning((2,) * 8), draw)
    assert rows == [2, 2, 2, 8, 8, 8]  # kept at t = 3: its state and mean are still one


@pytest.mark.parametrize("shared", ["prefix", "unkept"])
def test_rows_of_a_group_part_at_the_first_kept_timestep(
    three_weights: Policy, conditioning: Make, shared: str
) -> None:
    same = conditioning((3,)).cond.expand(4, -1, -1)
    cond = Conditioning(same, torch.tensor((3,) * 4))
    draw = RolloutNoise(0, 0, (3,) * 4, (3, 1), 4, shared)
    traj = rollout(three_weights, CHAIN, cond, draw)
    for row in range(1, 4):
        assert torch.equal(traj.x_t[0, row], traj.x_t[0, 0])
        assert torch.equal(traj.mean[0, row], traj.mean[0, 0])
        for later in (traj.x_prev[0], traj.x_t[1], traj.waveform):
            assert not torch.equal(later[row], later[0])


def test_unkept_noise_leaves_the_kept_transitions_as_the_only_difference(
    three_weights: Policy, conditioning: Make
) -> None:
    same = conditioning((3,)).cond.expand(2, -1, -1)
    cond = Conditioning(same, torch.tensor((3, 3)))
    draw = RolloutNoise(0, 0, (3, 3), (4,), 2, "unkept")
    traj = rollout(three_weights, CHAIN, cond, draw)
    again = {t: draw(t)[:1].expand(2, -1) for t in range(T + 1)}
    one = rollout(three_weights, CHAIN, cond, GivenNoise(0, 0, (3, 3), (4,), table=again))
    assert torch.equal(one.waveform[0], one.waveform[1])
    torch.testing.assert_close(traj.waveform[0], one.waveform[0], rtol=0, atol=1e-6)
    assert not torch.equal(traj.waveform[1], one.waveform[1])


def test_without_kept_timesteps_only_the_waveform_is_recorded(
    three_weights: Policy, conditioning: Make
) -> None:
    cond = conditioning(RAGGED)
    bare = rollout(three_weights, CHAIN, cond, RolloutNoise(1, 0, RAGGED))
    assert bare.x_t.shape == bare.x_prev.shape == bare.mean.shape == (0, 4, 5 * HOP)
    assert bare.timesteps.tolist() == []
    full = rollout(three_weights, CHAIN, cond, RolloutNoise(1, 0, RAGGED, (5, 2)))
    assert torch.equal(bare.waveform, full.waveform)


def test_ddim_with_eta_0_depends_on_its_first_noise_alone(
    tiny_decoder: Decoder, conditioning: Make
) -> None:
    cond = conditioning(RAGGED)
    one, other = (rowwise(RolloutNoise(seed, 0, RAGGED)) for seed in (1, 2))
    other.table[T] = one.table[T]

    def both(chain: NoiseSchedule) -> list[Tensor]:
        return [rollout(tiny_decoder, chain, cond, draw).waveform for draw in (one, other)]

    assert torch.equal(*both(from_betas(respaced(6), 0.0)))
    assert not torch.equal(*both(from_betas(respaced(6), 0.1)))


def test_ancestral_and_ddim_with_eta_1_sample_the_same(
    tiny_decoder: Decoder, conditioning: Make
) -> None:
    cond, draw = fine(conditioning(RAGGED)), FineNoise(1, 0, RAGGED, (5, 3))
    decoder = tiny_decoder.double()
    ancestral = rollout(decoder, EXACT, cond, draw)
    close(rollout(decoder, from_betas(respaced(6).double(), 1.0), cond, draw), ancestral, 1e-7)


def test_what_between_raises_ends_the_rollout(three_weights: Policy, conditioning: Make) -> None:
    class Stopped(Exception): ...

    seen: list[tuple[int, int]] = []

    def between(done: int, total: int) -> None:
        seen.append((done, total))
        if done == 2:
            raise Stopped

    draw = RolloutNoise(1, 0, RAGGED, (5, 3))
    with pytest.raises(Stopped):
        rollout(three_weights, CHAIN, conditioning(RAGGED), draw, between=between)
    assert seen == [(1, T), (2, T)]


def test_between_runs_after_every_timestep(three_weights: Policy, conditioning: Make) -> None:
    seen: list[tuple[int, int]] = []
    rollout(
        three_weights,
        CHAIN,
        conditioning(RAGGED),
        RolloutNoise(1, 0, RAGGED),
        between=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(i, T) for i in range(1, T + 1)]


def test_autocast_stays_inside_the_network(tiny_decoder: Decoder, conditioning: Make) -> None:
    cond, draw = conditioning((2, 3)), RolloutNoise(1, 0, (2, 3), (5, 3))
    exact = rollout(tiny_decoder, CHAIN, cond, draw)
    tiny_decoder.compute_dtype = torch.bfloat16
    seen: list[torch.dtype] = []
    hook = tiny_decoder.ublock_postconv.register_forward_hook(
        lambda module, given, out: seen.append(out.dtype)
    )
    traj = rollout(tiny_decoder, CHAIN, cond, draw)
    hook.remove()
    assert set(seen) == {torch.bfloat16}
    for name in ("x_t", "x_prev", "mean", "waveform"):
        assert getattr(traj, name).dtype == torch.float32
    for k, t in enumerate(draw.kept):  # stored in fp32, so the noise is there to the last bit
        assert torch.equal(traj.x_prev[k], traj.mean[k] + CHAIN.sigma[t] * draw(t))
    assert 0 < float((traj.mean[0] - exact.mean[0]).abs().max()) < 0.1


class Saying(Policy):
    """A network whose clean estimate is `value` wherever the audio is real."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def predict_noise(
        self, x_t: Tensor, cond: Tensor, noise_level: Tensor, frames: Tensor | None = None
    ) -> Tensor:
        real = x_t != 0
        return (x_t - noise_level * self.value * real) / (1 - noise_level**2).sqrt()


@pytest.mark.parametrize(("value", "share"), [(0.5, 0.0), (-1.5, 1.0)])
def test_the_clamped_share_counts_real_audio_alone(
    conditioning: Make, value: float, share: float
) -> None:
    draw = RolloutNoise(1, 0, RAGGED, (5, 3))
    traj = rollout(Saying(value), CHAIN, conditioning(RAGGED), draw, microbatch=3)
    assert float(traj.clamped) == share


def test_a_rollout_leaves_the_global_generator_alone(
    three_weights: Policy, conditioning: Make
) -> None:
    before = torch.get_rng_state()
    rollout(three_weights, CHAIN, conditioning(RAGGED), RolloutNoise(1, 0, RAGGED, (5,)))
    assert torch.equal(torch.get_rng_state(), before)
