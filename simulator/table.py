"""Replay tables: prompts with what every model scored on them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.answers import Signals, read_signals, signal_columns
from simulator.errors import BadTableError, nearest
from simulator.joining import open_table_source
from simulator.pictures import COLUMN, PictureColumn
from simulator.sources import Columns, Source, open_source

Floats = NDArray[np.float64]

MAX_ROWS = 500_000
"""Rows read of a table unless told otherwise."""


@dataclass(frozen=True, slots=True)
class ReplayTable:
    """Full information: every row has a score of every model.

    Attributes
    ----------
    models
        k names, the columns of the matrices.
    prompts
        n texts.
    domain
        ndarray of shape (n,): index into ``domain_names``.
    t_s
        Arrival times in seconds, shape (n,), or None.
    quality
        Scores in [0, 1], shape (n, k).
    cost_usd, latency_s, tokens_in, tokens_out
        Shape (n, k); NaN where the file does not say (`simulator.fill` completes them).
    price_in, price_out
        US dollars per million tokens, shape (k,); None until completed.
    notes
        Whatever the reader should know, one sentence each.
    signals
        Per model, what every row's answer shows of itself; only read for cascades.
    pictures
        Where the rows' pictures are, if they have any.
    """

    name: str
    models: tuple[str, ...]
    prompts: tuple[str, ...]
    domain: NDArray[np.int64]
    domain_names: tuple[str, ...]
    t_s: Floats | None
    quality: Floats
    cost_usd: Floats
    latency_s: Floats
    tokens_in: Floats
    tokens_out: Floats
    price_in: Floats | None = None
    price_out: Floats | None = None
    notes: tuple[str, ...] = ()
    signals: Mapping[str, tuple[Signals, ...]] = field(default_factory=dict)
    pictures: PictureColumn | None = None

    def __len__(self) -> int:
        return len(self.prompts)

    def take(self, rows: NDArray[np.int64]) -> "ReplayTable":
        """The table of ``rows`` only, in that order."""
        return replace(
            self,
            prompts=tuple(self.prompts[i] for i in rows),
            domain=self.domain[rows],
            t_s=None if self.t_s is None else self.t_s[rows],
            quality=self.quality[rows],
            cost_usd=self.cost_usd[rows],
            latency_s=self.latency_s[rows],
            tokens_in=self.tokens_in[rows],
            tokens_out=self.tokens_out[rows],
            signals={model: tuple(shown[i] for i in rows) for model, shown in self.signals.items()},
            pictures=None if self.pictures is None else self.pictures.take(rows),
        )

    def inverted(self) -> "ReplayTable":
        """The same table with every score turned round: a deliberately wrong teacher."""
        return replace(self, name=f"{self.name} (inverted)", quality=1.0 - self.quality)


def models_of(path: Path) -> list[str]:
    """Names of the models that the file scores."""
    return _scored(open_source(path))


def load_table(
    path: Path,
    models: Sequence[str],
    *,
    max_rows: int = MAX_ROWS,
    drop_unmeasured: bool = False,
    join: str | None = None,
    signals: bool = False,
) -> ReplayTable:
    """Read what a study of ``models`` needs of the file at ``path``.

    Parameters
    ----------
    drop_unmeasured
        Leave out rows where a model has no score, rather than refuse the table.
    join
        ``FILE:COLUMN``: another file with more columns of the same rows.
    signals
        Whether to read what the answers show of themselves.

    Raises
    ------
    BadTableError
        In one line: what is wrong, where, and the nearest valid name.
    """
    source = open_table_source(path, join)
    _check_names(path, source, models)
    shown = signal_columns(source.names, models) if signals else []
    columns = source.read([*_wanted(source, models), *shown], max_rows)
    n = len(columns["prompt"])
    if n == 0:
        raise BadTableError(path, "", "the table has no rows")
    quality = _matrix(path, columns, models, ["score:"], n)
    unmeasured = np.isnan(quality).any(axis=1)
    if unmeasured.any() and not drop_unmeasured:
        raise _unmeasured(path, quality, models)
    if unmeasured.all():
        raise BadTableError(path, "", f"no row has a score of all of {', '.join(models)}")
    _check_range(path, quality, models)
    names, domain = _domains(columns.get("domain"), n)
    table = ReplayTable(
        name=path.stem,
        models=tuple(models),
        prompts=_prompts(path, columns["prompt"]),
        domain=domain,
        domain_names=names,
        t_s=_times(path, columns),
        quality=quality,
        cost_usd=_amounts(path, columns, models, ["cost_usd:"], n),
        latency_s=_amounts(path, columns, models, ["latency_s:"], n),
        tokens_in=_amounts(path, columns, models, ["tok_in:", "tok_in_est:", "tok_in_est"], n),
        tokens_out=_amounts(path, columns, models, ["tok_out:", "tok_out_est:"], n),
        notes=_notes(n, max_rows, int(unmeasured.sum())),
        signals=read_signals(path, columns, models) if shown else {},
        pictures=PictureColumn(path, np.arange(n)) if COLUMN in open_source(path).names else None,
    )
    return table.take(np.flatnonzero(~unmeasured)) if unmeasured.any() else table


def _scored(source: Source) -> list[str]:
    return [name[6:] for name in source.names if name.startswith("score:")]


def _check_names(path: Path, source: Source, models: Sequence[str]) -> None:
    if "prompt" not in source.names:
        hint = nearest("prompt", list(source.names))
        raise BadTableError(path, "", f"no column 'prompt'{hint}")
    scored = _scored(source)
    if not scored:
        raise BadTableError(path, "", "no column 'score:<model>'; this is not a replay table")
    for model in models:
        if model not in scored:
            raise BadTableError(path, "", f"no column 'score:{model}'{nearest(model, scored)}")


def _wanted(source: Source, models: Sequence[str]) -> list[str]:
    wanted = {"prompt", "domain", "t_s", "tok_in_est"}
    heads = ("score", "cost_usd", "latency_s", "tok_in", "tok_in_est", "tok_out", "tok_out_est")
    wanted |= {f"{head}:{model}" for head in heads for model in models}
    return [name for name in source.names if name in wanted]


def _numbers(path: Path, name: str, values: Sequence[Any]) -> Floats:
    """The column as floats; absent is NaN, anything else that is not a number is refused."""
    out = np.empty(len(values))
    for i, value in enumerate(values):
        try:
            out[i] = math.nan if value is None else float(value)
        except (TypeError, ValueError):
            shown = repr(value)[:40]
            raise BadTableError(path, f"row {i + 1}", f"{name} is {shown}, not a number") from None
    return out


def _matrix(
    path: Path, columns: Columns, models: Sequence[str], heads: Sequence[str], n: int
) -> Floats:
    out = np.full((n, len(models)), np.nan)
    for j, model in enumerate(models):
        for head in heads:
            name = head + model if head.endswith(":") else head
            if name in columns:
                out[:, j] = _numbers(path, name, columns[name])
                break
    return out


def _amounts(
    path: Path, columns: Columns, models: Sequence[str], heads: Sequence[str], n: int
) -> Floats:
    amounts = _matrix(path, columns, models, heads, n)
    bad = (amounts < 0.0) | np.isinf(amounts)
    if bad.any():
        i, j = np.argwhere(bad)[0]
        what = f"{heads[0]}{models[j]} is {amounts[i, j]:g}; want a finite number of at least 0"
        raise BadTableError(path, f"row {i + 1}", what)
    return amounts


def _unmeasured(path: Path, quality: Floats, models: Sequence[str]) -> BadTableError:
    i, j = np.argwhere(np.isnan(quality))[0]
    counts = np.isnan(quality).sum(axis=0)
    return BadTableError(
        path,
        f"row {i + 1}",
        f"score:{models[j]} is not measured (NaN) in {counts[j]:,} of {len(quality):,} rows; "
        "choose another model, or leave such rows out with --drop-unmeasured",
    )


def _check_range(path: Path, quality: Floats, models: Sequence[str]) -> None:
    bad = (quality < 0.0) | (quality > 1.0)
    if bad.any():
        i, j = np.argwhere(bad)[0]
        what = f"score:{models[j]} is {quality[i, j]:g}; want a number in [0, 1]"
        raise BadTableError(path, f"row {i + 1}", what)


def _prompts(path: Path, values: Sequence[Any]) -> tuple[str, ...]:
    for i, value in enumerate(values):
        if value is not None and not isinstance(value, str):
            raise BadTableError(path, f"row {i + 1}", f"prompt is {type(value).__name__}, not text")
    return tuple(value or "" for value in values)


def _domains(values: Sequence[Any] | None, n: int) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    if values is None:
        return ("all",), np.zeros(n, dtype=np.int64)
    labels = ["unknown" if value is None else str(value) for value in values]
    names = sorted(set(labels))
    index = {name: i for i, name in enumerate(names)}
    return tuple(names), np.array([index[label] for label in labels], dtype=np.int64)


def _times(path: Path, columns: Columns) -> Floats | None:
    if "t_s" not in columns:
        return None
    times = _numbers(path, "t_s", columns["t_s"])
    if not np.isfinite(times).all():
        i = int(np.flatnonzero(~np.isfinite(times))[0])
        raise BadTableError(path, f"row {i + 1}", "t_s is not a finite number of seconds")
    return times


def _notes(n: int, max_rows: int, unmeasured: int) -> tuple[str, ...]:
    notes = []
    if n >= max_rows:
        notes.append(f"read the first {max_rows:,} rows only; --max-rows reads more")
    if unmeasured:
        notes.append(f"left out {unmeasured:,} of {n:,} rows where a model has no score")
    return tuple(notes)
