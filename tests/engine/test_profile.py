from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import tomli_w

from engine.journal import plain
from engine.messages import Knobs
from engine.profile import Profile, ProfileError, check, load, load_pretrain

PROFILES = Path(__file__).parents[2] / "profiles"
SHIPPED = sorted(PROFILES.rglob("*.toml"))
PAPER = sorted(PROFILES.glob("paper/*.toml"))


@pytest.fixture
def write(tmp_path: Path):
    def make(text: str, name: str = "mine.toml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return make


def refused(path: Path, *changes: str) -> str:
    with pytest.raises(ProfileError) as caught:
        load(path, changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- what is shipped ------------------------------------------------------------


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_every_shipped_profile_loads(path: Path) -> None:
    if path.stem.startswith("pretrain"):
        assert load_pretrain(path).steps > 0
    else:
        assert load(path).name == path.stem


METHODS = {
    "base": {"train": {"algorithm": "dlpo"}, "knobs": {"learning_rate": 0.0}},
    "rwr": {"train": {"algorithm": "rwr"}},
    "ddpo": {"train": {"algorithm": "ddpo"}},
    "dpok": {"train": {"algorithm": "dpok"}},
    "klinr": {"train": {"algorithm": "klinr"}},
    "only_dl": {"train": {"algorithm": "onlydl"}},
    "dlpo": {"train": {"algorithm": "dlpo"}},
    "dlpo_1step": {"train": {"algorithm": "dlpo"}, "rollout": {"kept": 1}},
}
"""What each of the paper's methods says of itself."""


def test_the_papers_profiles_differ_only_where_the_method_asks_for_it() -> None:
    assert [path.stem for path in PAPER] == sorted(METHODS)
    whole = load(PROFILES / "ljspeech.toml")
    for path in PAPER:
        profile, method = load(path), METHODS[path.stem]
        wanted = replace(
            whole,
            name=path.stem,
            **{part: replace(getattr(whole, part), **keys) for part, keys in method.items()},
        )
        assert profile == wanted
        assert (profile.knobs.alpha, profile.knobs.beta) == (1.0, 1.0)


def test_the_papers_files_are_one_text_but_for_the_method() -> None:
    """A key that one file says and another leaves to the defaults would drift apart unseen."""
    tables = {path.stem: tomllib.loads(path.read_text(encoding="utf-8")) for path in PAPER}
    for stem, table in tables.items():
        assert table.pop("name") == stem
        for part, keys in METHODS[stem].items():
            for key, value in keys.items():
                assert table[part].pop(key) == value
    tables["dlpo_1step"]["rollout"]["kept"] = tables["dlpo"]["rollout"]["kept"]
    for stem, table in tables.items():
        assert table == tables["dlpo"], stem


def test_an_empty_profile_is_the_defaults(write) -> None:
    assert load(write("")) == Profile()


def test_the_defaults_are_fine() -> None:
    assert check(Profile(), "defaults") == Profile()


def test_a_whole_number_does_for_a_number(write) -> None:
    profile = load(write("[knobs]\nalpha = 2\n[reward.models]\nwer = -1\n"))
    assert profile.knobs == Knobs(alpha=2.0)
    assert type(profile.knobs.alpha) is float
    assert profile.reward.models == {"wer": -1.0}


def test_what_a_run_writes_down_loads_back_equal(write) -> None:
    text = '[judges]\nmodels = []\n[schedule]\nkind = "betas"\nbetas = [0.1, 0.2]\n'
    profile = load(write(text))
    assert profile.schedule.betas == (0.1, 0.2)
    assert load(write(tomli_w.dumps(plain(profile)), "again.toml")) == profile


# --- --set ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "read", "value"),
    [
        ("seed=7", lambda p: p.seed, 7),
        (" train.updates = 3 ", lambda p: p.train.updates, 3),
        ("knobs.alpha=0.5", lambda p: p.knobs.alpha, 0.5),
        ("rollout.antithetic=false", lambda p: p.rollout.antithetic, False),
        ('judges.models=["loudness"]', lambda p: p.judges.models, ("loudness",)),
        ("reward.models={wer=-1.0}", lambda p: p.reward.models, {"wer": -1.0}),
        ("reward.models.cer=-2", lambda p: p.reward.models, {"distillmos": 1.0, "cer": -2.0}),
        ("voice.checkpoint=a b/c.safetensors", lambda p: p.voice.checkpoint, "a b/c.safetensors"),
        ("name=x=y", lambda p: p.name, "x=y"),
        ("voice.speaker=", lambda p: p.voice.speaker, ""),
    ],
)
def test_set_changes_one_key(write, change: str, read, value: object) -> None:
    profile = load(write("[reward.models]\ndistillmos = 1.0\n"), [change])
    assert read(profile) == value


def test_the_last_of_two_sets_wins(write) -> None:
    assert load(write("seed = 1\n"), ["seed=2", "seed=3"]).seed == 3


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("seed", "--set takes KEY=VALUE, such as train.updates=20, not 'seed'"),
        ("=3", "--set takes KEY=VALUE"),
        ("name.first=a", "--set name.first=a: name is a value, not a section"),
        ("train.updatse=3", "mine.toml [train]: unknown key 'updatse'; did you mean 'updates'?"),
        ("train.updates=three", "updates takes a whole number, not 'three'"),
        ("train=3", "train takes a section, not 3"),
    ],
)
def test_a_set_that_makes_no_sense_is_refused(write, change: str, told: str) -> None:
    assert told in refused(write('name = "a"\n'), change)


