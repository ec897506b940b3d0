"""Supervised training of a base voice from prepared corpora: WaveGrad 2's own loss.

L = L1 on the noise + MSE on the durations (maum-ai's), + a log-mel head on the conditioning
that teaches the front end in minutes what the decoder's loss teaches it in hours, and that is
thrown away afterwards. Everything a step needs lies on the device.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from engine import checkpoint
from engine.checkpoint import Card
from engine.data import SAMPLE_RATE_HZ, CorpusError, PreparedCorpus
from engine.device import choose_device, choose_dtype, generator, set_threads
from engine.diffusion.schedule import TRAINING_TIMESTEPS, linear
from engine.files import replacing
from engine.model.config import ModelConfig
from engine.model.wavegrad2 import WaveGrad2
from engine.profile import PretrainProfile
from engine.types import HOP

MELS = 80
LOWEST_SIGMA = 5e-3
"""Below it speech of RMS 0.08 drowns the noise and nothing is left to learn."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Every clip of the corpora on one device. N clips, L symbols (padded)."""

    audio: Tensor
    """(total,) int16, all clips end to end."""
    start: Tensor
    """(N,) int64 first audio sample."""
    frames: Tensor
    """(N,) int64"""
    text: Tensor
    """(N, L) int64 symbol ids."""
    lengths: Tensor
    """(N,) int64 symbols."""
    durations: Tensor
    """(N, L) float frames of each symbol."""
    speaker: Tensor
    """(N,) int64"""

    @property
    def seconds(self) -> float:
        return int(self.frames.sum()) * HOP / SAMPLE_RATE_HZ


@dataclass(frozen=True, slots=True)
class Progress:
    """What a screen or a log line shows of a training."""

    step: int
    steps: int
    loss: float
    noise_loss: float
    mel_loss: float
    duration_loss: float
    learning_rate: float
    held_out: float | None
    """L1 on the noise of held-out speech at fixed levels and noise; None between evaluations."""
    minutes: float
    audio_seconds_per_second: float


def gather(corpus: PreparedCorpus, held_out: bool, device: torch.device) -> Dataset:
    """Lays the training (or the held-out) clips on the device.

    Errors: CorpusError where there is none.
    """
    clips = corpus.held_out if held_out else corpus.training
    if not clips:
        raise CorpusError(f"The corpora have no {'held-out' if held_out else 'training'} clip.")
    longest = max(len(clip.ids) for clip in clips)
    text = torch.zeros(len(clips), longest, dtype=torch.int64)
    durations = torch.zeros(len(clips), longest)
    for row, clip in enumerate(clips):
        text[row, : len(clip.ids)] = torch.tensor(clip.ids)
        durations[row, : len(clip.ids)] = torch.tensor(clip.frames, dtype=torch.float32)

    def each(values: Iterable[int]) -> Tensor:
        return torch.tensor(list(values), device=device)

    return Dataset(
        audio=corpus.all_audio().to(device),
        start=each(clip.audio_start for clip in clips),
        frames=each(clip.total_frames for clip in clips),
        text=text.to(device),
        lengths=each(len(clip.ids) for clip in clips),
        durations=durations.to(device),
        speaker=each(clip.speaker_id for clip in clips),
    )


@dataclass(frozen=True, slots=True)
class Batch:
    clips: Tensor
    """(B,) int64 rows of the dataset."""
    starts: Tensor
    """(B,) int64 first frame of each window."""
    level: Tensor
    """(B, 1) sqrt(alpha-bar)."""
    eps: Tensor
    """(B, S)"""


def draw(data: Dataset, spec: PretrainProfile, rng: torch.Generator) -> Batch:
    """Clips by length (every second of speech weighs alike), windows and noise uniformly."""
    device, B, W = data.audio.device, spec.batch, spec.window_frames
    room = (data.frames - W).clamp(min=1).cpu().double()
    clips = torch.multinomial(room, B, replacement=True, generator=rng)
    starts = (torch.rand(B, generator=rng, dtype=torch.float64) * room[clips]).long()
    eps = torch.randn(B, W * HOP, generator=rng)
    level = draw_levels(B, spec.low_noise, rng)
    return Batch(clips.to(device), starts.to(device), level.to(device), eps.to(device))


