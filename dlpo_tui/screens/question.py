"""The question before a running session is left."""

from __future__ import annotations

from typing import ClassVar, Literal, TypeAlias

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Label, OptionList
from textual.widgets.option_list import Option

Answer: TypeAlias = Literal["save", "stop", "leave", "keep"]


class Question(ModalScreen[Answer]):
    """Answers by a letter, by arrows and enter, or by a click."""

    CSS_PATH = "panels.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "answer('save')", show=False),
        Binding("x", "answer('stop')", show=False),
        Binding("l", "answer('leave')", show=False),
        Binding("k,q,escape", "answer('keep')", show=False),
    ]

    def __init__(self, updates: int, outlives: bool, may_stop: bool = True) -> None:
        """`outlives`: the session goes on without this terminal; `may_stop`: it obeys it."""
        super().__init__()
        self.updates, self.outlives, self.may_stop = updates, outlives, may_stop

    def choices(self) -> list[tuple[Answer, str, str]]:
        leave: list[tuple[Answer, str, str]] = [
            ("leave", "l", "leave this terminal; training goes on")
        ]
        stop: list[tuple[Answer, str, str]] = [
            ("save", "s", "save a snapshot, then stop"),
            ("stop", "x", "stop without saving"),
        ]
        return [
            *(leave if self.outlives else []),
            *(stop if self.may_stop else []),
            ("keep", "k", "stay here" if self.outlives else "keep training"),
        ]

    def consequence(self) -> str:
        if not self.outlives:
            return "the one in flight is given up"
        return "a stop gives up the one in flight" if self.may_stop else "this terminal watches"

    def title_told(self) -> str:
        if not self.outlives:
            return "Stop training?"
        return "Leave, or stop training?" if self.may_stop else "Leave?"

    def compose(self) -> ComposeResult:
        options = [
            Option(Text.assemble((f" {key} ", "bold"), f" {told}"), id=answer)
            for answer, key, told in self.choices()
        ]
        with Vertical(id="box"):
            yield Label(self.title_told(), id="title")
            done = f"{self.updates} update{'' if self.updates == 1 else 's'} done"
            yield Label(f"{done}; {self.consequence()}.", id="told")
            yield OptionList(*options, compact=True)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.action_answer(event.option_id or "keep")

    def action_answer(self, answer: str) -> None:
        """Closes the question, unless the answer is not on offer."""
        for known, _, _ in self.choices():
            if known == answer:
                self.dismiss(known)
