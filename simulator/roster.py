"""Policies by the names that results use, with settings in brackets: ``composed[gamma=30]``."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any

from bandit.policies.baselines import MixPolicy
from bandit.policies.config import PolicyConfig
from bandit.policies.factory import make_policy
from bandit.policies.linear import LinearConfig, LinearPolicy
from bandit.policy import Policy
from simulator.environment import Survey
from simulator.errors import BadStudyError, nearest
from simulator.references import (
    CrossFitted,
    Oracle,
    RidgeFull,
    StaticByDomain,
    ThresholdRouter,
)
from simulator.study import Study

Settings = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Like:
    """Arm shares and mean cost of another policy's run."""

    share: Mapping[str, float]
    cost_usd: float


@dataclass(frozen=True, slots=True)
class Casting:
    """What a policy is made from, for one run.

    Attributes
    ----------
    like
        The run that the random policy is to match, or None.
    """

    study: Study
    label: str
    seed: int
    survey: Survey
    like: Like | None = None


def parse_label(label: str) -> tuple[str, dict[str, str]]:
    """Name and settings of a label.

    Examples
    --------
    >>> parse_label("composed[gamma=30,floor=0.05]")
    ('composed', {'gamma': '30', 'floor': '0.05'})
    """
    match = re.fullmatch(r"([a-z-]+)(?:\[([^\]]*)\])?", label)
    if match is None or match[1] not in ROSTER:
        name = match[1] if match else label
        raise BadStudyError("--policies", label, f"unknown{nearest(name, list(ROSTER))}")
    settings: dict[str, str] = {}
    for part in filter(None, (match[2] or "").split(",")):
        key, _, value = part.partition("=")
        settings[key.strip()] = value.strip()
    return match[1], settings


def split_labels(text: str) -> tuple[str, ...]:
    """Labels of a comma-separated list; commas in brackets belong to their label.

    Examples
    --------
    >>> split_labels("composed[gamma=3,floor=0.1], linucb")
    ('composed[gamma=3,floor=0.1]', 'linucb')
    """
    labels = (label.strip() for label in re.findall(r"(?:[^,\[]|\[[^\]]*\])+", text))
    return tuple(dict.fromkeys(label for label in labels if label))


def default_labels() -> tuple[str, ...]:
    """Every policy of a comparison; ParetoBandit where its package is installed."""
    skipped = {"naive", "forgetting"} | (set() if find_spec("pareto_bandit") else {"paretobandit"})
    return tuple(name for name in ROSTER if name not in skipped)


def cast(casting: Casting) -> Policy:
    """The policy that a label names, fresh.

    Raises
    ------
    BadStudyError
        If there is no such policy or setting.
    """
    name, settings = parse_label(casting.label)
    return ROSTER[name](casting, settings)


def configured(config: Any, settings: Settings, label: str) -> Any:
    """A dataclass with some of its fields replaced by text, read as the type they have now."""
    valid = {f.name: getattr(config, f.name) for f in fields(config)}
    changes: dict[str, Any] = {}
    for key, text in settings.items():
        if key not in valid:
            raise BadStudyError("--policies", label, f"no setting {key!r}{nearest(key, [*valid])}")
        try:
            changes[key] = _like(valid[key], text)
        except ValueError:
            raise BadStudyError("--policies", label, f"{key} = {text!r} is not a number") from None
    return replace(config, **changes)


def _like(example: Any, text: str) -> Any:
    if isinstance(example, bool):
        return text.lower() in {"1", "true", "yes", "on"}
    if isinstance(example, int):
        return int(text)
    if isinstance(example, float) or example is None:
        return float(text)
    return text


def _ours(name: str) -> Callable[[Casting, Settings], Policy]:
    def build(casting: Casting, settings: Settings) -> Policy:
        config = PolicyConfig(name=name, schema=dict(casting.study.bank.sizes))  # type: ignore[arg-type]
        return make_policy(configured(config, settings, casting.label))

    return build


