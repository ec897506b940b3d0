"""Real voices, tiny ones: what is scored, and what is not scored again."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from engine import checkpoint
from engine import messages as m
from engine.comparison import schedule_of
from engine.data import CorpusError, PreparedCorpus, open_corpora
from engine.diffusion.schedule import build
from engine.evaluation import evaluate
from engine.journal import Journal
from engine.profile import ProfileError
from engine.rewards.base import ScoreError
from engine.rewards.loudness import Loudness
from engine.study import ground, judging, scores
from engine.study.ground import Ground
from engine.study.plan import Run, Study
from engine.study.scores import DIFFUSION, Card
from engine.synthesis import utter
from tests.voices import write_corpus, write_voice

MakeStudy = Callable[..., Study]
CPU = torch.device("cpu")


class Spread:
    """Scores a clip by its spread; fails on the second prompt where it is told to."""

    sample_rate_hz, differentiable = 22_050, False

    def __init__(self, name: str, fails: bool = False) -> None:
        self.name, self.fails, self.clips = name, fails, 0
        self.columns = (m.Column(name, "MOS 1-5"),)

    def __call__(self, waves: Tensor, texts: tuple[str, ...]) -> Tensor:
        self.clips += len(waves)
        if self.fails and "Now." in texts:
            raise ScoreError("it is too dull")
        return waves.std(-1, keepdim=True)


class Loader:
    """Makes score models, and counts which."""

    def __init__(self, **made: Spread) -> None:
        self.made, self.loaded = made, list[str]()

    def __call__(self, name: str) -> Spread:
        self.loaded.append(name)
        return self.made.setdefault(name, Spread(name))


pytestmark = pytest.mark.usefixtures("restored_threads")


@pytest.fixture
def study(make: MakeStudy) -> Study:
    return make(seeds=(0,))


@pytest.fixture
def base(study: Study) -> Ground:
    return ground.prepare(study, 2, None)


@pytest.fixture
def corpus(tmp_path: Path) -> PreparedCorpus:
    return open_corpora([write_corpus(tmp_path / "a"), write_corpus(tmp_path / "b", "Somebody")])


def finish(run: Run, seed: int) -> Run:
    """A finished run whose end is another tiny voice."""
    (run.folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    write_voice(run.end, ("anna", "kathleen"), seed)
    return run


def scored(
    study: Study, base: Ground, runs: Sequence[Run], models: Sequence[str], load: Loader
) -> dict[str, Card]:
    return scores.score(study, base, runs, models, load)  # type: ignore[arg-type]


# --- the ground -----------------------------------------------------------------


def test_prompts_are_those_that_no_run_trains_on(study: Study, base: Ground) -> None:
    assert [prompt.text for prompt in base.prompts] == ["Yes.", "Now."]
    assert (base.speaker, base.seed, base.schedule.timesteps) == ("anna", 1234, 3)
    assert base.notices == ()
    more = ground.prepare(study, 3, None)
    assert len(more.prompts) == 2
    assert more.notices == ("there are 2 held-out prompts and not 3",)


def test_prompts_that_are_too_long_are_left_out(make: MakeStudy, tmp_path: Path) -> None:
    (tmp_path / "evaluation.txt").write_text(f"{'Go on and on. ' * 30}\nYes.\n")
    study = make("prompts.max_seconds=1.0")
    assert [prompt.text for prompt in ground.prepare(study, 2, None).prompts] == ["Yes."]


def test_where_all_prompts_are_trained_on_there_is_no_ground(
    make: MakeStudy, tmp_path: Path
) -> None:
    (tmp_path / "evaluation.txt").write_text("Wait.\n")
    with pytest.raises(ProfileError, match=r"is in prompts\.train as well"):
        ground.prepare(make(), 2, None)


def test_a_corpus_of_which_nothing_is_held_out_is_no_ground(
    study: Study, corpus: PreparedCorpus
) -> None:
    used = tuple(replace(clip, held_out=False) for clip in corpus.clips)
    with pytest.raises(CorpusError, match="no held-out clip"):
        ground.prepare(study, 2, replace(corpus, clips=used))


def test_recordings_are_heard_as_whom_the_voice_knows(study: Study, corpus: PreparedCorpus) -> None:
    found = ground.prepare(study, 2, corpus)
    assert found.recorded is not None
    assert found.recorded.speakers == {"kathleen": "kathleen", "Somebody": "anna"}
    assert found.recorded.data.speaker.tolist() == [1, 0]
    clips = corpus.held_out
    assert found.recorded.ids == tuple(clip.id for clip in clips)
    audio = torch.cat([corpus.wave(clip) for clip in clips])
    assert torch.equal(found.recorded.data.audio.float() / 32768, audio)
    assert "diffusion loss: held-out recordings: 2; kathleen as kathleen, Somebody as anna" in (
        found.notices
    )
    one = ground.prepare(study, 1, corpus)
    assert one.recorded is not None
    assert len(one.recorded.ids) == 1


# --- the scores -----------------------------------------------------------------


def test_every_voice_says_the_same_prompts_under_the_same_noise(study: Study, base: Ground) -> None:
    run = finish(study.runs[0], seed=5)
    cards = scores.score(study, base, [run], ["loudness"], lambda name: Loudness(CPU))
    assert list(cards) == ["base", "ddpo-0"]
    voice = checkpoint.load(run.end)
    schedule = build(schedule_of(voice, 3))
    alone = evaluate(
        voice, schedule, utter(voice.model, ["Yes.", "Now."], 0, 1.0), [Loudness(CPU)], 1234, 4
    )
    told = cards["ddpo-0"]["loudness"].values["loudness"]
    assert told == pytest.approx(alone.scores.values[:, 0].tolist())
    assert told != cards["base"]["loudness"].values["loudness"]


def test_nothing_is_scored_twice_and_a_new_model_scores_what_is_there(
    study: Study, base: Ground
) -> None:
    runs = [finish(run, seed) for seed, run in enumerate(study.runs, 1)]
    load = Loader()
    first = scored(study, base, runs[:1], ["one"], load)
    assert (load.loaded, load.made["one"].clips) == (["one"], 4)
    assert scored(study, base, runs[:1], ["one"], Loader()) == first
    again = Loader()
    both = scored(study, base, runs, ["one", "two"], again)
    assert again.made["one"].clips == 2  # the second run's
    assert again.made["two"].clips == 6
    assert both["ddpo-0"]["one"] == first["ddpo-0"]["one"]
    none = Loader()
    assert scored(study, base, runs, ["two", "one"], none) == both
    assert none.loaded == []
    assert list(scored(study, base, runs, ["two", "one"], none)["base"]) == ["two", "one"]
    assert list(scored(study, base, runs, ["two"], none)["dlpo-0"]) == ["two"]


def test_another_end_or_another_ground_is_scored_anew(study: Study, base: Ground) -> None:
    run = finish(study.runs[0], seed=1)
    scored(study, base, [run], ["one"], Loader())
    finish(run, seed=2)
    load = Loader()
    scored(study, base, [run], ["one"], load)
    assert load.made["one"].clips == 2
    fewer, load = ground.prepare(study, 1, None), Loader()
    scored(study, fewer, [run], ["one"], load)
    assert load.made["one"].clips == 2  # one prompt, both voices


def test_a_damaged_file_of_scores_is_no_score(study: Study, base: Ground) -> None:
    first = scored(study, base, [], ["one"], Loader())
    path = scores.file_of(study.folder, "base")
    for text in ("", "[]", '{"one": {}}', path.read_text()[:-20]):
        path.write_text(text)
        assert scored(study, base, [], ["one"], Loader()) == first


def test_the_diffusion_loss_is_kept_like_any_score(study: Study, corpus: PreparedCorpus) -> None:
    base = ground.prepare(study, 2, corpus)
    run = finish(study.runs[0], seed=3)
    cards = scored(study, base, [run], [], Loader())
    losses = {name: card[DIFFUSION].values[DIFFUSION] for name, card in cards.items()}
    assert all(len(values) == 2 for values in losses.values())
    assert losses["base"] != losses["ddpo-0"]
    assert all(0.1 < value < 10 for values in losses.values() for value in values if value)
    assert scored(study, base, [run], [], Loader()) == cards


def test_a_clip_that_failed_has_no_score_and_a_sentence(study: Study, base: Ground) -> None:
    load = Loader(one=Spread("one", fails=True))
    cards = scored(study, base, [], ["one", "two"], load)
    part = cards["base"]["one"]
    assert part.values["one"][0] is not None
    assert part.values["one"][1] is None
    assert part.failures == ("one failed on clip 2 of 2: it is too dull.",)
    assert cards["base"]["two"].failures == ()
    assert json.loads(scores.file_of(study.folder, "base").read_text())["one"]["failures"]


def test_progress_ends_where_it_said_it_would(study: Study, corpus: PreparedCorpus) -> None:
    base = ground.prepare(study, 2, corpus)
    told: list[tuple[int, int, str]] = []
    scores.score(
        study,
        base,
        [],
        ["one"],
        Loader(),
        lambda *now: told.append(now),  # type: ignore[arg-type]
    )
    # 2 prompts x (3 timesteps + 1 model) + 2 recordings
    assert told[-1] == (10, 10, "base: diffusion_loss")
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)


# --- to the table ---------------------------------------------------------------


def write_end(run: Run, reason: m.Reason = "finished") -> None:
    journal = Journal(run.folder)
    took = {"rollout": 60.0}
    for update in (1, 2):
        stats = m.UpdateStats(0, None, None, None, 1, 0, 0, 1, 0, 0, 0, took)
        journal.write(m.UpdateFinished(update, stats))
    journal.write(m.SessionEnded(2, reason))
    journal.close()


def test_finished_runs_come_to_the_table_and_others_do_not(
    make: MakeStudy, corpus: PreparedCorpus
) -> None:
    study = make(seeds=(0, 1))
    ddpo, dlpo, lost, stopped = study.runs
    for seed, run in enumerate((ddpo, dlpo, lost, stopped), 1):
        finish(run, seed)
        write_end(run, "stopped" if run is stopped else "finished")
    lost.end.unlink()
    load = Loader()
    ground_of = ground.prepare(study, None, corpus)
    done = judging.judge(study, ground_of, ["one"], load)  # type: ignore[arg-type]
    assert done.runs == (ddpo, dlpo)
    about = {"command": "again", "machines": [], "reward": {"ddpo": "one"}}
    table = judging.tabulate(study, done, about, ["a notice"])
    base, first, second = table.rows
    assert [row.name for row in table.rows] == ["base", "ddpo", "dlpo"]
    assert (first.seeds, first.updates, first.minutes, second.seeds) == ((0,), 2, 2.0, (0,))
    values = done.cards["ddpo-0"]["one"].values["one"]
    mean = first.cells["one"].mean
    assert mean is not None
    assert mean.mean == pytest.approx(sum(value or 0 for value in values) / 2)
    assert set(base.cells) == {"one", DIFFUSION}
    assert table.notices[:2] == (
        "a notice",
        f"ddpo-1 is finished, but {lost.end} is not there; take the run's folder away, and it "
        "begins anew",
    )
    judging.write(study, table)
    told = json.loads((study.folder / "table.json").read_text())
    assert (told["prompts"], told["noise_seed"]) == (["Yes.", "Now."], 1234)
    assert "| `dlpo` | 1 | 2 | 2.0 | 0 |" in (study.folder / "table.md").read_text()


def test_many_failures_of_one_voice_are_counted() -> None:
    failures = tuple(f"one failed on clip {at} of 9" for at in range(1, 6))
    card = {"one": scores.Part("", (), {}, failures)}
    assert judging.failed(card) == [*failures[:3], "and 2 more like it"]
