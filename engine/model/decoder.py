"""The decoder: a WaveGrad that predicts the noise in noisy audio, given one vector per frame.

Behind a row's own frames every tensor that a convolution of more than one tap reads is zero,
which is that convolution's own padding: so a row comes out of a batch as it would alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from engine.model.config import ModelConfig
from engine.model.interpolation import (
    WORTHWHILE,
    convolve_upsampled,
    downsample,
    hold_edge,
    upsample,
)
from engine.types import Policy, frame_mask


class Decoder(Policy):
    """WaveGrad's network as maum-ai builds it, Base or Large (spec section 6)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.reach = reach(config)
        d_in = (config.d_pre, *config.d_out)
        u_in = (config.u_pre, *config.u_out)
        double = config.blocks_per_level == 2
        up, down = (DoubleUpBlock, DoubleDownBlock) if double else (UpBlock, DownBlock)
        u_sizes = zip(u_in[:-1], config.u_out, config.u_factors, config.u_dilations, strict=True)
        d_sizes = zip(d_in[:-1], config.d_out, config.d_factors, config.d_dilations, strict=True)
        self.ublock_preconv = Conv(config.cond_channels, config.u_pre, 3)
        self.ublocks = nn.ModuleList(up(*sizes) for sizes in u_sizes)
        self.ublock_postconv = Conv(config.u_out[-1], 1, 3)
        self.dblock_preconv = Conv(1, config.d_pre, 5)
        self.dblocks = nn.ModuleList(down(*sizes) for sizes in d_sizes)
        self.films = nn.ModuleList(
            FiLM(*sizes) for sizes in zip(d_in, config.u_out[::-1], strict=True)
        )

    def predict_noise(
        self, x_t: Tensor, cond: Tensor, noise_level: Tensor, frames: Tensor | None = None
    ) -> Tensor:
        """eps_theta (B, S), in x_t's dtype, zero behind each row's frames.

        Args:
            x_t: (B, S) noisy audio.
            cond: (B, C, M) conditioning, S = 300 M.
            noise_level: (B, 1) or (B,) sqrt(alpha-bar).
            frames: (B,) int64 real frames of each row, from 1 to M; each row comes out as if
                alone. None, or M everywhere in a CPU tensor: nothing is masked.

        Raises:
            ValueError: S is not 300 M.
        """
        batch, length = x_t.shape
        longest, hop = cond.shape[-1], self.config.hop
        if length != longest * hop:
            raise ValueError(f"{length} audio samples do not fit {longest} frames of {hop}")
        # Asking an accelerator whether all rows are full would wait for it at every timestep.
        if frames is not None and frames.device.type == "cpu" and bool((frames == longest).all()):
            frames = None
        masks = self._masks(None if frames is None else frames.to(x_t.device), longest)
        level = noise_level.reshape(batch, 1)

        top = masks[-1]
        signal = x_t[:, None]
        signal = self.dblock_preconv(signal if top is None else signal * top, top)
        modulations = [self.films[0](signal, self._embed(level, 0), top)]
        for i, (dblock, mask) in enumerate(zip(self.dblocks, masks[-2:0:-1], strict=True), start=1):
            signal = self._through(dblock, signal, mask)
            modulations.append(self.films[i](signal, self._embed(level, i), mask))

        x = self.ublock_preconv(cond if masks[0] is None else cond * masks[0])
        levels = zip(self.ublocks, modulations[::-1], masks[:-1], masks[1:], strict=True)
        for ublock, (scale, shift), before, mask in levels:
            x = self._through(ublock, x, scale, shift, before, mask)
        out: Tensor = self.ublock_postconv(x if top is None else x * top, top)
        noise = out.squeeze(1).to(x_t.dtype)
        if self.config.speech_rms:
            noise = as_noise(noise, x_t, level, self.config.speech_rms)
            noise = noise if top is None else noise * top.squeeze(1)
        return noise

    def forward(
        self, x_t: Tensor, cond: Tensor, noise_level: Tensor, frames: Tensor | None = None
    ) -> Tensor:
        """`predict_noise`, for wrappers that only call a module."""
        return self.predict_noise(x_t, cond, noise_level, frames)

    def _through(self, block: nn.Module, *inputs: Tensor | None) -> Tensor:
        """A block's output; its inner activations are not kept where they are to be recomputed."""
        again = self.recompute and torch.is_grad_enabled()
        out: Tensor = (
            checkpoint(block, *inputs, use_reentrant=False, preserve_rng_state=False)
            if again
            else block(*inputs)
        )
        return out

    def _embed(self, level: Tensor, film: int) -> Tensor:
        channels = (self.config.d_pre, *self.config.d_out)[film]
        return embed_noise_level(level, channels, self.config.position_scale)

    def _masks(self, frames: Tensor | None, longest: int) -> list[Tensor | None]:
        """(B, 1, T) bool for each time resolution, frames first, audio samples last."""
        masks: list[Tensor | None] = []
        per_frame = 1
        for factor in (1, *self.config.u_factors):
            per_frame *= factor
            masks.append(
                None
                if frames is None
                else frame_mask(frames * per_frame, longest * per_frame)[:, None].bool()
            )
        return masks


