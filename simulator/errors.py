"""Errors of the simulator; each prints as one line.

::

    PointsmanError
    └── SimulatorError
        ├── BadTableError      a replay table (or its prices) that cannot be read, and where
        ├── BadDriftError      a drift file that does not say what should happen
        ├── BadStudyError      options that do not make an experiment
        └── MissingExtraError  an optional package that this needs
"""

import difflib
from collections.abc import Sequence

from bandit.errors import PointsmanError


def nearest(name: str, valid: Sequence[str]) -> str:
    """What was probably meant, as the end of a sentence.

    Examples
    --------
    >>> nearest("lama", ["llama", "gpt"])
    "; did you mean 'llama'?"
    >>> nearest("x", ["llama", "gpt"])
    '; there are llama, gpt'
    """
    folded = {candidate.lower(): candidate for candidate in valid}
    close = difflib.get_close_matches(name.lower(), list(folded), n=1, cutoff=0.6)
    if close:
        return f"; did you mean {folded[close[0]]!r}?"
    if not valid:
        return ""
    shown = ", ".join(valid[:8])
    return f"; there are {shown}" + (f" and {len(valid) - 8} more" if len(valid) > 8 else "")


class SimulatorError(PointsmanError):
    """Something that the simulator was asked and cannot do."""


class BadTableError(SimulatorError):
    """A file that is not a usable replay table: which, where in it, what is wrong."""

    def __init__(self, source: object, where: str, why: str) -> None:
        place = f"{source}, {where}" if where else str(source)
        super().__init__(f"{place}: {why}".replace("\n", " "))
        self.where = where


class BadDriftError(SimulatorError):
    """A drift file with a field that does not make sense."""

    def __init__(self, source: object, field: str, why: str) -> None:
        super().__init__(f"{source}: {field}: {why}".replace("\n", " "))
        self.field = field


class BadStudyError(SimulatorError):
    """An option with a value that it cannot have."""

    def __init__(self, option: str, value: object, want: str) -> None:
        super().__init__(f"{option} {value!r}: {want}".replace("\n", " "))
        self.option = option


class MissingExtraError(SimulatorError):
    """A package of an optional extra is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package}; install it with: "
            f"pip install 'pointsman[{extra}]'"
        )
