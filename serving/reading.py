"""What is found out about a query before choosing, in a thread of its own."""

import asyncio
import hashlib
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import orjson

from bandit.primitives import Context
from features.query import Query
from serving.eligibility import count_chars

_LOG = logging.getLogger(__name__)


class Featurizer(Protocol):
    """Turns a query into what a policy sees."""

    @property
    def schema_version(self) -> str:
        """Digest of the features' definition."""

    @property
    def schema(self) -> Mapping[str, tuple[str, ...]]:
        """Namespace to the names of its features."""

    def featurize(self, query: Query) -> Context:
        """The context; called in a thread."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A query's features, its length in characters, and its text as hash or, if kept, as JSON."""

    context: Context
    chars: int
    query_hash: str
    prompt: str | None = None


class Reader:
    """Reads queries off the event loop: the embedding is most of the work, and lets go of the GIL.

    Parameters
    ----------
    threads
        How many queries are read at once; more wait.
    keep_prompts
        Whether a reading has the text itself.
    """

    def __init__(self, featurizer: Featurizer, *, threads: int, keep_prompts: bool) -> None:
        self._featurizer = featurizer
        self._keep_prompts = keep_prompts
        self._threads = ThreadPoolExecutor(threads, "read-query")

    async def read(self, query: Query) -> Reading:
        """All that is worth knowing of ``query``; never fails because of its features."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._read, query)

    def close(self) -> None:
        """Let the threads go."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _read(self, query: Query) -> Reading:
        text = orjson.dumps(query.messages)
        return Reading(
            self._featurize(query),
            count_chars(query),
            hashlib.sha256(text).hexdigest(),
            text.decode() if self._keep_prompts else None,
        )

    def _featurize(self, query: Query) -> Context:
        try:
            return self._featurizer.featurize(query)
        except Exception:  # noqa: BLE001 - whatever breaks here, the query is served and not learned
            _LOG.exception("features could not be computed; the baseline arm serves")
            return self._blank()

    def _blank(self) -> Context:
        zeros = {
            name: np.zeros(len(names), dtype=np.float32)
            for name, names in self._featurizer.schema.items()
        }
        return Context(zeros, self._featurizer.schema_version, features_ok=False)
