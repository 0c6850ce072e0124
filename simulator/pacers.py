"""What steers the policy of a label: the pacer of the study's budget, and of its objectives."""

from collections.abc import Sequence

from bandit.objectives import LatencyObjective, LatencyPacer, QualityFloor, QualityPacer
from bandit.pacing import BudgetPacer, PacerConfig
from bandit.policies.config import PolicyConfig
from simulator.allowance import Allowance, AllowancePacer
from simulator.dual import DualPacer, Pacer
from simulator.roster import OURS, parse_label
from simulator.steering import Steering
from simulator.study import Study

_PACED = (*OURS, "pre-only", "always-cascade")


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
