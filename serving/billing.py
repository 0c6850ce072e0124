"""What an answer cost in money and energy, whoever spoke for it."""

from collections.abc import Mapping

from serving.accounting import Meter
from serving.answering import Answer
from serving.arms import ArmSpec
from serving.pricing import Charge


def bill(answer: Answer, specs: Mapping[str, ArmSpec]) -> Charge:
    """Tokens of what is delivered, and the cost of all that was paid for.

    An arm that failed before it said anything costs nothing that we know of.
    """
    delivered = _delivered(answer, specs)
    stage = answer.stage
    if stage is None or answer.speaker == stage.parts[0]:
        return delivered
    first = stage.first_charge(specs[stage.parts[0]], answer.routed.chars_in)
    return first if delivered == Charge() else delivered.and_before(first)


def joules(answer: Answer, specs: Mapping[str, ArmSpec]) -> float | None:
    """Energy of all that was said for it, measured or estimated; None where a part is unknown."""
    spoken = [_energy(answer.meter, specs[answer.speaker], _delivered(answer, specs))]
    stage = answer.stage
    if stage is not None and answer.speaker != stage.parts[0] and stage.first.chars_out:
        edge = specs[stage.parts[0]]
        spoken.append(_energy(stage.first, edge, stage.first_charge(edge, answer.routed.chars_in)))
    known = [energy for energy in spoken if energy is not None]
    return sum(known) if len(known) == len(spoken) else None


def _energy(meter: Meter, spec: ArmSpec, charge: Charge) -> float | None:
    if meter.energy_j is not None:
        return meter.energy_j
    return spec.energy.energy_j(charge.tokens_in, charge.tokens_out)


def _delivered(answer: Answer, specs: Mapping[str, ArmSpec]) -> Charge:
    meter = answer.meter
    silent = answer.failure is not None and not meter.chars_out and meter.usage is None
    return Charge() if silent else meter.charge(specs[answer.speaker], answer.routed.chars_in)
