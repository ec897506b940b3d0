"""Profiles: a run's fixed settings, read from TOML into frozen dataclasses.

Strict: an unknown key, a wrong type or an impossible value is an error that names the key
and the nearest right one. Standard library only.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar, get_args, get_origin, get_type_hints

from engine.messages import Knobs, check_knobs

T = TypeVar("T")

AlgorithmName: TypeAlias = Literal[
    "dlpo", "ddpo", "onlydl", "dpok", "klinr", "rwr", "rwr_raw", "draft"
]
"""The rows of engine/rl/algorithms.py, which this module must not load."""
AdvantageKind: TypeAlias = Literal["raw", "batch", "per_prompt", "group"]
PENALISED: frozenset[AlgorithmName] = frozenset({"dlpo", "onlydl", "draft"})
"""Those that use l, the model's own training loss."""


MOST_ROLLOUTS, MOST_THREADS, MOST_DEVICES = 10_000, 1024, 64
MOST_WINDOW_SECONDS = 600.0
"""Beyond them a slip of the finger is likelier than a machine that could do it."""
MOST_BYTES = 1_000_000
"""Of a profile's file; the longest in the package has three thousand."""
MOST_DOTS = 5000
"""In a line of it: a dotted key takes its reader the square of its length."""
MOST = 10**18
"""Of a whole number, on either side."""
LONGEST_TOLD = 200
"""Characters of a wrong value that a sentence repeats."""
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""What no name, path or sentence of a profile has: controls, and halves of surrogate pairs."""


class ProfileError(ValueError):
    """A profile says something this program does not understand."""


@dataclass(frozen=True, slots=True)
class VoiceSpec:
    """Who speaks: the voice that a session starts from."""

    checkpoint: str = "bundled"
    """Starting weights: a safetensors file, or "bundled"."""
    fallback: str = ""
    """What stands in, loudly, where the checkpoint is missing: a file, "bundled", or nothing."""
    speaker: str = ""
    """Who speaks; empty: the voice's first speaker."""
    pace: float = 1.0
    """Factor on the predicted durations; above 1 is slower."""


@dataclass(frozen=True, slots=True)
class PromptsSpec:
    """What is said, in training and in evaluations."""

    train: str = "bundled"
    """One sentence a line: a file, a LJSpeech metadata.csv, a prepared corpus, or "bundled"."""
    evaluation: str = "bundled"
    """Held-out sentences, never trained on; as `train`."""
    fallback: str = ""
    """What stands in, loudly, where `train` or `evaluation` is missing: a file, "bundled"."""
    corpus: str = ""
    """Folder of a prepared corpus, for penalty_source = "data"; its sentences are the prompts."""
    max_seconds: float = 4.0
    """Longer prompts are left out of the draw."""
    most: int = 1024
    """How many training sentences are used, drawn by the seed; their conditioning stays in
    memory (about 1 MB each for a full-size voice). 0: all."""


@dataclass(frozen=True, slots=True)
class ScheduleSpec:
    """The noise schedule of the sampled chain."""

    kind: Literal["voice", "respaced", "snr", "linear", "manual8", "betas"] = "voice"
    """voice: what the voice's card says for so many `timesteps`, respaced where it says nothing;
    respaced: `timesteps` of the training schedule's 1000; snr: equal steps in signal-to-noise;
    linear: as WaveGrad 2's linspace; manual8: maum-ai's eight; betas: the list below."""
    timesteps: int = 10
    """T, denoising steps of the sampled chain (voice, respaced, snr, linear)."""
    power: float = 2.0
    """Spacing of the respaced kind: t_i = 1000 (i / T)^power; above 1 crowds the low noise."""
    low_db: float = -25.0
    """Signal-to-noise of the noisiest timestep of the snr kind, speech having an RMS of 0.08; from
    -44, where training ends, up."""
    high_db: float = 20.0
    """That of the cleanest; up to 38, where training begins."""
    betas: tuple[float, ...] = ()
    """beta_0 ... beta_{T-1}, for kind = "betas"."""
    sampler: Literal["ancestral", "ddim"] = "ancestral"
    """ancestral: DDPM's own transitions; ddim: with the noise share `eta`."""
    eta: float = 1.0
    """DDIM's noise share; 1 is ancestral, 0 deterministic (and then nothing can be trained)."""


