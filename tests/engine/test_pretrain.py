from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from engine import checkpoint, pretrain
from engine.data import CorpusError, PreparedCorpus, open_corpora
from engine.device import generator
from engine.diffusion.schedule import linear
from engine.model.config import ModelConfig
from engine.pretrain import (
    LOWEST_SIGMA,
    MELS,
    Progress,
    Trainer,
    draw,
    draw_levels,
    gather,
    log_mel,
    mel_filters,
)
from engine.profile import DeviceSpec, PretrainProfile
from engine.types import HOP
from tests.voices import tiny_config, write_corpus, write_voice

CPU = torch.device("cpu")
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


@pytest.fixture(scope="module", autouse=True)
def threads() -> Iterator[None]:
    """A trainer sets the process's threads; they are put back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


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


# --- data -----------------------------------------------------------------------


def test_the_data_set_is_the_corpus(corpus: PreparedCorpus) -> None:
    data = gather(corpus, False, CPU)
    assert data.text.shape[0] == len(corpus.training) == 2
    for row, clip in enumerate(corpus.training):
        count = int(data.lengths[row])
        assert tuple(data.text[row, :count].tolist()) == clip.ids
        assert not data.text[row, count:].any()
        assert int(data.durations[row].sum()) == int(data.frames[row]) == clip.total_frames
        start = int(data.start[row])
        heard = data.audio[start : start + clip.audio_length].float() / 32768
        assert torch.equal(heard, corpus.wave(clip))
    assert data.seconds == pytest.approx(sum(clip.seconds for clip in corpus.training))


def test_a_corpus_without_a_held_out_clip_is_refused(corpus: PreparedCorpus) -> None:
    training = replace(corpus, clips=corpus.training)
    with pytest.raises(CorpusError, match="no held-out clip"):
        gather(training, True, CPU)


def test_windows_lie_within_their_clip_and_reach_all_of_it(corpus: PreparedCorpus) -> None:
    data = gather(corpus, False, CPU)
    spec = replace(SPEC, batch=4000)
    batch = draw(data, spec, generator(0))
    room = data.frames - spec.window_frames
    assert bool((batch.starts >= 0).all())
    assert bool((batch.starts <= room[batch.clips]).all())
    for row in range(2):
        assert int(batch.starts[batch.clips == row].min()) < 4
        assert int(batch.starts[batch.clips == row].max()) > int(room[row]) - 4
    share = float((batch.clips == 0).float().mean())  # every second of speech weighs alike
    assert share == pytest.approx(float(room[0] / room.sum()), abs=0.04)
    again = draw(data, spec, generator(0))
    assert torch.equal(batch.eps, again.eps)
    assert torch.equal(batch.starts, again.starts)


@pytest.mark.parametrize("low_noise", [0.0, 0.5, 1.0])
def test_noise_levels_lie_between_speech_and_noise(low_noise: float) -> None:
    level = draw_levels(4000, low_noise, generator("levels"))
    assert level.shape == (4000, 1)
    assert bool((level > 0).all())
    assert bool((level < 1).all())
    lowest = float((1 - linear(1000)).cumprod(0).sqrt()[-1])
    assert float(level.min()) >= lowest - 1e-5
    sigma = (1 - level.double() ** 2).sqrt()
    below = float((sigma < 0.05).double().mean())  # where speech is louder than the noise
    expected = math.log(0.05 / LOWEST_SIGMA) / math.log(1 / LOWEST_SIGMA)
    assert below == pytest.approx(low_noise * expected + (1 - low_noise) * 0.03, abs=0.03)


# --- log-mel --------------------------------------------------------------------


def test_a_tone_lights_the_mel_band_that_holds_it() -> None:
    filters = mel_filters(CPU)
    assert filters.shape == (513, MELS)
    assert bool((filters >= 0).all())
    n = torch.arange(20 * HOP)
    for hz in (300.0, 1000.0, 4000.0):
        frames = log_mel(torch.sin(2 * math.pi * hz / 22050 * n)[None], filters)
        assert frames.shape == (1, MELS, 20)
        band = int(frames[0, :, 10].argmax())
        at = 2595 * math.log10(1 + hz / 700) / (2595 * math.log10(1 + 11025 / 700)) * (MELS + 1)
        assert abs(band - (at - 1)) <= 1


def test_silence_is_the_floor() -> None:
    frames = log_mel(torch.zeros(1, 5 * HOP), mel_filters(CPU))
    assert torch.allclose(frames, torch.full_like(frames, math.log(1e-3)))


# --- training -------------------------------------------------------------------


def test_training_lowers_the_loss(make: Make) -> None:
    told: list[Progress] = []
    trainer = make(steps=24, batch=3, ema=0.9, learning_rate=5e-3)
    before = trainer.held_out_loss(4)
    trainer.run(told.append)
    first, last = (sum(p.loss for p in part) / len(part) for part in (told[:6], told[-6:]))
    assert [p.step for p in told] == list(range(1, 25))
    assert last < 0.9 * first
    assert trainer.held_out_loss(4) < before
    assert all(p.loss == pytest.approx(p.noise_loss + p.duration_loss + 0.1 * p.mel_loss)
               for p in told)  # fmt: skip


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


def test_the_held_out_loss_is_always_of_the_same_windows_and_noise(make: Make) -> None:
    trainer = make()
    assert trainer.held_out_loss(2) == trainer.held_out_loss(2)
    assert make("b", seed=0).held_out_loss(2) == trainer.held_out_loss(2)
    trainer.one_step()
    assert not trainer.average.training


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

    def spoil(*args) -> tuple[torch.Tensor, ...]:
        noise, duration, mel = losses(*args)
        if spoilt == "loss":
            return noise * float("nan"), duration, mel
        noise.register_hook(lambda gradient: gradient * float("inf"))
        return noise, duration, mel

    monkeypatch.setattr(trainer, "losses", spoil)
    before = {k: v.clone() for k, v in trainer.model.named_parameters()}
    assert math.isnan(trainer.one_step()[0]) == (spoilt == "loss")
    assert trainer.step == 1
    assert all(torch.equal(v, before[k]) for k, v in trainer.model.named_parameters())


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
    row = {name: getattr(told[0], name) for name in Progress.__dataclass_fields__}
    assert json.loads(json.dumps(row, allow_nan=False)) == row
    assert pretrain.SAMPLE_RATE_HZ == 22050
