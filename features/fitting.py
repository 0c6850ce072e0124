"""Fits the projection on a file of prompts: run once, offline, without any label."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from features.embedding import Embedder
from features.errors import ProjectionError
from features.projection import Projection, ProjectionInfo, fit_projection, save_projection
from features.text import query_text

Progress = Callable[[int, int], None]


def fit_from_file(
    path: Path,
    out: Path,
    embedder: Embedder,
    *,
    n_components: int = 64,
    n_clusters: int = 16,
    seed: int = 0,
    source: str | None = None,
    progress: Progress | None = None,
) -> Projection:
    """Embed the prompts of ``path``, fit a projection, write it to ``out`` and return it.

    Parameters
    ----------
    path
        JSON lines with ``messages``, ``prompt`` or ``text``, or plain text with a prompt per line.
        Only statistics of the prompts are kept, never a prompt.
    embedder
        The model that the projection will belong to, with the cut that will be served.

    Raises
    ------
    ProjectionError
        If the file cannot be read or has too few different prompts.
    """
    prompts = read_prompts(path)
    vectors = np.empty((len(prompts), embedder.dimension), dtype=np.float32)
    for i, prompt in enumerate(prompts):
        vectors[i] = embedder.embed([prompt])[0]
        if progress is not None:
            progress(i + 1, len(prompts))
    info = ProjectionInfo(
        source=source or path.name,
        model_hash=embedder.manifest.source_hash,
        n_prompts=len(prompts),
        seed=seed,
        max_tokens=embedder.max_tokens,
    )
    projection = fit_projection(vectors, info, n_components=n_components, n_clusters=n_clusters)
    save_projection(projection, out)
    return projection


def read_prompts(path: Path) -> list[str]:
    """The different prompts of a file, as the text that would be embedded, in their order.

    Raises
    ------
    ProjectionError
        If the file cannot be read.
    """
    try:
        with path.open(encoding="utf-8") as file:
            found = dict.fromkeys(_prompts(file, lines=path.suffix in {".jsonl", ".ndjson"}))
    except (OSError, ValueError) as error:
        raise ProjectionError(str(path), f"cannot be read ({error})") from error
    found.pop("", None)
    return list(found)


def _prompts(file: Any, *, lines: bool) -> Iterator[str]:
    for line in file:
        yield query_text(_messages(json.loads(line)) if lines else _turn(line.strip()))


def _messages(row: Any) -> list[dict[str, Any]]:
    """Messages of a row: its own, or a user turn made of its prompt or text."""
    if isinstance(row, str):
        return _turn(row)
    if not isinstance(row, dict):
        raise ValueError(f"a line is {type(row).__name__}; want an object or a string")  # noqa: TRY004 - a bad file, not a bad call
    if isinstance(row.get("messages"), list):
        return list(row["messages"])
    return _turn(row.get("prompt", row.get("text", "")))


def _turn(text: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]