@dataclass(frozen=True, slots=True)
class RolloutSpec:
    """The clips that an update samples, and which of their timesteps it trains."""

    batch: int = 8
    """B, rollouts an update."""
    cpu_batch: int = 0
    """B where there is no GPU, said loudly; 0: `batch`."""
    group: int = 4
    """Rollouts on one prompt; divides `batch`."""
    window: int = 4
    """Only the noisiest `window` timesteps may be trained."""
    kept: int = 2
    """K, timesteps trained in one update, drawn from the window."""
    sigma_min: float = 1e-3
    """A timestep whose sigma lies below is never trained."""
    shared: Literal["none", "prefix", "unkept"] = "prefix"
    """Noise a group shares: none; up to the first kept timestep; at every timestep not kept."""
    antithetic: bool = True
    """Rollouts 2i and 2i + 1 draw opposite noise at kept timesteps."""
    microbatch: int = 8
    """Rows a forward pass takes at a time; never changes a result. 0: as many as the memory holds,
    measured at the start."""

    @property
    def rows(self) -> int:
        """Of a microbatch, where none was measured."""
        return self.microbatch or 8


@dataclass(frozen=True, slots=True)
class TrainSpec:
    """How an update changes the policy, and when it is saved."""

    algorithm: AlgorithmName = "dlpo"
    """Whose loss. beta weighs l in dlpo, onlydl and draft, the KL to the starting voice in dpok and
    klinr, and nothing in the others; see docs/algorithms.md."""
    through: int = 7
    """Under draft, the last timesteps of the chain that the reward's gradient goes through; the
    ratio is that of the first of them. Not read by the others, which train those of [rollout]."""
    updates: int = 100
    """Updates after which the session is finished."""
    inner_epochs: int = 1
    """Optimizer steps on one batch of rollouts."""
    ratio: Literal["standardised", "mean"] = "standardised"
    """standardised: unit scale for every t and length; mean: DDPO's, nats per audio sample."""
    advantage: Literal["auto", "raw", "batch", "per_prompt", "group"] = "auto"
    """Reward as it is, or standardised over the batch, a prompt's past or its group. auto: raw
    for rwr_raw; else the group's, or the batch's where rollout.group is 1."""
    penalty: Literal["reward", "loss", "both"] = "both"
    """Where beta * l acts: inside the reward, as a term of the loss, or both (DLPO)."""
    penalty_source: Literal["sample", "data"] = "sample"
    """What l noises: the rollout's own finished clip, or the recorded speech of the prompt."""
    penalty_norm: Literal["l1", "l2"] = "l1"
    """l = mean |eps - eps_theta| (as WaveGrad 2 trains) or its square."""
    penalty_levels: Literal["kept", "any"] = "kept"
    """The noise level l is taken at: that of the trained timestep, as DLPO says, or of any of the
    chain's, drawn anew for every optimizer step. The weights are shared by all timesteps, so where
    only the noisiest are trained nothing else watches over the others."""
    window_seconds: float = 0.0
    """Of each clip, how much a trained timestep looks at, drawn anew each time; 0: all of it. The
    gradient stays unbiased and costs what the window costs, with more variance: for long clips."""
    microbatch: int = 4
    """Rows a forward and backward pass takes at a time; never changes a result. 0: as many as the
    memory holds, measured at the start."""
    recompute: bool = False
    """Compute activations again in the backward pass instead of keeping them: more time for less
    memory, for large voices and long clips; never changes a result."""
    save_every: int = 10
    """Updates between checkpoints."""
    resume_every: int = 1
    """Updates between saved states; a session that is killed goes on from the newest."""
    samples_every: int = 1
    """Updates between those whose clips are written to disk."""
    samples_kept: int = 1000
    """Of how many of the latest updates the rollouts' clips stay on disk; those of evaluations, and
    what the starting voice spoke again, always do. 0: of all."""

    @property
    def rows(self) -> int:
        """Of a microbatch, where none was measured."""
        return self.microbatch or 4


@dataclass(frozen=True, slots=True)
class RewardSpec:
    """What the policy is trained on: scores, summed or as an ensemble."""

    models: Mapping[str, float] = field(default_factory=lambda: {"distillmos": 1.0})
    """Score column -> weight; below 0 where a lower score is better, such as wer."""
    fallback: Mapping[str, float] = field(default_factory=dict)
    """What stands in, loudly, where a model's weights are missing."""
    combine: Literal["sum", "ensemble"] = "sum"
    """sum: weights times scores, each in its own unit; ensemble: every score in standard
    deviations of the evaluation at the start, then their weighted mean less `spread` times their
    disagreement; see docs/algorithms.md."""
    spread: float = 0.5
    """k of the ensemble, 0 or more: how much a clip loses by each standard deviation between its
    rewards; 0: their mean; 1, with two of equal weight: the worse one."""
    max_failed: float = 0.5
    """Share of failed clips in one update past which the session stops."""
    patience_seconds: float = 120.0
    """How long one call of a score model, reward or judge, may take; what takes longer has failed,
    and the session goes on without it. 0: however long."""


