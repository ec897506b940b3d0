"""Checkpoints of others: torch's zip files, read without running anything they say.

`torch.load` with `weights_only` reads them, with stand-ins for the few classes that Lightning
and OmegaConf leave inside, none of which need be installed. Knows no model.
"""

from __future__ import annotations

import pickletools
import re
import struct
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from engine.messages import Progressing

ZIP, PICKLE = b"PK\x03\x04", b"\x80"
"""How a file starts that torch wrote: since 1.6, and before."""

MIB = 1 << 20

LONGEST_PICKLE = 16 * MIB
"""Bytes; WaveGrad 2's, with its optimizer, is a hundredth of that."""

DAMAGE = (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, EOFError, struct.error)
"""What a broken archive makes `zipfile` raise."""

TENSORS = frozenset(
    {
        "collections.OrderedDict",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_parameter",
        *(
            f"torch.{kind}Storage"
            for kind in ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Byte", "Bool")
        ),
    }
)
"""What tensors are made with; torch's own list is longer, and parts of it allocate at will."""


class ForeignError(ValueError):
    """A file that is no checkpoint of torch's, a broken one, or one that asks for too much."""


class Inert:
    """Stands for a class of the file's: takes everything, keeps its state, does nothing."""

    def __new__(cls, *_: object) -> Inert:
        return object.__new__(cls)

    def __init__(self, *_: object) -> None:
        self.state: dict[Any, Any] = {}

    def __setstate__(self, state: object) -> None:
        # Whoever wrote the file chose the state; as attributes it could replace methods.
        self.state = state if isinstance(state, dict) else {}


STAND_INS = {
    f"{module}.{name}": type(name, (Inert,), {"__module__": module})
    for module, name in (
        ("omegaconf.dictconfig", "DictConfig"),
        ("omegaconf.listconfig", "ListConfig"),
        ("omegaconf.base", "ContainerMetadata"),
        ("omegaconf.base", "Metadata"),
        ("omegaconf.nodes", "AnyNode"),
        ("omegaconf.nodes", "StringNode"),
        ("omegaconf.nodes", "IntegerNode"),
        ("omegaconf.nodes", "FloatNode"),
        ("omegaconf.nodes", "BooleanNode"),
        ("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint"),
        ("collections", "defaultdict"),
        ("typing", "Any"),
        ("builtins", "dict"),
        ("builtins", "list"),
        ("builtins", "int"),
    )
}
"""Global name -> stand-in: what a Lightning 1.2 checkpoint with OmegaConf 2 settings names."""


