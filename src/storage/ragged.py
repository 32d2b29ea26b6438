"""RaggedStore: flat arrays of many items of different sizes, in memory or memory-mapped from a folder.

A folder holds a .npy file for each field and one of offsets for each level; nothing in it is ever unpickled. Processes that
open the same folder share its pages, and an item takes memory only while it is in use.
"""

import io
import json
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from src.storage.cache import cached

LEVELS_FILE = "levels.json"  # field -> level, and a seal for every other file


class RaggedStore:
    """Fields of n_items items; item i owns rows offsets[level][i] : offsets[level][i + 1] of every field of that level.

    arrays: field -> (sum of the items' rows, ...).
    offsets: level -> (n_items + 1,).
    levels: field -> level.
    """

    def __init__(
        self,
        arrays: Mapping[str, NDArray],
        offsets: Mapping[str, NDArray[np.int64]],
        levels: Mapping[str, str],
        folder: Path | None = None,
    ) -> None:
        self.arrays, self.offsets, self.levels, self.folder = dict(arrays), dict(offsets), dict(levels), folder

    def __len__(self) -> int:
        return len(next(iter(self.offsets.values()))) - 1

    def __reduce__(self) -> tuple:
        """Let another process map the same files instead of sending it a copy."""
        if self.folder is None:
            return RaggedStore, (self.arrays, self.offsets, self.levels)
        return RaggedStore.open, (self.folder,)

    def counts(self, level: str, items: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return the number of rows of each item, (n_items,)."""
        offsets = self.offsets[level]
        return offsets[items + 1] - offsets[items]

    def rows(self, level: str, items: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return the numbers of all rows of the items, one item after another."""
        counts = self.counts(level, items)
        return np.arange(counts.sum()) + np.repeat(self.offsets[level][items] - (np.cumsum(counts) - counts), counts)

    def item(self, i: int) -> dict[str, NDArray]:
        """Return every field of item i."""
        return {
            name: self.arrays[name][self.offsets[level][i] : self.offsets[level][i + 1]] for name, level in self.levels.items()
        }

    @classmethod
    def from_items(cls, levels: Mapping[str, str], items: Sequence[Mapping[str, NDArray]]) -> "RaggedStore":
        """Return a store in memory; every item maps each field of `levels` to its array."""
        arrays = {name: np.concatenate([item[name] for item in items]) for name in levels}
        offsets: dict[str, NDArray[np.int64]] = {}
        for name, level in levels.items():
            counts = np.array([len(item[name]) for item in items], dtype=np.int64)
            offset = np.concatenate([[0], np.cumsum(counts)])
            if level in offsets and not np.array_equal(offsets[level], offset):
                raise ValueError(f"field {name}: its rows differ from those of the other fields of level {level}")
            offsets[level] = offset
        return cls(arrays, offsets, levels)

    @classmethod
    def concatenate(cls, stores: "Iterable[RaggedStore]", scratch: Path | None = None) -> "RaggedStore":
        """Return the items of several stores with the same fields, in order; they need not be in memory at the same time.

        scratch: folder of the fields, which are unnamed files until the store is saved; None: they are in memory.
        """
        fields: dict[str, _GrowingArray] = {}
        counts: dict[str, list[NDArray]] = {}
        levels: Mapping[str, str] = {}
        for store in stores:
            levels = store.levels
            for name, array in store.arrays.items():
                if name not in fields:
                    fields[name] = _GrowingArray(array, scratch)
                fields[name].append(array)
            for level, offset in store.offsets.items():
                counts.setdefault(level, [np.zeros(1, dtype=np.int64)]).append(np.diff(offset))
        arrays = {name: field.mapped() for name, field in fields.items()}
        return cls(arrays, {level: np.cumsum(np.concatenate(parts)) for level, parts in counts.items()}, levels)

    def save(self, folder: Path) -> None:
        """Write the folder under a temporary name and rename it, so that a folder that exists is whole."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
        try:
            for name, array in self.arrays.items():
                np.save(temporary / f"{name}.npy", array, allow_pickle=False)
            for level, offset in self.offsets.items():
                np.save(temporary / f"{level}.offsets.npy", offset, allow_pickle=False)
            seals = {path.name: _seal(path) for path in sorted(temporary.iterdir())}
            (temporary / LEVELS_FILE).write_text(json.dumps({"levels": self.levels, "seals": seals}))
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    @classmethod
    def open(cls, folder: Path) -> "RaggedStore":
        """Return the store of a folder, its fields memory-mapped. Raises ValueError if a file is missing or damaged."""
        try:
            described = json.loads((folder / LEVELS_FILE).read_text())
            levels = dict(described["levels"])
            files = {f"{name}.npy" for name in levels} | {f"{level}.offsets.npy" for level in levels.values()}
            if files != set(described["seals"]):
                raise ValueError(f"{LEVELS_FILE} was changed")
            for name, seal in described["seals"].items():
                path, status = folder / name, (folder / name).stat()  # it is read only if its size or time differ
                if [status.st_size, status.st_mtime_ns] != seal[:2] and _seal(path)[2] != seal[2]:
                    raise ValueError(f"{name} was changed or cut off")
            arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in levels}
            offsets = {level: np.load(folder / f"{level}.offsets.npy", allow_pickle=False) for level in set(levels.values())}
        except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{folder} is damaged ({error}); remove it, and it will be rebuilt") from error
        return cls(arrays, offsets, levels, folder)

    @classmethod
    def cached(cls, folder: Path | None, build: "Callable[[], RaggedStore]") -> "RaggedStore":
        """Return the store of a folder; if it is missing or damaged, what `build` returns is saved there first.

        folder: None: nothing is written.
        """
        return cached(folder, cls.open, lambda: build().save(folder)) if folder else build()


def _seal(path: Path) -> list[int]:
    """Return size, modification time in ns, and CRC-32 of a file."""
    status, checksum = path.stat(), 0
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            checksum = zlib.crc32(part, checksum)
    return [status.st_size, status.st_mtime_ns, checksum]


class _GrowingArray:
    """An array that grows by rows, in memory or in an unnamed file that vanishes with it. like: rows of the same kind."""

    def __init__(self, like: NDArray, folder: Path | None) -> None:
        self.file = tempfile.TemporaryFile(dir=folder) if folder else io.BytesIO()  # noqa: SIM115, as long as the array
        self.like, self.n_rows = like[:0].copy(), 0

    def append(self, rows: NDArray) -> None:
        if rows.dtype != self.like.dtype or rows.shape[1:] != self.like.shape[1:]:
            raise ValueError(f"rows of {rows.dtype} {rows.shape[1:]} after rows of {self.like.dtype} {self.like.shape[1:]}")
        self.file.write(rows.tobytes())
        self.n_rows += len(rows)

    def mapped(self) -> NDArray:
        shape = (self.n_rows, *self.like.shape[1:])
        if 0 in shape:  # nothing can be mapped
            return np.empty(shape, self.like.dtype)
        if isinstance(self.file, io.BytesIO):
            return np.frombuffer(self.file.getbuffer(), self.like.dtype).reshape(shape)
        self.file.flush()
        return np.memmap(self.file, self.like.dtype, "r", shape=shape)
