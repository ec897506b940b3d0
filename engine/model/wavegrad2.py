"""WaveGrad 2, text to noise prediction, with maum-ai/wavegrad2's parameter names.

`hidden` is supervised training's path; `condition` and `condition_on` are inference's, where a
row comes out of a batch as it would alone. Knows no sampler and no reinforcement learning.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from engine.model.config import ModelConfig
from engine.model.decoder import Decoder
from engine.model.durations import Resampling, whole_frames
from engine.model.encoder import Encoder
from engine.types import Conditioning, frame_mask


class WaveGrad2(nn.Module):
    """Encoder, speaker embedding, resampling and decoder (spec section 1)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.speaker_embedding = nn.Embedding(config.speakers, config.speaker_channels)
        self.resampling = Resampling(config)
        self.decoder = Decoder(config)

    def memory(
        self, text: Tensor, lengths: Tensor, speakers: Tensor, masked: bool = False
    ) -> Tensor:
        """Encoder output, then the speaker's vector at every symbol; (B, N, C).

        text (B, N), lengths (B,), speakers (B,) int64; `masked` as in `Encoder.forward`.
        """
        encoded: Tensor = self.encoder(text, lengths, masked)
        speaker: Tensor = self.speaker_embedding(speakers)
        spread = speaker[:, None].expand(-1, text.shape[1], -1)
        return torch.cat((encoded, spread.to(encoded.dtype)), dim=-1)

    def hidden(
        self, text: Tensor, lengths: Tensor, speakers: Tensor, durations: Tensor, frames: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Training's path: the conditioning that known durations give, and the predicted ones.

        Padding leaks into the convolutions, and the frames behind a row's own are not zero:
        both as in maum's training (spec sections 3 and 4).

        Args:
            text: (B, N) int64 symbol ids, 0 in the padding.
            lengths: (B,) int64 symbols in each row.
            speakers: (B,) int64.
            durations: (B, N) frames of each symbol, from the alignment, 0 in the padding.
            frames: (B,) int64 frames of each row's audio.

        Returns:
            hidden_rep (B, C, T) with T = max(frames), predicted seconds (B, N).
        """
        memory = self.memory(text, lengths, speakers)
        seconds = self.resampling.duration_predictor(memory, lengths)
        hidden = self.resampling(memory, lengths, durations, int(frames.max()))
        return hidden, seconds

    @torch.no_grad()
    def condition(
        self, text: Tensor, lengths: Tensor, speakers: Tensor, pace: float = 1.0
    ) -> tuple[Conditioning, Tensor]:
        """Inference's path: what the decoder is told, and the frames (B, N) int64 it follows from.

        In full precision whatever autocast says, so that rounded durations do not depend on it.

        Args:
            text: (B, N) int64 symbol ids, 0 in the padding.
            lengths: (B,) int64 symbols in each row.
            speakers: (B,) int64.
            pace: multiplies every duration; above 1 is slower.

        Raises:
            RuntimeError: the encoder is in training mode, where dropout is random.
            ValueError: pace is not above 0, or a predicted duration is not finite.
        """
        with torch.autocast(text.device.type, enabled=False):
            memory = self._inference_memory(text, lengths, speakers)
            seconds = self.resampling.duration_predictor(memory, lengths)
            durations = whole_frames(seconds, pace, self.config.frames_per_second)
            return self._spread(memory, lengths, durations), durations

    @torch.no_grad()
    def condition_on(
        self, text: Tensor, lengths: Tensor, speakers: Tensor, durations: Tensor
    ) -> Conditioning:
        """`condition` with the durations given (B, N), in frames; a row needs one frame at least.

        Raises:
            RuntimeError: the encoder is in training mode, where dropout is random.
            ValueError: a duration is negative, or a row has no frame.
        """
        durations = durations * frame_mask(lengths, text.shape[1]).to(durations.dtype)
        if bool((durations < 0).any()) or not bool((durations.sum(-1) >= 1).all()):
            raise ValueError("durations must not be negative, and each row needs one frame")
        with torch.autocast(text.device.type, enabled=False):
            memory = self._inference_memory(text, lengths, speakers)
            return self._spread(memory, lengths, durations)

    def _inference_memory(self, text: Tensor, lengths: Tensor, speakers: Tensor) -> Tensor:
        if self.encoder.training:
            raise RuntimeError("conditioning needs the encoder in eval mode")
        return self.memory(text, lengths, speakers, masked=True)

    def _spread(self, memory: Tensor, lengths: Tensor, durations: Tensor) -> Conditioning:
        frames = durations.sum(-1).long()
        longest = int(frames.max())
        cond: Tensor = self.resampling(memory, lengths, durations, longest)
        real = frame_mask(frames, longest)[:, None].bool()
        return Conditioning(cond=(cond * real).contiguous(), frames=frames)


def draw_window_starts(frames: Tensor, window_frames: int, generator: Generator) -> Tensor:
    """First frame of each row's training window; (B,) int64 on frames' device.

    Uniform over 0 ... frames - window_frames - 1, or 0 where the row is no longer than the
    window (spec section 5). The draw is made on the generator's device.
    """
    u = torch.rand(
        frames.shape, generator=generator, device=generator.device, dtype=torch.float64
    ).to(frames.device)
    return (u * (frames - window_frames).clamp(min=0)).long()


def window(
    hidden: Tensor, waveform: Tensor, starts: Tensor, window_frames: int, hop: int
) -> tuple[Tensor, Tensor]:
    """The same stretch of conditioning and audio, zero where they end before the window does.

    hidden (B, C, T), waveform (B, S), starts (B,) in frames -> (B, C, W), (B, hop x W). Training
    only; nothing marks the zeros, they are trained on (spec section 5).
    """
    short = max(0, window_frames - hidden.shape[-1])
    hidden = F.pad(hidden, (0, short))
    waveform = F.pad(waveform, (0, max(0, window_frames * hop - waveform.shape[-1])))
    rows = list(zip(hidden, waveform, starts.tolist(), strict=True))
    return (
        torch.stack([h[:, s : s + window_frames] for h, _, s in rows]),
        torch.stack([w[s * hop : (s + window_frames) * hop] for _, w, s in rows]),
    )


def noise_loss(predicted: Tensor, noise: Tensor) -> Tensor:
    """Mean |predicted - noise| over the whole batch (B, S); () (WaveGrad's L1, spec section 7)."""
    return F.l1_loss(predicted, noise)


def parameter_count(module: nn.Module) -> int:
    """Numbers that training may change."""
    return sum(p.numel() for p in module.parameters())
