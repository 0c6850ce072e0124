"""Joins a decision with what became of it: what the learner is taught, and at which log position.

A decision teaches at most three times:

- cost and latency, at the position of its outcome;
- quality, at the position of its first feedback, or of the default for silence;
- the combined reward, at whichever of those two comes last.

Where the rules tell a judge and people apart (`RewardRules.corrected`), whoever speaks first
teaches quality, and a person's verdict beside the judge's score teaches at its own position how far
the judge is off: an audit that comes days later is a new lesson, not a changed vote.

What it teaches *as of* position p depends on nothing after p. A vote that is changed or withdrawn
changes what the first feedback's position teaches as of later positions; the learner then goes back
to before that position (`serving.learner`), so a policy is always the one that would have learned
the corrected log from the start.
"""

from dataclasses import replace

from bandit.primitives import Decision, Interaction, Judgement, Reward
from feedback.log import LogEvent, LoggedDecision
from feedback.opinions import opinions
from feedback.outcome import Outcome
from feedback.reward import RewardRules, combine, to_reward, value_of

NO_RULES = RewardRules()
_NOTHING = Reward()


def join(
    logged: LoggedDecision, outcome: Outcome | None, quality: float | None
) -> Interaction | None:
    """Everything known of a decision as one interaction; None if nothing may be learned from it.

    Nothing is learned when the arm was imposed, when features were missing, when the answer failed,
    or when another arm answered than the one that was drawn.
    """
    decision = logged.decision
    if not _learnable(decision, outcome):
        return None
    reward = to_reward(decision.scenario, quality=quality, outcome=outcome)
    return _interaction(decision, reward, outcome)


def lesson(
    event: LogEvent, *, position: int, as_of: int, rules: RewardRules = NO_RULES
) -> Interaction | None:
    """What ``event``'s decision teaches at ``position``, knowing the log up to ``as_of``.

    ``position`` is that of the event itself, or of an earlier one of the same decision.
    """
    outcome, outcome_at = _outcome(event, as_of)
    decision = event.logged.decision
    if not _learnable(decision, outcome):
        return None
    if rules.corrected:
        return _told_apart(event, position=position, as_of=as_of, rules=rules)
    first = event.feedback[0][0] if event.feedback else None
    quality = None
    if first is not None:
        quality = combine((row for at, row in event.feedback if at <= as_of), rules.weights)
    if outcome is not None and position == outcome_at:
        voted_before = first is not None and first < position
        return _outcome_lesson(decision, outcome, quality if voted_before else None)
    if position == first:
        known = outcome if outcome_at is not None and outcome_at < position else None
        return _quality_lesson(decision, known, quality)
    if event.kind == "default" and position == event.position:
        return _quality_lesson(decision, outcome, rules.default_quality)
    return None


def _told_apart(
    event: LogEvent, *, position: int, as_of: int, rules: RewardRules
) -> Interaction | None:
    """As `lesson`, where the judge and people each have a position of their own.

    Whoever speaks first teaches quality; a verdict beside the judge's score teaches, where the pair
    is complete, how far the judge is off (`bandit.policies.corrected`).
    """
    outcome, outcome_at = _outcome(event, as_of)
    decision, said = event.logged.decision, opinions(event, as_of=as_of, rules=rules)
    leading = None if said.leading is None else said.by_kind[said.leading]
    if outcome is not None and position == outcome_at:
        early = leading is not None and leading.since < position
        quality = leading.quality if leading is not None and early else None
        return _outcome_lesson(decision, outcome, quality)
    quality = said.leading_at(position)
    if quality is not None:
        known = outcome if outcome_at is not None and outcome_at < position else None
        return _judged(_quality_lesson(decision, known, quality), said.first())
    pair = said.second_at(position)
    if pair is not None:
        return _with_signals(Interaction(decision, Reward(), judgement=pair), outcome)
    if event.kind == "default" and position == event.position:
        return _quality_lesson(decision, outcome, rules.default_quality)
    return None


def _judged(taught: Interaction | None, said: Judgement | None) -> Interaction | None:
    return None if taught is None else replace(taught, judgement=said)


def changed_from(
    event: LogEvent, *, learned_to: int, as_of: int, rules: RewardRules = NO_RULES
) -> int | None:
    """The earliest position at or below ``learned_to`` whose lesson is no longer what it was.

    None means that a policy which learned up to ``learned_to`` knows the decision as one would that
    learned with the log known up to ``as_of``.
    """
    first = event.feedback[0][0] if event.feedback else None
    places = {p for p in (first, event.outcome_position) if p is not None}
    if rules.corrected:
        places.update(at for at, _ in event.feedback)
    for position in sorted(places):
        if position <= learned_to and lesson(
            event, position=position, as_of=learned_to, rules=rules
        ) != lesson(event, position=position, as_of=as_of, rules=rules):
            return position
    return None


def _learnable(decision: Decision, outcome: Outcome | None) -> bool:
    if decision.forced or not decision.context.features_ok:
        return False
    # After a failover the answer is another arm's; crediting it to the drawn one would be a lie.
    return outcome is None or (outcome.failure is None and outcome.arm == decision.arm)


def _outcome(event: LogEvent, as_of: int) -> tuple[Outcome | None, int | None]:
    at = event.outcome_position
    return (None, None) if at is None or at > as_of else (event.outcome, at)


def _outcome_lesson(
    decision: Decision, outcome: Outcome, quality: float | None
) -> Interaction | None:
    scenario = decision.scenario
    value = value_of(scenario, quality=quality, outcome=outcome)
    before = value_of(scenario, quality=quality, outcome=None)
    taught = Reward(None, outcome.cost_usd, outcome.latency_s, _once(value, before))
    return _interaction(decision, taught, outcome)


def _quality_lesson(
    decision: Decision, outcome: Outcome | None, quality: float | None
) -> Interaction | None:
    if quality is None:
        return None
    scenario = decision.scenario
    value = value_of(scenario, quality=quality, outcome=outcome)
    # Most scenarios weigh quality, and have no reward without it.
    before = (
        value_of(scenario, quality=None, outcome=outcome) if scenario.w_quality == 0.0 else None
    )
    taught = Interaction(decision, Reward(quality=quality, value=_once(value, before)))
    return _with_signals(taught, outcome)


def _once(value: float | None, before: float | None) -> float | None:
    # Where what is new has no weight in the scenario, the reward was complete, and taught, before.
    return value if before is None else None


def _interaction(decision: Decision, reward: Reward, outcome: Outcome | None) -> Interaction | None:
    if reward == _NOTHING:
        return None
    if outcome is None:
        return Interaction(decision, reward)
    taught = Interaction(decision, reward, outcome.tokens_in, outcome.tokens_out)
    return _with_signals(taught, outcome)


def _with_signals(taught: Interaction, outcome: Outcome | None) -> Interaction:
    if outcome is None or (outcome.gating is None and not outcome.confidence):
        return taught
    gating = outcome.gating
    signals = outcome.confidence if gating is None else gating.signals
    return replace(taught, signals=signals, gating=gating)
