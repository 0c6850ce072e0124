"""The composition root: the only module that names adapters."""

import asyncio
from dataclasses import dataclass
from typing import Any

from serving.keys import KeyRing


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that was started for this process; ``app.state.services``."""

    settings: Any
    log: Any
    writer: Any
    router: Any
    holder: Any
    featurizer: Any
    keys: KeyRing
    metrics: Any
    draining: asyncio.Event
