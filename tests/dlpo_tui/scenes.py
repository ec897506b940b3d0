"""Hand-made sessions: the same events every time, and a live one to look at.

`python tests/dlpo_tui/scenes.py` shows the live one in the terminal.
"""

from __future__ import annotations

import math
import random
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from queue import Empty, SimpleQueue
from time import sleep
from typing import TYPE_CHECKING

from dlpo_tui.app import run_app
from dlpo_tui.bridge import Bridge
from engine.messages import (
    AlarmRaised,
    CheckpointSaved,
    Clip,
    ClipRendered,
    ClipsScored,
    Column,
    Command,
    CommandRefused,
    Emit,
    Evaluate,
    EvaluationFinished,
    Event,
    Interval,
    Knobs,
    KnobsChanged,
    Noticed,
    Pause,
    PhaseEntered,
    PhaseProgressed,
    RenderStart,
    Resume,
    SaveCheckpoint,
    SessionEnded,
    SessionStarted,
    SetKnobs,
    SingleUpdate,
    Snapshot,
    Stop,
    UpdateFinished,
    UpdateStats,
    advance,
)

if TYPE_CHECKING:
    import numpy as np

PROMPTS = (
    "The first requisite of a good citizen is he shall be able and willing to pull his weight.",
    "She had your dark suit in greasy wash water all year.",
    "No [bold]markup[/bold] in here, please.",
    "Printing, in the only sense with which we are at present concerned.",
    "Naïve café owners fête the façade at zero degrees.",
    "Stop.",
    "Would you read that number once more, from the beginning?",
    "A line\nbreak and a tab\tmust not break the table.",
)
REWARDS = (Column("distillmos", "MOS", True, 1.0, 5.0),)
JUDGES = (
    Column("wer", "share", False, 0.0, 1.0),
    Column("cer", "share", False, 0.0, 1.0),
    Column("loudness", "LUFS", None),
)
STARTED = SessionStarted(
    run="quickstart-20260102-030405",
    folder="runs/quickstart-20260102-030405",
    algorithm="dlpo",
    updates=100,
    knobs=Knobs(),
    rewards=REWARDS,
    judges=JUDGES,
    voice="bundled",
    device="cpu",
    precision="fp32",
    timesteps=10,
    kept=(6, 7, 8, 9),
    sample_rate=22050,
)
BATCH = 8


def interval(mean: float, half: float, count: int = BATCH) -> Interval:
    return Interval(mean, mean - half, mean + half, count)


def quality(update: int) -> float:
    return 2.9 + 0.9 * (1 - math.exp(-update / 18))