@dataclass(frozen=True, slots=True)
class JudgeSpec:
    """What watches the reward."""

    models: tuple[str, ...] = ("intelligibility", "loudness")
    """Score models that never train anything."""
    optional: tuple[str, ...] = ()
    """More of them, left out, loudly, where their weights or packages are missing."""
    rollouts: bool = True
    """Judge the rollouts too, not only the evaluation's clips."""


@dataclass(frozen=True, slots=True)
class EvaluationSpec:
    """Held-out prompts under fixed noise."""

    every: int = 10
    """Updates between evaluations; one more at the start and at the end. 0: never."""
    prompts: int = 8
    """How many of the held-out sentences; the alarm needs at least 3, an ensemble 2."""
    seed: int = 1234
    """Of the fixed noise."""


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """Where the network runs."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1 ..."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Inside the network alone; auto: bf16 on a GPU that has it, else fp32."""
    threads: int = 0
    """CPU threads; 0: as many as there are cores."""


@dataclass(frozen=True, slots=True)
class DistributedSpec:
    """Over how many devices of this machine the session is spread; see docs/many-devices.md."""

    devices: int = 1
    """Processes, each with a device and its share of an update's rollouts. The results are those
    of one but for rounding. Under torchrun its own number counts, and this is not read."""
    backend: Literal["auto", "nccl", "gloo"] = "auto"
    """What carries the gradients; auto: nccl between GPUs, gloo between CPU processes."""
    restarts: int = 3
    """How often the session goes on by itself, from its last update, after a process was lost."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A session's settings."""

    name: str = "unnamed"
    """Begins the name of the run's folder."""
    seed: int = 0
    """Of everything drawn: prompts, noise, kept timesteps."""
    runs: str = "runs"
    """Folder that holds the runs."""
    voice: VoiceSpec = field(default_factory=VoiceSpec)
    prompts: PromptsSpec = field(default_factory=PromptsSpec)
    schedule: ScheduleSpec = field(default_factory=ScheduleSpec)
    rollout: RolloutSpec = field(default_factory=RolloutSpec)
    train: TrainSpec = field(default_factory=TrainSpec)
    reward: RewardSpec = field(default_factory=RewardSpec)
    judges: JudgeSpec = field(default_factory=JudgeSpec)
    evaluation: EvaluationSpec = field(default_factory=EvaluationSpec)
    device: DeviceSpec = field(default_factory=DeviceSpec)
    distributed: DistributedSpec = field(default_factory=DistributedSpec)
    knobs: Knobs = field(default_factory=Knobs)

    @property
    def advantage(self) -> AdvantageKind:
        """train.advantage, with "auto" replaced by what it stands for."""
        if self.train.advantage != "auto":
            return self.train.advantage
        if self.train.algorithm == "rwr_raw":
            return "raw"
        return "group" if self.rollout.group > 1 else "batch"

    def hash(self) -> str:
        """Twelve hex digits of the settings' SHA-256; kept in every checkpoint."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class PretrainProfile:
    """Supervised training of a base voice on prepared corpora: front end first, then decoder.

    As it stands, without a front-end phase and spectral weights: WaveGrad 2's own loss.
    """

    name: str = "voice"
    """Of the folder that is written, where --out names none."""
    size: Literal["narrow", "base-light", "base", "large"] = "narrow"
    """narrow: 1.8 M parameters, for a CPU; base and large: WaveGrad 2's own, 44 and 56 M;
    base-light: Base's decoder behind smaller duration and range predictors, 25 M."""
    start: str = ""
    """A voice to go on from, or what `dlpo-tui pretrain --compact` wrote (its sizes win over
    `size`); empty: random weights."""
    seed: int = 0
    """Of weights, windows and noise."""
    front_end_steps: int = 0
    """Optimizer steps of the first phase: the front end alone, on whole clips, without a decoder;
    0: none, as for a voice whose front end is good."""
    front_end_batch: int = 16
    """Clips of similar length an optimizer step of the first phase."""
    front_end_learning_rate: float = 2e-3
    """`learning_rate` of the first phase."""
    front_end: Literal["trained", "frozen"] = "trained"
    """In the decoder's phase. frozen: stands still, and its conditioning is computed once for all
    clips; trained: learns on, from the decoder's loss, the durations and the log-mel head."""
    steps: int = 100_000
    """Optimizer steps of the decoder's phase; the learning rate has fallen to its end by then."""
    minutes: float = 0.0
    """Wall time after which the learning rate has fallen to its end, and training stops; 0: none.
    Counts the time of earlier parts of a resumed training."""
    batch: int = 16
    """Windows an optimizer step."""
    window_frames: int = 24
    """Frames of one window (256 in maum-ai's; a narrow voice learns more from many short ones)."""
    learning_rate: float = 1e-3
    """Step size of the optimiser (AdamW) after the warm-up, its highest."""
    final_learning_rate: float = 5e-5
    """Where it ends, in either phase."""
    warmup: int = 100
    """Optimizer steps over which the learning rate rises from 0, in either phase."""
    weight_decay: float = 1e-6
    """AdamW's decay of every weight, times the learning rate a step."""
    max_grad_norm: float = 1.0
    """The gradient is scaled down to this Euclidean norm."""
    ema: float = 0.999
    """Decay of the weights' moving average, which is what is saved."""
    mel_weight: float = 0.1
    """Weight of the log-mel head beside a decoder that trains the front end too; the head is no
    part of the voice."""
    noise_weighting: Literal["even", "balanced"] = "even"
    """Of the L1 on the noise, by noise level. even: as in WaveGrad 2; balanced: times
    sqrt(1 + noise-to-signal), so that the clean estimate is learned at the noisy levels too."""
    spectral_weight: float = 0.0
    """Weight of the multi-resolution spectral distance between the speech and the clean estimate
    that the predicted noise implies; 0: not computed."""
    x0_mel_weight: float = 0.0
    """Weight of the L1 between the log-mels of the two; 0: not computed."""
    spectral_from_db: float = -100.0
    """Both spectral losses are 0 at a lower signal-to-noise. Where the pitch is not known yet, they
    ask for the loudness of each band whatever its phase, and teach the decoder to whisper."""
    levels: Literal["uniform", "snr"] = "uniform"
    """Noise levels. uniform: as maum-ai draws them, but for the share `low_noise`; snr: uniform in
    dB of signal-to-noise, from snr_low_db to snr_high_db."""
    low_noise: float = 0.5
    """Share of the uniform noise levels that is drawn log-uniformly in sigma instead."""
    snr_low_db: float = -25.0
    """Signal-to-noise of the noisiest level, speech having an RMS of 0.08."""
    snr_high_db: float = 28.0
    """That of the cleanest."""
    chain_weight: float = 0.0
    """Weight of the envelope distance between the speech of a window and the clip that the whole
    chain of [schedule] makes of noise there; 0: not computed. Noised recordings never show a
    decoder what its own earlier timesteps leave it, and the envelope, which has no pitch, is asked
    of the finished clip alone."""
    chain_trained: int = 7
    """Last timesteps of that chain which learn from it; the noisiest, before, are only run."""
    chain_batch: int = 8
    """Windows of the batch, from the first on, that the chain speaks: each keeps the activations of
    all its trained timesteps."""
    report_every: int = 1
    """Optimizer steps between lines of progress, which tell their means; more than 1 keeps a GPU
    from waiting for each."""
    save_every: int = 500
    """Optimizer steps between saved states."""
    evaluate_every: int = 250
    """Optimizer steps between held-out losses."""
    compile: bool = False
    """torch.compile the decoder with its losses (worth it on a GPU)."""
    compile_mode: Literal["default", "reduce-overhead", "max-autotune"] = "default"
    """What torch.compile strives for; reduce-overhead records CUDA graphs."""
    schedule: ScheduleSpec = field(default_factory=ScheduleSpec)
    """Of the chain that chain_weight trains; the voice's card then says it."""
    device: DeviceSpec = field(default_factory=DeviceSpec)