def reach(config: ModelConfig) -> int:
    """Frames to each side that an audio sample of the decoder's output may depend on.

    Along the longest way: down to the coarsest resolution, through its FiLM and up again. Every
    convolution adds the distance of its outer taps and every interpolation that of its inputs.
    """
    step, down = 1, 2  # audio samples between neighbours; the entry's five taps
    for factor, dilations in zip(config.d_factors, config.d_dilations, strict=True):
        down += step * factor
        step *= factor
        down += step * sum(dilations) * config.blocks_per_level
    down += step * 2  # FiLM: its signal's convolution, then scale and shift's
    step = config.hop
    up = step + 1  # the entry's convolution, and the exit's
    for factor, dilations in zip(config.u_factors, config.u_dilations, strict=True):
        up += step
        step //= factor
        up += step * sum(dilations) * config.blocks_per_level
    return -(-(down + up) // config.hop)


def as_noise(out: Tensor, x_t: Tensor, level: Tensor, rms: float) -> Tensor:
    """eps_theta (B, S) = (sigma / v) x_t + (a rms / sqrt(v)) out, v = (a rms)^2 + sigma^2.

    With a = level (B, 1) and sigma^2 = 1 - a^2. The first term is the best linear guess of the
    noise from audio of this RMS, the second has what is left at unit variance, at every level:
    so a network need not carry the noise through itself where the noise drowns the speech.
    Source: the preconditioning of EDM, arXiv 2206.00364, table 1, for the noise of a DDPM.
    """
    sigma_squared = 1 - level**2
    v = (level * rms) ** 2 + sigma_squared
    return sigma_squared.sqrt() / v * x_t + level * rms / v.sqrt() * out


def embed_noise_level(noise_level: Tensor, channels: int, scale: float) -> Tensor:
    """Sinusoids (B, C) of noise_level (B, 1): sines in the first half, cosines in the second.

    angle_k = scale x noise_level x 10^(-4k / (C/2)), k = 0 ... C/2 - 1; at least fp32, whatever
    autocast says, for angles reach thousands of radians. Source: WaveGrad, arXiv 2009.00713,
    section 3; exponents as in spec section 6.
    """
    half = channels // 2
    level = noise_level.to(torch.promote_types(noise_level.dtype, torch.float32))
    k = torch.arange(half, device=level.device, dtype=level.dtype)
    angle = scale * level * torch.pow(1e-4, k / half)
    return torch.cat((angle.sin(), angle.cos()), dim=-1)


class Conv(nn.Module):
    """Convolution that keeps the length; its weight starts orthogonal (spec section 6)."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, dilation: int = 1) -> None:
        super().__init__()
        padding = dilation * (kernel - 1) // 2
        self.conv1d = nn.Conv1d(
            channels_in, channels_out, kernel, padding=padding, dilation=dilation
        )
        nn.init.orthogonal_(self.conv1d.weight)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, C_in, T) -> (B, C_out, T), zero where mask (B, 1, T) is False."""
        y: Tensor = self.conv1d(x)
        return y if mask is None else y.mul_(mask)


class ActivatedConv(nn.Module):
    """LReLU, then a convolution of three taps."""

    def __init__(self, channels_in: int, channels_out: int, dilation: int) -> None:
        super().__init__()
        self.convolution = Conv(channels_in, channels_out, 3, dilation)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(B, C_in, T) -> (B, C_out, T)."""
        y: Tensor = self.convolution(_lrelu(x), mask)
        return y


class ModulatedConv(nn.Module):
    """M(x) = Conv(LReLU(scale x + shift)); zero scale and shift in the padding mask it."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.convolution = Conv(channels, channels, 3, dilation)

    def forward(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """All (B, C, T)."""
        y: Tensor = self.convolution(_lrelu((scale * x).add_(shift), inplace=True))
        return y


class FiLM(nn.Module):
    """Scale and shift for one upsampling level, from the noisy audio and the noise level."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.signal_conv = nn.Sequential(Conv(channels_in, channels_in, 3))
        self.scale_conv = Conv(channels_in, channels_out, 3)
        self.shift_conv = Conv(channels_in, channels_out, 3)

    def forward(
        self, signal: Tensor, embedding: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Scale and shift, both (B, C_out, T), from signal (B, C_in, T) and embedding (B, C_in)."""
        u = _lrelu(self.signal_conv(signal), inplace=True)
        u = u + embedding.to(u.dtype)[..., None]
        if mask is not None:
            u = u * mask
        return self.scale_conv(u, mask), self.shift_conv(u, mask)


class DownBlock(nn.Module):
    """One level down: three activated convolutions beside a convolution of one tap."""

    def __init__(
        self, channels_in: int, channels_out: int, factor: int, dilations: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.factor = factor
        first = 0 if factor == 1 else 1
        channels = (channels_in, channels_out, channels_out)
        self.main_branch = nn.ModuleDict(
            {
                str(first + i): ActivatedConv(c, channels_out, dilation)
                for i, (c, dilation) in enumerate(zip(channels, dilations, strict=True))
            }
        )
        self.residual_branch = nn.Sequential(Conv(channels_in, channels_out, 1))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(B, C_in, T) -> (B, C_out, T / factor); mask (B, 1, T / factor)."""
        x = downsample(x, self.factor)
        y = x
        for conv in self.main_branch.values():
            y = conv(y, mask)
        # maum's has its one tap before the downsampling: mixing channels, it may as well follow.
        residual: Tensor = self.residual_branch(x)
        return y + (residual if mask is None else residual * mask)


class DoubleDownBlock(DownBlock):
    """Large's level: a DownBlock, then a second one at the same resolution."""

    def __init__(
        self, channels_in: int, channels_out: int, factor: int, dilations: tuple[int, ...]
    ) -> None:
        super().__init__(channels_out, channels_out, 1, dilations)
        self.downsampling_basic_block = DownBlock(channels_in, channels_out, factor, dilations)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(B, C_in, T) -> (B, C_out, T / factor)."""
        return super().forward(self.downsampling_basic_block(x, mask), mask)


class UpBlock(nn.Module):
    """One level up, modulated three times by the same scale and shift.

    y = M(Conv(up(LReLU(x)))) + up(Conv1x1(x));  out = y + M(M(y)).
    """

    def __init__(
        self, channels_in: int, channels_out: int, factor: int, dilations: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.factor = factor
        name, place = ("noupsampling", "1") if factor == 1 else ("upsampling", "2")
        self._name_of_entry = name, place
        a, b, c, d = dilations
        self.first_block_main_branch = nn.ModuleDict(
            {
                name: nn.ModuleDict({place: Conv(channels_in, channels_out, 3, a)}),
                "modulation": ModulatedConv(channels_out, b),
            }
        )
        self.first_block_residual_branch = nn.Sequential(Conv(channels_in, channels_out, 1))
        self.second_block_main_branch = nn.ModuleDict(
            {
                "modulation_0": ModulatedConv(channels_out, c),
                "modulation_1": ModulatedConv(channels_out, d),
            }
        )

    def forward(
        self,
        x: Tensor,
        scale: Tensor,
        shift: Tensor,
        before: Tensor | None,
        mask: Tensor | None,
    ) -> Tensor:
        """(B, C_in, T) -> (B, C_out, T x factor).

        Args:
            x: (B, C_in, T)
            scale: (B, C_out, T x factor), zero in the padding.
            shift: (B, C_out, T x factor), zero in the padding.
            before: (B, 1, T) bool, where x is real.
            mask: (B, 1, T x factor) bool, where the result is.
        """
        if before is not None and self.factor > 1:
            x = hold_edge(x, before)
        y = self.first_block_main_branch["modulation"](self._enter(x, mask), scale, shift)
        y = y + upsample(self.first_block_residual_branch(x), self.factor)
        second = self.second_block_main_branch["modulation_0"](y, scale, shift)
        out: Tensor = y + self.second_block_main_branch["modulation_1"](second, scale, shift)
        return out

    def _enter(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Conv(up(LReLU(x))), (B, C_out, T x factor), before the first modulation."""
        name, place = self._name_of_entry
        entry = self.first_block_main_branch[name]
        assert isinstance(entry, nn.ModuleDict)
        convolution, activated, factor = entry[place], _lrelu(x), self.factor
        assert isinstance(convolution, Conv)
        if factor >= WORTHWHILE and x.device.type == "cpu":  # a GPU would rather multiply
            inner = convolution.conv1d
            dilation = inner.dilation[0]
            return convolve_upsampled(activated, factor, inner.weight, inner.bias, dilation, mask)
        activated = upsample(activated, factor)
        y: Tensor = convolution(activated if mask is None else activated * mask)
        return y


class DoubleUpBlock(UpBlock):
    """Large's level: an UpBlock, then a second one at the same resolution and modulation."""

    def __init__(
        self, channels_in: int, channels_out: int, factor: int, dilations: tuple[int, ...]
    ) -> None:
        super().__init__(channels_out, channels_out, 1, dilations)
        self.upsampling_basic_block = UpBlock(channels_in, channels_out, factor, dilations)

    def forward(
        self,
        x: Tensor,
        scale: Tensor,
        shift: Tensor,
        before: Tensor | None,
        mask: Tensor | None,
    ) -> Tensor:
        """(B, C_in, T) -> (B, C_out, T x factor)."""
        x = self.upsampling_basic_block(x, scale, shift, before, mask)
        return super().forward(x, scale, shift, mask, mask)


def _lrelu(x: Tensor, inplace: bool = False) -> Tensor:
    return F.leaky_relu(x, 0.2, inplace=inplace)