def clips_of(update: int, dice: random.Random, folder: str = "samples") -> tuple[Clip, ...]:
    made = []
    for index in range(BATCH):
        failed = update % 9 == 4 and index == 2
        mos = quality(update) + dice.gauss(0, 0.22)
        made.append(
            Clip(
                update=update,
                index=index,
                kind="rollout",
                prompt=PROMPTS[(update + index // 4) % len(PROMPTS)],
                speaker="p225",
                seed=7,
                seconds=1.2 + 0.4 * index,
                path="" if failed else f"{folder}/update-{update:06d}-{index:02d}.wav",
                scores={
                    "distillmos": None if failed else mos,
                    "wer": None if failed else max(dice.gauss(0.08, 0.05), 0.0),
                    "cer": None if failed else max(dice.gauss(0.03, 0.02), 0.0),
                    "loudness": -23.0 + dice.gauss(0, 0.8),
                },
                reward=None if failed else mos,
                advantage=None if failed else dice.gauss(0, 1),
            )
        )
    return tuple(made)


def evaluation_clips(update: int, count: int = 4) -> tuple[Clip, ...]:
    """The fixed prompts, each with its own way of getting better; the second gets worse."""
    made = []
    for index in range(count):
        mos = 3.0 + 0.1 * index + update * (-0.02 if index == 1 else 0.01 * (1 + index))
        made.append(
            Clip(
                update=update,
                index=index,
                kind="evaluation",
                prompt=PROMPTS[index],
                speaker="p225",
                seed=11,
                seconds=1.5 + 0.3 * index,
                path=f"samples/evaluation-{update:06d}-{index:02d}.wav",
                scores={
                    "distillmos": mos,
                    "wer": 0.1 - 0.001 * update,
                    "cer": 0.02,
                    "loudness": -23,
                },
                reward=mos,
            )
        )
    return tuple(made)


def stats_of(update: int, dice: random.Random) -> UpdateStats:
    return UpdateStats(
        loss=0.4 * math.exp(-update / 20) - 0.12 + dice.gauss(0, 0.05),
        reward=interval(quality(update) + dice.gauss(0, 0.05), 0.14 + abs(dice.gauss(0, 0.03))),
        penalty=0.31 + 0.001 * update + dice.gauss(0, 0.01),
        kl=None,
        ratio=1 + dice.gauss(0, 0.004),
        clip_high=abs(dice.gauss(0.04, 0.03)),
        clip_low=abs(dice.gauss(0.03, 0.02)),
        grad_norm=0.6 + abs(dice.gauss(0, 0.3)),
        failed=1 if update % 9 == 4 else 0,
        skipped=0,
        clamped=0.01,
        seconds={
            "rollout": 6.1 + 0.3 * math.sin(update),
            "score": 2.4,
            "optimise": 5.8 - 0.3 * math.sin(update),
        },
        ratio_spread=0.02 + 0.006 * math.sin(1.7 * update) * math.cos(update),
        memory_bytes=1.2e9,
    )


def evaluation_of(update: int, dice: random.Random) -> EvaluationFinished:
    scores: dict[str, Interval | None] = {
        "distillmos": interval(quality(update) + dice.gauss(0, 0.03), 0.11),
        "wer": interval(0.07 + 0.0006 * update + dice.gauss(0, 0.006), 0.025),
        "cer": interval(0.03 + 0.0002 * update + dice.gauss(0, 0.003), 0.01),
        "loudness": interval(-23 + 0.03 * update + dice.gauss(0, 0.1), 0.5),
    }
    return EvaluationFinished(update, scores, 9.5)


def one_update(update: int, dice: random.Random, folder: str = "samples") -> Iterator[Event]:
    for phase, total in (("rollout", 10), ("score", BATCH), ("optimise", 16)):
        yield PhaseEntered(update, phase)  # type: ignore[arg-type]
        for done in range(total):
            yield PhaseProgressed(update, phase, done + 1, total)  # type: ignore[arg-type]
        if phase == "score":
            yield ClipsScored(update, clips_of(update, dice, folder))
    yield UpdateFinished(update, stats_of(update, dice))
    if update % 10 == 0:
        yield PhaseEntered(update, "evaluate")
        yield evaluation_of(update, dice)
        yield CheckpointSaved(update, f"checkpoints/update-{update:06d}.safetensors")


def loading() -> list[Event]:
    return [
        PhaseEntered(0, "loading"),
        PhaseProgressed(0, "loading", 2, 5),
        Noticed(0, "info", "the bundled voice stands in for pretrained/ljspeech.safetensors"),
    ]


def running(updates: int = 40) -> list[Event]:
    """`updates` updates with a knob change at 15 and an alarm at 30; one more under way."""
    dice = random.Random(7)
    events: list[Event] = [*loading(), STARTED, evaluation_of(0, dice)]
    for update in range(1, updates + 1):
        events += one_update(update, dice)
        if update == 15:
            old, new = {"beta": 1.0}, {"beta": 1.25}
            events.append(KnobsChanged(15, "user", old, new, Knobs(beta=1.25)))
        if update == 30:
            told = "the reward rose (distillmos +0.71) while a judge got worse (wer +0.03)"
            events.append(AlarmRaised(30, told))
    events.append(PhaseEntered(updates + 1, "optimise"))
    events.append(PhaseProgressed(updates + 1, "optimise", 5, 16))
    return events


def paused() -> list[Event]:
    return [*running(), PhaseEntered(40, "paused")]


def fresh() -> list[Event]:
    """Started, and nothing finished yet."""
    return [*loading(), STARTED, PhaseEntered(1, "rollout"), PhaseProgressed(1, "rollout", 3, 10)]


def failed() -> list[Event]:
    told = "the reward failed on 75% of the clips, more than reward.max_failed = 50%: CUDA is gone"
    return [*running(23), SessionEnded(23, "failed", told)]


def stillborn() -> list[Event]:
    return [*loading(), SessionEnded(0, "failed", "there is no file pretrained/ljspeech.ckpt")]


def finished() -> list[Event]:
    return [*running(), SessionEnded(40, "finished")]


SCENES: dict[str, Callable[[], list[Event]]] = {
    scene.__name__: scene
    for scene in (loading, running, paused, fresh, failed, stillborn, finished)
}


def fold(events: list[Event]) -> Snapshot:
    now = Snapshot()
    for event in events:
        now = advance(now, event)
    return now


class Scripted:
    """A session that has emitted its events before it opens, and then keeps what it is told."""

    def __init__(self, events: list[Event]) -> None:
        self.commands: SimpleQueue[Command] = SimpleQueue()
        self.events = events
        self.told: list[Command] = []
        self.opened = threading.Event()
        self.emit: Emit = lambda event: None

    def open(self, emit: Emit) -> Scripted:
        self.emit = emit
        for event in self.events:
            emit(event)
        self.opened.set()
        return self

    def run(self) -> None:
        """Obeys Stop alone."""
        if any(isinstance(event, SessionEnded) for event in self.events):
            return
        while not isinstance(command := self.commands.get(), Stop):
            self.told.append(command)
        self.told.append(command)
        self.emit(SessionEnded(0, "stopped"))


def scripted(events: list[Event]) -> tuple[Bridge, Scripted]:
    """A bridge whose session has said all it has to say."""
    session = Scripted(events)
    bridge = Bridge(session.open)
    session.opened.wait()
    return bridge, session


class Live:
    """Plays the running scene in time, obeying commands as the engine does: between updates."""

    def __init__(self, emit: Emit, folder: Path, pace: float) -> None:
        self.commands: SimpleQueue[Command] = SimpleQueue()
        self.emit, self.folder, self.pace = emit, folder, pace
        self.knobs, self.update = Knobs(), 0
        self.paused = self.single = self.stopped = False

    def run(self) -> None:
        dice = random.Random(7)
        for event in [*loading(), STARTED, evaluation_of(0, dice)]:
            sleep(self.pace)
            self.emit(event)
        self.evaluate()
        while not self.stopped and self.update < STARTED.updates:
            self.update += 1
            for event in one_update(self.update, dice):
                if isinstance(event, ClipsScored):
                    self.write(event.clips)
                sleep(self.pace)
                self.emit(event)
                if isinstance(event, EvaluationFinished):
                    self.evaluate()
            self.paused = self.paused or self.single
            self.obey()
        self.emit(SessionEnded(self.update, "stopped" if self.stopped else "finished"))

    def evaluate(self) -> None:
        clips = evaluation_clips(self.update)
        self.write(clips)
        self.emit(ClipsScored(self.update, clips))

    def write(self, clips: tuple[Clip, ...]) -> None:
        for clip in clips:
            if clip.path:
                write_babble(self.folder / clip.path, clip.seconds, clip.index, self.update)

    def obey(self) -> None:
        self.single = False
        if self.paused:
            self.emit(PhaseEntered(self.update, "paused"))
        while not self.stopped and not self.single:
            try:
                self.apply(self.commands.get(timeout=0.05 if self.paused else 0.001))
            except Empty:
                if not self.paused:
                    return

    def apply(self, command: Command) -> None:  # noqa: C901 (one arm a command)
        match command:
            case Pause():
                self.paused = True
                self.emit(PhaseEntered(self.update, "paused"))
            case Resume():
                self.paused = False
            case SingleUpdate():
                self.paused, self.single = False, True
            case Stop():
                self.stopped = True
            case SetKnobs(changes, who):
                old = {name: getattr(self.knobs, name) for name in changes}
                self.knobs = Knobs(**{**_values(self.knobs), **changes})
                self.emit(KnobsChanged(self.update, who, old, changes, self.knobs))
            case SaveCheckpoint(label):
                path = f"checkpoints/update-{self.update:06d}.safetensors"
                self.emit(CheckpointSaved(self.update, path, label))
            case Evaluate():
                self.emit(CommandRefused(self.update, "this demonstration cannot evaluate"))
            case RenderStart(update, index):
                path = f"samples/update-{update:06d}-{index:02d}-start.wav"
                for done in range(10):
                    sleep(self.pace * 5)
                    self.emit(PhaseProgressed(self.update, "render", done + 1, 10))
                write_babble(self.folder / path, 1.2 + 0.4 * index, index, 0)
                scores = {"distillmos": 2.9, "wer": 0.09, "cer": 0.03, "loudness": -23.0}
                self.emit(ClipRendered(update, index, path, scores, 2.9))
                if self.paused:
                    self.emit(PhaseEntered(self.update, "paused"))


def write_babble(path: Path, seconds: float, voice: int, update: int) -> None:
    import soundfile

    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, babble(seconds, voice, update), 22050)


@cache
def babble(seconds: float, voice: int, update: int) -> np.ndarray:
    """Syllables of a buzz with moving resonances, in noise that grows less by the update."""
    import numpy as np

    dice = np.random.default_rng(voice)
    t = np.arange(int(seconds * 22050)) / 22050
    pitch = 110 + 15 * voice + 20 * np.sin(2 * np.pi * 0.7 * t)
    phase = 2 * np.pi * np.cumsum(pitch) / 22050
    formants = (500 + 250 * np.sin(5 * t), 1500 + 600 * np.sin(3.1 * t + voice), 2600 + 0 * t)
    wave = np.zeros_like(t)
    for harmonic in range(1, 40):
        gains = (np.exp(-(((harmonic * pitch - f) / 180) ** 2)) for f in formants)
        wave += sum(gains) * np.sin(harmonic * phase)
    wave *= np.clip(np.sin(2 * np.pi * 2.2 * t + voice), 0, 1) ** 0.5 * 0.15
    wave += (0.03 / (1 + update / 10)) * dice.standard_normal(len(t))
    return np.clip(wave, -1, 1).astype("float32")


def _values(knobs: Knobs) -> dict[str, float]:
    return {name: getattr(knobs, name) for name in knobs.__slots__}


def main() -> None:
    folder = Path(tempfile.mkdtemp())
    pace = float(sys.argv[1]) if len(sys.argv) > 1 else 0.02
    sys.exit(run_app(Bridge(lambda emit: Live(emit, folder, pace)), folder))


if __name__ == "__main__":
    main()
