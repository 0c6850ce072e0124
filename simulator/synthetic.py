"""A made-up world with prompts, so that everything runs with nothing else installed.

Eight domains with their own vocabulary; a prompt is plain or knotty, and says so in its words.
The small model is nearly as good as the large one on plain prompts, far worse on knotty ones, and
better in one domain of its own, so that the context decides which arm is right.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from simulator.table import Floats, ReplayTable

EDGE, CLOUD = "small-8b", "large-400b"

_DOMAINS: dict[str, tuple[float, tuple[str, ...]]] = {
    # Advantage of the large model on plain prompts, then the words of the domain.
    "arithmetic": (0.12, ("sum", "fraction", "percentage", "ratio", "interest", "average")),
    "cooking": (0.00, ("recipe", "oven", "sauce", "dough", "spices", "soup")),
    "law": (0.15, ("contract", "clause", "tenant", "liability", "appeal", "statute")),
    "travel": (-0.02, ("train", "hotel", "museum", "passport", "ferry", "itinerary")),
    "code": (0.10, ("function", "loop", "exception", "database", "thread", "parser")),
    "health": (0.06, ("symptom", "vitamin", "sleep", "allergy", "exercise", "dosage")),
    "letters": (-0.10, ("greeting", "apology", "invitation", "reference", "thanks", "notice")),
    "history": (0.04, ("treaty", "empire", "revolution", "census", "canal", "monarch")),
}
_PLAIN = (
    "Explain in one sentence what {a} and {b} have to do with each other.",
    "Give me a short example that uses {a} and {b}.",
    "Which is more common, {a} or {b}? One word is enough.",
    "Write two friendly lines about {a}, mention {b}.",
)
_KNOTTY = (
    "Prove step by step why {a} constrains {b}, consider every edge case, and derive a bound.",
    "Compare three conflicting theories of {a} against {b} and justify which one survives.",
    "Given how {a}, {b} and {c} interact, derive the optimal plan and justify each trade-off.",
    "Find the subtle mistake in the usual argument that links {a} with {b}, then repair it.",
)


@dataclass(frozen=True, slots=True)
class SyntheticConfig:
    """Size and noise of the made-up world.

    Attributes
    ----------
    knotty
        Share of hard prompts.
    noise
        Standard deviation of a score around its mean.
    """

    rows: int = 2_000
    seed: int = 0
    knotty: float = 0.4
    noise: float = 0.08


def make_synthetic(config: SyntheticConfig | None = None) -> ReplayTable:
    """A table of two models, `EDGE` and `CLOUD`, the same for the same seed.

    Examples
    --------
    >>> table = make_synthetic(SyntheticConfig(rows=100))
    >>> table.models, len(table), bool(table.quality.max() <= 1.0)
    (('small-8b', 'large-400b'), 100, True)
    """
    config = config or SyntheticConfig()
    rng = np.random.default_rng(config.seed)
    names = tuple(_DOMAINS)
    domain = rng.integers(len(names), size=config.rows)
    knotty = rng.random(config.rows) < config.knotty
    prompts = tuple(
        _prompt(names[d], is_knotty=bool(k), rng=rng) for d, k in zip(domain, knotty, strict=True)
    )
    gap = np.array([_DOMAINS[name][0] for name in names])[domain]
    cloud = np.where(knotty, 0.86, 0.92)
    edge = np.where(knotty, cloud - 0.25 - gap, cloud - gap)
    quality = np.clip(
        np.stack([edge, cloud], axis=1) + config.noise * rng.standard_normal((config.rows, 2)),
        0.0,
        1.0,
    )
    tokens_in = np.array([len(text) / 4.0 for text in prompts]).round()
    tokens_out = np.where(knotty, 400.0, 80.0) * np.exp(0.3 * rng.standard_normal(config.rows))
    tokens = np.stack([tokens_out, 1.2 * tokens_out], axis=1).round()
    cost = (tokens_in[:, None] * np.array([0.1, 2.0]) + tokens * np.array([0.1, 8.0])) / 1e6
    pace = np.array([0.012, 0.018]) * np.exp(0.1 * rng.standard_normal((config.rows, 2)))
    return ReplayTable(
        name="synthetic",
        models=(EDGE, CLOUD),
        prompts=prompts,
        domain=domain.astype(np.int64),
        domain_names=names,
        t_s=None,
        quality=quality,
        cost_usd=cost,
        latency_s=np.array([0.15, 0.5]) + pace * tokens,
        tokens_in=np.repeat(tokens_in[:, None], 2, axis=1),
        tokens_out=tokens,
        signals={EDGE: _signals(quality[:, 0], tokens[:, 0], config.seed)},
        notes=("a made-up world: its numbers say nothing about real models",),
    )


def _signals(quality: Floats, tokens_out: Floats, seed: int) -> tuple[Mapping[str, float], ...]:
    """What the small model's answers show: surer where it did better, but not reliably so."""
    rng = np.random.default_rng([seed, 1])
    n = len(quality)
    mean = -0.2 - 0.9 * (1.0 - quality) + 0.12 * rng.standard_normal(n)
    least = 4.0 * mean - np.abs(rng.standard_normal(n))
    margin = np.clip(0.35 + 0.5 * quality + 0.12 * rng.standard_normal(n), 0.0, 1.0)
    columns = {
        "logprob_mean": np.minimum(-0.01, mean),
        "logprob_min": np.minimum(-0.01, least),
        "margin_mean": margin,
        "n_tokens": tokens_out,
    }
    return tuple(
        dict(zip(columns, row, strict=True))
        for row in np.column_stack([*columns.values()]).tolist()
    )


def _prompt(domain: str, *, is_knotty: bool, rng: np.random.Generator) -> str:
    words = _DOMAINS[domain][1]
    a, b, c = (words[i] for i in rng.choice(len(words), size=3, replace=False))
    templates = _KNOTTY if is_knotty else _PLAIN
    return templates[int(rng.integers(len(templates)))].format(a=a, b=b, c=c)
