from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from engine.diffusion.schedule import from_betas
from engine.model.config import ModelConfig
from engine.model.decoder import (
    Decoder,
    as_noise,
    embed_noise_level,
)
from engine.model.wavegrad2 import WaveGrad2
from engine.types import HOP


def batch(channels: int, frames: Tensor, seed: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """x_t, cond, noise_level in float64, with rubbish behind each row's frames."""
    generator = torch.Generator().manual_seed(seed)
    rows, longest = len(frames), int(frames.max())
    return (
        torch.randn(rows, longest * 300, generator=generator, dtype=torch.float64),
        torch.randn(rows, channels, longest, generator=generator, dtype=torch.float64),
        torch.rand(rows, 1, generator=generator, dtype=torch.float64),
    )


def test_noise_matches_maum(model: WaveGrad2, vectors: dict[str, Tensor]) -> None:
    noise = model.decoder.predict_noise(
        vectors["diff.wav_noisy"], vectors["diff.hidden_sliced"], vectors["diff.noise_level"]
    )
    torch.testing.assert_close(noise, vectors["decoder.eps_recon"], rtol=1e-5, atol=1e-5)


def test_embedding_matches_maum(vectors: dict[str, Tensor]) -> None:
    level = torch.tensor([[0.999], [0.5], [0.01]])
    embedding = embed_noise_level(level, 16, 5000.0)
    torch.testing.assert_close(embedding, vectors["posenc.C16"], rtol=0, atol=1e-5)


def last_bit(model: WaveGrad2, vectors: dict[str, Tensor], name: str, level: Tensor) -> Tensor:
    """The noisiest level (1, 1) as the processor that made the vectors rounds its root.

    Its sinusoids are at 1,500 radians, so its last bit moves the trajectory by 3e-4 of its scale.
    """
    betas, cond, x_t, noise, expected = (
        vectors[f"sample.{name}.{part}"]
        for part in ("betas", "hidden_rep", "noise_init", "noise_steps", "trajectory")
    )
    chain, near = from_betas(betas), level.repeat(3, 1)
    near.view(torch.int32)[:, 0] += torch.tensor([-1, 0, 1], dtype=torch.int32)
    distances = []
    for one in near:
        with torch.no_grad():
            eps = model.decoder.predict_noise(x_t, cond, one.reshape(1, 1))
        a = chain.alphas_cumprod[-1]
        x_0 = ((x_t - (1 - a).sqrt() * eps) / a.sqrt()).clamp(-1, 1)
        x = chain.c_x0[-1] * x_0 + chain.c_xt[-1] * x_t + chain.sigma[-1] * noise[0]
        distances.append(float((x - expected[1]).abs().max()))
    return near[distances.index(min(distances))].reshape(1, 1)


@pytest.mark.parametrize("name", ["manual8", "linear10"])
def test_sampled_trajectory_matches_maum(
    model: WaveGrad2, vectors: dict[str, Tensor], name: str
) -> None:
    """Ancestral sampling written out, timestep by timestep (spec section 7)."""
    betas, cond, x_t, noise, expected = (
        vectors[f"sample.{name}.{part}"]
        for part in ("betas", "hidden_rep", "noise_init", "noise_steps", "trajectory")
    )
    one = torch.ones(1)
    bar = (1 - betas).cumprod(0)
    previous = torch.cat((one, bar[:-1]))
    for i, t in enumerate(range(len(betas) - 1, -1, -1)):
        level = bar[t].sqrt().reshape(1, 1)
        if i == 0:
            level = last_bit(model, vectors, name, level)
        with torch.no_grad():
            eps = model.decoder.predict_noise(x_t, cond, level)
        x_0 = (1 / bar[t]).sqrt() * x_t - (1 - bar[t]).sqrt() * (1 / bar[t]).sqrt() * eps
        mean = betas[t] * previous[t].sqrt() / (1 - bar[t]) * x_0.clamp(-1, 1)
        mean = mean + (1 - previous[t]) * (1 - betas[t]).sqrt() / (1 - bar[t]) * x_t
        variance = (betas[t] * (1 - previous[t]) / (1 - bar[t])).clamp(min=1e-20)
        x_t = mean + variance.sqrt() * noise[i] if t > 0 else mean
        # The trajectory starts with values near 5, and x_0 takes over 3.2 times the rounding of
        # eps there: 1e-5 of that scale.
        torch.testing.assert_close(x_t, expected[i + 1], rtol=0, atol=1e-5 * expected.abs().max())


@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("frames", [[3, 7, 1], [5, 4, 5], [1, 1, 2]], ids=str)
def test_row_comes_out_of_a_batch_as_alone(
    small_config: ModelConfig, blocks: int, frames: list[int]
) -> None:
    torch.manual_seed(1)
    config = replace(small_config, blocks_per_level=blocks)
    decoder = Decoder(config).double()
    count = torch.tensor(frames)
    x_t, cond, level = batch(config.cond_channels, count)
    together = decoder.predict_noise(x_t, cond, level, count)
    for row, n in enumerate(frames):
        one = slice(row, row + 1)
        alone = decoder.predict_noise(x_t[one, : n * 300], cond[one, :, :n], level[one])
        torch.testing.assert_close(together[one, : n * 300], alone, rtol=0, atol=1e-9)
        assert together[row, n * 300 :].eq(0).all()


def test_row_comes_out_of_a_batch_as_alone_in_single_precision(model: WaveGrad2) -> None:
    frames = torch.tensor([9, 4])
    x_t, cond, level = (t.float() for t in batch(40, frames))
    together = model.decoder.predict_noise(x_t, cond, level, frames)
    alone = model.decoder.predict_noise(x_t[1:, :1200], cond[1:, :, :4], level[1:])
    assert (together[1:, :1200] - alone).abs().max() < 1e-5 * alone.abs().max()


def test_gradient_of_a_batch_is_the_sum_over_its_rows(model64: WaveGrad2) -> None:
    frames = torch.tensor([2, 5])
    x_t, cond, level = batch(40, frames)
    decoder = model64.decoder
    decoder.predict_noise(x_t, cond, level, frames).square().sum().backward()
    together = {k: p.grad.clone() for k, p in decoder.named_parameters() if p.grad is not None}
    decoder.zero_grad()
    for row, n in enumerate(frames.tolist()):
        one = slice(row, row + 1)
        alone = decoder.predict_noise(x_t[one, : n * 300], cond[one, :, :n], level[one])
        alone.square().sum().backward()
    assert len(together) == len(list(decoder.parameters()))
    for key, parameter in decoder.named_parameters():
        torch.testing.assert_close(together[key], parameter.grad, rtol=1e-9, atol=1e-9)


def test_padding_is_never_read(model64: WaveGrad2) -> None:
    frames = torch.tensor([2, 4])
    x_t, cond, level = batch(40, frames)
    before = model64.decoder(x_t, cond, level, frames)
    x_t[0, 600:] += 100.0
    cond[0, :, 2:] -= 100.0
    assert torch.equal(model64.decoder(x_t, cond, level, frames), before)


def test_full_rows_need_no_frames(model64: WaveGrad2) -> None:
    frames = torch.tensor([3, 3])
    x_t, cond, level = batch(40, frames)
    without = model64.decoder(x_t, cond, level)
    assert torch.equal(model64.decoder(x_t, cond, level, frames), without)
    assert torch.equal(model64.decoder(x_t, cond, level.squeeze(1)), without)


def test_masking_changes_nothing_in_a_full_row(model64: WaveGrad2) -> None:
    frames = torch.tensor([3, 1])
    x_t, cond, level = batch(40, frames)
    masked = model64.decoder(x_t, cond, level, frames)[:1]
    torch.testing.assert_close(masked, model64.decoder(x_t[:1], cond[:1], level[:1]))


def test_wrong_length_is_refused(model: WaveGrad2) -> None:
    with pytest.raises(ValueError, match="601 audio samples do not fit 2 frames of 300"):
        model.decoder(torch.zeros(1, 601), torch.zeros(1, 40, 2), torch.ones(1, 1))


def test_bf16_autocast_stays_close_and_returns_the_dtype_of_x(model: WaveGrad2) -> None:
    frames = torch.tensor([3, 2])
    x_t, cond, level = (t.float() for t in batch(40, frames))
    full = model.decoder(x_t, cond, level, frames)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = model.decoder(x_t, cond, level, frames)
    assert half.dtype == torch.float32
    assert half[1, 600:].eq(0).all()
    assert (half - full).abs().mean() < 0.05 * full.abs().mean()


def test_embedding_ignores_a_low_precision_level() -> None:
    level = torch.tensor([[0.5]])
    exact = embed_noise_level(level, 32, 5000.0)
    assert torch.equal(embed_noise_level(level.bfloat16(), 32, 5000.0), exact)
    assert embed_noise_level(level.double(), 32, 5000.0).dtype == torch.float64


def test_weights_start_orthogonal(small_config: ModelConfig) -> None:
    weight = Decoder(small_config).ublock_preconv.conv1d.weight.flatten(1)
    torch.testing.assert_close(weight @ weight.T, torch.eye(48), rtol=0, atol=1e-5)


class Plain:
    """The decoder again, from spec section 6 and the parameters' names alone."""

    def __init__(self, decoder: Decoder) -> None:
        self.weights = decoder.state_dict()
        self.config = decoder.config

    def conv(self, name: str, x: Tensor, dilation: int = 1) -> Tensor:
        weight = self.weights[f"{name}.conv1d.weight"]
        padding = dilation * (weight.shape[-1] - 1) // 2
        return F.conv1d(
            x, weight, self.weights[f"{name}.conv1d.bias"], padding=padding, dilation=dilation
        )

    def resize(self, x: Tensor, length: int) -> Tensor:
        return F.interpolate(x, size=length, mode="linear", align_corners=False)

    def modulated(self, name: str, x: Tensor, film: tuple[Tensor, Tensor], dilation: int) -> Tensor:
        x = F.leaky_relu(film[0] * x + film[1], 0.2)
        return self.conv(f"{name}.convolution", x, dilation)

    def film(self, i: int, x: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        x = F.leaky_relu(self.conv(f"films.{i}.signal_conv.0", x), 0.2)
        x = x + embed_noise_level(level, x.shape[1], 5000.0)[..., None]
        return self.conv(f"films.{i}.scale_conv", x), self.conv(f"films.{i}.shift_conv", x)

    def down(self, name: str, first: int, x: Tensor, factor: int) -> Tensor:
        y = self.resize(x, x.shape[-1] // factor)
        for i, dilation in enumerate(self.config.d_dilations[0], start=first):
            y = self.conv(f"{name}.main_branch.{i}.convolution", F.leaky_relu(y, 0.2), dilation)
        return y + self.resize(self.conv(f"{name}.residual_branch.0", x), y.shape[-1])

    def up(
        self, name: str, entry: str, x: Tensor, film: tuple[Tensor, Tensor], level: int
    ) -> Tensor:
        a, b, c, d = self.config.u_dilations[level]
        length = film[0].shape[-1]
        first, second = f"{name}.first_block_main_branch", f"{name}.second_block_main_branch"
        y = self.conv(f"{first}.{entry}", self.resize(F.leaky_relu(x, 0.2), length), a)
        y = self.modulated(f"{first}.modulation", y, film, b)
        residual = self.conv(f"{name}.first_block_residual_branch.0", x)
        y = y + self.resize(residual, length)
        z = self.modulated(f"{second}.modulation_0", y, film, c)
        return y + self.modulated(f"{second}.modulation_1", z, film, d)

    def __call__(self, x_t: Tensor, cond: Tensor, level: Tensor) -> Tensor:
        large = self.config.blocks_per_level == 2
        signal = self.conv("dblock_preconv", x_t[:, None])
        films = [self.film(0, signal, level)]
        for i, factor in enumerate((2, 2, 3, 5)):
            inner = ".downsampling_basic_block" if large else ""
            signal = self.down(f"dblocks.{i}{inner}", 1, signal, factor)
            if large:
                signal = self.down(f"dblocks.{i}", 0, signal, 1)
            films.append(self.film(i + 1, signal, level))
        x = self.conv("ublock_preconv", cond)
        for i, film in enumerate(reversed(films)):
            inner = ".upsampling_basic_block" if large else ""
            x = self.up(f"ublocks.{i}{inner}", "upsampling.2", x, film, i)
            if large:
                x = self.up(f"ublocks.{i}", "noupsampling.1", x, film, i)
        return self.conv("ublock_postconv", x)[:, 0]


@pytest.mark.parametrize("blocks", [1, 2], ids=["base", "large"])
def test_decoder_is_the_specification_written_plainly(
    small_config: ModelConfig, blocks: int
) -> None:
    torch.manual_seed(5)
    decoder = Decoder(replace(small_config, blocks_per_level=blocks)).double()
    x_t, cond, level = batch(40, torch.tensor([3, 3]))
    expected = Plain(decoder)(x_t, cond, level)
    torch.testing.assert_close(decoder(x_t, cond, level), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("db", [-40.0, -20.0, 0.0, 20.0])
def test_what_is_left_to_the_decoder_has_unit_variance_and_is_told_by_nothing_linear(
    db: float,
) -> None:
    rms, rng = 0.08, torch.Generator().manual_seed(1)
    a = torch.tensor([[10 ** (db / 20) / rms]], dtype=torch.float64)
    a = a / (1 + a**2).sqrt()
    x_0 = rms * torch.randn(1, 200_000, generator=rng, dtype=torch.float64)
    eps = torch.randn(1, 200_000, generator=rng, dtype=torch.float64)
    x_t = a * x_0 + (1 - a**2).sqrt() * eps
    guess = as_noise(torch.zeros_like(x_t), x_t, a, rms)
    unit = as_noise(torch.ones_like(x_t), x_t, a, rms) - guess
    left = (eps - guess) / unit
    assert float(left.var()) == pytest.approx(1, rel=0.02)
    assert abs(float((left * x_t).mean())) < 0.01 * float(x_t.std())


def test_a_voice_with_a_speech_rms_adds_the_linear_guess_and_masks_it(
    tiny_config: ModelConfig,
) -> None:
    torch.manual_seed(0)
    plain = Decoder(tiny_config).eval()
    own = Decoder(replace(tiny_config, speech_rms=0.08)).eval()
    own.load_state_dict(plain.state_dict())
    x_t, level, frames = torch.randn(2, 3 * HOP), torch.full((2, 1), 0.7), torch.tensor([3, 2])
    cond = torch.randn(2, tiny_config.cond_channels, 3)
    found = own(x_t, cond, level, frames)
    expected = as_noise(plain(x_t, cond, level, frames), x_t, level, 0.08)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1, : 2 * HOP], expected[1, : 2 * HOP])
    assert not bool(found[1, 2 * HOP :].any())


def test_recomputing_gives_the_same_gradient_from_fewer_kept_activations(
    model64: WaveGrad2,
) -> None:
    frames, kept, gradients = torch.tensor([3, 2]), [], []
    x, cond, level = batch(40, frames)
    decoder, weights = model64.decoder, list(model64.decoder.parameters())
    own = {weight.data_ptr() for weight in weights}
    for recompute in (False, True):
        decoder.recompute = recompute
        sizes: dict[int, int] = {}

        def keep(tensor: Tensor, sizes: dict[int, int] = sizes) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                sizes[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = decoder.eps(x, cond, level, frames).square().sum()
        kept.append(sum(sizes.values()))
        gradients.append(torch.autograd.grad(loss, weights))
    assert kept[1] < 0.6 * kept[0]
    assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))


def test_recomputing_without_a_gradient_changes_nothing(model: WaveGrad2) -> None:
    x, cond, level = (value.float() for value in batch(40, torch.tensor([1])))
    with torch.no_grad():
        expected = model.decoder.eps(x, cond, level)
        model.decoder.recompute = True
        assert torch.equal(model.decoder.eps(x, cond, level), expected)
