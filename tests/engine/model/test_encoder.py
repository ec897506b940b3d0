from __future__ import annotations

import torch
from torch import Tensor, nn

from engine.model.encoder import packed_lstm
from engine.model.wavegrad2 import WaveGrad2


def test_training_path_matches_maum(model: WaveGrad2, vectors: dict[str, Tensor]) -> None:
    out = model.encoder(vectors["in.text"], vectors["in.input_lengths"])
    torch.testing.assert_close(out, vectors["encoder.out"], rtol=0, atol=1e-5)


def test_inference_path_matches_maum(model: WaveGrad2, vectors: dict[str, Tensor]) -> None:
    text = vectors["encoder.inference.text"]
    out = model.encoder(text, torch.tensor([text.shape[1]]), masked=True)
    torch.testing.assert_close(out, vectors["encoder.inference.out"], rtol=0, atol=1e-5)


def test_only_the_unmasked_path_sees_padding(
    model64: WaveGrad2, sentences: tuple[Tensor, ...]
) -> None:
    text, lengths, _, _ = sentences
    masked = model64.encoder(text, lengths, masked=True)
    leaking = model64.encoder(text, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = model64.encoder(text[row : row + 1, :length], lengths[row : row + 1])
        torch.testing.assert_close(masked[row : row + 1, :length], alone, rtol=0, atol=1e-12)
        assert masked[row, length:].eq(0).all()
    assert (masked - leaking).abs().max() > 1e-4


def test_dropout_only_in_training(model: WaveGrad2, sentences: tuple[Tensor, ...]) -> None:
    text, lengths, _, _ = sentences
    encoder = model.encoder
    assert torch.equal(encoder(text, lengths), encoder(text, lengths))
    encoder.train()
    assert not torch.equal(encoder(text, lengths), encoder(text, lengths))


def test_packed_lstm_takes_rows_in_any_order() -> None:
    torch.manual_seed(0)
    lstm = nn.LSTM(3, 4, batch_first=True, bidirectional=True).double()
    x = torch.randn(3, 5, 3, dtype=torch.float64)
    lengths = torch.tensor([2, 4, 1])
    out = packed_lstm(lstm, x, lengths)
    assert out.shape == (3, 5, 8)
    for row, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(out[row, :length], lstm(x[row : row + 1, :length])[0][0])
        assert out[row, length:].eq(0).all()
