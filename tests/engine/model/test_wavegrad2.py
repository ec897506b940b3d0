from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from engine.model.config import ModelConfig
from engine.model.durations import duration_loss
from engine.model.wavegrad2 import (
    WaveGrad2,
    draw_window_starts,
    noise_loss,
    parameter_count,
    window,
)

FULL = {"BASE": ModelConfig.base(), "LARGE": ModelConfig.large()}


def published_entries(parity: Path, size: str) -> dict[str, tuple[tuple[int, ...], str]]:
    text = (parity / "wavegrad2-state-dict-keys.txt").read_text()
    (section,) = (part for part in text.split("# ") if part.startswith(size))
    rows = (line.split("\t") for line in section.splitlines()[1:])
    return {
        key: (tuple(int(n) for n in re.findall(r"\d+", shape)), dtype) for key, shape, dtype in rows
    }


def empty(config: ModelConfig) -> WaveGrad2:
    with torch.device("meta"):
        return WaveGrad2(config)


@pytest.mark.parametrize(("size", "count"), [("BASE", 183), ("LARGE", 265)])
def test_parameters_have_maums_names_and_shapes(parity: Path, size: str, count: int) -> None:
    expected = published_entries(parity, size)
    assert len(expected) == count
    state = empty(FULL[size]).state_dict()
    found = {key: (tuple(t.shape), str(t.dtype).removeprefix("torch.")) for key, t in state.items()}
    assert found == expected


def test_parameter_counts_of_base() -> None:
    model = empty(ModelConfig.base())
    assert parameter_count(model) == 44_079_009
    assert parameter_count(model.encoder) == 5_591_040
    assert parameter_count(model.speaker_embedding) == 64
    assert parameter_count(model.resampling.duration_predictor) == 10_765_312
    assert parameter_count(model.resampling.range_parameter_predictor) == 10_769_408
    decoder = model.decoder
    assert parameter_count(decoder) == 16_953_185
    assert parameter_count(decoder.ublock_preconv) == 1_327_872
    levels = [parameter_count(block) for block in decoder.ublocks]
    assert levels == [3_934_720, 3_410_432, 1_115_392, 279_168, 213_632]
    assert parameter_count(decoder.ublock_postconv) == 385
    assert parameter_count(decoder.dblock_preconv) == 192
    levels = [parameter_count(block) for block in decoder.dblocks]
    assert levels == [115_200, 164_352, 525_312, 2_099_200]
    levels = [parameter_count(film) for film in decoder.films]
    assert levels == [27_936, 147_840, 246_400, 984_320, 2_360_832]


def test_base_light_has_bases_decoder_and_half_its_weights() -> None:
    with torch.device("meta"):
        light, base = WaveGrad2(ModelConfig.base_light()), WaveGrad2(ModelConfig.base())
    shapes = {k: v.shape for k, v in light.decoder.state_dict().items()}
    assert shapes == {k: v.shape for k, v in base.decoder.state_dict().items()}
    assert 2 * sum(v.numel() for v in light.state_dict().values()) < 60e6  # bytes in fp16


def test_parameter_counts_of_large() -> None:
    model = empty(ModelConfig.large())
    assert parameter_count(model) == 55_788_961
    assert parameter_count(model.decoder) == 28_663_137
    assert parameter_count(model.decoder.ublocks) == 17_054_720
    assert parameter_count(model.decoder.dblocks) == 6_512_640


def test_speakers_only_widen_their_table() -> None:
    one, nine = (empty(ModelConfig.narrow(speakers=n)) for n in (1, 9))
    assert parameter_count(nine) - parameter_count(one) == 8 * 16


def test_memory_matches_maum(
    model: WaveGrad2, vectors: dict[str, Tensor], inputs: tuple[Tensor, ...]
) -> None:
    memory = model.memory(*inputs[:3])
    torch.testing.assert_close(memory, vectors["memory"], rtol=0, atol=1e-5)


def test_hidden_matches_maum(
    model: WaveGrad2, vectors: dict[str, Tensor], inputs: tuple[Tensor, ...]
) -> None:
    hidden, seconds = model.hidden(*inputs)
    torch.testing.assert_close(hidden, vectors["resampling.hidden_rep_BCT"], rtol=0, atol=1e-5)
    torch.testing.assert_close(
        seconds, vectors["duration_predictor.out_seconds"], rtol=0, atol=1e-5
    )


def test_windows_match_maum(vectors: dict[str, Tensor]) -> None:
    hidden, waveform = window(
        vectors["resampling.hidden_rep_BCT"],
        vectors["in.wav"],
        vectors["diff.window_start"],
        16,
        300,
    )
    torch.testing.assert_close(hidden, vectors["diff.hidden_sliced"], rtol=0, atol=0)
    torch.testing.assert_close(waveform, vectors["diff.wav_sliced"], rtol=0, atol=0)


