"""What a session does where an update went wrong: goes back, or takes fewer rows at a time.

Works on a session between its updates, in its own thread; how often is `engine.setbacks`' to say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from engine import messages as m
from engine import resume
from engine.memory import give_back_memory, out_of_memory
from engine.setbacks import MAX_SKIPPED, SessionError

if TYPE_CHECKING:
    from engine.session import Session

T = TypeVar("T")

PLACES = {"rollout": "rollout", "optimise": "train"}
"""Phase -> the profile's section that says its microbatch."""


def roll_back(session: Session) -> None:
    """Goes on from before the last update that changed the weights, by half the learning rate.

    Raises:
        JournalError: no such state can be read.
        SessionError: another rank has read another one.
    """
    state = resume.before(session.folder, session.update - MAX_SKIPPED)
    check_agreed(session, state)
    if session.ranks.leads:
        # First of all: killed from here on, the session resumes where it goes back to.
        resume.forget_after(session.folder, state.update)
    reached, session.update = session.update, state.update
    session.learner.restore(state)
    session.looks = {at: seen for at, seen in session.looks.items() if at <= state.update}
    session.saved_at = session.saved_at if session.saved_at <= state.update else 0
    event = m.RolledBack(
        state.update, reached,
        f"{MAX_SKIPPED} updates in a row were not finite: back from update {reached} to "
        f"{state.update}, with half the learning rate",
    )  # fmt: skip
    session.setbacks.went_back(event)
    session.emit(event)
    session.turn({"learning_rate": session.knobs.learning_rate / 2}, "session")


def check_agreed(session: Session, state: resume.State) -> None:
    """SessionError where ranks have read different states; none goes on before all have read."""
    if len(set(session.ranks.gather(state.update))) > 1:
        raise SessionError(f"not every process sees the same states in {session.folder}")


def within_memory(session: Session, work: Callable[[], T], why: Callable[[Exception], str]) -> T:
    """Does the work; again from its beginning, fewer rows at a time, where memory ran out.

    Random numbers are drawn by identity, so it is the same work. `why` puts an error into words.

    Raises:
        SessionError: one row at a time is too much, or the work is shared by several ranks.
    """
    while True:
        remembered = session.learner.statistics.state()
        try:
            return work()
        except Exception as error:
            if not out_of_memory(error):
                raise
            told = why(error)
        # Here no traceback holds on to the tensors of what broke off.
        session.learner.statistics.restore(remembered)
        give_back_memory(session.device)
        halve(session, "optimise" if session.at == "optimise" else "rollout", told)


def halve(session: Session, phase: m.Phase, why: str) -> None:
    """Half as many rows at a time from now on, and says so.

    Raises:
        SessionError: it is one; or other ranks are in the midst of what this one would begin
            again, and would wait for each other at different places of it.
    """
    rows = session.rows[phase]
    if rows == 1:
        raise SessionError(
            f"the memory does not suffice for one clip at a time ({PLACES[phase]}.microbatch is "
            f"1): {why}; lower prompts.max_seconds or rollout.batch, or free memory"
        )
    if session.ranks.count > 1:
        raise SessionError(
            f"the memory of a process did not suffice for {rows} clips at a time ({session.at}), "
            f"and several that share a session do not begin again: set {PLACES[phase]}.microbatch "
            f"= {rows // 2}: {why}"
        )
    session.resize(phase, rows // 2)
    told = (
        f"the memory did not suffice for {rows} clips at a time ({session.at}): {rows // 2} from "
        "now on, and what was under way begins again"
    )
    session.emit(m.MicrobatchHalved(session.update, phase, rows // 2, told))