def load_pretrain(path: Path, changes: Sequence[str] = ()) -> PretrainProfile:
    """As `load`, for pretraining."""
    profile = build(PretrainProfile, read(path, changes), path.name)
    for holds, sentence in pretrain_rules(profile):
        if not holds:
            raise ProfileError(f"{path.name}: {sentence}")
    return profile


def pretrain_rules(profile: PretrainProfile) -> tuple[tuple[bool, str], ...]:
    counts = (
        "steps", "batch", "window_frames", "front_end_batch", "chain_batch", "chain_trained",
        "report_every", "save_every", "evaluate_every",
    )  # fmt: skip
    not_negative = (
        "front_end_steps", "minutes", "mel_weight", "spectral_weight", "x0_mel_weight",
        "chain_weight",
    )  # fmt: skip
    given = {name: getattr(profile, name) for name in (*counts, *not_negative)}
    low, high = profile.snr_low_db, profile.snr_high_db
    return (
        *((given[k] >= 1, f"{k} is at least 1, not {given[k]}") for k in counts),
        (
            0 <= profile.device.threads <= MOST_THREADS,
            f"device.threads lies between 0 (every core) and {MOST_THREADS}, not at "
            f"{profile.device.threads}",
        ),
        *(
            (0 <= getattr(profile, k) <= 1, f"{k} lies between 0 and 1")
            for k in ("low_noise", "ema")
        ),
        *((given[k] >= 0, f"{k} is 0 or more, not {given[k]:g}") for k in not_negative),
        (
            -60 <= low < high <= 60,
            "snr_low_db and snr_high_db rise from -60 at the least to 60 at the most, not from "
            f"{low:g} to {high:g}",
        ),
        *schedule_rules(profile.schedule),
        *chain_rules(profile),
    )


