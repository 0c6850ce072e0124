"""How well a policy knows each kind of query."""

from collections.abc import Mapping, Sequence

from bandit.primitives import Context

_PATIENCE = 4
"""Answers per vote wanted after which a kind that nobody judges counts as known all the same."""


class Acquaintance:
    """Counts votes and answers by kind of query, a kind being a cluster of embeddings.

    The difference between arms is learned from the arm seen least, and nothing that comes later
    mends a lopsided start as cheaply: while a kind is new, the arms are drawn evenly.

    Parameters
    ----------
    n_kinds
        Length of the one-hot ``cluster`` vector; at least 1.
    state
        What `state` gave, to continue from.
    """

    def __init__(self, n_kinds: int, state: Mapping[str, Sequence[int]] | None = None) -> None:
        saved = state or {}
        self._votes = list(saved.get("votes", [0] * n_kinds))
        self._answers = list(saved.get("answers", [0] * n_kinds))

    def is_new(self, context: Context, wanted: int) -> bool:
        """Whether the context's kind has fewer votes than ``wanted``, and could get them soon."""
        kind = self._kind(context)
        return self._votes[kind] < wanted and self._answers[kind] < _PATIENCE * wanted

    def note(self, context: Context, *, judged: bool) -> None:
        """Count a vote, or else an answer."""
        counts = self._votes if judged else self._answers
        counts[self._kind(context)] += 1

    def state(self) -> dict[str, list[int]]:
        """Everything, as JSON-ready data."""
        return {"votes": self._votes, "answers": self._answers}

    def _kind(self, context: Context) -> int:
        cluster = context.namespaces.get("cluster")
        return 0 if cluster is None or len(self._votes) == 1 else int(cluster.argmax())
