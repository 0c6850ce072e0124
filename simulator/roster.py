"""Policies by the names that results use, with settings in brackets: ``composed[gamma=30]``."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any

import numpy as np

from bandit.objectives import LatencyObjective, LatencyPacer, QualityFloor, QualityPacer
from bandit.pacing import BudgetPacer, PacerConfig
from bandit.policies.baselines import MixPolicy
from bandit.policies.composed import ComposedPolicy
from bandit.policies.config import PolicyConfig
from bandit.policies.corrected import CorrectedPolicy
from bandit.policies.factory import Lineup, make_lineup, make_policy
from bandit.policies.guarded import GuardConfig
from bandit.policies.linear import LinearConfig, LinearPolicy
from bandit.policy import Policy
from simulator.allowance import Allowance, AllowancePacer
from simulator.drift import NO_DRIFT
from simulator.driver import Driver
from simulator.dual import DualPacer, Pacer
from simulator.environment import Survey
from simulator.errors import BadStudyError, nearest
from simulator.references import (
    CrossFitted,
    Oracle,
    RidgeFull,
    RidgeUniform,
    StaticByDomain,
    ThresholdRouter,
)
from simulator.staging import CascadeOnly, PreOnly
from simulator.steering import Steering
from simulator.study import Study
from simulator.workload import even_arrivals

Settings = Mapping[str, str]
_BISECTIONS = 7
OURS = ("composed", "composed-nodrift")
"""Policies that a budget pacer can steer; the second does not handle drift."""


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


def pacer_of(study: Study, label: str, allowances: Sequence[Allowance] = ()) -> Pacer | None:
    """What keeps the study's budget for a policy that says what its arms will cost, or None.

    ``allowances`` stand in for that budget.

    ``composed[pacer=off]`` is left to itself, as are rivals: they have their own ways;
    ``composed[pacer=dual]`` is steered by its bills alone, as one that only cascades has to be.
    """
    name, settings = parse_label(label)
    wish = settings.get("pacer", "dual" if name == "always-cascade" else "on")
    if study.budget_usd is None or name not in _PACED or wish == "off":
        return None
    if wish == "dual":
        return DualPacer(study.budget_usd)
    gamma = float(settings.get("gamma", PolicyConfig().gamma))
    config = PacerConfig(study.budget_usd, gamma=gamma, start_price=study.start_price)
    return AllowancePacer(allowances, config) if allowances else BudgetPacer(config)


def steering_of(study: Study, label: str, allowances: Sequence[Allowance] = ()) -> Steering:
    """What steers a policy: its pacer, and the study's objectives if it can follow them."""
    name, settings = parse_label(label)
    if name not in OURS or settings.get("pacer") == "off":
        return Steering(pacer_of(study, label, allowances))
    gamma = float(settings.get("gamma", PolicyConfig().gamma))
    slo_s, floor = study.latency_slo_s, study.quality_floor
    return Steering(
        pacer_of(study, label, allowances),
        None if slo_s is None else LatencyPacer(LatencyObjective(slo_s, gamma)),
        None if floor is None else QualityPacer(QualityFloor(floor, gamma)),
    )


_PACED = (*OURS, "pre-only", "always-cascade")


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


def matched(config: LinearConfig, study: Study, seed: int) -> LinearConfig:
    """``config`` with the least penalty at which it keeps the budget, had nothing drifted.

    Found by running it over and over in the same world without its events: what hindsight has to
    give, so that the comparison is not with a badly set rival.
    """
    calm = replace(study, plan=NO_DRIFT, rounds=min(study.rounds, len(study.table)))
    contexts = calm.bank.contexts()

    def spend(penalty: float) -> float:
        policy = LinearPolicy(replace(config, cost_penalty=penalty))
        drive = replace(calm.drive(seed), edge_queue=False)
        driver = Driver(
            calm.world(seed),
            policy,
            drive,
            contexts=contexts,
            arrivals=even_arrivals(calm.rounds),
        )
        return float(driver.run().cost_usd.mean(dtype=np.float64))

    low, high = 0.0, 2.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if spend(middle) <= (study.budget_usd or 0.0) else (middle, high)
    return replace(config, cost_penalty=high)


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
    # A cascade is no arm of a policy that has no gate: its share goes to edge and cloud by spend.
    others = {arm: share for arm, share in like.share.items() if arm != edge and arm in costs}
    if like.share.keys() - costs.keys() and not sum(others.values()):
        others = dict.fromkeys([*costs][-1:], 1.0)
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
