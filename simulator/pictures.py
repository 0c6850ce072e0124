"""Pictures of a replay table, turned into features one by one: they are never all in memory."""

import base64
import binascii
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from simulator.embeddings import FeatureBank, Matrix, Progress, save_arrays
from simulator.errors import BadTableError
from simulator.sources import open_source

COLUMN = "image_jpeg"
"""Bytes of a picture in any format that is decoded; in text tables as base64."""


@dataclass(frozen=True, slots=True)
class PictureColumn:
    """Where a table's pictures are.

    Attributes
    ----------
    path
        The table's file.
    rows
        Row of the file for every row of the table, shape (n,).
    """

    path: Path
    rows: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> "PictureColumn":
        """The column of ``rows`` only."""
        return PictureColumn(self.path, self.rows[rows])

    def each(self) -> Iterator[tuple[int, bytes | None]]:
        """Row of the file and its picture, in the order of the file, up to the last row needed.

        Raises
        ------
        BadTableError
            If a cell is neither bytes nor base64.
        """
        source = open_source(self.path)
        for i, value in enumerate(source.stream(COLUMN, int(self.rows.max()) + 1)):
            yield i, _bytes(self.path, i, value)


class PictureFeaturizer(Protocol):
    """The part of `features.featurizer.Featurizer` that looks at pictures."""

    schema_version: str

    def featurize_picture(self, blob: bytes) -> Mapping[str, Matrix]:
        """The namespaces of pictures."""


def with_pictures(
    bank: FeatureBank,
    column: PictureColumn,
    featurizer: PictureFeaturizer,
    folder: Path,
    *,
    progress: Progress | None = None,
) -> FeatureBank:
    """``bank`` with what its rows' pictures show; from ``folder`` if it was made before."""
    found = _features(column, featurizer, folder, progress)
    matrix = bank.matrix.copy()
    starts = dict(zip(bank.sizes, np.cumsum([0, *bank.sizes.values()]).tolist(), strict=False))
    for name, values in found.items():
        start = starts[name]
        matrix[:, start : start + bank.sizes[name]] = values
    return replace(bank, matrix=matrix)


def without_pictures(bank: FeatureBank, *, keep: str | None = None) -> FeatureBank:
    """``bank`` as if no query had a picture; ``keep`` is a namespace of them to leave."""
    matrix = bank.matrix.copy()
    start = 0
    for name, size in bank.sizes.items():
        if name.startswith("image") and name != keep:
            matrix[:, start : start + size] = 0.0
        start += size
    return replace(bank, matrix=matrix)


def _features(
    column: PictureColumn,
    featurizer: PictureFeaturizer,
    folder: Path,
    progress: Progress | None,
) -> dict[str, Matrix]:
    with column.path.open("rb") as file:
        seal = hashlib.file_digest(file, "sha256")
    seal.update(featurizer.schema_version.encode() + column.rows.tobytes())
    path = folder / f"pictures-{seal.hexdigest()[:32]}.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as saved:
            return {name: np.asarray(saved[name], dtype=np.float32) for name in saved.files}
    n, last = len(column.rows), int(column.rows.max())
    found: dict[str, Matrix] = {}
    for row, blob in column.each():
        places = np.flatnonzero(column.rows == row) if blob else ()
        if blob and len(places):
            for name, values in featurizer.featurize_picture(blob).items():
                found.setdefault(name, np.zeros((n, len(values)), dtype=np.float32))
                found[name][places] = values
        if progress is not None:
            progress(row + 1, last + 1)
    save_arrays(path, found)
    return found


def _bytes(path: Path, row: int, value: Any) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, TypeError, ValueError):
        what = f"{COLUMN} is {type(value).__name__} {repr(value)[:20]}, neither bytes nor base64"
        raise BadTableError(path, f"row {row + 1}", what) from None
