"""A session as plain lines: for logs, pipes and screen readers."""

from __future__ import annotations

from rich.console import Console

from engine import messages as m
from engine.visible import visible


class Lines:
    """Folds events and prints one line for each that a reader of a log would miss."""

    def __init__(
        self, console: Console, quiet: bool = False, before: m.Snapshot | None = None
    ) -> None:
        """`before`: what has happened already, in a session that goes on."""
        self.console, self.quiet = console, quiet
        self.now = before or m.Snapshot()

    def show(self, event: m.Event) -> None:
        before = self.now.log
        self.now = m.advance(self.now, event)
        if self.quiet:
            return
        match event:
            case m.UpdateFinished(update, stats):
                self.say(self.update(update, stats))
            case m.EvaluationFinished(update, scores, seconds):
                told = "  ".join(f"{name} {interval(value)}" for name, value in scores.items())
                self.say(f"update {update:4d}  held-out  {told}  ({seconds:.1f} s)")
            case m.PhaseEntered(_, "loading"):
                self.say("loading the voice and the score models")
            case m.PhaseEntered(update, "paused"):
                self.say(f"update {update:4d}  paused")
        if self.now.log is not before:  # an event adds one line at most; old ones may have gone
            line = self.now.log[-1]
            sign = {"info": " ", "warning": "!", "error": "!"}[line.level]
            self.say(f"update {line.update:4d} {sign} {line.text}")

    def update(self, update: int, stats: m.UpdateStats) -> str:
        parts = [
            f"update {update:4d}  reward {interval(stats.reward)}  loss {stats.loss:+.4f}",
            f"penalty {stats.penalty:.4f}" if stats.penalty is not None else "",
            f"kl {stats.kl:.2g}" if stats.kl is not None else "",
            f"ratio ±{stats.ratio_spread:.2g}" if stats.ratio_spread is not None else "",
            f"clip +{stats.clip_high:.0%} -{stats.clip_low:.0%}",
            f"grad {stats.grad_norm:.2g}",
            f"failed {stats.failed}" if stats.failed else "",
            "weights left alone" if stats.skipped else "",
            f"({sum(stats.seconds.values()):.1f} s)",
        ]
        return "  ".join(part for part in parts if part)

    def say(self, text: str) -> None:
        self.console.print(visible(text), markup=False, emoji=False)


def interval(value: m.Interval | None) -> str:
    """Mean ± half width, or a dash."""
    if value is None:
        return "-"
    return f"{value.mean:.3f} ±{(value.high - value.low) / 2:.3f}"
