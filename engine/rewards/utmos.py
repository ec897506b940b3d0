"""UTMOS22-strong: predicted mean opinion score of speech, 16 kHz, 102.8 M parameters (MIT).

Saeki et al., "UTMOS: UTokyo-SaruLab System for VoiceMOS Challenge 2022" (2022), the strong
learner as tarepan/SpeechMOS 1.2.0 publishes it: wav2vec 2.0 base, which torchaudio has, under
a small head. Knows nothing of where the weights' file comes from (`utmos_weights`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from engine import audio
from engine.messages import Column
from engine.rewards import utmos_weights
from engine.rewards.base import ScoreError
from engine.rewards.weights import WeightsError

SHORTEST = 400
"""Audio samples, 25 ms: what the convolutions need for one frame."""

CONVOLUTIONS = ((10, 5), *((3, 2),) * 4, *((2, 2),) * 2)
"""(kernel, stride) of wav2vec 2.0's feature extractor: one frame every 320 audio samples."""

RENAMED = (
    (r"(conv_layers\.\d+)\.0\.", r"\1.conv."),
    (r"(conv_layers\.0)\.2\.", r"\1.layer_norm."),
    (r"^wav2vec2\.(layer_norm\.)", r"wav2vec2.encoder.feature_projection.\1"),
    (r"^wav2vec2\.post_extract_proj\.", r"wav2vec2.encoder.feature_projection.projection."),
    (r"^wav2vec2\.encoder\.(layer_norm|layers)\.", r"wav2vec2.encoder.transformer.\1."),
    (r"^wav2vec2\.encoder\.pos_conv\.0\.", r"wav2vec2.encoder.transformer.pos_conv_embed.conv."),
    (r"conv\.weight_g$", r"conv.parametrizations.weight.original0"),
    (r"conv\.weight_v$", r"conv.parametrizations.weight.original1"),
    (r"\.self_attn\.", r".attention."),
    (r"\.self_attn_layer_norm\.", r".layer_norm."),
    (r"\.fc1\.", r".feed_forward.intermediate_dense."),
    (r"\.fc2\.", r".feed_forward.output_dense."),
)
"""Pattern in a published name -> what torchaudio calls it; all are tried, in this order."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of the network's layers; `PUBLISHED` are UTMOS's own."""

    features: int
    """Channels of the feature extractor."""
    width: int
    """Of the transformer, D."""
    feed_forward: int
    heads: int
    layers: int
    position_kernel: int
    """Frames."""
    position_groups: int
    domain: int
    judge: int
    recurrent: int
    """Units of the LSTM in each direction."""
    projection: int

    @classmethod
    def of(cls, state: Mapping[str, Tensor], heads: int) -> Sizes:
        """Reads the sizes off published tensors, which say all but the number of heads.

        Raises:
            KeyError, IndexError, ZeroDivisionError: tensors of another network.
        """
        prefix = "wav2vec2.encoder.layers."
        width, features = state["wav2vec2.post_extract_proj.weight"].shape[:2]
        positions = state["wav2vec2.encoder.pos_conv.0.weight_v"].shape
        return cls(
            features=features,
            width=width,
            feed_forward=state[f"{prefix}0.fc1.weight"].shape[0],
            heads=heads,
            layers=len({key.split(".")[3] for key in state if key.startswith(prefix)}),
            position_kernel=positions[2],
            position_groups=width // positions[1],
            domain=state["domain_emb"].shape[1],
            judge=state["judge_emb"].shape[1],
            recurrent=state["blstm.weight_hh_l0"].shape[1],
            projection=state["projection.0.weight"].shape[0],
        )


PUBLISHED = Sizes(
    features=512,
    width=768,
    feed_forward=3072,
    heads=12,
    layers=12,
    position_kernel=128,
    position_groups=16,
    domain=128,
    judge=128,
    recurrent=512,
    projection=2048,
)


class UTMOS:
    """One forward for scores and gradients."""

    name = "utmos"
    columns = (Column("utmos", "MOS 1-5", True, 1.0, 5.0),)
    sample_rate_hz = 16_000
    differentiable = True

    def __init__(self, device: torch.device | str = "cpu", network: Network | None = None) -> None:
        """Loads the published weights, unless a network is given, as only a test has one.

        Raises:
            WeightsError: they are not there, or not what was published.
        """
        self.device = torch.device(device)
        self._network = (network or _load_published()).to(self.device)
        # 10 s of audio take 1.4 GB: on a CPU, where one is as fast as many, one at a time.
        self._clips_at_once = 1 if self.device.type == "cpu" else 32

    def __call__(self, waves: Tensor, texts: tuple[str, ...] = ()) -> Tensor:
        """Returns MOS (B, 1) on the model's device for waves (B, S); differentiable.

        Trained on scores from 1 to 5, but not bounded by them.

        Raises:
            ScoreError: shorter than one frame, 25 ms.
        """
        del texts
        if waves.shape[-1] < SHORTEST:
            raise ScoreError(
                f"it is {waves.shape[-1]} audio samples long at {self.sample_rate_hz} Hz, "
                f"and UTMOS needs {SHORTEST} ({1000 * SHORTEST // self.sample_rate_hz} ms)"
            )
        waves = waves.to(self.device, torch.float32)
        scores = [self._network(part) for part in waves.split(self._clips_at_once)]
        return torch.cat(scores)[:, None]


