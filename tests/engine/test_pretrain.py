from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from engine import checkpoint
from engine.data import PreparedCorpus, open_corpora
from engine.model.config import ModelConfig
from engine.own_schedule import schedule_for
from engine.pretrain import TOO_MANY, Diverged, Progress, Trainer, in_decoder
from engine.profile import DeviceSpec, PretrainProfile, ScheduleSpec
from tests.voices import tiny_config, write_corpus, write_voice

SPEC = PretrainProfile(
    steps=4,
    batch=2,
    window_frames=8,
    warmup=1,
    save_every=100,
    evaluate_every=100,
    device=DeviceSpec(device="cpu", threads=1),
)
Make = Callable[..., Trainer]


pytestmark = pytest.mark.usefixtures("restored_threads")


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ModelConfig, "narrow", tiny_config)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> PreparedCorpus:
    return PreparedCorpus.open(write_corpus(tmp_path_factory.mktemp("corpus") / "kathleen"))


@pytest.fixture
def make(corpus: PreparedCorpus, tmp_path: Path) -> Make:
    return lambda folder="a", **changes: Trainer(
        replace(SPEC, **changes), corpus, tmp_path / folder
    )


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    named = {"model": trainer.model, "average": trainer.average, "head": trainer.head}
    return {f"{n}.{k}": v.clone() for n, m in named.items() for k, v in m.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(v, other[k]) for k, v in one.items())


def ignore(progress: Progress) -> None: ...


# --- training -------------------------------------------------------------------


def test_training_lowers_the_loss(make: Make) -> None:
    told: list[Progress] = []
    trainer = make(steps=24, batch=3, ema=0.9, learning_rate=5e-3)
    before = trainer.judge("decoder").loss
    trainer.run(told.append)
    first, last = (sum(p.loss or 0 for p in part) / 6 for part in (told[:6], told[-6:]))
    assert [p.step for p in told] == list(range(1, 25))
    assert last < 0.9 * first
    assert trainer.judge("decoder").loss < before
    assert all(list(p.losses) == ["noise", "duration", "mel"] for p in told)
    weights = {"noise": 1.0, "duration": 1.0, "mel": 0.1}
    for p in told:
        assert p.loss == pytest.approx(sum(weights[k] * v for k, v in p.losses.items()))


def test_the_same_seed_trains_the_same_voice(make: Make) -> None:
    one, same_again, other = make("a"), make("b"), make("c", seed=1)
    for trainer in (one, same_again, other):
        trainer.run(ignore)
    assert same(weights(one), weights(same_again))
    assert not same(weights(one), weights(other))


def test_resuming_gives_the_weights_of_a_training_never_stopped(make: Make) -> None:
    whole = make("whole")
    whole.run(ignore)
    stopped = make("stopped")
    for _ in range(2):
        stopped.one_step()
    stopped.save()
    resumed = make("stopped")
    torch.manual_seed(99)  # whatever else a process has drawn
    assert resumed.resume()
    assert resumed.step == 2
    resumed.run(ignore)
    assert resumed.step == whole.step == 4
    assert same(weights(resumed), weights(whole))


def test_a_file_where_the_folder_should_be_is_noticed_before_the_training(
    make: Make, tmp_path: Path
) -> None:
    (tmp_path / "a").write_text("mine")
    with pytest.raises(NotADirectoryError):
        make("a")
    assert (tmp_path / "a").read_text() == "mine"


def test_a_fresh_folder_has_nothing_to_resume(make: Make) -> None:
    trainer = make()
    before = weights(trainer)
    assert not trainer.resume()
    assert trainer.step == 0
    assert same(before, weights(trainer))


