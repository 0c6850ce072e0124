"""Every deliberate error of Pointsman descends from one root.

::

    PointsmanError
    ├── BanditError
    │   ├── NoEligibleArmError      nothing may answer this query
    │   ├── BadScenarioError        weights, ceilings or a MES that make no reward
    │   ├── BadPolicyConfigError    a policy setting out of range
    │   ├── BadAuditError           a rule for audits that cannot be followed
    │   ├── BadPackingError         stored bytes that are not a packed context
    │   ├── BadSampleError          logged rows that no estimator can use
    │   ├── WeightAboveMaximumError an importance weight above what the floor allows
    │   ├── BadInteractionError     not a lesson: a number is not finite or out of range
    │   └── BadSnapshotError        bytes that are not a saved policy of this kind
    │       └── OutdatedSnapshotError  saved under other settings; nothing is damaged
    ├── FeatureError                (features/errors.py)
    ├── FeedbackError               (feedback/errors.py)
    ├── ServingError                (serving/errors.py)
    └── SimulatorError              (simulator/errors.py)

An error takes the facts and builds its own message; only ``serving/api/errors.py`` knows HTTP.
"""


class PointsmanError(Exception):
    """Root of every error that Pointsman raises on purpose."""


class BanditError(PointsmanError):
    """Something a policy was asked to do and cannot."""


class NoEligibleArmError(BanditError):
    """A prediction was asked for and no arm is left to choose from."""

    def __init__(self, why: str = "") -> None:
        super().__init__("no arm is eligible for this query" + (f": {why}" if why else ""))
        self.why = why


class NoGateError(BanditError):
    """A gate was asked for of a policy that has none."""

    def __init__(self, policy: str) -> None:
        super().__init__(f"policy {policy!r} has no gate: ask bandit.gate.gatekeeper_of first")


class BadInteractionError(BanditError):
    """An interaction that must not be learned, with the field that is wrong."""

    def __init__(self, field: str, value: object) -> None:
        super().__init__(
            f"{field} = {value!r} cannot be learned: want a finite number in its range"
        )
        self.field = field
        self.value = value


class BadSnapshotError(BanditError):
    """Bytes that cannot be restored into this policy, and why."""

    def __init__(self, why: str) -> None:
        super().__init__(f"not a usable snapshot: {why}")
        self.why = why


class OutdatedSnapshotError(BadSnapshotError):
    """A policy saved under other settings than those in force; the log can teach a new one."""