def chain_rules(profile: PretrainProfile) -> tuple[tuple[bool, str], ...]:
    """What a training through the chain needs; nothing where there is none."""
    if not profile.chain_weight:
        return ()
    return (
        (
            profile.schedule.kind != "voice",
            "chain_weight trains a chain, and no voice is there yet to say which: name it, such as "
            "schedule.kind = 'snr'",
        ),
        (
            profile.chain_batch <= profile.batch,
            f"chain_batch = {profile.chain_batch} are windows of a batch of {profile.batch}: raise "
            "batch, or lower chain_batch",
        ),
    )


def load(path: Path, changes: Sequence[str] = ()) -> Profile:
    """Reads a profile; `changes` are KEY=VALUE with dotted keys, the values as TOML.

    Errors: ProfileError, one sentence, for a missing file, broken TOML or a bad key or value.
    """
    return check(build(Profile, read(path, changes), path.name), path.name)


def read(path: Path, changes: Sequence[str]) -> dict[str, Any]:
    try:
        with path.open("rb") as file:  # what never ends (a device, a pipe) is not read to its end
            raw = file.read(MOST_BYTES + 1)
        text = raw.decode("utf-8")
    except FileNotFoundError:
        raise ProfileError(f"there is no profile {path}{suggest_file(path)}") from None
    except IsADirectoryError:
        raise ProfileError(f"{path} is a folder; name a TOML file{inside(path)}") from None
    except UnicodeDecodeError:
        raise ProfileError(f"{path} is no profile: it is not UTF-8 text") from None
    except OSError as error:
        raise ProfileError(f"{path} cannot be read as a profile: {error.strerror}") from None
    if len(raw) > MOST_BYTES:
        raise ProfileError(f"{path} is no profile: it is longer than {MOST_BYTES // 1000:,} kB")
    if any(line.count(".") > MOST_DOTS for line in text.split("\n")):
        raise ProfileError(f"{path} is no profile: a line of it has more than {MOST_DOTS:,} dots")
    try:
        table = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # of either format
        kind = "JSON" if path.suffix == ".json" else "TOML"
        raise ProfileError(f"{path} is not valid {kind}: {error}") from None
    if not isinstance(table, dict):
        raise ProfileError(f"{path} holds no table of settings")
    for change in changes:
        put(table, change)
    return table


def suggest_file(path: Path) -> str:
    folders = dict.fromkeys((Path("profiles"), path.parent))  # of one name, the latter wins
    found = {p.name: p for f in folders if f.is_dir() for p in sorted(f.glob("*.toml"))}
    found.pop("pyproject.toml", None)
    near = difflib.get_close_matches(path.name, found, n=1, cutoff=0.5)
    return f"; did you mean {found[near[0]]}?" if near else ""


def inside(folder: Path) -> str:
    """Such as ", such as profiles/quickstart.toml"; empty where there is none in the folder."""
    found = sorted(path for path in folder.glob("*.toml") if path.is_file())
    return f", such as {found[0]}" if found else ""


def put(table: dict[str, Any], change: str) -> None:
    """Writes one KEY=VALUE into a TOML table; a bare word counts as a string."""
    key, equals, value = change.partition("=")
    if not equals or not key.strip():
        raise ProfileError(f"--set takes KEY=VALUE, such as train.updates=20, not {change!r}")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()
    except (ValueError, RecursionError):  # more digits or brackets than Python reads
        raise ProfileError(f"--set {key}: its value cannot be read: {value[:40]!r}...") from None
    *parents, last = key.strip().split(".")
    for name in parents:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise ProfileError(f"--set {change}: {name} is a value, not a section")
    table[last] = parsed


def build(kind: type[T], table: Mapping[str, Any], where: str) -> T:
    """Builds a dataclass from a TOML table; an unknown key or a wrong type is an error."""
    hints = get_type_hints(kind)
    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            raise ProfileError(f"{where}: unknown key {key!r}; {hint}")
        values[key] = convert(hints[key], value, f"{where}: {key}")
    return kind(**values)


