"""Takes up changed settings while serving: those that can be, all of them or none."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from serving.arm_sections import ArmSettings
from serving.errors import ReloadRefusedError, SettingsError
from serving.fleet import respecified
from serving.router import Router
from serving.settings import Settings

SWAPPED_OF_ARMS = frozenset(
    {
        "price_in",
        "price_out",
        "price_provider",
        "energy_in_j_per_token",
        "energy_out_j_per_token",
    }
)
"""Fields of an arm that act on the next query."""
SWAPPED = frozenset({"scenario", "scenarios"})
"""Sections that act on the next query; everything else is read once, at the start."""

_LOG = structlog.get_logger("pointsman")


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What a reload came to: dotted names of settings, never their values.

    Attributes
    ----------
    changed
        In force from the next query on.
    needs_restart
        Changed in the file, and not in force before the next start.
    """

    changed: tuple[str, ...]
    needs_restart: tuple[str, ...]


class Reloader:
    """Reads the settings again and swaps what may be swapped. One event loop owns an instance.

    Parameters
    ----------
    settings
        Those that the process was started with.
    source
        Reads them again, from where they were read first; called in a thread.
    """

    def __init__(self, settings: Settings, source: Callable[[], Settings], router: Router) -> None:
        self.settings = settings
        self._source = source
        self._router = router
        self._turn = asyncio.Lock()

    async def reload(self) -> Reloaded:
        """Take up what changed; queries on their way keep what they were decided with.

        Raises
        ------
        ReloadRefusedError
            If the settings cannot be used, with all reasons; those in force stay.
        """
        async with self._turn:
            try:
                wanted = await asyncio.to_thread(self._source)
                running = _merged(self.settings, wanted)
                arms = {arm.id: arm for arm in running.arms}
                specs = await asyncio.to_thread(
                    lambda: [respecified(spec, arms[i]) for i, spec in self._router.arms.items()]
                )
            except SettingsError as error:
                _LOG.error("reload refused; the settings in force stay", why=str(error))
                raise ReloadRefusedError(str(error)) from error
            found = Reloaded(_differences(self.settings, running), _differences(running, wanted))
            self._router.reconfigure(
                specs, scenarios=running.known_scenarios, default_scenario=running.scenario
            )
            self.settings = running
            _LOG.info("reloaded", changed=found.changed, needs_restart=found.needs_restart)
            return found

    async def reload_or_log(self) -> None:
        """`reload` for a signal, where nobody waits for an answer."""
        try:
            await self.reload()
        except ReloadRefusedError:
            return  # `reload` has said so
        except Exception:  # noqa: BLE001 - whatever it is, serving goes on as before
            _LOG.exception("reload failed; the settings in force stay")


def _merged(running: Settings, wanted: Settings) -> Settings:
    """``running`` with what may be swapped as ``wanted``."""
    new = {arm.id: arm for arm in wanted.arms}
    arms = tuple(_merged_arm(arm, new.get(arm.id, arm)) for arm in running.arms)
    swapped = {name: getattr(wanted, name) for name in SWAPPED}
    return running.model_copy(update={**swapped, "arms": arms})


def _merged_arm(running: ArmSettings, wanted: ArmSettings) -> ArmSettings:
    return running.model_copy(update={name: getattr(wanted, name) for name in SWAPPED_OF_ARMS})


def _differences(before: Settings, after: Settings) -> tuple[str, ...]:
    old, new = _flat(before), _flat(after)
    names = old.keys() | new.keys()
    return tuple(sorted(name for name in names if old.get(name, ...) != new.get(name, ...)))


def _flat(settings: Settings) -> dict[str, Any]:
    """Every setting by its dotted name; an arm's with its id."""
    # The section `cloud` is another way to write what its arm has.
    plain = settings.model_dump(exclude={"cloud", "arms"})
    plain["arms"] = {arm.id: arm.model_dump() for arm in settings.arms}
    return dict(_leaves("", plain))


def _leaves(path: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(f"{path}.{name}" if path else str(name), inner)
    else:
        yield path, value