def read(path: Path, on_progress: Progressing = lambda done, total, at: None) -> dict[Any, Any]:
    """What lies in a checkpoint; its tensors on the CPU, mapped from the file, not yet read.

    The file is checked against its own sums first; `on_progress` counts MiB of that.

    Errors: ForeignError, one sentence, for a file that is missing, of something else, cut short
    or damaged, or that names anything beyond `TENSORS` and `STAND_INS`.
    """
    check_kind(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = check_members(path, archive)
            check_pickle(path, archive.read(members[0]))
            check_sums(archive, members, on_progress)
    except ForeignError:
        raise
    except DAMAGE as error:
        raise ForeignError(
            f"{path} is a torch checkpoint that is cut short or damaged ({reason(error)}); "
            "fetch it again"
        ) from None
    with standing_in():
        try:
            found = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
        except Exception as error:  # a crafted pickle may raise anything; nothing of it has run
            raise ForeignError(
                f"{path} is no checkpoint that torch can read safely ({reason(error)})"
            ) from None
    if not isinstance(found, dict):
        raise ForeignError(f"{path} holds a {type(found).__name__}, and a checkpoint is a dict")
    return found


def reason(error: Exception) -> str:
    """What is wrong in a reader's words, less its advice; safe to print."""
    told = re.search(r"WeightsUnpickler error: (.*)", str(error))
    words = told[1] if told else f"{type(error).__name__}: {error}".partition("\n")[0]
    return words[:120].encode("unicode_escape").decode()


def check_kind(path: Path) -> None:
    """Refuses what does not even start as a checkpoint."""
    if not path.is_file():
        raise ForeignError(f"there is no checkpoint {path}")
    with path.open("rb") as file:
        start = file.read(9)
    if start.startswith(ZIP):
        return
    if start.startswith(PICKLE):
        raise ForeignError(
            f"{path} is a bare pickle, such as torch wrote before 1.6, which is never opened; "
            "have its maker save it with a newer torch"
        )
    if start.endswith(b"{"):
        raise ForeignError(
            f"{path} seems to be a safetensors file already: dlpo-tui listen {path} opens it"
        )
    raise ForeignError(f"{path} is no checkpoint: torch's begin as a zip archive does")


def check_members(path: Path, archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The archive's members, the pickle first; refuses what `torch.save` would never write.

    A member that unpacks, or a sum of sizes beyond the file's, is how an archive of a few
    kilobytes fills a disk or a memory.
    """
    members = archive.infolist()
    names = [member.filename for member in members]
    pickles = [member for member in members if member.filename.split("/")[1:] == ["data.pkl"]]
    if len(pickles) != 1:
        raise ForeignError(f"{path} is a zip archive, but none of torch.save: it has no data.pkl")
    problems = (
        ("names a member twice", len(set(names)) < len(names)),
        ("is compressed", any(member.compress_type != zipfile.ZIP_STORED for member in members)),
        ("is encrypted", any(member.flag_bits & 1 for member in members)),
        (
            "says it holds more than the file's size",
            sum(member.file_size for member in members) > path.stat().st_size,
        ),
        (
            f"describes its tensors in more than {LONGEST_PICKLE // MIB} MiB",
            pickles[0].file_size > LONGEST_PICKLE,
        ),
        ("is a TorchScript program", any(name.endswith("/constants.pkl") for name in names)),
    )
    for problem, found in problems:
        if found:
            raise ForeignError(f"{path} {problem}, which no checkpoint of torch.save does")
    return [*pickles, *(member for member in members if member is not pickles[0])]


def check_pickle(path: Path, pickled: bytes) -> None:
    """Reads a pickle as text and refuses the first name in it that is not on the lists."""
    try:
        with warnings.catch_warnings(action="ignore"):  # strings that Python finds odd
            for operation, argument, _ in pickletools.genops(pickled):
                if operation.proto > 2 or (operation.name == "PROTO" and argument != 2):
                    raise ForeignError(
                        f"{path} is pickled with another protocol than torch.save's own, 2"
                    )
                if operation.name in ("GLOBAL", "INST"):
                    check_global(path, str(argument))
    except ForeignError:
        raise
    except (ValueError, IndexError) as error:
        raise ForeignError(f"{path} holds a pickle that cannot be read ({reason(error)})") from None


def check_global(path: Path, written: str) -> None:
    """Refuses a name, as "module name", that is not on the lists."""
    module, _, name = written.partition(" ")
    if module == "__builtin__":  # Python 2's names, which protocol 2 keeps to
        module, name = "builtins", {"long": "int"}.get(name, name)
    if (wanted := f"{module}.{name}") not in TENSORS and wanted not in STAND_INS:
        raise ForeignError(
            f"{path} asks for {wanted[:80]!a}, which the weights of a WaveGrad 2 do not need and "
            "which might run code; have its maker save the state_dict alone"
        )


def check_sums(
    archive: zipfile.ZipFile, members: list[zipfile.ZipInfo], on_progress: Progressing
) -> None:
    """Reads every member once, which compares it with its sum; BadZipFile where they differ."""
    total, done = sum(member.file_size for member in members), 0
    for member in members:
        with archive.open(member) as file:
            while piece := file.read(MIB):
                done += len(piece)
                on_progress(done // MIB, -(-total // MIB), "checking the file")


@contextmanager
def standing_in() -> Iterator[None]:
    """torch's reader knows the stand-ins inside, and outside what it knew before."""
    before = torch.serialization.get_safe_globals()
    torch.serialization.add_safe_globals(list(STAND_INS.values()))
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


def dig(value: Any, *keys: str) -> Any:
    """The value under a path of keys in OmegaConf nodes or plain dicts, as `plain` gives it."""
    for key in keys:
        held = content(value)
        value = held.get(key) if isinstance(held, dict) else None
    return plain(value)


def plain(value: Any, depth: int = 3) -> Any:
    """Numbers, strings, and lists of them to a depth; None for anything else."""
    held = content(value)
    if isinstance(held, list | tuple) and depth:
        return [plain(item, depth - 1) for item in held]
    return held if isinstance(held, str | int | float) else None


def content(value: Any) -> Any:
    """What an OmegaConf node holds; anything else is itself."""
    if not isinstance(value, Inert):
        return value
    return value.state.get("_content", value.state.get("_val"))