def convert(hint: Any, value: Any, where: str) -> Any:
    """One TOML value -> the type its field promises; ProfileError names the field."""
    origin, args = get_origin(hint), get_args(hint)
    if is_dataclass(hint) and isinstance(hint, type):
        return build(hint, expect(dict, value, where), where.replace(": ", " [") + "]")
    if origin is Literal:
        if value not in args:
            near = difflib.get_close_matches(short(value), args, n=1, cutoff=0.3)
            also = f"; did you mean {near[0]!r}?" if near else ""
            raise ProfileError(f"{where} is one of {', '.join(args)}, not {short(value)}{also}")
        return value
    if origin is tuple:
        return tuple(convert(args[0], v, where) for v in expect(list, value, where))
    if origin is Mapping:
        return {
            k: convert(args[1], v, f"{where}.{k}") for k, v in expect(dict, value, where).items()
        }
    if hint is float:
        return finite(value, where)
    return expect(hint, value, where)


def finite(value: Any, where: str) -> float:
    """A number that a float holds; TOML may say nan, inf, or as many digits as it likes."""
    number = float("inf")
    with suppress(OverflowError):
        number = float(value) if type(value) is int else expect(float, value, where)
    if not math.isfinite(number):
        raise ProfileError(f"{where} takes a finite number, not {str(value)[:40]}")
    return number


NAMES = {dict: "a section", list: "a list", str: "a text in quotes", int: "a whole number"}
NAMES |= {float: "a number", bool: "true or false"}


def expect(kind: Any, value: Any, where: str) -> Any:
    if type(value) is not kind:
        raise ProfileError(f"{where} takes {NAMES.get(kind, kind)}, not {short(value)}")
    if kind is int and not -MOST <= value <= MOST:
        raise ProfileError(f"{where} takes a whole number of at most 18 digits")
    if kind is str and CONTROL.search(value):
        raise ProfileError(f"{where} takes a text without control characters, not {short(value)}")
    return value


def short(value: Any) -> str:
    """A value as a sentence can hold it."""
    try:
        told = repr(value)
    except ValueError:  # a number of more digits than Python writes
        return "a number of thousands of digits"
    return told if len(told) <= LONGEST_TOLD else told[:LONGEST_TOLD] + "..."


def algorithm_rules(profile: Profile) -> tuple[tuple[bool, str], ...]:
    """Refuses choices that under an algorithm would do nothing, teach only noise, or diverge."""
    train, default, name = profile.train, TrainSpec(), profile.train.algorithm
    idle = [
        f"train.{key} = {getattr(train, key)!r}"
        for key in ("penalty", "penalty_source", "penalty_norm", "penalty_levels")
        if name not in PENALISED and getattr(train, key) != getattr(default, key)
    ]
    negative = [
        column
        for models in (profile.reward.models, profile.reward.fallback)
        for column, weight in models.items()
        if name == "rwr_raw" and weight < 0
    ]
    return (
        (
            not idle,
            f"{name} has no penalty l for {' and '.join(idle)} to shape: leave that out, or "
            f"choose one of {', '.join(sorted(PENALISED))}",
        ),
        (
            train.penalty != "reward" or train.penalty_source != "data",
            "train.penalty = 'reward' with penalty_source = 'data' teaches only noise, because "
            "recorded speech does not depend on the rollout: take 'loss' or 'both', or the source "
            "'sample'",
        ),
        (
            name != "rwr_raw" or profile.advantage == "raw",
            f"rwr_raw weighs by the reward itself: train.advantage is 'raw' or left out, not "
            f"{train.advantage!r}; rwr takes any",
        ),
        (
            not negative,
            f"rwr_raw would drive the likelihood of a clip of negative reward down without end: "
            f"the weight of {', '.join(negative)} is above 0; rwr takes either sign",
        ),
        *draft_rules(profile),
    )


def draft_rules(profile: Profile) -> tuple[tuple[bool, str], ...]:
    """Refuses what draft would not read, and a `through` that only draft reads."""
    train, spec = profile.train, profile.reward
    if train.algorithm != "draft":
        told = f"train.through = {train.through} is read by draft alone: leave it out"
        return ((train.through == TrainSpec().through, told),)
    return (
        (train.through >= 2, f"train.through is at least 2, not {train.through}"),
        (
            train.penalty == "both",
            f"draft has l beside the reward, whatever train.penalty says: leave {train.penalty!r} "
            "out",
        ),
        (
            train.window_seconds == 0,
            "train.window_seconds does not go with draft, whose reward hears the whole clip: "
            "leave it at 0",
        ),
        (
            spec.combine == "sum",
            f"draft follows the gradient of a sum: reward.combine is 'sum', not {spec.combine!r}",
        ),
    )


