from __future__ import annotations

import platform
import subprocess
import sys

import pytest

CODE = """
import resource, torch
from engine.allocator import keep_memory
if {kept}:
    assert keep_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    torch.ones(12_000_000)
before = faults()
for _ in range(20):
    torch.ones(12_000_000)
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_a_tensor_takes_the_pages_of_the_one_before() -> None:
    def faults(kept: bool) -> int:
        call = [sys.executable, "-c", CODE.format(kept=kept)]
        return int(subprocess.run(call, capture_output=True, text=True, check=True).stdout)

    assert faults(True) < faults(False) / 2