class Network(nn.Module):
    """The layers; parameters are called as published, save within `wav2vec2` (`RENAMED`)."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.wav2vec2 = audio.import_torchaudio().models.wav2vec2_model(
            extractor_mode="group_norm",
            extractor_conv_layer_config=[(sizes.features, k, s) for k, s in CONVOLUTIONS],
            extractor_conv_bias=False,
            encoder_embed_dim=sizes.width,
            encoder_projection_dropout=0.0,
            encoder_pos_conv_kernel=sizes.position_kernel,
            encoder_pos_conv_groups=sizes.position_groups,
            encoder_num_layers=sizes.layers,
            encoder_num_heads=sizes.heads,
            encoder_attention_dropout=0.0,
            encoder_ff_interm_features=sizes.feed_forward,
            encoder_ff_interm_dropout=0.0,
            encoder_dropout=0.0,
            encoder_layer_norm_first=False,
            encoder_layer_drop=0.0,
            aux_num_out=None,
        )
        self.domain_emb = nn.Parameter(torch.zeros(1, sizes.domain))
        """The one domain and the one listener that were chosen for publication."""
        self.judge_emb = nn.Parameter(torch.zeros(1, sizes.judge))
        self.blstm = nn.LSTM(
            sizes.width + sizes.domain + sizes.judge,
            sizes.recurrent,
            batch_first=True,
            bidirectional=True,
        )
        self.projection = nn.Sequential(
            nn.Linear(2 * sizes.recurrent, sizes.projection),
            nn.ReLU(),
            nn.Linear(sizes.projection, 1),
        )

    def forward(self, waves: Tensor) -> Tensor:
        """3 + 2 mean_f s_f over the frames' scores s_f: waves (B, S) at 16 kHz -> (B,).

        The level is not normalised. Padding, also of zeros, would count as sound: the first
        layer's norm, the attention, the LSTM and the mean all see it.
        """
        frames, _ = self.wav2vec2(waves)  # (B, F, D)
        chosen = torch.cat((self.domain_emb, self.judge_emb), -1)
        features = torch.cat((frames, chosen.expand(*frames.shape[:2], -1)), -1)
        scores: Tensor = self.projection(self.blstm(features)[0])  # (B, F, 1)
        return 3.0 + 2.0 * scores.mean((1, 2))


def load(path: Path, heads: int = PUBLISHED.heads) -> Network:
    """The network with the weights of a file, frozen, in eval mode, on the CPU.

    Args:
        path: `*.safetensors`, or else what torch.save wrote; under the published tensor names.
            One that is called like the published file has to be that file.
        heads: of the attention, the one size that the tensors do not show.

    Raises:
        WeightsError: damaged, or not such a file.
    """
    state = utmos_weights.read(path)
    try:
        # Without storage of its own: the file's tensors become the parameters.
        with torch.device("meta"):
            network = Network(Sizes.of(state, heads))
        network.load_state_dict(
            {
                torchaudio_name(name): tensor
                for name, tensor in state.items()
                if name != "wav2vec2.mask_emb"  # Masks frames in pretraining, unused since.
            },
            assign=True,
        )
    except (KeyError, IndexError, ZeroDivisionError, ValueError, RuntimeError) as error:
        raise WeightsError(
            f"{path} does not hold UTMOS22-strong: its tensors have other names or shapes"
        ) from error
    network.eval().requires_grad_(False)
    # cuDNN has no gradient for an LSTM in eval mode; without dropout both modes are the same.
    network.blstm.train()
    return network


def torchaudio_name(published: str) -> str:
    """The name in `Network` of a tensor of the published file."""
    for pattern, replacement in RENAMED:
        published = re.sub(pattern, replacement, published)
    return published


def _load_published() -> Network:
    path = utmos_weights.path()
    network = load(path)
    if network.sizes != PUBLISHED:
        raise WeightsError(f"{path} does not hold UTMOS22-strong: its layers have other sizes")
    return network
