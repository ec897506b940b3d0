"""Text ids to hidden states: convolutions, then a bidirectional LSTM. Knows no durations."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from engine.model.config import ModelConfig
from engine.types import frame_mask


class Encoder(nn.Module):
    """WaveGrad 2's text encoder as maum-ai builds it (spec section 3; no ZoneOut)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        channels, kernel = config.encoder_channels, config.encoder_kernel
        self.embedding = nn.Embedding(config.symbols, channels)
        self.cnn = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(channels, channels, kernel, padding=kernel // 2),
                nn.BatchNorm1d(channels),
                nn.ReLU(),
                nn.Dropout(0.5),
            )
            for _ in range(config.encoder_layers)
        )
        self.lstm = nn.LSTM(channels, channels // 2, batch_first=True, bidirectional=True)

    def forward(self, text: Tensor, lengths: Tensor, masked: bool = False) -> Tensor:
        """Hidden states (B, N, C) of text (B, N) int64 with lengths (B,); zero in the padding.

        Args:
            text: (B, N) symbol ids, 0 behind each row's length.
            lengths: (B,) symbols in each row, at least 1.
            masked: False, the convolutions see the embedded padding, as in maum's training;
                True, they see zeros there, so that every row comes out as if alone.
        """
        x: Tensor = self.embedding(text).transpose(1, 2)
        mask = frame_mask(lengths, text.shape[1])[:, None].bool()
        for block in self.cnn:
            x = block(x * mask if masked else x)
        return packed_lstm(self.lstm, x.transpose(1, 2), lengths)


def packed_lstm(lstm: nn.LSTM, x: Tensor, lengths: Tensor) -> Tensor:
    """Runs x (B, N, C) through a batch-first LSTM, each row to its own length.

    Returns (B, N, directions x units), zero in the padding.
    """
    packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
    out: Tensor = pad_packed_sequence(lstm(packed)[0], batch_first=True, total_length=x.shape[1])[0]
    return out
