"""The replay table inside the ``paretobandit`` wheel: 3,609 prompts, three models.

Judged score and real dollar cost of Llama-3.1-8B, Mistral-Large and Gemini-2.5-Pro on prompts of
nine public benchmarks; validation rows first, then test. Source: the package ``paretobandit``
0.1.1 (Apache-2.0), files ``data/examples/val.jsonl`` and ``test_holdout.jsonl``.
"""

import json
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from simulator.errors import BadTableError, nearest
from simulator.table import ReplayTable

MODELS = ("llama-3.1-8b-instruct", "mistral-large-2512", "gemini-2.5-pro")
DEFAULT_PAIR = ("llama-3.1-8b-instruct", "gemini-2.5-pro")
_FILES = ("val.jsonl", "test_holdout.jsonl")


def examples_dir() -> Path | None:
    """Where the wheel keeps its rows; None when it is not installed."""
    spec = find_spec("pareto_bandit")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "data" / "examples"
    return folder if all((folder / name).is_file() for name in _FILES) else None


def load_wheel(models: Sequence[str] = DEFAULT_PAIR, *, part: str = "all") -> ReplayTable:
    """The wheel's rows for ``models``.

    Parameters
    ----------
    part
        ``val``, ``test`` (the 1,824 prompts of the three-phase protocol) or ``all``.

    Raises
    ------
    BadTableError
        If the wheel is not installed or does not know a model.
    """
    folder = examples_dir()
    if folder is None:
        raise BadTableError("paretobandit", "", "not installed: pip install 'pointsman[peers]'")
    for model in models:
        if model not in MODELS:
            raise BadTableError("paretobandit", "", f"no model {model!r}{nearest(model, MODELS)}")
    files = {"val": _FILES[:1], "test": _FILES[1:], "all": _FILES}[part]
    rows = [row for name in files for row in _rows(folder / name)]
    arms = [{_short(name): arm for name, arm in row["arms"].items()} for row in rows]
    names = tuple(sorted({row["source"] for row in rows}))
    unknown = np.full((len(rows), len(models)), np.nan)
    return ReplayTable(
        name="paretobandit" if part == "all" else f"paretobandit-{part}",
        models=tuple(models),
        prompts=tuple(row["prompt"] for row in rows),
        domain=np.array([names.index(row["source"]) for row in rows], dtype=np.int64),
        domain_names=names,
        t_s=None,
        quality=np.array([[arm[m]["reward"] for m in models] for arm in arms]),
        cost_usd=np.array([[arm[m]["cost"] for m in models] for arm in arms]),
        latency_s=unknown,
        tokens_in=unknown,
        tokens_out=unknown,
    )


def _short(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
