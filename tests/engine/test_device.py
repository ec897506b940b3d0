from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.device import (
    choose_device,
    choose_dtype,
    generator,
    noise,
    set_threads,
)
from engine.profile import DeviceSpec, ProfileError

identities = st.lists(st.integers(-5, 10**12) | st.text(max_size=5), min_size=1, max_size=4)


@settings(deadline=None, max_examples=50)
@given(identities)
def test_one_identity_draws_the_same_numbers(identity: list[int | str]) -> None:
    assert torch.equal(noise(64, *identity), noise(64, *identity))


@settings(deadline=None, max_examples=50)
@given(identities, identities)
def test_another_identity_draws_other_numbers(a: list[int | str], b: list[int | str]) -> None:
    if a != b:
        assert not torch.equal(noise(8, *a), noise(8, *b))


def test_identities_do_not_run_together() -> None:
    drawn = [noise(4, *i).tolist() for i in ((1, 23), (12, 3), (1, 2, 3), ("1", 23), (123,))]
    assert len({tuple(d) for d in drawn}) == 5


def test_the_seed_is_the_same_in_every_process_and_version() -> None:
    assert generator(7, 3, "kept").initial_seed() == 4608175864672900676


def test_noise_is_standard_normal() -> None:
    drawn = noise(40_000, 1, 2, 3)
    assert drawn.dtype == torch.float32
    assert abs(float(drawn.mean())) < 4 / 200
    assert abs(float(drawn.std()) - 1) < 4 / 280


def test_neighbouring_identities_are_uncorrelated() -> None:
    drawn = torch.stack([noise(10_000, 0, update, row, 5) for update in (0, 1) for row in (0, 1)])
    off_diagonal = torch.corrcoef(drawn) - torch.eye(4)
    assert float(off_diagonal.abs().max()) < 4.5 / 100


def test_drawing_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    noise(16, 1)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("present", "expected"), [(False, "cpu"), (True, "cuda")])
def test_auto_takes_the_gpu_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, present: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: present)
    assert choose_device(DeviceSpec("auto")).type == expected


def test_a_named_device_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name in ("cpu", "cuda", "cuda:1"):
        assert choose_device(DeviceSpec(name)) == torch.device(name)


@pytest.mark.parametrize(("name", "count"), [("cuda", 0), ("cuda:0", 0), ("cuda:2", 2)])
def test_a_gpu_that_is_not_there_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, name: str, count: int
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    with pytest.raises(ProfileError, match=f"'{name}'.*{count} CUDA devices.*'auto'") as caught:
        choose_device(DeviceSpec(name))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["gpu", "", "cuda:x", "the fast one"])
def test_what_is_no_device_is_one_sentence(name: str) -> None:
    with pytest.raises(ProfileError, match=r"is no device .* write auto, cpu, cuda") as caught:
        choose_device(DeviceSpec(name))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("precision", "device", "supported", "expected"),
    [
        ("fp32", "cuda", True, None),
        ("bf16", "cpu", False, torch.bfloat16),
        ("bf16", "cuda", True, torch.bfloat16),
        ("auto", "cpu", True, None),
        ("auto", "cuda", False, None),
        ("auto", "cuda", True, torch.bfloat16),
    ],
)
def test_the_network_computes_in_what_the_device_has(
    monkeypatch: pytest.MonkeyPatch,
    precision: str,
    device: str,
    supported: bool,
    expected: torch.dtype | None,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: supported)
    assert choose_dtype(DeviceSpec(precision=precision), torch.device(device)) == expected


@pytest.mark.usefixtures("restored_threads")
def test_zero_threads_are_as_many_as_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    set_threads(DeviceSpec(threads=0))
    assert torch.get_num_threads() == 3
    set_threads(DeviceSpec(threads=1))
    assert torch.get_num_threads() == 1