def _linear(name: str, config: LinearConfig) -> Callable[[Casting, Settings], Policy]:
    def build(casting: Casting, settings: Settings) -> Policy:
        return LinearPolicy(configured(config, settings, casting.label), name=name)

    return build


def _always(column: int) -> Callable[[Casting, Settings], Policy]:
    def build(casting: Casting, settings: Settings) -> Policy:
        _none(settings, casting.label)
        name = parse_label(casting.label)[0]
        return MixPolicy({casting.study.arms[column]: 1.0}, name=name)

    return build


def _random(casting: Casting, settings: Settings) -> Policy:
    _none(settings, casting.label)
    if casting.like is None:
        return MixPolicy(name="random")
    costs = dict(zip(casting.study.arms, casting.survey.cost_usd.tolist(), strict=True))
    return MixPolicy(equal_spend(casting.like, casting.study.arms[0], costs), name="random")


def equal_spend(like: Like, edge: str, costs: Mapping[str, float]) -> dict[str, float]:
    """Shares that cost ``like.cost_usd`` a query: the edge's is moved until they do.

    The others keep their proportions. A policy that learned which queries are dear spends other
    than its shares at mean cost, so that matching the shares would not match the spend.

    Examples
    --------
    >>> shares = equal_spend(Like({"e": 0.5, "c": 0.5}, 0.7), "e", {"e": 0.0, "c": 1.0})
    >>> round(shares["c"], 3)
    0.7
    """
    others = {arm: share for arm, share in like.share.items() if arm != edge}
    total = sum(others.values())
    dearer = sum(share * (costs[arm] - costs[edge]) for arm, share in others.items())
    if total <= 0.0 or dearer <= 0.0:
        return dict(like.share)
    factor = min(1.0 / total, max(0.0, (like.cost_usd - costs[edge]) / dearer))
    return {edge: 1.0 - factor * total} | {arm: factor * share for arm, share in others.items()}


def _fitted(
    kind: type[StaticByDomain] | type[ThresholdRouter],
) -> Callable[[Casting, Settings], Policy]:
    def build(casting: Casting, settings: Settings) -> Policy:
        _none(settings, casting.label)
        name, arms = parse_label(casting.label)[0], casting.study.arms
        first, second = casting.study.fit_sets(casting.survey.order)
        return CrossFitted(
            kind(name, arms, first),
            kind(name, arms, second),
            switch_at=casting.study.rounds // 2,
        )

    return build


def _ridge_full(casting: Casting, settings: Settings) -> Policy:
    return RidgeFull("ridge-full", casting.study.arms, ridge=float(settings.get("ridge", 10.0)))


def _oracle(casting: Casting, settings: Settings) -> Policy:
    _none(settings, casting.label)
    return Oracle("oracle", casting.study.arms)


def _paretobandit(casting: Casting, settings: Settings) -> Policy:
    from simulator.peers import ParetoBandit  # noqa: PLC0415 - an optional extra

    return ParetoBandit.for_study(casting.study, casting.seed, settings)


def _none(settings: Settings, label: str) -> None:
    if settings:
        raise BadStudyError("--policies", label, "this policy has no settings")


ROSTER: Mapping[str, Callable[[Casting, Settings], Policy]] = MappingProxyType(
    {
        "composed": _ours("composed"),
        "direct": _ours("direct"),
        "always-edge": _always(0),
        "always-cloud": _always(-1),
        "random": _random,
        "static-domain": _fitted(StaticByDomain),
        "threshold": _fitted(ThresholdRouter),
        "linucb": _linear("linucb", LinearConfig("ucb", width=0.1)),
        "lints": _linear("lints", LinearConfig("ts", width=0.1)),
        "naive": _linear("naive", LinearConfig("ucb", width=0.1)),
        "forgetting": _linear("forgetting", LinearConfig("ucb", width=0.1, forgetting=0.997)),
        "paretobandit": _paretobandit,
        "ridge-full": _ridge_full,
        "oracle": _oracle,
    }
)
"""Name to maker. ``composed-nodrift`` joins when `composed` handles drift: until then, the two
would be the same policy."""
