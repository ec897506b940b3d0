from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from dlpo_tui import cli
from engine import explain
from engine.profile import PretrainProfile, Profile

Call = Callable[..., Result]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs the command line in a folder with one profile of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "60")
    Path("profiles").mkdir()
    Path("profiles/mine.toml").write_text('# Of my own:\nname = "mine"\n[train]\nupdates = 7\n')
    return lambda *arguments: CliRunner().invoke(cli.app, ["profiles", *map(str, arguments)])


def refused(result: Result) -> str:
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("dlpo-tui: ")
    return line


# --- the list -------------------------------------------------------------------


def test_the_list_has_those_here_and_those_beside_the_source(call: Call) -> None:
    result = call()
    assert result.exit_code == 0, result.output
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    names = [line.split()[0] for line in lines if not line.startswith(" ")]
    assert names[0] == "mine"
    assert {"quickstart", "ljspeech"} <= set(names)
    assert lines[0].endswith(str(Path("profiles/mine.toml")))
    assert lines[1] == "    Of my own"
    assert result.stderr == ""


def test_an_empty_list_says_what_a_profile_may_hold(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explain, "listed", lambda: ())
    result = call()
    assert (result.exit_code, result.stdout) == (0, "")
    assert "dlpo-tui profiles explain" in result.stderr


# --- check ----------------------------------------------------------------------


def test_a_fine_profile_is_ok_whichever_kind_it_is(call: Call) -> None:
    Path("voice.toml").write_text("steps = 5\n")
    assert call("check", "profiles/mine.toml").stdout == (
        "ok: profiles/mine.toml is a profile of a session\n"
    )
    assert call("check", "voice.toml").stdout == "ok: voice.toml is a profile of pretraining\n"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("train.updatse=3", "unknown key 'updatse'; did you mean 'updates'?"),
        ("train.updates=0", "train.updates is at least 1"),
        ("train.algorithm=dlop", "did you mean 'dlpo'?"),
        ("judges.models=['loudnes']", "did you mean 'loudness'?"),
        ("judges.models=['distillmos']", "The judge must not be the reward"),
        ("reward.fallback={mos=1.0}", "There is no score 'mos'"),
    ],
)
def test_what_is_wrong_is_one_sentence(call: Call, change: str, told: str) -> None:
    assert told in refused(call("check", "profiles/mine.toml", "--set", change))


def test_a_missing_profile_names_the_nearest(call: Call) -> None:
    assert "did you mean profiles/mine.toml?" in refused(call("check", "profiles/mien.toml"))


# --- explain --------------------------------------------------------------------


def test_one_key_is_told_as_it_is_written(call: Call) -> None:
    result = call("explain", "train.updates")
    assert result.exit_code == 0, result.output
    assert [line.rstrip() for line in result.stdout.splitlines()][-2:] == [
        "train.updates = 100  whole number",
        "    Updates after which the session is finished.",
    ]


def test_the_value_of_a_profile_stands_in_place_of_the_default(call: Call) -> None:
    told = call("explain", "--of", "profiles/mine.toml").stdout
    assert "train.updates = 7  default 100  whole number" in told
    assert 'name = "mine"  default "unnamed"  text' in told
    assert "train.inner_epochs = 1  whole number" in told


@pytest.mark.parametrize(("option", "kind"), [((), Profile), (("--pretrain",), PretrainProfile)])
def test_without_a_key_every_one_is_explained(
    call: Call, option: tuple[str, ...], kind: type[Profile] | type[PretrainProfile]
) -> None:
    result = call("explain", *option)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    for section in explain.sections(kind):
        for key in section.keys:
            assert any(line.startswith(f"{key.name} = ") for line in lines)
    assert max(map(len, lines)) <= 60


def test_a_choice_lists_what_may_stand_there(call: Call) -> None:
    told = call("explain", "schedule.sampler").stdout
    assert "    one of: ancestral, ddim" in told


def test_an_unknown_key_names_the_nearest(call: Call) -> None:
    assert "did you mean 'train.updates'?" in refused(call("explain", "updatse"))
    assert "no key 'rollout'" in refused(call("explain", "rollout", "--pretrain"))