def reward_rules(profile: Profile) -> tuple[tuple[bool, str], ...]:
    """Refuses ensembles without a scale or of one reward, and a spread that would not be read."""
    spec, evaluation, default = profile.reward, profile.evaluation, RewardSpec()
    ensemble = spec.combine == "ensemble"
    named = {"models": spec.models, "fallback": spec.fallback}
    lonely = next((key for key, models in named.items() if models and members(models) < 2), "")
    return (
        (spec.spread >= 0, f"reward.spread is 0 or more, not {spec.spread:g}"),
        (
            spec.patience_seconds >= 0,
            f"reward.patience_seconds is 0 or more, not {spec.patience_seconds:g}",
        ),
        (
            ensemble or spec.spread == default.spread,
            f"reward.spread = {spec.spread:g} is not read where the rewards are summed: leave that "
            "out, or choose reward.combine = 'ensemble'",
        ),
        (
            not (ensemble and lonely),
            f"reward.combine = 'ensemble' weighs rewards against each other: reward.{lonely} "
            "names at least two of a weight other than 0, such as { distillmos = 1.0, wer = -1.0 }",
        ),
        (
            not ensemble or evaluation.every > 0,
            "reward.combine = 'ensemble' takes every reward's scale from the evaluation at the "
            "start: evaluation.every is above 0",
        ),
        (
            not ensemble or evaluation.prompts >= 2,
            "reward.combine = 'ensemble' takes every reward's scale from the evaluation at the "
            f"start: evaluation.prompts is at least 2, not {evaluation.prompts}",
        ),
        (
            not ensemble or profile.train.algorithm != "rwr_raw",
            "rwr_raw takes rewards above 0, and an ensemble's lie on both sides of it: take rwr, "
            "or reward.combine = 'sum'",
        ),
    )


def distributed_rules(profile: Profile) -> tuple[tuple[bool, str], ...]:
    """Refuses devices that would have nothing to roll out, since a group stays on one device."""
    spec, rollouts = profile.distributed, profile.rollout
    groups = rollouts.batch // max(rollouts.group, 1)
    return (
        (
            1 <= spec.devices <= MOST_DEVICES,
            f"distributed.devices lies between 1 and {MOST_DEVICES}, not at {spec.devices}",
        ),
        (
            spec.devices <= max(groups, 1),
            f"distributed.devices = {spec.devices} share the groups of an update, and there are "
            f"{groups} (rollout.batch / rollout.group): raise the batch, or lower the devices",
        ),
        (spec.restarts >= 0, f"distributed.restarts is 0 or more, not {spec.restarts}"),
    )


def members(weights: Mapping[str, float]) -> int:
    """How many columns have a weight other than 0."""
    return sum(weight != 0 for weight in weights.values())


def schedule_rules(spec: ScheduleSpec) -> tuple[tuple[bool, str], ...]:
    """Refuses chains that cannot be, and keys that a voice's own schedule would leave unread."""
    default = ScheduleSpec()
    idle = [
        f"schedule.{key} = {getattr(spec, key)!r}"
        for key in ("power", "low_db", "high_db", "betas", "sampler", "eta")
        if spec.kind == "voice" and getattr(spec, key) != getattr(default, key)
    ]
    return (
        (
            1 <= spec.timesteps <= 1000,
            f"schedule.timesteps lies between 1 and 1000, not at {spec.timesteps}",
        ),
        (spec.power > 0, f"schedule.power is above 0, not {spec.power:g}"),
        (0 <= spec.eta <= 1, f"schedule.eta lies between 0 and 1, not at {spec.eta:g}"),
        (
            -44 <= spec.low_db < spec.high_db <= 38,
            f"schedule.low_db and high_db rise from -44 at the least to 38 at the most, not from "
            f"{spec.low_db:g} to {spec.high_db:g}",
        ),
        (
            spec.kind != "betas" or bool(spec.betas),
            "schedule.kind = 'betas' needs schedule.betas, a list of numbers between 0 and 1",
        ),
        (all(0 < b < 1 for b in spec.betas), "every one of schedule.betas lies between 0 and 1"),
        (
            not idle,
            f"{' and '.join(idle)} is not read where the schedule is the voice's own: leave that "
            "out, or choose a schedule.kind, such as 'respaced'",
        ),
    )