# --- keys and types -------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("sed = 1", "mine.toml: unknown key 'sed'; did you mean 'seed'?"),
        ("[trian]", "unknown key 'trian'; did you mean 'train'?"),
        ("[rollout]\nbacth = 1", "mine.toml [rollout]: unknown key 'bacth'; did you mean 'batch'?"),
        ("[device]\nqqqq = 1", "unknown key 'qqqq'; known: device, precision, threads"),
        ("[knobs]\nreward_weight = 1.0", "[knobs]: unknown key 'reward_weight'"),
        ("seed = 1.0", "seed takes a whole number, not 1.0"),
        ("seed = true", "seed takes a whole number, not True"),
        ("name = 3", "name takes a text in quotes, not 3"),
        ("train = 3", "train takes a section, not 3"),
        ("[rollout]\nantithetic = 1", "antithetic takes true or false, not 1"),
        ('[knobs]\nalpha = "1"', "alpha takes a number, not '1'"),
        ("[knobs]\nalpha = true", "alpha takes a number, not True"),
        ('[judges]\nmodels = "loudness"', "models takes a list, not 'loudness'"),
        ("[judges]\nmodels = [1]", "models takes a text in quotes, not 1"),
        ("[schedule]\nbetas = 0.1", "betas takes a list, not 0.1"),
        ("[reward]\nmodels = ['mos']", "models takes a section, not ['mos']"),
        ("[reward.models]\nmos = 'a'", "models.mos takes a number, not 'a'"),
        ("seed = 2026-01-01", "seed takes a whole number"),
        (
            "[train]\nadvantage = 'grop'",
            "advantage is one of auto, raw, batch, per_prompt, group, not 'grop'; "
            "did you mean 'group'?",
        ),
        (
            "[train]\nalgorithm = 'dlop'",
            "[train]: algorithm is one of dlpo, ddpo, onlydl, dpok, klinr, rwr, rwr_raw, draft, "
            "not 'dlop'; did you mean 'dlpo'?",
        ),
        ("[train]\nalgorithm = 'KL-in-R'", "not 'KL-in-R'"),
        ("[device]\nprecision = 16", "precision is one of auto, fp32, bf16, not 16"),
        ("[rollout]\nshared = true", "shared is one of none, prefix, unkept, not True"),
    ],
)
def test_a_wrong_key_or_type_is_named_with_its_place(write, text: str, told: str) -> None:
    assert told in refused(write(text))


def test_broken_toml_is_one_sentence_with_its_line(write) -> None:
    told = refused(write("seed = 1\nname = \n"))
    assert "mine.toml is not valid TOML" in told
    assert "line 2" in told


def test_bytes_that_are_no_text_and_a_folder_are_no_profile(tmp_path: Path) -> None:
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    told = refused(tmp_path / "binary.toml")
    assert told == f"{tmp_path}/binary.toml is no profile: it is not UTF-8 text"
    told = refused(tmp_path)
    assert told == f"{tmp_path} is a folder; name a TOML file, such as {tmp_path}/binary.toml"


