"""Supervised training of a base voice from prepared corpora, in two phases.

First the front end alone, on whole clips: durations, and the log-mel that a head reads off its
conditioning. That goes through sixty times the speech a second that the decoder's loss does.
Then the decoder, on short windows: WaveGrad 2's L1 on the noise, spectral losses on the clean
speech that this noise implies, and the envelope of what the whole chain says. Datasets, draws,
losses, held-out figures and files are `engine.supervised`'s; here stand the phases and their order.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from engine import checkpoint, optimizer_state
from engine.checkpoint import Card
from engine.data import SAMPLE_RATE_HZ, PreparedCorpus
from engine.device import choose_device, choose_dtype, generator, set_threads
from engine.diffusion.schedule import build
from engine.files import check_target
from engine.model.config import ModelConfig
from engine.model.wavegrad2 import WaveGrad2
from engine.profile import PretrainProfile
from engine.spectra import log_mel, mel_filters
from engine.supervised import state
from engine.supervised.conditioning import condition_all
from engine.supervised.dataset import cut, gather, stretches, waves
from engine.supervised.draws import draw, draw_clips, numbers
from engine.supervised.held_out import HeldOut, judge_chain, judge_decoder, judge_front_end
from engine.supervised.objective import (
    DURATION_WEIGHT,
    MelHead,
    decoder_losses,
    front_end_losses,
    hear_text,
    weigh,
)
from engine.supervised.own_chain import Casting, chain_loss
from engine.types import HOP

Phase: TypeAlias = Literal["front end", "decoder"]
SECONDS_BETWEEN_LINES = 1.0
"""Of conditioning; a training's are `report_every`."""
TOO_MANY = 20
"""Steps that are all left out between two lines end a training: no later one would be better."""
STATE_FILE, VOICE_FILE = "state.safetensors", "voice.safetensors"


@dataclass(frozen=True, slots=True)
class Progress:
    """What a screen or a log line shows of a training; losses are means since the line before."""

    phase: Literal["front end", "conditioning", "decoder"]
    step: int
    """Optimizer steps of both phases; in "conditioning", clips."""
    steps: int
    minutes: float
    audio_seconds_per_second: float
    learning_rate: float = 0.0
    loss: float | None = None
    """None in "conditioning", which computes what a frozen front end says, once."""
    losses: dict[str, float] = field(default_factory=dict)
    """Its parts before they are weighed: noise, spectral, x0_mel, envelope, mel, duration."""
    held_out: float | None = None
    """By the average's weights, as in `HeldOut.loss`; None between evaluations."""
    held_out_bands: dict[str, float] = field(default_factory=dict)
    held_out_spectral: float | None = None
    held_out_envelope: float | None = None
    left_out: int = 0
    """Steps since the line before that left the weights alone: their loss or gradient was not
    finite."""


class Diverged(ValueError):
    """A training whose weights stand still; the message is one sentence."""