LAST_BIASES = (
    "decoder.ublock_postconv.conv1d.bias",
    "decoder.ublocks.4.second_block_main_branch.modulation_1.convolution.conv1d.bias",
)


def test_losses_and_every_gradient_match_maum(
    model: WaveGrad2,
    vectors: dict[str, Tensor],
    gradients: dict[str, Tensor],
    inputs: tuple[Tensor, ...],
) -> None:
    _, lengths, _, durations, _ = inputs
    hidden, seconds = model.hidden(*inputs)
    cond, waveform = window(hidden, vectors["in.wav"], vectors["diff.window_start"], 16, 300)
    level, noise = vectors["diff.noise_level"], vectors["diff.eps"]
    noisy = level * waveform + (1 - level**2).sqrt() * noise
    torch.testing.assert_close(noisy, vectors["diff.wav_noisy"], rtol=0, atol=1e-5)
    l1 = noise_loss(model.decoder.predict_noise(noisy, cond, level), noise)
    duration = duration_loss(seconds, durations, lengths, 73.5)
    total = l1 + duration
    for name, loss in {"l1": l1, "duration": duration, "total": total}.items():
        torch.testing.assert_close(loss[None], vectors[f"loss.{name}"], rtol=0, atol=1e-5)
    total.backward()
    parameters = dict(model.named_parameters())
    assert parameters.keys() == gradients.keys()
    for key, parameter in parameters.items():
        # The last two biases add up 9,600 terms of +-1/9600 in fp32: two orders of addition, such
        # as those of AVX2 and AVX-512, differ by 1e-5, on either side of the exact sum.
        atol = 2e-5 if key in LAST_BIASES else 1e-5
        torch.testing.assert_close(parameter.grad, gradients[key], rtol=0, atol=atol)


def test_noise_loss_leaves_the_duration_predictor_alone(
    model: WaveGrad2, inputs: tuple[Tensor, ...]
) -> None:
    hidden, _ = model.hidden(*inputs)
    hidden.square().mean().backward()
    resampling = model.resampling
    assert all(p.grad is None for p in resampling.duration_predictor.parameters())
    assert all(p.grad is not None for p in resampling.range_parameter_predictor.parameters())
    assert model.encoder.embedding.weight.grad is not None


def test_condition_matches_maum(model: WaveGrad2, vectors: dict[str, Tensor]) -> None:
    text = vectors["encoder.inference.text"]
    lengths, speakers = torch.tensor([text.shape[1]]), torch.tensor([0])
    conditioning, durations = model.condition(text, lengths, speakers)
    expected = vectors["resampling.inference.hidden_rep"]
    torch.testing.assert_close(conditioning.cond, expected, rtol=0, atol=1e-5)
    assert torch.equal(durations, vectors["resampling.inference.duration_frames"].long())
    assert conditioning.frames.tolist() == [58]
    _, slower = model.condition(text, lengths, speakers, pace=1.3)
    assert torch.equal(slower, vectors["resampling.inference_pace1.3.duration_frames"].long())
    assert slower.sum() > durations.sum()


def test_batched_conditioning_is_single_conditioning(
    model64: WaveGrad2, sentences: tuple[Tensor, ...]
) -> None:
    text, lengths, speakers, _ = sentences
    together, durations = model64.condition(text, lengths, speakers)
    for row, n in enumerate(lengths.tolist()):
        one = slice(row, row + 1)
        alone, spans = model64.condition(text[one, :n], lengths[one], speakers[one])
        frames = int(alone.frames)
        assert torch.equal(durations[one, :n], spans)
        assert durations[row, n:].eq(0).all()
        assert together.frames[row] == frames
        torch.testing.assert_close(together.cond[one, :, :frames], alone.cond, rtol=0, atol=1e-12)
        assert together.cond[row, :, frames:].eq(0).all()


def test_batched_conditioning_on_given_durations(
    model64: WaveGrad2, sentences: tuple[Tensor, ...]
) -> None:
    text, lengths, speakers, durations = sentences
    together = model64.condition_on(text, lengths, speakers, durations)
    assert torch.equal(together.frames, durations.sum(-1))
    for row, n in enumerate(lengths.tolist()):
        one = slice(row, row + 1)
        alone = model64.condition_on(text[one, :n], lengths[one], speakers[one], durations[one, :n])
        frames = int(alone.frames)
        torch.testing.assert_close(together.cond[one, :, :frames], alone.cond, rtol=0, atol=1e-12)
        assert together.cond[row, :, frames:].eq(0).all()