def test_a_state_of_another_size_is_refused_in_one_sentence(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    make().save()
    monkeypatch.setattr(ModelConfig, "narrow", lambda count: replace(tiny_config(count), u_pre=16))
    with pytest.raises(ValueError, match=r"state\.safetensors") as caught:
        make().resume()
    assert "\n" not in str(caught.value)


def test_an_interrupt_saves_before_it_passes_on(make: Make) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.step == 2:
            raise KeyboardInterrupt

    trainer = make()
    with pytest.raises(KeyboardInterrupt):
        trainer.run(interrupt)
    again = make()
    assert again.resume()
    assert again.step == 2
    assert same(weights(again), weights(trainer))


def test_what_is_saved_is_the_average_and_its_card(make: Make) -> None:
    trainer = make()
    path = trainer.run(ignore)
    voice = checkpoint.load(path)
    average = trainer.average.state_dict()
    assert all(torch.equal(v, average[k]) for k, v in voice.model.state_dict().items())
    assert not same(
        {k: v for k, v in average.items() if "num_batches" not in k},
        {k: v for k, v in trainer.model.state_dict().items() if "num_batches" not in k},
    )
    assert voice.card.speakers == ("kathleen",)
    assert voice.card.about["optimizer_steps"] == 4
    assert voice.card.about["pretraining"]["batch"] == 2
    with safe_open(path, "pt") as file:  # the head and the optimiser are no part of a voice
        assert not [key for key in file.keys() if key.startswith(("head", "optimizer"))]  # noqa: SIM118


def test_the_average_moves_by_its_decay(make: Make) -> None:
    trainer = make(ema=0.5)
    key = "decoder.u_pre.weight" if "decoder.u_pre.weight" in trainer.model.state_dict() else next(
        k for k in trainer.model.state_dict() if k.startswith("decoder.") and k.endswith("weight")
    )  # fmt: skip
    start = trainer.average.state_dict()[key].clone()
    with torch.no_grad():
        trainer.model.state_dict()[key].add_(1.0)
    trainer.average_in()  # step 0: decay (1 + 0) / (10 + 0) = 0.1
    assert torch.allclose(trainer.average.state_dict()[key], start + 0.9, atol=1e-5)
    trainer.step = 1000
    trainer.average_in()  # now the profile's 0.5
    assert torch.allclose(trainer.average.state_dict()[key], start + 0.95, atol=1e-5)


def test_held_out_figures_are_the_averages_and_always_of_the_same_windows(make: Make) -> None:
    trainer = make()
    assert trainer.judge("decoder") == trainer.judge("decoder") == make("b").judge("decoder")
    trainer.one_step()
    assert not trainer.average.training
    found = trainer.judge("decoder")
    with torch.no_grad():
        for p in trainer.model.parameters():
            p.zero_()
    assert trainer.judge("decoder") == found


def test_held_out_losses_and_states_come_as_often_as_asked(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []
    monkeypatch.setattr(Trainer, "save", lambda self: saved.append(self.step) or self.folder)
    told: list[Progress] = []
    make(evaluate_every=2, save_every=3).run(told.append)
    assert [p.step for p in told if p.held_out is not None] == [2, 4]
    assert saved == [3, 4]


def test_the_learning_rate_warms_up_and_falls_to_its_end(make: Make) -> None:
    trainer = make(steps=100, warmup=10, learning_rate=1e-2, final_learning_rate=1e-4)
    rates = []
    for trainer.step in range(101):
        rates.append(trainer.rate())
    assert rates[0] == pytest.approx(1e-3)
    assert max(rates) < 1e-2
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[100] == pytest.approx(1e-4)


def test_minutes_end_a_training_and_its_fall(make: Make) -> None:
    trainer = make(steps=1000, minutes=2.0, warmup=0, final_learning_rate=0.0)
    trainer.seconds = 60.0
    assert trainer.rate() == pytest.approx(trainer.spec.learning_rate / 2)
    assert not trainer.finished
    trainer.seconds = 120.0
    assert trainer.rate() == pytest.approx(0.0)
    assert trainer.finished


@pytest.mark.parametrize("spoilt", ["loss", "gradient"])
def test_what_is_not_finite_leaves_the_weights_alone(
    make: Make, monkeypatch: pytest.MonkeyPatch, spoilt: str
) -> None:
    trainer = make()
    losses = trainer.losses

    def spoil() -> tuple[dict[str, torch.Tensor], float]:
        parts, seconds = losses()
        if spoilt == "loss":
            return {**parts, "noise": parts["noise"] * float("nan")}, seconds
        parts["noise"].register_hook(lambda gradient: gradient * float("inf"))
        return parts, seconds

    monkeypatch.setattr(trainer, "losses", spoil)
    before = {k: v.clone() for k, v in trainer.model.named_parameters()}
    assert math.isnan(trainer.one_step()[0]["loss"]) == (spoilt == "loss")
    assert trainer.step == 1
    assert all(torch.equal(v, before[k]) for k, v in trainer.model.named_parameters())


def test_steps_left_out_are_told_and_a_training_that_stands_still_ends_with_a_sentence(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make(report_every=TOO_MANY, evaluate_every=1000, save_every=1000, steps=1000)
    losses, told = trainer.losses, []
    good = {3, 7}

    def spoil() -> tuple[dict[str, torch.Tensor], float]:
        parts, seconds = losses()
        factor = 1.0 if trainer.step in good else float("nan")
        return {**parts, "noise": parts["noise"] * factor}, seconds

    monkeypatch.setattr(trainer, "losses", spoil)
    with pytest.raises(Diverged, match=f"none of the last {TOO_MANY} .* up to step {2 * TOO_MANY}"):
        trainer.run(told.append)
    assert [progress.left_out for progress in told] == [TOO_MANY - len(good)]
    assert not (trainer.folder / "voice.safetensors").exists()  # nothing saved is written over


# --- going on from another voice ------------------------------------------------


def test_a_training_goes_on_from_a_voice_with_fewer_speakers(tmp_path: Path) -> None:
    start = write_voice(tmp_path / "start.safetensors", ("anna", "ben"))
    corpora = open_corpora(
        [write_corpus(tmp_path / name, name) for name in ("one", "two", "three")]
    )
    trainer = Trainer(replace(SPEC, start=str(start)), corpora, tmp_path / "out")
    old = checkpoint.load(start).model.state_dict()
    new = trainer.model.state_dict()
    table = "speaker_embedding.weight"
    assert all(torch.equal(v, new[k]) for k, v in old.items() if k != table)
    assert torch.equal(new[table], old[table][[0, 1, 1]])  # whoever is new starts as the last
    voice = checkpoint.load(trainer.save())
    assert voice.card.speakers == ("one", "two", "three")


def test_a_start_that_is_no_voice_is_one_sentence(make: Make, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no checkpoint .*away\.safetensors"):
        make(start=str(tmp_path / "away.safetensors"))


def test_the_bundled_name_is_understood_as_a_start(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "BUNDLED", write_voice(tmp_path / "bundled.safetensors"))
    assert make(start="bundled").model.config == tiny_config()


def test_progress_is_plain_data(make: Make) -> None:
    told: list[Progress] = []
    make(steps=1).run(told.append)
    row = asdict(told[0])
    assert json.loads(json.dumps(row, allow_nan=False)) == row


# --- two phases -----------------------------------------------------------------

TWO = {
    "front_end_steps": 2,
    "front_end_batch": 2,
    "front_end": "frozen",
    "steps": 3,
    "levels": "snr",
    "spectral_weight": 0.1,
    "x0_mel_weight": 0.2,
}
HALVES = (False, True)
"""Front end, decoder."""


def half(trainer: Trainer, decoder: bool) -> dict[str, torch.Tensor]:
    """Parameters of one half of the model."""
    return {
        k: v.detach().clone()
        for k, v in trainer.model.named_parameters()
        if in_decoder(k) == decoder
    }


def test_the_first_phase_trains_the_front_end_and_the_second_the_decoder(make: Make) -> None:
    trainer = make(**TWO)
    front_end, decoder = (half(trainer, which) for which in HALVES)
    head = trainer.head.state_dict()["net.0.weight"].clone()
    for _ in range(2):
        losses, seconds = trainer.one_step()
        assert set(losses) == {"loss", "mel", "duration"}
        assert seconds == pytest.approx(trainer.data.seconds)  # both whole clips
        whole = float(losses["mel"] + 10 * losses["duration"])
        assert float(losses["loss"]) == pytest.approx(whole)
    assert same(half(trainer, True), decoder)
    assert not same(half(trainer, False), front_end)
    assert not torch.equal(trainer.head.state_dict()["net.0.weight"], head)
    trainer.enter()
    front_end = half(trainer, False)
    average = dict(trainer.average.named_parameters())
    assert all(torch.equal(v, average[k]) for k, v in front_end.items())
    losses, _ = trainer.one_step()
    assert set(losses) == {"loss", "noise", "spectral", "x0_mel"}
    weighed = float(losses["noise"] + 0.1 * losses["spectral"] + 0.2 * losses["x0_mel"])
    assert float(losses["loss"]) == pytest.approx(weighed)
    trainer.one_step()
    assert same(half(trainer, False), front_end)
    assert not same(half(trainer, True), decoder)
    assert trainer.phase == "decoder"


def test_a_front_end_that_is_trained_on_moves_in_both_phases(make: Make) -> None:
    trainer = make(**{**TWO, "front_end": "trained"})
    for _ in range(2):
        trainer.one_step()
    before = half(trainer, False)
    losses, _ = trainer.one_step()
    assert set(losses) == {"loss", "noise", "spectral", "x0_mel", "duration", "mel"}
    assert trainer.conditioned is None
    assert not same(half(trainer, False), before)


def test_the_lines_of_a_training_tell_its_phases_in_their_order(make: Make) -> None:
    told: list[Progress] = []
    make(**TWO, evaluate_every=2).run(told.append)
    assert [(p.phase, p.step, p.steps) for p in told] == [
        ("front end", 1, 5), ("front end", 2, 5), ("conditioning", 2, 2),
        ("decoder", 3, 5), ("decoder", 4, 5), ("decoder", 5, 5),
    ]  # fmt: skip
    assert [bool(p.held_out) for p in told] == [False, True, False, False, True, False]
    assert (told[1].held_out_bands, told[1].held_out_spectral) == ({}, None)
    assert len(told[4].held_out_bands) == 7
    assert (told[4].held_out_spectral or 0) > 0
    assert all(p.audio_seconds_per_second > 0 for p in told)


def test_a_line_of_several_steps_tells_their_means(make: Make) -> None:
    each: list[Progress] = []
    few: list[Progress] = []
    make("a", **TWO).run(each.append)
    make("b", **TWO, report_every=2).run(few.append)
    assert [(p.phase, p.step) for p in few] == [
        ("front end", 2), ("conditioning", 2), ("decoder", 4), ("decoder", 5),
    ]  # fmt: skip
    for line, parts in zip(few, (each[:2], each[2:3], each[3:5], each[5:]), strict=True):
        for name, value in line.losses.items():
            mean = sum(p.losses[name] for p in parts) / len(parts)
            assert value == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize("stopped_at", [1, 2, 3])
@pytest.mark.parametrize("front_end", ["frozen", "trained"])
def test_resuming_is_exact_within_and_between_the_phases(
    make: Make, stopped_at: int, front_end: str
) -> None:
    changes = {**TWO, "front_end": front_end, "steps": 2}

    def interrupt(progress: Progress) -> None:
        if progress.phase != "conditioning" and progress.step == stopped_at:
            raise KeyboardInterrupt

    whole = make("whole", **changes)
    whole.run(ignore)
    with pytest.raises(KeyboardInterrupt):
        make("stopped", **changes).run(interrupt)
    resumed = make("stopped", **changes)
    torch.manual_seed(99)
    assert resumed.resume()
    assert resumed.step == stopped_at
    resumed.run(ignore)
    assert resumed.step == whole.step == 4
    assert same(weights(resumed), weights(whole))


def test_an_interrupt_while_conditioning_is_computed_loses_nothing(make: Make) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.phase == "conditioning":
            raise KeyboardInterrupt

    trainer = make(**TWO)
    with pytest.raises(KeyboardInterrupt):
        trainer.run(interrupt)
    resumed = make(**TWO)
    assert resumed.resume()
    assert (resumed.step, resumed.phase) == (2, "decoder")
    assert same(weights(resumed), weights(trainer))


def test_a_state_of_other_phases_is_refused_in_one_sentence(make: Make) -> None:
    make(**TWO).save()
    with pytest.raises(ValueError, match="front_end_steps = 2, not 0; write 2, or") as caught:
        make(**{**TWO, "front_end_steps": 0}).resume()
    assert "\n" not in str(caught.value)


def test_each_phase_has_its_own_rate_and_the_second_what_minutes_are_left(make: Make) -> None:
    trainer = make(
        **{**TWO, "front_end_steps": 100, "steps": 1000}, warmup=10, minutes=3.0,
        learning_rate=1e-3, front_end_learning_rate=1e-2, final_learning_rate=1e-5,
    )  # fmt: skip
    rates = []
    for trainer.step in range(100):
        rates.append(trainer.rate())
    assert rates[0] == pytest.approx(1e-3, rel=0.01)
    assert rates[50] == pytest.approx((1e-2 + 1e-5) / 2)
    assert rates[99] < 2e-5
    trainer.step, trainer.seconds = 100, 60.0
    trainer.enter()
    assert trainer.front_end_seconds == 60.0
    assert trainer.rate() == pytest.approx(1e-4)  # its own warm-up
    trainer.step, trainer.seconds = 120, 120.0  # half of the two minutes left
    assert trainer.rate() == pytest.approx((1e-3 + 1e-5) / 2)
    trainer.seconds = 180.0
    assert trainer.rate() == pytest.approx(1e-5)
    assert trainer.finished


def test_half_precision_trains_the_decoder_on_kept_conditioning(make: Make) -> None:
    trainer = make(
        **{**TWO, "front_end_steps": 0},
        device=DeviceSpec(device="cpu", precision="bf16", threads=1),
    )
    before = half(trainer, True)
    losses, _ = trainer.one_step()
    assert trainer.conditioned is not None
    assert trainer.conditioned.dtype == torch.bfloat16
    assert float(losses["loss"]) > 0
    after = half(trainer, True)
    assert all(v.dtype == torch.float32 and bool(v.isfinite().all()) for v in after.values())
    assert not same(after, before)


def test_what_is_compiled_is_the_decoders_loss_in_the_profiles_mode(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def compile_nothing(function: Callable[..., object], mode: str) -> Callable[..., object]:
        def compiled(*args: object) -> object:
            asked.append(mode)
            return function(*args)

        return compiled

    monkeypatch.setattr(torch, "compile", compile_nothing)
    trainer = make(**TWO, compile=True, compile_mode="max-autotune")
    for _ in range(3):
        trainer.one_step()
    trainer.judge("decoder")
    assert asked == ["max-autotune"]


def test_a_training_goes_on_from_a_compact_file(make: Make, tmp_path: Path) -> None:
    trainer = make("far", **TWO)
    trainer.run(ignore)
    small = trainer.compact(tmp_path / "small.safetensors")
    assert small.stat().st_size < (tmp_path / "far" / "state.safetensors").stat().st_size / 2
    on = make("near", **{**TWO, "front_end_steps": 0, "steps": 1}, start=str(small))
    assert on.phase == "decoder"
    found, own = weights(on), weights(trainer)
    assert found.keys() == own.keys()
    assert all(torch.allclose(v.float(), own[k].float(), atol=2e-3) for k, v in found.items())
    before = half(on, True)
    on.run(ignore)
    assert not same(half(on, True), before)


def test_a_takeover_from_a_voice_leaves_its_front_end_as_it_is(make: Make, tmp_path: Path) -> None:
    start = write_voice(tmp_path / "voice.safetensors", ("anna",))
    trainer = make(**{**TWO, "front_end_steps": 0}, start=str(start))
    trainer.run(ignore)
    old, new = checkpoint.load(start), checkpoint.load(tmp_path / "a" / "voice.safetensors")
    theirs = old.model.state_dict()
    moved = [k for k, v in new.model.state_dict().items() if not torch.equal(v, theirs[k])]
    assert moved
    assert all(in_decoder(key) for key in moved)


# --- through the chain ----------------------------------------------------------

CHAIN = {
    "front_end": "frozen",
    "levels": "snr",
    "chain_weight": 2.0,
    "chain_trained": 2,
    "chain_batch": 2,
    "schedule": ScheduleSpec("snr", timesteps=3, sampler="ddim", eta=0.3),
}


def test_what_the_chain_says_comes_nearer_to_the_recordings(make: Make) -> None:
    told: list[Progress] = []
    trainer = make(**CHAIN, steps=30, batch=3, ema=0.8, learning_rate=1e-2, evaluate_every=15)
    before = trainer.judge("decoder").envelope
    trainer.run(told.append)
    assert before is not None
    found = [p.held_out_envelope for p in told if p.held_out_envelope is not None]
    assert len(found) == 2
    assert found[-1] < 0.9 * before
    for p in [p for p in told if p.phase == "decoder"]:
        assert list(p.losses) == ["noise", "envelope"]
        assert p.loss == pytest.approx(p.losses["noise"] + 2 * p.losses["envelope"])


def test_only_the_first_windows_of_a_batch_go_through_the_chain(make: Make) -> None:
    one = make("one", **{**CHAIN, "chain_batch": 1}, batch=2)
    both = make("both", **CHAIN, batch=2)
    first, second = one.one_step()[0], both.one_step()[0]
    assert torch.equal(first["noise"], second["noise"])
    assert not torch.equal(first["envelope"], second["envelope"])


def test_a_training_through_the_chain_resumes_bit_for_bit(make: Make) -> None:
    whole = make("whole", **CHAIN)
    whole.run(ignore)
    stopped = make("stopped", **CHAIN)
    stopped.one_step()
    stopped.save()
    resumed = make("stopped", **CHAIN)
    assert resumed.resume()
    resumed.run(ignore)
    assert same(weights(resumed), weights(whole))


def test_a_voice_speaks_by_the_chain_it_was_trained_through(make: Make) -> None:
    voice = checkpoint.load(make("chain", **CHAIN, steps=1).run(ignore))
    assert schedule_for(voice) == CHAIN["schedule"]
    told: list[Progress] = []
    plain = make("plain", steps=1, evaluate_every=1)
    assert "schedule" not in checkpoint.load(plain.run(told.append)).card.about
    assert told[-1].held_out_envelope is None
