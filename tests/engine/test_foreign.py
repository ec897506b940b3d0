from __future__ import annotations

import os
import pickle
import pickletools
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from engine import foreign
from engine.foreign import ForeignError
from tests.lightning import write_checkpoint

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.count": torch.tensor(7)}

REAL_NAMES = {
    "__builtin__ dict",
    "__builtin__ list",
    "__builtin__ long",
    "collections OrderedDict",
    "collections defaultdict",
    "omegaconf.base ContainerMetadata",
    "omegaconf.base Metadata",
    "omegaconf.dictconfig DictConfig",
    "omegaconf.listconfig ListConfig",
    "omegaconf.nodes AnyNode",
    "pytorch_lightning.callbacks.model_checkpoint ModelCheckpoint",
    "torch FloatStorage",
    "torch LongStorage",
    "torch._utils _rebuild_tensor_v2",
    "typing Any",
}
"""What a checkpoint names that OmegaConf 2.0.6 itself had a part in."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "model.ckpt", WEIGHTS)


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """Not there, unless something that a file says has been run."""
    return tmp_path / "trap"


def refused(path: Path) -> str:
    with pytest.raises(ForeignError) as caught:
        foreign.read(path)
    told = str(caught.value)
    assert str(path) in told
    assert "\n" not in told
    return told


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(path: Path, parts: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return path


def pickled(path: Path, data: bytes) -> Path:
    """A checkpoint of torch's with a pickle of one's own."""
    return pack(path, {"archive/data.pkl": data, "archive/version": b"3\n"})


# --- what is read ---------------------------------------------------------------


def test_a_lightning_checkpoint_is_read_without_lightning_or_omegaconf(path: Path) -> None:
    found = foreign.read(path)
    assert found["state_dict"].keys() == WEIGHTS.keys()
    for key, value in WEIGHTS.items():
        assert torch.equal(found["state_dict"][key], value)
    assert (found["epoch"], found["global_step"]) == (1060, 556_500)
    assert not {"omegaconf", "pytorch_lightning"} & set(sys.modules)


def test_the_checkpoints_made_here_name_what_real_ones_do(path: Path) -> None:
    (pickle_inside,) = (data for name, data in members(path).items() if name.endswith(".pkl"))
    operations = pickletools.genops(pickle_inside)
    assert {told for operation, told, _ in operations if operation.name == "GLOBAL"} == REAL_NAMES


def test_settings_are_found_under_their_path(path: Path) -> None:
    settings = foreign.read(path)["hyper_parameters"]
    assert foreign.dig(settings, "data", "speakers") == ["LJSpeech"]
    assert foreign.dig(settings, "wavegrad", "downsample", "dilations") == [[1, 2, 4]] * 4
    assert foreign.dig(settings, "train", "adam", "lr") == 3e-4
    for away in (("data", "speaker"), ("away", "away"), ("data", "lang", "x"), ("data",)):
        assert foreign.dig(settings, *away) is None
    assert foreign.dig({"data": {"speakers": ["a"]}}, "data", "speakers") == ["a"]
    assert foreign.dig(None, "data") is None


def test_a_bare_state_dict_is_read(tmp_path: Path) -> None:
    path = tmp_path / "epoch=3_EMA"
    torch.save(torch.nn.Linear(2, 2).state_dict(), path)
    assert foreign.read(path).keys() == {"weight", "bias"}


def test_reading_leaves_torchs_own_list_as_it_was(path: Path, tmp_path: Path, trap: Path) -> None:
    torch.serialization.add_safe_globals([OrderedDict])
    before = set(torch.serialization.get_safe_globals())
    foreign.read(path)
    assert set(torch.serialization.get_safe_globals()) == before
    refused(pickled(tmp_path / "odd.ckpt", b"\x80\x02K\x01\x85R."))
    assert set(torch.serialization.get_safe_globals()) == before
    torch.serialization.clear_safe_globals()


def test_progress_counts_up_to_the_whole_file(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "model.ckpt", {"a": torch.zeros(2**19)})
    told: list[tuple[int, int, str]] = []
    foreign.read(path, lambda *now: told.append(now))
    done = [row[0] for row in told]
    assert done == sorted(done)
    assert {row[1:] for row in told} == {(3, "checking the file")}
    assert 2 <= done[-1] <= 3


# --- what would run -------------------------------------------------------------


class Calls:
    """Unpickled, it is what a function returns."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.told = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.told


HOSTILE: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "a shell": ("system", lambda trap: Calls(os.system, f"touch {trap}")),
    "eval": ("builtins.eval", lambda trap: Calls(eval, f"open({str(trap)!r}, 'w').close()")),
    "exec": ("builtins.exec", lambda trap: Calls(exec, f"open({str(trap)!r}, 'w').close()")),
    "a folder": ("mkdir", lambda trap: Calls(os.mkdir, str(trap))),
    "a method": ("builtins.getattr", lambda trap: Calls(Path.touch, trap)),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_the_traps_below_do_snap_where_a_pickle_is_trusted(kind: str, trap: Path) -> None:
    pickle.loads(pickle.dumps(HOSTILE[kind][1](trap), protocol=2))
    assert trap.exists()