def test_a_missing_profile_suggests_the_nearest(write, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "profiles").mkdir()
    shipped = write("", "profiles/quickstart.toml")
    assert refused(Path("quikstart.toml")).endswith("did you mean profiles/quickstart.toml?")
    beside = write("", "quickstart.toml")
    assert refused(tmp_path / "quikstart.toml").endswith(f"did you mean {beside}?")
    assert "did you mean" not in refused(shipped.with_name("zzz"))


# --- values ---------------------------------------------------------------------

IMPOSSIBLE = {
    "distributed.devices=0": "distributed.devices lies between 1 and 64, not at 0",
    "distributed.devices=65": "distributed.devices lies between 1 and 64, not at 65",
    "distributed.devices=3": "distributed.devices = 3 share the groups of an update",
    "distributed.restarts=-1": "distributed.restarts is 0 or more",
    "rollout.batch=0": "rollout.batch lies between 1 and 10,000",
    "rollout.group=3": r"rollout.group divides rollout.batch \(8\), 3 does not",
    "rollout.group=0": "rollout.group divides",
    "rollout.cpu_batch=-4": "rollout.cpu_batch is 0 or a multiple of rollout.group",
    "rollout.cpu_batch=6": "rollout.cpu_batch is 0 or a multiple of rollout.group",
    "rollout.group=1": "rollout.antithetic pairs a group's rollouts",
    "rollout.kept=0": "rollout.kept lies between 1 and rollout.window",
    "rollout.kept=5": r"rollout.kept lies between 1 and rollout.window \(4\), not at 5",
    "rollout.microbatch=-1": "rollout.microbatch is 0",
    "rollout.sigma_min=0": "rollout.sigma_min is above 0",
    "train.updates=0": "train.updates is at least 1",
    "train.inner_epochs=0": "train.inner_epochs is at least 1",
    "train.microbatch=-1": "train.microbatch is 0",
    "train.save_every=0": "train.save_every is at least 1",
    "train.samples_every=0": "train.samples_every is at least 1",
    "train.samples_kept=-1": "train.samples_kept is 0 or more, not -1",
    "reward.patience_seconds=-1.0": "reward.patience_seconds is 0 or more, not -1",
    "train.penalty_source=data": "train.penalty_source = 'data' noises recorded speech",
    "schedule.timesteps=0": "schedule.timesteps lies between 1 and 1000",
    "schedule.timesteps=1001": "schedule.timesteps lies between 1 and 1000",
    "schedule.power=0.0": "schedule.power is above 0",
    "schedule.eta=1.5": "schedule.eta lies between 0 and 1",
    "schedule.low_db=-44.5": "schedule.low_db and high_db rise from -44 at the least",
    "schedule.high_db=38.5": "schedule.low_db and high_db rise from -44",
    "schedule.low_db=20": "schedule.low_db and high_db rise from -44",
    "schedule.power=1.5": "schedule.power = 1.5 is not read where the schedule is the voice's own",
    "schedule.sampler=ddim": "schedule.sampler = 'ddim' is not read where",
    "schedule.kind=betas": "schedule.kind = 'betas' needs schedule.betas",
    "schedule.betas=[0.1, 1.0]": "every one of schedule.betas lies between 0 and 1",
    "schedule.betas=[0.0]": "every one of schedule.betas lies between 0 and 1",
    "reward.models={}": "reward.models names at least one score",
    "reward.spread=-0.1": "reward.spread is 0 or more, not -0.1",
    "reward.spread=0.2": "reward.spread = 0.2 is not read where the rewards are summed",
    "reward.combine=ensemble": "reward.combine = 'ensemble' weighs rewards against each other: "
    "reward.models names at least two",
    "reward.max_failed=0": "reward.max_failed lies between 0 and 1",
    "reward.max_failed=1.5": "reward.max_failed lies between 0 and 1",
    "evaluation.every=-1": "evaluation.every is 0 or more",
    "evaluation.prompts=0": "evaluation.prompts is at least 1",
    "voice.pace=0.1": "voice.pace lies between 0.25 and 4",
    "voice.pace=5": "voice.pace lies between 0.25 and 4",
    "prompts.max_seconds=0": "prompts.max_seconds is above 0",
    "knobs.alpha=-1": "knobs: alpha must lie between 0 and 1000",
    "rollout.batch=10001": "rollout.batch lies between 1 and 10,000",
    "device.threads=-1": r"device.threads lies between 0 \(every core\)",
    "device.threads=9999": r"device.threads lies between 0 \(every core\)",
    "reward.models={loudness=0.0}": "reward.models names at least one score",
    "reward.fallback={loudness=0.0}": "reward.fallback has no weight",
}


