"""Bytes to read: anything at all, a good file with a few of its bytes spoilt, JSON of any shape."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from engine import messages as m

patient = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
"""As many examples as the profile says: seconds by default, minutes under `make fuzz`."""
costly = settings(patient, max_examples=max(patient.max_examples // 4, 1))
"""Where one takes a hundredth of a second or more."""

WRITES = "\x00\x07\n\r\t\x1b\x7f\x85\x9b\xad\u200d\u2028\u202e\ufeff\ud800\U000e0001"
"""Characters that a terminal obeys, that end a line somewhere, or that cannot be encoded."""

texts = st.text(st.characters(exclude_categories=()) | st.sampled_from(WRITES), max_size=40).filter(
    lambda text: json.loads(json.dumps(text)) == text  # two halves in a row become one character
)
numbers = (
    st.integers()
    | st.sampled_from([2**31, 2**63, -(2**63) - 1, 10**30, 10**400, 0, -1])
    | st.floats(allow_nan=True)
)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)
"""Whatever JSON can hold, and what Python reads as JSON."""


@st.composite
def spoilt(draw: st.DrawFn, whole: bytes, head: int = 0) -> bytes:
    """The bytes with a few of them replaced, left out or doubled; most within the first `head`."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(0, 4))):
        last = min(head or len(data), len(data))
        at = draw(st.integers(0, max(last - 1, 0)))
        size = draw(st.integers(0, 12))
        data[at : at + size] = draw(st.binary(max_size=12))
    cut = draw(st.none() | st.integers(0, len(data)))
    return bytes(data[:cut])


@st.composite
def changed(draw: st.DrawFn, row: dict[str, Any]) -> bytes:
    """The row as JSON, a key or two of it, or of a table in it, of another value."""
    row = json.loads(json.dumps(row))
    for _ in range(draw(st.integers(1, 2))):
        inner = row
        while True:
            key = draw(st.sampled_from(sorted(inner)) | texts) if inner else draw(texts)
            below = inner.get(key)
            if isinstance(below, dict) and draw(st.booleans()):
                inner = below
                continue
            inner[key] = draw(values)
            break
    return json.dumps(row).encode("utf-8", "surrogatepass")


def of(hint: Any) -> st.SearchStrategy[Any]:
    """Values of a type hint of `engine.messages`: any that its JSON may hold."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        given = {field.name: of(hints[field.name]) for field in fields(hint)}
        return st.builds(typing.cast("Callable[..., Any]", hint), **given)
    if origin is typing.Literal:
        return st.sampled_from(args)
    if origin is tuple:
        return st.lists(of(args[0]), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(texts, of(args[1]), max_size=3)
    if origin in (types.UnionType, typing.Union):
        return st.one_of(*(of(a) if a is not type(None) else st.none() for a in args))
    simple = {
        str: texts,
        bool: st.booleans(),
        int: st.integers(-(10**20), 10**20) | st.integers(0, 5),
        float: st.floats(allow_nan=False, allow_infinity=False),
    }
    return simple[hint]


events = st.one_of(*(of(kind) for kind in typing.get_args(m.Event)))
"""Any event that a journal may hold, in an order that no session has."""
