"""What can be known of a voice before torch is loaded: which file it is, and that it is there."""

from __future__ import annotations

from pathlib import Path


def require_file(source: str) -> None:
    """Refuses a path where no file is, so that no screen opens for nothing.

    Errors: CheckpointError, one sentence that names the nearest file.
    """
    if source != "bundled" and not Path(source).is_file():
        from engine.checkpoint import read_card

        read_card(Path(source))


def resolved(source: str) -> str:
    """The file behind a run's folder or RUN@NAME; anything else as it was given.

    Errors: RunVoiceError, one sentence.
    """
    from engine.run_voices import voice_file

    return voice_file(source)