@pytest.mark.parametrize("change", IMPOSSIBLE)
def test_a_value_that_cannot_be_is_refused(write, change: str) -> None:
    with pytest.raises(ProfileError, match=rf"^mine\.toml: {IMPOSSIBLE[change]}") as caught:
        load(write(""), [change])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["rollout.sigma_min", "schedule.eta", "knobs.clip_range"])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1" + 400 * "0"])
def test_a_number_that_no_float_holds_is_refused(write, key: str, value: str) -> None:
    section, name = key.split(".")
    told = refused(write(""), f"{key}={value}")
    assert told == f"mine.toml [{section}]: {name} takes a finite number, not {value[:40]}"


def test_nesting_without_end_is_refused(write) -> None:
    assert "is not valid TOML" in refused(write("name = " + 5000 * "["))


def test_group_advantages_need_groups(write) -> None:
    path = write("[rollout]\ngroup = 1\nantithetic = false\n")
    told = refused(path, "train.advantage=group")
    assert "train.advantage = 'group' needs rollout.group of at least 2, not 1" in told


# --- what an algorithm can do with ----------------------------------------------


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ((), "group"),
        (("train.algorithm=rwr",), "group"),
        (("train.algorithm=rwr_raw",), "raw"),
        (("train.algorithm=rwr_raw", "rollout.group=1", "rollout.antithetic=false"), "raw"),
        (("rollout.group=1", "rollout.antithetic=false"), "batch"),
        (("train.advantage=per_prompt",), "per_prompt"),
        (("train.algorithm=rwr", "train.advantage=raw"), "raw"),
    ],
)
def test_auto_is_the_algorithms_own_advantage(write, changes: tuple[str, ...], kind: str) -> None:
    assert load(write(""), changes).advantage == kind


@pytest.mark.parametrize("algorithm", ["ddpo", "dpok", "klinr", "rwr", "rwr_raw"])
@pytest.mark.parametrize(
    "change", ["penalty=loss", "penalty=reward", "penalty_norm=l2", "penalty_levels=any"]
)
def test_a_penalty_that_nothing_uses_is_refused(write, algorithm: str, change: str) -> None:
    told = refused(write(""), f"train.algorithm={algorithm}", f"train.{change}")
    key, value = change.split("=")
    assert f"{algorithm} has no penalty l for train.{key} = '{value}' to shape" in told
    assert told.endswith("choose one of dlpo, draft, onlydl")
    for penalised in ("dlpo", "onlydl"):
        assert load(write(""), [f"train.algorithm={penalised}", f"train.{change}"])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (("train.inner_epochs=2",), "needs train.inner_epochs = 1"),
        (("train.algorithm=klinr",), "take dpok, or leave it at 0"),
        (("train.window_seconds=0.01",), "lies between 0.1 and 600, not at 0.01"),
        (("train.window_seconds=-1",), "lies between 0.1 and 600, not at -1"),
        (("train.window_seconds=inf",), "window_seconds takes a finite number"),
    ],
)
def test_a_window_that_would_bias_is_refused(write, changes: tuple[str, ...], told: str) -> None:
    assert told in refused(write(""), "train.window_seconds=0.5", *changes)
    for algorithm in ("dlpo", "ddpo", "dpok", "rwr", "onlydl"):
        fine = load(write(""), ["train.window_seconds=0.5", f"train.algorithm={algorithm}"])
        assert fine.train.window_seconds == 0.5


RECORDED = ("train.penalty_source=data", "prompts.corpus=prepared/somewhere")


def test_recorded_speech_is_for_a_penalty_that_has_a_gradient(write) -> None:
    told = refused(write(""), *RECORDED, "train.penalty=reward")
    assert "train.penalty = 'reward' with penalty_source = 'data' teaches only noise" in told
    assert "'loss' or 'both', or the source 'sample'" in told
    assert load(write(""), [*RECORDED, "train.penalty=loss"]).train.penalty_source == "data"
    told = refused(write(""), *RECORDED, "train.algorithm=ddpo")
    assert "ddpo has no penalty l for train.penalty_source = 'data' to shape" in told