@pytest.mark.parametrize(
    "place", ["alone", "state_dict", "hyper_parameters", "callbacks", "optimizer_states"]
)
@pytest.mark.parametrize("kind", HOSTILE)
def test_nothing_is_run_wherever_it_lies_and_it_is_named(
    tmp_path: Path, kind: str, place: str, trap: Path
) -> None:
    name, make = HOSTILE[kind]
    hostile, path = make(trap), tmp_path / "model.ckpt"
    if place == "alone":
        torch.save(hostile, path)
    elif place == "hyper_parameters":
        write_checkpoint(path, WEIGHTS, {"data": {"speakers": ["a", hostile]}})
    else:
        write_checkpoint(path, WEIGHTS, **{place: {"deeper": [hostile]}})
    told = refused(path)
    assert f"{name}', which the weights of a WaveGrad 2 do not need" in told
    assert not trap.exists()


@pytest.mark.parametrize("kind", HOSTILE)
def test_torchs_own_list_would_hold_without_ours(
    tmp_path: Path, kind: str, trap: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign, "check_pickle", lambda path, data: None)
    path = tmp_path / "model.ckpt"
    torch.save({"state_dict": HOSTILE[kind][1](trap)}, path)
    assert "is no checkpoint that torch can read safely" in refused(path)
    assert not trap.exists()


@pytest.mark.parametrize(
    ("crafted", "told"),
    [
        ("comegaconf.nodes\nsystem\n", "'omegaconf.nodes.system'"),  # an allowed module
        ("comegaconf.dictconfig\nDictConfig.__init__\n", "'omegaconf.dictconfig.DictConfig._"),
        ("ctyping\nget_type_hints\n", "'typing.get_type_hints'"),
        ("cos\nsystem\n", "'os.system'"),
        ("c__builtin__\neval\n", "'builtins.eval'"),
        ("cbuiltins\nbytearray\n", "'builtins.bytearray'"),  # torch would allocate as it says
        ("ctorch\nFloatTensor\n", "'torch.FloatTensor'"),
        ("c\x1b[31mred\nx\n", r"'\x1b[31mred.x'"),  # not to reach a terminal
    ],
)
def test_a_name_that_is_not_on_the_list_is_refused(
    tmp_path: Path, trap: Path, crafted: str, told: str
) -> None:
    data = b"\x80\x02" + crafted.encode() + f"X{chr(5)}\0\0\0touch".encode() + b"\x85R."
    assert told in refused(pickled(tmp_path / "model.ckpt", data))


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("protocol 4", "another protocol than torch.save's own"),
        ("protocol 4 that says 2", "another protocol than torch.save's own"),
        ("protocol 0", "torch can read safely"),
        ("INST", "'os.system'"),
        ("OBJ", "torch can read safely"),
        ("EXT1", "torch can read safely"),
    ],
)
def test_other_ways_to_name_a_function_are_refused(
    tmp_path: Path, trap: Path, kind: str, told: str
) -> None:
    shell = Calls(os.system, f"touch {trap}")
    command = f"touch {trap}".encode()
    data = {
        "protocol 4": pickle.dumps(shell, protocol=4),
        "protocol 4 that says 2": b"\x80\x02" + pickle.dumps(shell, protocol=4)[2:],
        "protocol 0": b"V" + command + b"\n.",
        "INST": b"\x80\x02(S'" + command + b"'\nios\nsystem\n.",
        "OBJ": b"\x80\x02(S'" + command + b"'\no.",
        "EXT1": b"\x80\x02\x82\x01S'" + command + b"'\n\x85R.",
    }[kind]
    assert told in refused(pickled(tmp_path / "model.ckpt", data))
    assert not trap.exists()


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_without_an_archive_is_never_opened(
    tmp_path: Path, trap: Path, protocol: int
) -> None:
    path = tmp_path / "model.ckpt"
    shell = Calls(os.system, f"touch {trap}")
    path.write_bytes(pickle.dumps({"state_dict": shell}, protocol=protocol))
    assert "is a bare pickle" in refused(path)
    torch.save({"state_dict": shell}, path, _use_new_zipfile_serialization=False)
    assert "is a bare pickle" in refused(path)
    assert not trap.exists()


def test_a_stand_in_takes_any_state_and_does_nothing_with_it() -> None:
    stand_in = foreign.STAND_INS["omegaconf.nodes.AnyNode"]("x", 1)
    before = stand_in.__class__
    stand_in.__setstate__({"__class__": int, "_val": 5, "state": "x"})
    assert foreign.content(stand_in) == 5
    assert stand_in.__class__ is before
    for state in (None, 5, (None, {"state": 5}), []):
        stand_in.__setstate__(state)
        assert stand_in.state == {}
    assert all(issubclass(kind, foreign.Inert) for kind in foreign.STAND_INS.values())


# --- what claims too much -------------------------------------------------------


