"""The networks of the package on recorded speech."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.rewards.base import ScoreError
from engine.rewards.dnsmos import DNSMOS, SHORTEST

if TYPE_CHECKING:
    from .conftest import Clip


def test_recorded_speech_scores_as_measured_and_noise_pulls_it_down(
    dnsmos: DNSMOS, clips: tuple[Clip, ...]
) -> None:
    clip = clips[0]
    clean = dnsmos(clip.at_16_khz[None])
    assert clean.shape == (1, len(dnsmos.columns))
    expected = torch.tensor([[2.531, 3.446, 2.886, 3.672]])
    torch.testing.assert_close(clean, expected, atol=0.02, rtol=0.0)
    noisy = dnsmos(type(clip)(clip.noisy, clip.text).at_16_khz[None])
    columns = [column.name for column in dnsmos.columns]
    fallen = dict(zip(columns, (clean - noisy)[0].tolist(), strict=True))
    assert fallen["dnsmos"] > 0.3
    assert fallen["dnsmos_bak"] > 0.6
    assert fallen["dnsmos_p808"] > 0.6
    assert abs(fallen["dnsmos_sig"]) < 0.3  # The speech under the noise is the same.


def test_each_row_comes_clipped_as_in_a_file_and_the_columns_are_in_order(
    dnsmos: DNSMOS, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.ndarray] = []

    def assess(wave: np.ndarray, hz: int, personalised: bool) -> dict[str, float]:
        assert (hz, personalised) == (16_000, False)
        seen.append(wave)
        return {"p808_mos": 4.0, "bak_mos": 3.0, "sig_mos": 2.0, "ovrl_mos": len(seen)}

    monkeypatch.setattr(dnsmos, "_assess", assess)
    waves = torch.stack([torch.linspace(-2.0, 2.0, 1600), torch.linspace(-0.5, 0.5, 1600)])
    told = dnsmos(waves.requires_grad_())
    assert told.tolist() == [[1.0, 2.0, 3.0, 4.0], [2.0, 2.0, 3.0, 4.0]]
    assert not told.requires_grad
    assert [(wave.min(), wave.max(), wave.dtype) for wave in seen] == [
        (-1.0, 1.0, np.float32),
        (-0.5, 0.5, np.float32),
    ]


@pytest.mark.parametrize(
    ("waves", "told"),
    [
        (torch.ones(1, SHORTEST - 1), r"799 audio samples long at 16000 Hz.*800 \(50 ms\)"),
        (torch.stack([torch.ones(1600), torch.zeros(1600)]), "is silent throughout"),
    ],
)
def test_what_it_cannot_score_is_refused(dnsmos: DNSMOS, waves: Tensor, told: str) -> None:
    with pytest.raises(ScoreError, match=told):
        dnsmos(waves)
