"""Policies by the names that results use, with settings in brackets: ``composed[gamma=30]``."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from types import MappingProxyType

import numpy as np

from bandit.policies.baselines import MixPolicy
from bandit.policies.composed import ComposedPolicy
from bandit.policies.config import PolicyConfig
from bandit.policies.corrected import CorrectedPolicy
from bandit.policies.factory import Lineup, make_lineup, make_policy
from bandit.policies.guarded import GuardConfig
from bandit.policies.linear import LinearConfig, LinearPolicy
from bandit.policy import Policy
from simulator.environment import Survey
from simulator.errors import BadStudyError
from simulator.hindsight import Like, equal_spend, matched
from simulator.labels import Settings, configured, read_label
from simulator.references import (
    CrossFitted,
    Oracle,
    RidgeFull,
    RidgeUniform,
    StaticByDomain,
    ThresholdRouter,
)
from simulator.staging import CascadeOnly, PreOnly
from simulator.study import Study

OURS = ("composed", "composed-nodrift")
"""Policies that a budget pacer can steer; the second does not handle drift."""


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
    return read_label(label, ROSTER)


def default_labels(*, cascade: bool = False) -> tuple[str, ...]:
    """Every policy of a comparison; ParetoBandit where its package is installed."""
    skipped = {"naive", "forgetting", "corrected"} | (
        set() if find_spec("pareto_bandit") else {"paretobandit"}
    )
    skipped |= set() if cascade else {"pre-only", "always-cascade"}
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


def blank_policy(label: str, schema: Mapping[str, int]) -> Policy:
    """A learning policy, or a uniformly random one, that needs no study around it.

    Raises
    ------
    BadStudyError
        If the label names none of these.
    """
    name, settings = parse_label(label)
    if name == "random":
        return MixPolicy()
    if name in OURS and settings.pop("pacer", "on") not in {"on", "off", "dual"}:
        raise BadStudyError("--policies", label, "pacer is on or off, or dual")
    if name in (*OURS, "direct"):
        guard = _guard(settings, label)
        config = PolicyConfig(
            "direct" if name == "direct" else "composed", dict(schema), drift=name == "composed"
        )
        return make_lineup(Lineup(configured(config, settings, label), guard))
    if name in _LINEAR:
        return LinearPolicy(configured(_LINEAR[name], settings, label), name=name)
    raise BadStudyError("--policies", label, "needs full information, which a log has not")


def _guard(settings: dict[str, str], label: str) -> GuardConfig | None:
    given = settings.pop("guard", "off")
    if given not in {"on", "off"}:
        raise BadStudyError("--policies", label, "guard is either on or off")
    return GuardConfig() if given == "on" else None


_LINEAR: Mapping[str, LinearConfig] = MappingProxyType(
    {
        "linucb": LinearConfig("ucb", width=0.1),
        "lints": LinearConfig("ts", width=0.1),
        "naive": LinearConfig("ucb", width=0.1),
        "forgetting": LinearConfig("ucb", width=0.1, forgetting=0.997),
    }
)


def _corrected(casting: Casting, settings: Settings) -> Policy:
    """The composed policy behind a correction; its own settings, and ``voters=on``."""
    settings = dict(settings)
    own = {"voters": settings.pop("voters", "off") in {"on", "true", "1"}}
    config = configured(PolicyConfig("composed", casting.study.bank.sizes), settings, casting.label)
    return CorrectedPolicy.around(make_policy(config), config, **own)


def _learner(casting: Casting, _: Settings) -> Policy:
    return blank_policy(casting.label, casting.study.bank.sizes)


def _staged(kind: type[PreOnly]) -> Callable[[Casting, Settings], Policy]:
    def build(casting: Casting, settings: Settings) -> Policy:
        if kind is CascadeOnly and not casting.study.cascade:
            raise BadStudyError("--policies", casting.label, "no cascade without --cascade")
        own = {key: value for key, value in settings.items() if key != "pacer"}
        config = PolicyConfig("composed", dict(casting.study.bank.sizes))
        return kind(ComposedPolicy(configured(config, own, casting.label)))

    return build


def _rival(casting: Casting, settings: Settings) -> Policy:
    """LinUCB that knows of budgets only a fixed penalty, matched to it in hindsight."""
    name, study = parse_label(casting.label)[0], casting.study
    config: LinearConfig = configured(_LINEAR[name], settings, casting.label)
    if study.budget_usd is not None and "cost_penalty" not in settings:
        config = matched(replace(config, target="quality"), study, casting.seed)
    return LinearPolicy(config, name=name)


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


def _ridge_uniform(casting: Casting, settings: Settings) -> Policy:
    return RidgeUniform(
        "ridge-uniform",
        casting.study.arms,
        rng=np.random.default_rng([casting.seed, 7]),
        ridge=float(settings.get("ridge", 10.0)),
    )


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
        "composed": _learner,
        "composed-nodrift": _learner,
        "corrected": _corrected,
        "pre-only": _staged(PreOnly),
        "always-cascade": _staged(CascadeOnly),
        "direct": _learner,
        "always-edge": _always(0),
        "always-cloud": _always(-1),
        "random": _random,
        "static-domain": _fitted(StaticByDomain),
        "threshold": _fitted(ThresholdRouter),
        "linucb": _learner,
        "lints": _learner,
        "naive": _rival,
        "forgetting": _rival,
        "paretobandit": _paretobandit,
        "ridge-full": _ridge_full,
        "ridge-uniform": _ridge_uniform,
        "oracle": _oracle,
    }
)
"""Name to maker."""