class Claims:
    """A tensor of another size than the storage it is made of."""

    def __init__(self, storage: Tensor, size: tuple[int, ...], stride: tuple[int, ...]) -> None:
        self.told = storage, size, stride

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        tensor, size, stride = self.told
        storage = torch.storage.TypedStorage(
            wrap_storage=tensor.untyped_storage(), dtype=tensor.dtype, _internal=True
        )
        return torch._utils._rebuild_tensor_v2, (storage, 0, size, stride, False, OrderedDict())


def test_a_tensor_beyond_its_storage_is_refused_before_memory_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    for size in (10**12, 5):
        torch.save({"a": Claims(torch.zeros(4), (size,), (1,))}, path)
        assert "Trying to resize storage" in refused(path)


def test_a_storage_beyond_the_file_gives_no_more_than_the_file_has(tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    torch.save({"a": torch.zeros(7)}, path)
    parts = members(path)
    name = "model/data.pkl"
    assert parts[name].count(b"K\x07t") == 1
    parts[name] = parts[name].replace(b"K\x07t", b"J\xff\xff\xff\x7ft")  # 2^31 - 1 numbers
    found = foreign.read(pack(path, parts))["a"]
    assert found.shape == (7,)
    assert found.untyped_storage().nbytes() < path.stat().st_size


def test_an_archive_that_would_unpack_is_refused(tmp_path: Path) -> None:
    parts = {"archive/data.pkl": b"\x80\x02}.", "archive/data/0": bytes(10**6)}
    bomb = pack(tmp_path / "model.ckpt", parts, zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 10**4
    assert "is compressed" in refused(bomb)


def test_sizes_beyond_the_file_are_refused(tmp_path: Path) -> None:
    path = pack(tmp_path / "model.ckpt", {"a/data.pkl": b"\x80\x02}.", "a/data/0": bytes(12345)})
    size = (12345).to_bytes(4, "little")
    whole = path.read_bytes()
    assert whole.count(size) == 4
    path.write_bytes(whole.replace(size, b"\xff\xff\xff\x7f"))
    assert "says it holds more than the file's size" in refused(path)


def test_a_description_without_an_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign, "LONGEST_PICKLE", 100)
    path = pickled(tmp_path / "model.ckpt", b"\x80\x02}" + b"0}" * 60 + b".")
    assert "describes its tensors in more than" in refused(path)


# --- what is no checkpoint, or half of one --------------------------------------


@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_a_checkpoint_cut_short_is_refused(path: Path, share: float) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert "is cut short or damaged" in refused(path)


def test_a_flipped_bit_among_the_weights_is_found(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "model.ckpt", {"a": torch.full((999,), 3.0)})
    whole = bytearray(path.read_bytes())
    whole[whole.index(b"\0\0\x40\x40" * 99) + 2] ^= 1
    path.write_bytes(whole)
    assert "is cut short or damaged (BadZipFile: Bad CRC-32" in refused(path)


def test_a_directory_that_points_nowhere_is_refused(tmp_path: Path) -> None:
    path = pack(tmp_path / "model.ckpt", {"a/data.pkl": b"\x80\x02}."})
    whole = path.read_bytes()
    place = len(whole) - 22 + 16  # where the end says the directory starts
    path.write_bytes(whole[:place] + b"\xff\xff\0\0" + whole[place + 4 :])
    assert "is cut short or damaged" in refused(path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is no checkpoint"),
        (b"PK", "is no checkpoint"),
        (b"not a checkpoint", "is no checkpoint"),
        (b"PK\x03\x04" + bytes(99), "is cut short or damaged"),
        (b"\x40\0\0\0\0\0\0\0{}", "seems to be a safetensors file already"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "model.ckpt"
    path.write_bytes(content)
    assert told in refused(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    assert "there is no checkpoint" in refused(tmp_path / "away.ckpt")
    assert "there is no checkpoint" in refused(tmp_path)


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"a/readme": b"x"}, "has no data.pkl"),
        ({"a/data.pkl": b"", "b/data.pkl": b""}, "has no data.pkl"),
        ({"a/data.pkl": b"x", "a/constants.pkl": b""}, "is a TorchScript program"),
        ({"a/data.pkl": b"\x80\x02\xff."}, "holds a pickle that cannot be read"),
        ({"a/data.pkl": b"\x80\x02}"}, "holds a pickle that cannot be read"),
        ({"a/data.pkl": b"\x80\x02S'\\ '\n."}, "torch can read safely"),
        ({"a/data.pkl": b""}, "holds a pickle that cannot be read"),
        ({"a/data.pkl": b"\x80\x02h\x09.", "a/version": b"3"}, "torch can read safely"),
        ({"a/data.pkl": b"\x80\x02]."}, "holds a list, and a checkpoint is a dict"),
    ],
)
def test_an_archive_of_something_else_is_refused(
    tmp_path: Path, parts: dict[str, bytes], told: str
) -> None:
    parts.setdefault("a/version", b"3\n")
    assert told in refused(pack(tmp_path / "model.ckpt", parts))


def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02}.")
        archive.writestr("a/data/0", b"x")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a/data/0", b"y")
    assert "names a member twice" in refused(path)
