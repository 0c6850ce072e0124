"""The same study with and without what the pictures show."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from simulator.engine import Run
from simulator.mes_sweep import Spread
from simulator.metrics import bootstrap
from simulator.pictures import without_pictures
from simulator.study import Study

TEXT = "text"
LEARNING = frozenset({"composed", "direct", "ridge-full", "ridge-uniform", "linucb", "lints"})
"""Policies that see features; the others need to be run but once."""


def variants(study: Study) -> dict[str, Study]:
    """The study by what its policies see; ``text`` has all policies, others those that look."""
    looking = tuple(p for p in study.policies if p.partition("[")[0] in LEARNING)
    blind = without_pictures(study.bank)
    found = {TEXT: replace(study, bank=blind)}
    plain = replace(study, policies=looking)
    if "image_embedding" in study.bank.sizes:
        described = without_pictures(study.bank, keep="image")
        found["text, image"] = replace(plain, bank=described)
        found["text, image, encoder"] = plain
    else:
        found["text, image"] = plain
    return found


def second_half(runs: Sequence[Run], name: str) -> list[float | None]:
    """A number of every run's second half."""
    return [run.windows["halves"][1][name] for run in runs]


def spread(values: Sequence[float | None]) -> Spread | None:
    """Mean and bounds over seeds; None where a seed has no such number."""
    known = [value for value in values if value is not None]
    if len(known) < len(values) or not known:
        return None
    return Spread(math.fsum(known) / len(known), *bootstrap(known))


def compare(
    runs: Mapping[str, Mapping[str, Sequence[Run]]], measures: Sequence[str]
) -> dict[tuple[str, str], dict[str, Spread | None]]:
    """By policy and variant: what it has more than with the text alone, paired by seed."""
    found = {}
    for variant, by_policy in runs.items():
        for policy, some in by_policy.items() if variant != TEXT else ():
            base = runs[TEXT][policy]
            found[policy, variant] = {
                name: spread(_minus(second_half(some, name), second_half(base, name)))
                for name in measures
            }
    return found


def _minus(first: Sequence[float | None], second: Sequence[float | None]) -> list[float | None]:
    return [None if a is None or b is None else a - b for a, b in zip(first, second, strict=True)]