@pytest.mark.parametrize("kind", ["batch", "per_prompt", "group"])
def test_raw_weights_are_raw(write, kind: str) -> None:
    told = refused(write(""), "train.algorithm=rwr_raw", f"train.advantage={kind}")
    assert f"train.advantage is 'raw' or left out, not '{kind}'; rwr takes any" in told
    assert load(write(""), ["train.algorithm=rwr", f"train.advantage={kind}"]).advantage == kind


@pytest.mark.parametrize("change", ["reward.models={wer=-1.0}", "reward.fallback={wer=-1.0}"])
def test_raw_weights_are_not_negative(write, change: str) -> None:
    told = refused(write(""), "train.algorithm=rwr_raw", change)
    assert "the weight of wer is above 0; rwr takes either sign" in told
    assert load(write(""), ["train.algorithm=rwr", change])


ENSEMBLE = "reward={combine='ensemble', models={distillmos=1.0, wer=-1.0}}"


def test_an_ensemble_is_of_two_rewards_or_more(write) -> None:
    spec = load(write(""), [ENSEMBLE, "reward.spread=0"]).reward
    assert (spec.combine, spec.spread) == ("ensemble", 0.0)
    told = refused(write(""), ENSEMBLE, "reward.models.wer=0.0")
    assert "reward.models names at least two of a weight other than 0" in told
    told = refused(write(""), ENSEMBLE, "reward.fallback={dnsmos=1.0}")
    assert "reward.fallback names at least two of a weight other than 0" in told
    assert load(write(""), [ENSEMBLE, "reward.fallback={dnsmos=1.0, cer=-1.0}"])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("evaluation.every=0", "from the evaluation at the start: evaluation.every is above 0"),
        ("evaluation.prompts=1", "at the start: evaluation.prompts is at least 2, not 1"),
        ("train.algorithm=rwr_raw", "rwr_raw takes rewards above 0, and an ensemble's lie on"),
    ],
)
def test_an_ensemble_needs_what_gives_it_a_scale(write, change: str, told: str) -> None:
    positive = "reward.models={distillmos=1.0, dnsmos=1.0}"
    assert told in refused(write(""), ENSEMBLE, positive, change)
    assert load(write(""), [positive, change])


# --- hash -----------------------------------------------------------------------


def test_the_hash_is_the_same_for_the_same_settings(write) -> None:
    one = load(write("seed = 1\n[train]\nupdates = 3\n", "one.toml"))
    other = load(write("[train]\nupdates=3 # a comment\n", "other.toml"), ["seed=1"])
    assert one.hash() == other.hash()
    assert len(one.hash()) == 12
    assert int(one.hash(), 16) >= 0


@pytest.mark.parametrize(
    "change", ["seed=1", "knobs.beta=1.5", "reward.models={wer=-1}", "judges.models=[]", "name=b"]
)
def test_any_setting_changes_the_hash(write, change: str) -> None:
    path = write("")
    assert load(path, [change]).hash() != load(path).hash()


