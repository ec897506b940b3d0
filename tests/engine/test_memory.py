from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
import torch

from engine.memory import CardMemory, ProcessMemory, memory_of, out_of_memory, peak_memory

MIB = 2**20
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


@linux
def test_the_height_of_a_piece_of_work_is_measured_whatever_came_before() -> None:
    memory = ProcessMemory()
    torch.ones(400 * MIB, dtype=torch.uint8)  # higher, and gone
    held = torch.ones(100 * MIB, dtype=torch.uint8)

    def work() -> None:
        torch.ones(200 * MIB, dtype=torch.uint8)
        torch.ones(10 * MIB, dtype=torch.uint8)

    assert memory.most(work) == pytest.approx(200 * MIB, rel=0.1)
    assert held.nbytes == 100 * MIB


@linux
def test_what_is_free_shrinks_by_what_is_taken() -> None:
    """Others live here, and some kernels count late: it is looked at again for ten seconds."""
    memory = ProcessMemory()
    before, until = memory.free(), time.monotonic() + 10
    held = torch.ones(800 * MIB, dtype=torch.uint8)
    taken = pytest.approx(held.nbytes, abs=600 * MIB)
    while (found := before - memory.free()) != taken and time.monotonic() < until:
        pass
    assert found == taken


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("told", "files", "free"),
    [
        ("0::/mine\n", {}, 4096),
        ("0::/mine\n", {"mine/memory.max": "max\n", "mine/memory.current": "9\n"}, 4096),
        (
            "0::/mine\n",
            {
                "mine/memory.max": "1000\n", "mine/memory.current": "700\n",
                "mine/memory.stat": "anon 600\ninactive_file 50\n",
            },
            350,
        ),
        (
            "0::/elsewhere\n",
            {"memory.max": "1000\n", "memory.current": "2000\n", "memory.stat": "anon 600\n"},
            0,
        ),
        (
            "4:memory:/mine\n3:cpu:/other\n0::/\n",
            {
                "memory/mine/memory.limit_in_bytes": "1000\n",
                "memory/mine/memory.usage_in_bytes": "900\n",
                "memory/mine/memory.stat": "total_inactive_file 100\n",
            },
            200,
        ),
    ],
)  # fmt: skip
def test_a_control_groups_limit_is_heeded(
    tmp_path: Path, told: str, files: dict[str, str], free: float
) -> None:
    write(tmp_path / "proc" / "meminfo", "MemTotal: 9 kB\nMemAvailable:       4 kB\n")
    write(tmp_path / "proc" / "self" / "cgroup", told)
    for name, text in files.items():
        write(tmp_path / "groups" / name, text)
    assert ProcessMemory(tmp_path / "proc", tmp_path / "groups").free() == free


def test_where_nothing_counts_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: ProcessMemory) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(ProcessMemory, "count_anew", refuse)
    assert memory_of(torch.device("cpu")) is None


@pytest.mark.gpu
def test_a_gpus_height_is_the_allocators() -> None:
    memory = memory_of(torch.device("cuda"))
    assert isinstance(memory, CardMemory)
    taken = memory.most(lambda: torch.ones(64 * MIB, dtype=torch.uint8, device="cuda").sum().item())
    assert taken == pytest.approx(64 * MIB, rel=0.05)
    assert memory.free() > 64 * MIB


def test_the_peak_of_memory_holds_what_was_held() -> None:
    held = torch.ones(2**24)
    peak = peak_memory(torch.device("cpu"))
    assert peak > held.nbytes
    del held
    assert peak_memory(torch.device("cpu")) >= peak


@pytest.mark.gpu
def test_the_peak_of_memory_on_a_gpu_is_the_allocators() -> None:
    device = torch.device("cuda")
    torch.cuda.reset_peak_memory_stats(device)
    before = peak_memory(device)
    held = torch.ones(2**20, device=device)
    assert peak_memory(device) == before + held.nbytes


def test_lack_of_memory_is_told_from_other_trouble() -> None:
    on_cpu = (
        "[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: "
        "you tried to allocate 99 bytes. Error code 12 (Cannot allocate memory)"
    )
    lacks = (
        MemoryError(), torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."),
        RuntimeError(on_cpu), RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    )  # fmt: skip
    assert all(out_of_memory(error) for error in lacks)
    others = (RuntimeError("mat1 and mat2 shapes"), ValueError("out of memory"), OSError(12, "x"))
    assert not any(out_of_memory(error) for error in others)


def test_the_cpus_own_error_is_known() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert out_of_memory(caught.value)
