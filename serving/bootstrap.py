"""The composition root: the only module that names adapters."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from feedback.log import DecisionLog
from feedback.reward import RewardRules
from serving.arms import ArmSpec
from serving.keys import KeyRing
from serving.metrics import Metrics
from serving.settings import Settings


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that was started for this process; ``app.state.services``.

    Attributes
    ----------
    draining
        Set when the server stops: no new work, streams end soon.
    new_id
        32 random hexadecimal digits.
    """

    settings: Settings
    log: DecisionLog
    writer: Any
    router: Any
    holder: Any
    learner: Any
    featurizer: Any
    keys: KeyRing
    metrics: Metrics
    rules: RewardRules
    arms: Mapping[str, ArmSpec]
    now: Callable[[], datetime]
    new_id: Callable[[], str]
    draining: asyncio.Event = field(default_factory=asyncio.Event)