def draw_levels(count: int, low_noise: float, rng: torch.Generator) -> Tensor:
    """(count, 1) continuous noise levels sqrt(alpha-bar).

    maum-ai draws t uniformly and mixes the two levels around it; that spends 3 % of the draws
    where speech is louder than the noise. A share `low_noise` is log-uniform in sigma instead.
    """
    levels = torch.cat([torch.ones(1), (1 - linear(TRAINING_TIMESTEPS)).cumprod(0).sqrt()])
    t = torch.randint(1, TRAINING_TIMESTEPS + 1, (count,), generator=rng)
    u = torch.rand(count, generator=rng)
    uniform = levels[t - 1] * u + levels[t] * (1 - u)
    low, high = math.log(LOWEST_SIGMA), math.log(math.sqrt(1 - float(levels[-1]) ** 2))
    sigma = (low + (high - low) * torch.rand(count, generator=rng)).exp()
    chosen = torch.rand(count, generator=rng) < low_noise
    return torch.where(chosen, (1 - sigma**2).sqrt(), uniform)[:, None]


class MelHead(nn.Module):
    """Conditioning (B, C, M) -> log-mel frames (B, 80, M); only training has it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv1d(channels, 128, 3, padding=1), nn.ReLU(), nn.Conv1d(128, MELS, 3, padding=1)
        )

    def forward(self, cond: Tensor) -> Tensor:
        out: Tensor = self.net(cond)
        return out


def mel_filters(device: torch.device, n_fft: int = 1024, hz: int = SAMPLE_RATE_HZ) -> Tensor:
    """(n_fft / 2 + 1, 80) triangles on the mel scale (HTK's, 2595 log10(1 + f / 700))."""
    edges = torch.linspace(0, 2595 * math.log10(1 + hz / 2 / 700), MELS + 2)
    edges = 700 * (10 ** (edges / 2595) - 1)
    f = torch.linspace(0, hz / 2, n_fft // 2 + 1)[:, None]
    rising = (f - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - f) / (edges[2:] - edges[1:-1])
    return torch.minimum(rising, falling).clamp(min=0).to(device)


def log_mel(wave: Tensor, filters: Tensor) -> Tensor:
    """(B, S) -> (B, 80, S / 300) natural log of the mel magnitudes, floored at 1e-3."""
    n_fft = 2 * (len(filters) - 1)
    edge = (n_fft - HOP) // 2
    padded = F.pad(wave, (edge, n_fft - HOP - edge))
    spectrum = torch.stft(
        padded, n_fft, HOP, window=torch.hann_window(n_fft, device=wave.device), center=False,
        return_complex=True,
    )  # fmt: skip
    return (spectrum.abs().transpose(1, 2) @ filters).clamp(min=1e-3).log().transpose(1, 2)


class Trainer:
    """The state of one training: weights, average, optimiser, step, random numbers by step."""

    def __init__(self, spec: PretrainProfile, corpus: PreparedCorpus, folder: Path) -> None:
        set_threads(spec.device)
        self.spec, self.folder = spec, folder
        self.device = choose_device(spec.device)
        self.dtype = choose_dtype(spec.device, self.device)
        self.speakers = corpus.speakers
        self.data = gather(corpus, False, self.device)
        self.held_out = gather(corpus, True, self.device)
        torch.manual_seed(spec.seed)  # module initialisation has no other source
        self.model = self.start().to(self.device)
        self.head = MelHead(self.model.config.cond_channels).to(self.device)
        self.filters = mel_filters(self.device)
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.weights = [*self.model.parameters(), *self.head.parameters()]
        self.optimizer = torch.optim.AdamW(
            self.weights, lr=spec.learning_rate, betas=(0.9, 0.98),
            weight_decay=spec.weight_decay,
        )  # fmt: skip
        self.step, self.seconds = 0, 0.0
        predict = self.model.decoder.predict_noise
        self.predict = torch.compile(predict) if spec.compile else predict

    def start(self) -> WaveGrad2:
        """Random weights, or those of the voice to go on from with its speakers spread out."""
        spec, count = self.spec, len(self.speakers)
        if not spec.start:
            sizes = {"narrow": ModelConfig.narrow, "base": ModelConfig.base}
            return WaveGrad2({**sizes, "large": ModelConfig.large}[spec.size](count))
        bundled = spec.start == "bundled"
        card, tensors = checkpoint.read(checkpoint.BUNDLED if bundled else Path(spec.start))
        config = replace(card.config, speakers=count)
        model = WaveGrad2(config)
        old = tensors["speaker_embedding.weight"]
        tensors["speaker_embedding.weight"] = old[torch.arange(count).clamp(max=len(old) - 1)]
        model.load_state_dict({k: v.to(model.state_dict()[k].dtype) for k, v in tensors.items()})
        return model

    # --- one optimizer step

    def losses(
        self, model: WaveGrad2, data: Dataset, batch: Batch
    ) -> tuple[Tensor, Tensor, Tensor]:
        """L1 on the noise, MSE of the durations in seconds, L1 on the log-mel; each ()."""
        rows, W = batch.clips, self.spec.window_frames
        lengths = data.lengths[rows]
        longest = int(lengths.max())
        text, durations = data.text[rows, :longest], data.durations[rows, :longest]
        frames = data.frames[rows]
        hidden, seconds = model.hidden(text, lengths, data.speaker[rows], durations, frames)
        at = data.start[rows, None] + batch.starts[:, None] * HOP
        offset = torch.arange(W * HOP, device=self.device)
        real = offset < ((frames - batch.starts) * HOP)[:, None]
        wave = data.audio[(at + offset).clamp(max=len(data.audio) - 1)].float() / 32768 * real
        seen = (batch.starts[:, None] + torch.arange(W, device=self.device))[:, None]
        cond = F.pad(hidden, (0, W)).gather(2, seen.expand(-1, hidden.shape[1], -1))
        noisy = batch.level * wave + (1 - batch.level**2).sqrt() * batch.eps
        predict = self.predict if model is self.model else model.decoder.predict_noise
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None):
            predicted = predict(noisy, cond, batch.level)
        spoken = torch.arange(longest, device=self.device) < lengths[:, None]
        wanted = durations * HOP / SAMPLE_RATE_HZ
        duration = ((seconds - wanted)[spoken] ** 2).mean()
        mel = (self.head(cond) - log_mel(wave, self.filters)).abs().mean()
        return (predicted.float() - batch.eps).abs().mean(), duration, mel

    def rate(self) -> float:
        """Warm-up, then a cosine to the final rate by steps or by minutes, whichever is first."""
        spec = self.spec
        done = self.step / spec.steps
        if spec.minutes:
            done = max(done, self.seconds / 60 / spec.minutes)
        fall = 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
        rate = spec.final_learning_rate + (spec.learning_rate - spec.final_learning_rate) * fall
        return rate * min(1.0, (self.step + 1) / max(spec.warmup, 1))

    def one_step(self) -> tuple[float, ...]:
        """One optimizer step; the loss and its parts on the noise, the mel and the durations."""
        spec = self.spec
        self.model.train()
        # Dropout draws from torch's own generators: named by the step, they resume exactly.
        torch.manual_seed(generator(spec.seed, "dropout", self.step).initial_seed())
        batch = draw(self.data, spec, generator(spec.seed, "pretrain", self.step))
        noise, duration, mel = self.losses(self.model, self.data, batch)
        loss = noise + duration + spec.mel_weight * mel
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.weights, spec.max_grad_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        if bool(loss.isfinite() & norm.isfinite()):
            self.optimizer.step()
            self.average_in()
        self.step += 1
        return tuple(float(x.detach()) for x in (loss, noise, mel, duration))

    @torch.no_grad()
    def average_in(self) -> None:
        """Moving average, shorter at the start so that early weights are soon forgotten."""
        decay = min(self.spec.ema, (1 + self.step) / (10 + self.step))
        new = self.model.state_dict()
        for key, value in self.average.state_dict().items():
            if value.is_floating_point():
                value.lerp_(new[key], 1 - decay)
            else:
                value.copy_(new[key])

    @torch.no_grad()
    def held_out_loss(self, batches: int = 8) -> float:
        """L1 on the noise of held-out speech: the average's weights, fixed windows and noise."""
        total = 0.0
        for i in range(batches):
            batch = draw(self.held_out, self.spec, generator(0, "held out", i))
            total += float(self.losses(self.average, self.held_out, batch)[0])
        return total / batches

    # --- state

    def card(self) -> Card:
        about = {
            "made": "pretraining",
            "optimizer_steps": self.step,
            "minutes": round(self.seconds / 60, 1),
            "pretraining": asdict(self.spec),
            "audio_seconds": round(self.data.seconds),
        }
        return Card(self.model.config, self.speakers, about)

    def save(self) -> Path:
        """The voice (the average's weights) and, beside it, what resuming needs."""
        path = self.folder / "voice.safetensors"
        checkpoint.save(path, self.average, self.card())
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        tensors |= {f"head.{k}": v for k, v in self.head.state_dict().items()}
        for i, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{k}": torch.as_tensor(v) for k, v in state.items()}
        tensors = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
        with replacing(self.folder / "state.safetensors") as temporary:
            save_file(tensors, temporary, {"step": str(self.step), "seconds": str(self.seconds)})
        return path

    def resume(self) -> bool:
        """Goes on from the folder's saved state, if there is one; bit for bit on a CPU."""
        path = self.folder / "state.safetensors"
        if not path.is_file():
            return False
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        modules: dict[str, nn.Module] = {
            "model": self.model, "average": self.average, "head": self.head
        }  # fmt: skip
        try:
            for name, module in modules.items():
                own = {k: v for k, v in tensors.items() if k.startswith(f"{name}.")}
                module.load_state_dict({k.removeprefix(f"{name}."): v for k, v in own.items()})
        except RuntimeError:
            raise ValueError(
                f"{path} is the state of a voice of other sizes or speakers; choose another folder "
                "(--out), or the profile and corpora it was begun with"
            ) from None
        state = self.optimizer.state_dict()
        for key, value in tensors.items():
            if key.startswith("optimizer."):
                _, index, name = key.split(".", 2)
                state["state"].setdefault(int(index), {})[name] = value
        self.optimizer.load_state_dict(state)
        self.step, self.seconds = int(metadata["step"]), float(metadata["seconds"])
        return True

    @property
    def finished(self) -> bool:
        spec = self.spec
        return self.step >= spec.steps or bool(spec.minutes and self.seconds >= 60 * spec.minutes)

    def run(self, report: Callable[[Progress], None]) -> Path:
        """Trains to the end, saving as it goes; an interrupt saves before it passes on."""
        spec = self.spec
        try:
            while not self.finished:
                began = time.perf_counter()
                loss, noise, mel, duration = self.one_step()
                held = self.held_out_loss() if self.step % spec.evaluate_every == 0 else None
                took = time.perf_counter() - began
                self.seconds += took
                heard = spec.batch * spec.window_frames * HOP / SAMPLE_RATE_HZ
                report(
                    Progress(
                        self.step, spec.steps, loss, noise, mel, duration, self.rate(), held,
                        self.seconds / 60, heard / took,
                    )
                )  # fmt: skip
                if self.step % spec.save_every == 0:
                    self.save()
        except KeyboardInterrupt:
            self.save()
            raise
        return self.save()