def test_given_predicted_durations_are_the_same_conditioning(
    model: WaveGrad2, sentences: tuple[Tensor, ...]
) -> None:
    text, lengths, speakers, _ = sentences
    predicted, durations = model.condition(text, lengths, speakers)
    given = model.condition_on(text, lengths, speakers, durations)
    assert torch.equal(given.cond, predicted.cond)
    assert torch.equal(given.frames, predicted.frames)


def test_silent_prediction_still_gives_a_frame(
    model: WaveGrad2, sentences: tuple[Tensor, ...]
) -> None:
    text, lengths, speakers, _ = sentences
    with torch.no_grad():
        model.resampling.duration_predictor.fc[0].weight.zero_()
    conditioning, durations = model.condition(text, lengths, speakers)
    assert conditioning.frames.tolist() == [1, 1, 1, 1]
    assert durations[:, 0].tolist() == [1, 1, 1, 1]
    assert conditioning.cond.isfinite().all()


def test_conditioning_refuses_training_mode(
    model: WaveGrad2, sentences: tuple[Tensor, ...]
) -> None:
    model.train()
    with pytest.raises(RuntimeError, match="eval mode"):
        model.condition(*sentences[:3])
    with pytest.raises(RuntimeError, match="eval mode"):
        model.condition_on(*sentences)


def test_conditioning_refuses_rows_without_frames(
    model: WaveGrad2, sentences: tuple[Tensor, ...]
) -> None:
    text, lengths, speakers, durations = sentences
    with pytest.raises(ValueError, match="each row needs one frame"):
        model.condition_on(text, lengths, speakers, durations * torch.tensor([[1], [0], [1], [1]]))
    with pytest.raises(ValueError, match="not be negative"):
        model.condition_on(text, lengths, speakers, -durations)


def test_conditioning_needs_no_gradient(model: WaveGrad2, sentences: tuple[Tensor, ...]) -> None:
    assert not model.condition(*sentences[:3])[0].cond.requires_grad
    assert not model.condition_on(*sentences).cond.requires_grad


def test_autocast_does_not_touch_conditioning(
    model: WaveGrad2, sentences: tuple[Tensor, ...]
) -> None:
    full, durations = model.condition(*sentences[:3])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half, again = model.condition(*sentences[:3])
    assert torch.equal(half.cond, full.cond)
    assert torch.equal(again, durations)


def test_training_step_under_bf16_autocast(model: WaveGrad2, inputs: tuple[Tensor, ...]) -> None:
    model.train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden, seconds = model.hidden(*inputs)
        x_t = torch.randn(2, 42 * 300, generator=torch.Generator().manual_seed(0))
        noise = model.decoder(x_t, hidden, torch.full((2, 1), 0.5))
        loss = noise_loss(noise, x_t) + duration_loss(seconds.float(), inputs[3], inputs[1], 73.5)
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_speaker_changes_durations_and_conditioning(
    small_config: ModelConfig, sentences: tuple[Tensor, ...]
) -> None:
    torch.manual_seed(0)
    model = WaveGrad2(replace(small_config, speakers=2)).eval()
    text, lengths, speakers, durations = sentences
    first = model.condition_on(text, lengths, speakers, durations).cond
    second = model.condition_on(text, lengths, speakers + 1, durations).cond
    assert not torch.allclose(first, second)


def test_window_starts_stay_inside_and_repeat() -> None:
    frames = torch.tensor([300, 256, 10, 257]).repeat(500)
    starts = draw_window_starts(frames, 256, torch.Generator().manual_seed(1))
    again = draw_window_starts(frames, 256, torch.Generator().manual_seed(1))
    assert torch.equal(starts, again)
    rows = starts.reshape(500, 4)
    assert rows[:, 1:].eq(0).all()
    assert rows[:, 0].unique().tolist() == list(range(44))


def test_window_by_hand() -> None:
    hidden = torch.arange(4.0).reshape(1, 1, 4).repeat(2, 1, 1)
    waveform = torch.arange(8.0).repeat(2, 1)
    cond, audio = window(hidden, waveform, torch.tensor([0, 2]), 2, 2)
    assert cond[:, 0].tolist() == [[0, 1], [2, 3]]
    assert audio.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    cond, audio = window(hidden[:1], waveform[:1], torch.tensor([0]), 5, 2)
    assert cond[0, 0].tolist() == [0, 1, 2, 3, 0]
    assert audio[0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 0, 0]


def test_noise_loss_by_hand() -> None:
    assert noise_loss(torch.tensor([[1.0, -2.0]]), torch.tensor([[0.0, 1.0]])).item() == 2.0
