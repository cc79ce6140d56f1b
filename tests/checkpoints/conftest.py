"""Hand-made checkpoint files: pickle instructions put together one by one, as an attacker would."""

from __future__ import annotations

import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest


class Assembler:
    """Pieces of pickle programs, and the files around them."""

    def value(self, value: Any) -> bytes:
        """Instructions that give a plain Python value."""
        return pickle.dumps(value, protocol=2)[2:-1]

    def name(self, dotted: str) -> bytes:
        module, _, name = dotted.rpartition(".")
        return f"c{module}\n{name}\n".encode()

    def call(self, dotted: str, *args: bytes) -> bytes:
        return self.name(dotted) + b"(" + b"".join(args) + b"tR"

    def items(self, entries: dict[str, bytes]) -> bytes:
        return b"}(" + b"".join(self.value(key) + program for key, program in entries.items()) + b"u"

    def storage(self, numel: Any, key: Any = "0", kind: str = "torch.FloatStorage") -> bytes:
        return b"(" + self.value("storage") + self.name(kind) + b"".join(map(self.value, (key, "cpu", numel))) + b"tQ"

    def tensor(
        self,
        size: Any = (2, 3),
        stride: Any = (3, 1),
        offset: Any = 0,
        storage: bytes | None = None,
        function: str = "torch._utils._rebuild_tensor_v2",
    ) -> bytes:
        hooks = self.call("collections.OrderedDict")
        described = [self.value(part) for part in (offset, size, stride, False)]
        return self.call(function, storage or self.storage(6), *described, hooks)

    def write(self, path: Path, program: bytes, storages: dict[str, bytes] | None = None, **entries: bytes) -> Path:
        """A zip checkpoint with one pickle program; storage "0" is 6 floats where nothing else is said."""
        if storages is None:
            storages = {"0": struct.pack("<6f", *range(6))}
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", b"\x80\x02" + program + b".")
            archive.writestr("archive/version", b"3\n")
            for key, data in storages.items():
                archive.writestr(f"archive/data/{key}", data)
            for name, data in entries.items():
                archive.writestr(f"archive/{name}", data)
        return path


@pytest.fixture(scope="session")
def asm() -> Assembler:
    return Assembler()