def check(profile: Profile, where: str) -> Profile:
    """Refuses values that are of the right type but cannot be; returns the profile."""
    r, t = profile.rollout, profile.train
    rules: tuple[tuple[bool, str], ...] = (
        (
            1 <= r.batch <= MOST_ROLLOUTS,
            f"rollout.batch lies between 1 and {MOST_ROLLOUTS:,}, not at {r.batch}",
        ),
        (
            r.group >= 1 and r.batch % max(r.group, 1) == 0,
            f"rollout.group divides rollout.batch ({r.batch}), {r.group} does not",
        ),
        (
            0 <= r.cpu_batch <= MOST_ROLLOUTS and r.cpu_batch % max(r.group, 1) == 0,
            f"rollout.cpu_batch is 0 or a multiple of rollout.group ({r.group}) up to "
            f"{MOST_ROLLOUTS:,}, not {r.cpu_batch}",
        ),
        (
            not r.antithetic or r.group % 2 == 0,
            f"rollout.antithetic pairs a group's rollouts: rollout.group is even, not {r.group}",
        ),
        (
            1 <= r.kept <= r.window,
            f"rollout.kept lies between 1 and rollout.window ({r.window}), not at {r.kept}",
        ),
        (r.microbatch >= 0, f"rollout.microbatch is 0 (what fits) or more, not {r.microbatch}"),
        (r.sigma_min > 0, f"rollout.sigma_min is above 0, not {r.sigma_min:g}"),
        (t.updates >= 1, f"train.updates is at least 1, not {t.updates}"),
        (t.inner_epochs >= 1, f"train.inner_epochs is at least 1, not {t.inner_epochs}"),
        (
            t.window_seconds == 0 or 0.1 <= t.window_seconds <= MOST_WINDOW_SECONDS,
            f"train.window_seconds is 0 (the whole clip) or lies between 0.1 and "
            f"{MOST_WINDOW_SECONDS:g}, not at {t.window_seconds:g}",
        ),
        (
            t.window_seconds == 0 or t.inner_epochs == 1,
            "train.window_seconds needs train.inner_epochs = 1: the ratio of a window is that of "
            "the clip only before the first step",
        ),
        (
            t.window_seconds == 0 or t.algorithm != "klinr",
            "train.window_seconds does not go with klinr, whose KL and gradient would come from "
            "one window, which is biased: take dpok, or leave it at 0",
        ),
        (t.microbatch >= 0, f"train.microbatch is 0 (what fits) or more, not {t.microbatch}"),
        (t.save_every >= 1, f"train.save_every is at least 1, not {t.save_every}"),
        (t.resume_every >= 1, f"train.resume_every is at least 1, not {t.resume_every}"),
        (t.samples_every >= 1, f"train.samples_every is at least 1, not {t.samples_every}"),
        (t.samples_kept >= 0, f"train.samples_kept is 0 or more, not {t.samples_kept}"),
        (
            t.advantage != "group" or r.group >= 2,
            f"train.advantage = 'group' needs rollout.group of at least 2, not {r.group}",
        ),
        (
            t.penalty_source != "data" or bool(profile.prompts.corpus),
            "train.penalty_source = 'data' noises recorded speech: name it in prompts.corpus",
        ),
        (
            any(profile.reward.models.values()),
            "reward.models names at least one score of a weight other than 0, such as "
            "{ distillmos = 1.0 }",
        ),
        (
            not profile.reward.fallback or any(profile.reward.fallback.values()),
            "reward.fallback has no weight other than 0",
        ),
        (
            0 <= profile.device.threads <= MOST_THREADS,
            f"device.threads lies between 0 (every core) and {MOST_THREADS}, not at "
            f"{profile.device.threads}",
        ),
        (
            0 < profile.reward.max_failed <= 1,
            f"reward.max_failed lies between 0 and 1, not at {profile.reward.max_failed:g}",
        ),
        (
            profile.evaluation.every >= 0,
            f"evaluation.every is 0 or more, not {profile.evaluation.every}",
        ),
        (
            profile.evaluation.prompts >= 1,
            f"evaluation.prompts is at least 1, not {profile.evaluation.prompts}",
        ),
        (
            0.25 <= profile.voice.pace <= 4,
            f"voice.pace lies between 0.25 and 4, not at {profile.voice.pace:g}",
        ),
        (profile.prompts.max_seconds > 0, "prompts.max_seconds is above 0"),
        (profile.prompts.most >= 0, f"prompts.most is 0 or more, not {profile.prompts.most}"),
    )
    more = (
        *schedule_rules(profile.schedule),
        *reward_rules(profile),
        *algorithm_rules(profile),
        *distributed_rules(profile),
    )
    for fine, sentence in (*rules, *more):
        if not fine:
            raise ProfileError(f"{where}: {sentence}")
    try:
        check_knobs(asdict(profile.knobs))
    except ValueError as error:
        raise ProfileError(f"{where}: knobs: {error}") from None
    return profile
