"""What a table shows of its models' answers: signals for a cascade's gate.

Two kinds of columns: ``signal:<model>:<name>``, numbers that the model itself gave (such as its
log-probability or margin), and ``response:<model>``, the text of its answer, from which
`features.answer.answer_signals` derives more.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

from features.answer import answer_signals
from simulator.errors import BadTableError
from simulator.sources import Columns

Signals: TypeAlias = Mapping[str, float]
NO_SIGNALS: Signals = MappingProxyType({})


def signal_columns(names: Sequence[str], models: Sequence[str]) -> list[str]:
    """Those of ``names`` that show something of the answers of ``models``."""
    heads = tuple(f"signal:{model}:" for model in models)
    texts = {f"response:{model}" for model in models}
    return [name for name in names if name.startswith(heads) or name in texts]


def read_signals(
    path: Path, columns: Columns, models: Sequence[str]
) -> dict[str, tuple[Signals, ...]]:
    """Per model that the columns show something of: the signals of every row.

    Raises
    ------
    BadTableError
        If a signal is not a finite number; an absent one is simply not there.
    """
    found: dict[str, tuple[Signals, ...]] = {}
    prompts = columns["prompt"]
    for model in models:
        own = signal_columns(list(columns), [model])
        if not own:
            continue
        texts = columns.get(f"response:{model}")
        rows: list[dict[str, float]] = [
            {} if texts is None or texts[i] is None else answer_signals(str(texts[i]), str(prompt))
            for i, prompt in enumerate(prompts)
        ]
        for name in own:
            if name.startswith("signal:"):
                _add(path, name, columns, rows)
        found[model] = tuple(rows)
    return found


def _add(path: Path, name: str, columns: Columns, rows: list[dict[str, float]]) -> None:
    short = name.rpartition(":")[2]
    for i, value in enumerate(columns[name]):
        try:
            number = math.nan if value is None else float(value)
        except (TypeError, ValueError):
            shown = repr(value)[:40]
            raise BadTableError(path, f"row {i + 1}", f"{name} is {shown}, not a number") from None
        if math.isinf(number):
            raise BadTableError(path, f"row {i + 1}", f"{name} is not finite")
        if not math.isnan(number):
            rows[i][short] = number
