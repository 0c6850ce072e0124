"""The treasury's part of the composition root."""

from collections.abc import Mapping
from contextlib import AsyncExitStack

from feedback.engine import LogConfig
from feedback.sql_ledger import SqlLedger
from serving.arms import ArmSpec
from serving.database import background
from serving.learning_start import reward_rules, utc_now
from serving.settings import Settings
from serving.steering import ObjectiveBoard
from serving.treasury import Treasury, check_budgets

_REFRESH_S = 0.2
_HOLD_S = 5.0


def start_treasury(
    settings: Settings, stack: AsyncExitStack, *, dsn: str, arms: Mapping[str, ArmSpec]
) -> Treasury | None:
    """The treasury, running; None without budgets and objectives.

    Raises
    ------
    SettingsError
        If a budget cannot be kept with these arms.
    """
    aims = settings.objectives
    if not settings.budgets and not aims.any:
        return None
    budgets = [section.budget() for section in settings.budgets]
    check_budgets(budgets, arms)
    # A query that is to be paid for waits for these; better another arm than a long wait.
    config = LogConfig(n_connections=4, timeout_s=2.0, statement_timeout_s=1.5)
    ledger = SqlLedger(dsn, config=config)
    stack.push_async_callback(ledger.aclose)
    hold_s = settings.server.answer_timeout_s + _HOLD_S
    gamma = settings.policy.gamma
    objectives = ObjectiveBoard(
        aims.latency(gamma),
        aims.floor(gamma),
        ledger,
        metrics=[name for name, weight in reward_rules(settings).weights.items() if weight > 0.0],
    )
    treasury = Treasury(
        budgets, ledger, gamma=gamma, hold_s=hold_s, now=utc_now, objectives=objectives
    )
    stack.push_async_callback(treasury.aclose)
    background(stack, treasury.run(every_s=_REFRESH_S))
    return treasury
