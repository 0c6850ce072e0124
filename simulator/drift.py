"""How the world changes: events, read from YAML, each with a course over the rounds.

An event has an intensity in [0, 1] at every round: ``abrupt`` is 1 from ``start`` to ``end``;
``gradual`` climbs from 0 to 1 over ``ramp`` rounds after ``start``; ``recurring`` is 1 in the first
half of every ``period`` after ``start``. What intensity means is in the table of `EVENT_FIELDS`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import numpy as np
import yaml
from numpy.typing import NDArray

from simulator.errors import BadDriftError, nearest

Shape: TypeAlias = Literal["abrupt", "gradual", "recurring"]

EVENT_FIELDS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = MappingProxyType(
    {
        # kind: (fields it must have, fields it may have)
        "quality": (frozenset({"arm"}), frozenset({"by", "to"})),  # silent drop or rise
        "swap": (frozenset({"arm", "with"}), frozenset({"announced"})),  # another column answers
        "price": (frozenset({"arm", "times"}), frozenset()),
        "latency": (frozenset({"arm"}), frozenset({"times", "add_s"})),
        "outage": (frozenset({"arm"}), frozenset({"rate"})),  # share of calls that fail
        "mix": (frozenset({"domains"}), frozenset()),  # only queries of these domains
        "arrive": (frozenset({"arm"}), frozenset()),  # not there before `start`
        "retire": (frozenset({"arm"}), frozenset()),  # gone from `start` to `end`
        "judge": (frozenset({"by"}), frozenset({"arm"})),  # bias of the judge
        "silence": (frozenset(), frozenset({"rate"})),  # share of feedback that is lost
        "poison": (frozenset({"share", "arm"}), frozenset({"value"})),  # one source lies
    }
)
"""Kinds of events. ``by`` is added to a score in [0, 1], ``to`` is the mean it is shifted to,
``times`` multiplies; intensity scales all of them, and is a probability for the others."""

_COMMON = frozenset({"kind", "start", "end", "shape", "ramp", "period"})
_SHAPES = ("abrupt", "gradual", "recurring")
_UNIT = ("rate", "share", "to", "value")


@dataclass(frozen=True, slots=True)
class Event:
    """One change of the world, in rounds."""

    kind: str
    start: int
    end: int
    shape: Shape = "abrupt"
    ramp: int = 0
    period: int = 0
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def arm(self) -> str | None:
        """The arm it befalls; None is every arm."""
        return self.fields.get("arm")

    def intensity(self, rounds: NDArray[np.int64]) -> NDArray[np.float64]:
        """How much of the event there is at each of ``rounds``, in [0, 1].

        Examples
        --------
        >>> Event("quality", 2, 5).intensity(np.arange(6)).tolist()
        [0.0, 0.0, 1.0, 1.0, 1.0, 0.0]
        >>> Event("quality", 0, 9, "gradual", ramp=4).intensity(np.arange(6)).tolist()
        [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
        """
        within = (rounds >= self.start) & (rounds < self.end)
        since = rounds - self.start
        if self.shape == "gradual":
            course = np.clip(since / max(1, self.ramp), 0.0, 1.0)
        elif self.shape == "recurring":
            course = (since % self.period < self.period / 2).astype(np.float64)
        else:
            course = np.ones(len(rounds))
        return np.where(within, course, 0.0)


@dataclass(frozen=True, slots=True)
class Phase:
    """A named stretch of rounds that gets its own metrics."""

    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class DriftPlan:
    """Everything that will happen in a run."""

    name: str = "none"
    description: str = ""
    rounds: int | None = None
    phases: tuple[Phase, ...] = ()
    events: tuple[Event, ...] = ()

    def extra_models(self) -> tuple[str, ...]:
        """Models whose columns are needed besides those of the arms."""
        return tuple(str(e.fields["with"]) for e in self.events if e.kind == "swap")


NO_DRIFT = DriftPlan()


def library() -> list[str]:
    """Names of the scenarios that ship."""
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in files("simulator").joinpath("data/drift").iterdir()
        if entry.name.endswith(".yaml")
    )


def load_plan(name_or_path: str, rounds: int | None, otherwise: int | None = None) -> DriftPlan:
    """The plan of a file, or of the library by its name.

    Parameters
    ----------
    rounds
        Length of the run; None takes what the plan says, else ``otherwise``.

    Raises
    ------
    BadDriftError
        Naming the field that is wrong and what it may be.
    """
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"}:
        if not path.is_file():
            raise BadDriftError(path, "file", "no such file")
        text = path.read_text(encoding="utf-8")
    elif name_or_path in library():
        text = files("simulator").joinpath(f"data/drift/{name_or_path}.yaml").read_text("utf-8")
    else:
        raise BadDriftError("--drift", name_or_path, "unknown" + nearest(name_or_path, library()))
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadDriftError(path, "file", "not YAML: " + " ".join(str(error).split())) from error
    if rounds is None and isinstance(document, Mapping):
        rounds = document.get("rounds", otherwise)
    return parse_plan(document, source=name_or_path, rounds=rounds)


def parse_plan(document: Any, *, source: str, rounds: int | None) -> DriftPlan:
    """The plan that a YAML document describes; positions may be rounds or ``"50%"``."""
    if not isinstance(document, Mapping):
        raise BadDriftError(source, "file", "want a mapping with 'events'")
    unknown = set(document) - {"name", "description", "rounds", "phases", "events"}
    if unknown:
        raise BadDriftError(source, str(min(map(str, unknown))), "no such field")
    total = rounds or document.get("rounds")
    if total is not None and (not isinstance(total, int) or total < 1):
        raise BadDriftError(source, "rounds", f"{total!r}; want a whole number above 0")
    parser = _Parser(source, total)
    return DriftPlan(
        name=str(document.get("name", Path(source).stem)),
        description=str(document.get("description", "")).strip(),
        rounds=total,
        phases=tuple(parser.phase(i, p) for i, p in enumerate(document.get("phases") or ())),
        events=tuple(parser.event(i, e) for i, e in enumerate(document.get("events") or ())),
    )


@dataclass(frozen=True, slots=True)
class _Parser:
    source: str
    rounds: int | None

    def at(self, where: str, value: Any) -> int:
        """A position in rounds."""
        if isinstance(value, str) and value.endswith("%"):
            if self.rounds is None:
                raise BadDriftError(self.source, where, f"{value} of what? say --rounds")
            try:
                return round(float(value[:-1]) / 100.0 * self.rounds)
            except ValueError:
                pass
        elif isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
        raise BadDriftError(self.source, where, f"{value!r}; want a round such as 608, or '50%'")

    def phase(self, i: int, raw: Any) -> Phase:
        """One entry of ``phases``."""
        where = f"phases[{i}]"
        if not isinstance(raw, Mapping) or set(raw) != {"name", "start", "end"}:
            raise BadDriftError(self.source, where, "want name, start and end")
        start, end = self.at(f"{where}.start", raw["start"]), self.at(f"{where}.end", raw["end"])
        if end <= start:
            raise BadDriftError(self.source, where, "ends before it starts")
        return Phase(str(raw["name"]), start, end)

    def event(self, i: int, raw: Any) -> Event:
        """One entry of ``events``."""
        where = f"events[{i}]"
        if not isinstance(raw, Mapping):
            raise BadDriftError(self.source, where, "want a mapping")
        kind = str(raw.get("kind"))
        if kind not in EVENT_FIELDS:
            hint = nearest(kind, list(EVENT_FIELDS))
            raise BadDriftError(self.source, f"{where}.kind", f"{kind!r} is unknown{hint}")
        must, may = EVENT_FIELDS[kind]
        own = {str(name): value for name, value in raw.items() if name not in _COMMON}
        for name in sorted(set(own) - must - may):
            hint = nearest(name, sorted(must | may | _COMMON))
            raise BadDriftError(self.source, f"{where}.{name}", f"{kind} has no such field{hint}")
        for name in sorted(must - set(own)):
            raise BadDriftError(self.source, f"{where}.{name}", f"{kind} needs it")
        self._check_values(where, own)
        return self._timed(where, kind, raw, own)

    def _timed(
        self, where: str, kind: str, raw: Mapping[str, Any], own: Mapping[str, Any]
    ) -> Event:
        shape = raw.get("shape", "abrupt")
        if shape not in _SHAPES:
            raise BadDriftError(self.source, f"{where}.shape", f"{shape!r}; want {_SHAPES}")
        start = self.at(f"{where}.start", raw.get("start", 0))
        last = self.at(f"{where}.end", raw["end"]) if "end" in raw else 2**62
        if last <= start:
            raise BadDriftError(self.source, where, "ends before it starts")
        ramp = self.at(f"{where}.ramp", raw.get("ramp", 0))
        period = self.at(f"{where}.period", raw.get("period", 0))
        if shape == "recurring" and period < 2:
            raise BadDriftError(self.source, f"{where}.period", "want at least 2 rounds")
        return Event(kind, start, last, shape, ramp, period, own)

    def _check_values(self, where: str, own: Mapping[str, Any]) -> None:
        for name, value in own.items():
            if name in {"by", "to", "times", "add_s", "rate", "share", "value"}:
                number = isinstance(value, (int, float)) and not isinstance(value, bool)
                low, high = (0.0, 1.0) if name in _UNIT else (-1.0, 1.0)
                if name in {"times", "add_s"}:
                    low, high = 0.0, 1e6
                if not number or not low <= value <= high:
                    want = f"{value!r}; want a number in [{low:g}, {high:g}]"
                    raise BadDriftError(self.source, f"{where}.{name}", want)
            if name == "domains" and not (isinstance(value, Sequence) and value):
                raise BadDriftError(self.source, f"{where}.domains", "want a list of names")