class Trainer:
    """The state of one training: weights, average, optimiser, step, random numbers by step."""

    def __init__(self, spec: PretrainProfile, corpus: PreparedCorpus, folder: Path) -> None:
        check_target(folder / VOICE_FILE)
        set_threads(spec.device)
        self.spec, self.folder = spec, folder
        self.device = choose_device(spec.device)
        self.dtype = choose_dtype(spec.device, self.device)
        if self.device.type == "cuda":
            torch.set_float32_matmul_precision("high")  # TF32, for what autocast leaves in fp32
        self.speakers = corpus.speakers
        self.data = gather(corpus, False, self.device)
        self.held_out = gather(corpus, True, self.device, self.data.audio)
        self.order = self.data.by_length
        self.filters = mel_filters(self.device, SAMPLE_RATE_HZ)
        torch.manual_seed(spec.seed)  # module initialisation has no other source
        model, average, head = self.start()
        self.model, self.head = model.to(self.device), head.to(self.device)
        self.average = average.to(self.device).eval().requires_grad_(False)
        self.step, self.seconds, self.front_end_seconds = 0, 0.0, 0.0
        self.mark = time.perf_counter()
        self.left_out = torch.zeros((), dtype=torch.int64, device=self.device)
        self.conditioned: Tensor | None = None
        self.entered: Phase | None = None
        self.objective, self.predict = decoder_losses, self.model.decoder.predict_noise
        self.chain = build(spec.schedule).to(self.device)
        if spec.compile:
            self.objective = torch.compile(decoder_losses, mode=spec.compile_mode)
            self.predict = torch.compile(self.predict, mode=spec.compile_mode)
        self.begin()

    def start(self) -> tuple[WaveGrad2, WaveGrad2, MelHead]:
        """Weights, average and head: random, or those of the file to go on from."""
        spec, count = self.spec, len(self.speakers)
        if not spec.start:
            model = WaveGrad2(getattr(ModelConfig, spec.size.replace("-", "_"))(count))
            return model, copy.deepcopy(model), MelHead(model.config.cond_channels)
        path = checkpoint.BUNDLED if spec.start == "bundled" else Path(spec.start)
        begun = state.begin_from(path, count)
        head = MelHead(begun.model.config.cond_channels)
        if begun.head:
            state.restore(path, {"head": head}, {f"head.{k}": v for k, v in begun.head.items()})
        return begun.model, begun.average, head

    # --- phases

    @property
    def phase(self) -> Phase:
        return "front end" if self.step < self.spec.front_end_steps else "decoder"

    @property
    def steps(self) -> int:
        """Optimizer steps of both phases."""
        return self.spec.front_end_steps + self.spec.steps

    @property
    def frozen(self) -> bool:
        """Whether the front end stands still in the phase at hand."""
        return self.phase == "decoder" and self.spec.front_end == "frozen"

    def begin(self) -> None:
        """A new optimiser for what the phase at hand trains."""
        decoder = list(self.model.decoder.parameters())
        front_end = [p for k, p in self.model.named_parameters() if not in_decoder(k)]
        front_end += self.head.parameters()
        if self.phase == "front end":
            self.weights = front_end
        else:
            self.weights = decoder if self.frozen else [*front_end, *decoder]
        for p in [*front_end, *decoder]:
            p.requires_grad_(False)
        for p in self.weights:
            p.requires_grad_(True)
        # Only the fused one can be told on the device that a step is to be left out.
        self.optimizer = torch.optim.AdamW(
            self.weights, lr=self.rate(), betas=(0.9, 0.98),
            weight_decay=self.spec.weight_decay, fused=True,
        )  # fmt: skip
        self.begun = self.phase

    def enter(self, report: Callable[[Progress], None] = lambda progress: None) -> None:
        """Makes ready for the phase at hand, where that has not been done."""
        if self.entered == self.phase:
            return
        if self.step == self.spec.front_end_steps:
            self.front_end_seconds = self.seconds
        if self.begun != self.phase:
            self.begin()
        if self.frozen:
            # The saved voice will condition by the average, so the decoder learns on that.
            front_end = self.average.state_dict()
            front_end = {k: v for k, v in front_end.items() if not in_decoder(k)}
            self.model.load_state_dict(front_end, strict=False)
            self.condition(report)
        if self.device.type == "cuda":
            # Windows have one shape, so the fastest kernels are worth a search; clips have many.
            torch.backends.cudnn.benchmark = self.phase == "decoder"
        self.entered = self.phase

    def condition(self, report: Callable[[Progress], None]) -> None:
        """Computes what the frozen front end says of every clip; it stays on the device."""
        began = told = time.perf_counter()

        def advance(done: int, total: int) -> None:
            nonlocal told
            now = time.perf_counter()
            if done < total and now - told < SECONDS_BETWEEN_LINES:
                return
            told, taken = now, now - began
            rate = self.data.seconds * done / total / max(taken, 1e-9)
            report(Progress("conditioning", done, total, (self.seconds + taken) / 60, rate))

        dtype = self.dtype or torch.float32
        self.conditioned = condition_all(self.average, self.data, dtype, advance)

    # --- one optimizer step

    def losses(self) -> tuple[dict[str, Tensor], float]:
        """The parts of this step's loss, each (), and the seconds of speech that they are of."""
        spec, data = self.spec, self.data
        if self.phase == "front end":
            rng = generator(spec.seed, "front end", self.step)
            clips = draw_clips(self.order, spec.front_end_batch, rng)
            rows = torch.tensor(clips, device=self.device)
            found = front_end_losses(self.model, self.head, data, rows, self.filters)
            return found, sum(data.frame_counts[clip] for clip in clips) * HOP / SAMPLE_RATE_HZ
        W, more = spec.window_frames, {}
        batch = draw(data, spec, numbers(self.device, spec.seed, "pretrain", self.step))
        wave = waves(data, batch.clips, batch.starts, W)
        if self.conditioned is not None:
            cond = stretches(self.conditioned, data, batch.clips, batch.starts, W)
        else:
            hidden, more["duration"] = hear_text(self.model, data, batch.clips)
            cond = cut(hidden, batch.starts, W)
            more["mel"] = (self.head(cond) - log_mel(wave, self.filters)).abs().mean()
        found = self.objective(
            self.model.decoder.predict_noise, wave, cond, batch.level, batch.eps, self.filters,
            self.dtype, spec.spectral_weight > 0, spec.x0_mel_weight > 0,
            spec.noise_weighting == "balanced", spec.spectral_from_db,
        )  # fmt: skip
        if spec.chain_weight:
            few, rng = spec.chain_batch, numbers(self.device, spec.seed, "chain", self.step)
            found["envelope"] = chain_loss(
                Casting(self.predict, self.dtype), self.chain, wave[:few], cond[:few],
                self.filters, spec.chain_trained, rng,
            )  # fmt: skip
        return found | more, spec.batch * W * HOP / SAMPLE_RATE_HZ

    def factors(self) -> dict[str, float]:
        """The weight of each part of the loss that is not 1."""
        spec = self.spec
        if self.phase == "front end":
            return {"duration": DURATION_WEIGHT}
        return {
            "mel": spec.mel_weight,
            "spectral": spec.spectral_weight,
            "x0_mel": spec.x0_mel_weight,
            "envelope": spec.chain_weight,
        }

    def rate(self) -> float:
        """In each phase a warm-up, then a cosine to the final rate.

        In the second by steps or by what the first has left of the minutes, whichever is first.
        """
        spec, first = self.spec, self.spec.front_end_steps
        if self.phase == "front end":
            at, top, done = self.step, spec.front_end_learning_rate, self.step / first
        else:
            at, top = self.step - first, spec.learning_rate
            done = at / spec.steps
            if spec.minutes:
                left = 60 * spec.minutes - self.front_end_seconds
                done = max(done, (self.seconds - self.front_end_seconds) / max(left, 1e-9))
        fall = 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
        rate = spec.final_learning_rate + (top - spec.final_learning_rate) * fall
        return rate * min(1.0, (at + 1) / max(spec.warmup, 1))

    def one_step(self) -> tuple[dict[str, Tensor], float]:
        """One optimizer step; the loss and its parts, each (), and the seconds of speech.

        Waits for no accelerator. What is not finite leaves the weights as they are.
        """
        self.enter()
        self.model.train()
        # Dropout draws from torch's own generators: named by the step, they resume exactly.
        torch.manual_seed(generator(self.spec.seed, "dropout", self.step).initial_seed())
        losses, seconds = self.losses()
        loss = weigh(losses, self.factors())
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.weights, self.spec.max_grad_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        broken = ~(loss.isfinite() & norm.isfinite())
        self.optimizer.found_inf = broken.float()  # type: ignore[attr-defined]
        self.optimizer.step()
        self.average_in()
        self.step += 1
        self.left_out += broken
        # Copied, because the memory of a recorded CUDA graph is the next step's too.
        return {k: v.detach().clone() for k, v in {"loss": loss, **losses}.items()}, seconds

    def moves(self, key: str) -> bool:
        """Whether the phase at hand trains this weight."""
        return self.phase == "decoder" if in_decoder(key) else not self.frozen

    @torch.no_grad()
    def average_in(self) -> None:
        """Moving average, shorter at a phase's start so that early weights are soon forgotten."""
        at = self.step - (self.spec.front_end_steps if self.phase == "decoder" else 0)
        decay = min(self.spec.ema, (1 + at) / (10 + at))
        old, new = self.average.state_dict(), self.model.state_dict()
        moving = [k for k in old if self.moves(k)]
        real = [k for k in moving if old[k].is_floating_point()]
        # One kernel for all weights: one for each keeps a GPU waiting.
        torch._foreach_lerp_([old[k] for k in real], [new[k] for k in real], 1 - decay)
        for key in moving:
            if not old[key].is_floating_point():
                old[key].copy_(new[key])

    def judge(self, phase: Phase) -> HeldOut:
        """What the average makes of held-out speech."""
        if phase == "front end":
            return judge_front_end(self.average, self.head, self.held_out, self.filters)
        cond = condition_all(self.average, self.held_out, self.dtype or torch.float32)
        what = self.average.decoder, cond, self.held_out, self.filters, self.spec.window_frames
        found = judge_decoder(*what, self.dtype)
        if self.spec.chain_weight:
            found = replace(found, envelope=judge_chain(*what, self.chain, self.dtype))
        return found

    # --- files

    def card(self) -> Card:
        about = {
            "made": "pretraining",
            "optimizer_steps": self.step,
            "minutes": round(self.seconds / 60, 1),
            "pretraining": asdict(self.spec),
            "audio_seconds": round(self.data.seconds),
        }
        if self.spec.chain_weight:
            about["schedule"] = asdict(self.spec.schedule)
        return Card(self.model.config, self.speakers, about)

    @property
    def modules(self) -> dict[str, nn.Module]:
        return {"model": self.model, "average": self.average, "head": self.head}

    def save(self) -> Path:
        """The voice (the average's weights) and, beside it, what resuming needs."""
        path = self.folder / VOICE_FILE
        checkpoint.save(path, self.average, self.card())
        metadata = {
            "step": str(self.step),
            "seconds": str(self.seconds),
            "front_end_steps": str(self.spec.front_end_steps),
            "front_end_seconds": str(self.front_end_seconds),
        }
        # Between the phases the old optimiser is spent and the new one has no state.
        optimizer = self.optimizer if self.begun == self.phase else None
        state.write(self.folder / STATE_FILE, self.modules, optimizer, metadata)
        return path

    def compact(self, path: Path) -> Path:
        """A small file from which a training goes on elsewhere, with a new optimiser."""
        state.write_compact(path, self.average, self.model, self.head, self.card())
        return path

    def resume(self) -> bool:
        """Goes on from the folder's saved state, if there is one; bit for bit on a CPU.

        Errors: ValueError, one sentence, for a state of other sizes or of other phases.
        """
        path = self.folder / STATE_FILE
        if not path.is_file():
            return False
        metadata, tensors = state.read(path)
        try:
            told = state.Told.of(metadata)
        except (ValueError, KeyError) as error:
            raise ValueError(
                f"{path} does not say how far its training is ({error}); remove it to begin anew, "
                "or choose another folder (--out)"
            ) from None
        first, own = told.front_end_steps, self.spec.front_end_steps
        if first != own:
            raise ValueError(
                f"{path} was begun with front_end_steps = {first}, not {own}; write {first}, or "
                "choose another folder (--out)"
            )
        state.restore(path, self.modules, tensors)
        self.step, self.seconds = told.step, told.seconds
        self.front_end_seconds = told.front_end_seconds
        self.begin()
        try:
            optimizer_state.restore(self.optimizer, state.part(tensors, "optimizer."))
        except ValueError as error:
            raise ValueError(f"{path} {state.OTHER_SIZES} ({error})") from None
        return True

    # --- the whole of it

    @property
    def finished(self) -> bool:
        spec = self.spec
        return self.step >= self.steps or bool(spec.minutes and self.seconds >= 60 * spec.minutes)

    def run(self, report: Callable[[Progress], None]) -> Path:
        """Trains to the end, saving as it goes; an interrupt saves before it passes on."""
        self.mark = time.perf_counter()
        try:
            while not self.finished:
                self.enter(report)
                self.tick()
                self.some_steps(report)
                if self.step % self.spec.save_every == 0:
                    self.save()
                self.tick()
        except KeyboardInterrupt:
            self.save()
            raise
        return self.save()

    def some_steps(self, report: Callable[[Progress], None]) -> None:
        """Steps of one phase up to the next line, held-out figure or saved state."""
        spec, phase, began = self.spec, self.phase, self.seconds
        told: list[dict[str, Tensor]] = []
        heard = 0.0
        while True:
            losses, seconds = self.one_step()
            told.append(losses)
            heard += seconds
            self.tick()
            if self.phase != phase or self.finished or any(
                self.step % every == 0
                for every in (spec.report_every, spec.evaluate_every, spec.save_every)
            ):  # fmt: skip
                break
        means = averaged(told)
        left_out = int(self.left_out)
        self.left_out.zero_()
        if left_out == len(told) >= TOO_MANY:
            raise Diverged(
                f"none of the last {left_out} optimizer steps, up to step {self.step}, had a "
                "finite loss and gradient, and the weights stand still; go on from the last "
                "saved state with a lower learning_rate, device.precision = 'fp32' or "
                "compile = false"
            )
        self.tick()
        speed = heard / max(self.seconds - began, 1e-9)
        found = self.judge(phase) if self.step % spec.evaluate_every == 0 else None
        self.tick()
        report(
            Progress(
                phase, self.step, self.steps, self.seconds / 60, speed, self.rate(),
                means.pop("loss"), means,
                found.loss if found else None,
                found.bands if found else {},
                found.spectral if found else None,
                found.envelope if found else None,
                left_out,
            )
        )  # fmt: skip

    def tick(self) -> None:
        """Counts the time since the last call as the training's."""
        now = time.perf_counter()
        self.seconds += now - self.mark
        self.mark = now


def in_decoder(key: str) -> bool:
    """Whether a weight of WaveGrad 2 is the decoder's; the others are the front end's."""
    return key.startswith("decoder.")


def averaged(told: Sequence[dict[str, Tensor]]) -> dict[str, float]:
    """The mean of each loss over some steps: the one place that waits for the device."""
    return {key: float(torch.stack([row[key] for row in told]).mean()) for key in told[0]}