# --- pretraining ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("steps=0", "steps is at least 1, not 0"),
        ("batch=0", "batch is at least 1, not 0"),
        ("window_frames=0", "window_frames is at least 1, not 0"),
        ("save_every=0", "save_every is at least 1, not 0"),
        ("evaluate_every=0", "evaluate_every is at least 1, not 0"),
        ("low_noise=1.5", "low_noise lies between 0 and 1"),
        ("ema=-0.1", "ema lies between 0 and 1"),
        ("ema=nan", "ema takes a finite number, not nan"),
        ("device.threads=-1", "device.threads lies between 0 (every core) and 1024, not at -1"),
        ("size=medium", "size is one of narrow, base-light, base, large, not 'medium'"),
        ("front_end_steps=-1", "front_end_steps is 0 or more, not -1"),
        ("front_end_batch=0", "front_end_batch is at least 1, not 0"),
        ("report_every=0", "report_every is at least 1, not 0"),
        ("spectral_weight=-0.1", "spectral_weight is 0 or more, not -0.1"),
        ("x0_mel_weight=nan", "x0_mel_weight takes a finite number, not nan"),
        ("levels=db", "levels is one of uniform, snr, not 'db'"),
        ("front_end=frosen", "front_end is one of trained, frozen, not 'frosen'"),
        ("compile_mode=fast", "compile_mode is one of default, reduce-overhead, max-autotune"),
        ("snr_low_db=28", "snr_low_db and snr_high_db rise from -60 at the least to 60 at the"),
        ("snr_high_db=61", "not from -25 to 61"),
        ("chain_weight=-1", "chain_weight is 0 or more, not -1"),
        ("chain_trained=0", "chain_trained is at least 1, not 0"),
        ("chain_batch=0", "chain_batch is at least 1, not 0"),
        ("chain_weight=1", "name it, such as schedule.kind = 'snr'"),
        ("schedule.eta=2", "schedule.eta lies between 0 and 1, not at 2"),
        ("updates=5", "unknown key 'updates'"),
        ("device.device=0", "device takes a text in quotes, not 0"),
    ],
)
def test_a_bad_pretraining_profile_is_refused(write, change: str, told: str) -> None:
    with pytest.raises(ProfileError) as caught:
        load_pretrain(write("", "voice.toml"), [change])
    assert told in str(caught.value)
    assert str(caught.value).startswith("voice.toml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (("train.through=1",), "train.through is at least 2, not 1"),
        (("train.penalty=reward",), "draft has l beside the reward, whatever train.penalty says"),
        (("train.window_seconds=1",), "whose reward hears the whole clip"),
        (
            ("reward.combine=ensemble", "reward.models={distillmos=1.0, wer=-1.0}"),
            "draft follows the gradient of a sum: reward.combine is 'sum'",
        ),
    ],
)
def test_what_draft_would_not_read_is_refused(write, changes: tuple[str, ...], told: str) -> None:
    with pytest.raises(ProfileError) as caught:
        load(write(""), ["train.algorithm=draft", "train.inner_epochs=1", *changes])
    assert told in str(caught.value)


def test_only_draft_reads_how_far_its_gradient_goes(write) -> None:
    with pytest.raises(ProfileError, match=r"train\.through = 5 is read by draft alone"):
        load(write(""), ["train.through=5"])
    assert load(write(""), ["train.through=5", "train.algorithm=draft"]).train.through == 5


def test_a_chain_speaks_no_more_windows_than_the_batch_has(write) -> None:
    changes = ["chain_weight=1", "schedule.kind=snr", "batch=4"]
    with pytest.raises(ProfileError, match="chain_batch = 8 are windows of a batch of 4: raise"):
        load_pretrain(write("", "voice.toml"), changes)
    assert load_pretrain(write("", "voice.toml"), [*changes, "chain_batch=4"]).chain_batch == 4


def test_a_session_is_no_pretraining_profile(write) -> None:
    with pytest.raises(ProfileError, match="unknown key 'rollout'"):
        load_pretrain(PROFILES / "quickstart.toml")


# --- what nobody would write ----------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('name = "a\\u001b[31m"', r"name takes a text without control characters, not 'a\x1b"),
        ('runs = "a\\u0000"', "runs takes a text without control characters"),
        ("seed = " + "9" * 400, "seed takes a whole number of at most 18 digits"),
        ("seed = " + "9" * 5000, "is not valid TOML"),
        ("seed = " + "[" * 100_000, "is not valid TOML"),
        ("# " + "x" * 1_000_000, "it is longer than 1,000 kB"),
        ("a." * 30_000 + "a = 1", "a line of it has more than 5,000 dots"),
        (f'seed = "{"x" * 9000}"', "x..."),
    ],
)
def test_a_file_that_nobody_would_write_is_refused(write, text: str, told: str) -> None:
    with pytest.raises(ProfileError) as caught:
        load(write(text, "odd.toml"))
    assert told in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 100_000])
def test_a_change_that_cannot_be_read_is_refused(write, value: str) -> None:
    with pytest.raises(ProfileError, match="--set seed: its value cannot be read"):
        load(write("", "odd.toml"), [f"seed={value}"])


def test_half_a_character_is_refused(write) -> None:
    """As a path on the command line may hold it; TOML could not keep it."""
    with pytest.raises(ProfileError, match="runs takes a text without control characters"):
        load(write("", "odd.toml"), ["runs=a\udcff"])


def test_what_never_ends_is_not_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "zero.toml").symlink_to("/dev/zero")
    with pytest.raises(ProfileError, match="longer than 1,000 kB"):
        load(tmp_path / "zero.toml")
