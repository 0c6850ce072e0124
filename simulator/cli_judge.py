"""The study of judges and people: who wins, at how many labels, and whether intervals cover."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Annotated, Any

import typer

from simulator.cli_options import HOME, Cloud, DataDir, Edge, Seeds
from simulator.markdown import print_table as _print
from simulator.reporting import reporting

# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it
Row = Sequence[str]
_ROUNDS = 3000
_ENDS = ("right arm wins", "its share", "regret", "95 % of its mean")


class Part(StrEnum):
    """One table of the study."""

    audits = "audits"
    coverage = "coverage"
    delay = "delay"
    votes = "votes"
    probes = "probes"


def judge(
    part: Annotated[Part, typer.Argument(help="Which table.")] = Part.audits,
    *,
    seeds: Seeds = 20,
    rounds: Annotated[
        int | None, typer.Option(help="Queries a run; for 'delay' else as many as rows.")
    ] = None,
    fooled: Annotated[
        float, typer.Option(help="Share of queries on which all of the judge's bias falls.")
    ] = 1.0,
    table: Annotated[str | None, typer.Option(help="For 'delay': as for simulate.")] = None,
    edge: Edge = None,
    cloud: Cloud = None,
    data_dir: DataDir = HOME,
) -> None:
    """A judge that is .1 too kind to the worse arm, people who check a few of its scores."""
    world = {"table": table, "edge": edge, "cloud": cloud, "data_dir": data_dir}
    with reporting():
        if part is Part.audits:
            _print(("audits", "rate", "labels", *_ENDS),
                   _audits(seeds, rounds or _ROUNDS, fooled))  # fmt: skip
        elif part is Part.coverage:
            _print(("audits", "rate", "covered", "width", "error", "labels of the arm"),
                   _coverage(seeds, rounds or _ROUNDS))  # fmt: skip
        elif part is Part.delay:
            _print(("feedback", "policy", "regret", "last quarter", "of immediate, full"),
                   _delay(seeds, rounds, world))  # fmt: skip
        elif part is Part.votes:
            _print(("votes", "weighed", *_ENDS),
                   _votes(seeds, rounds or _ROUNDS))  # fmt: skip
        else:
            _print(("probes", "labels", *_ENDS),
                   _probes(seeds, rounds or _ROUNDS, fooled))  # fmt: skip


def _audits(seeds: int, rounds: int, fooled: float) -> Iterator[Row]:
    from simulator.judge_study import JudgeWorld, biased, ends, run_judged, spread

    plans = [("none", 0.0, False)]
    rates = (0.01, 0.02, 0.04)
    plans += [(strategy, rate, True) for rate in rates for strategy in ("uniform", "neyman")]
    for strategy, rate, correct in plans:
        panel = biased(fooled=fooled, rate=rate, strategy=strategy)
        runs = [
            run_judged(JudgeWorld(), panel, rounds=rounds, seed=seed, correct=correct)
            for seed in range(seeds)
        ]
        yield (
            strategy,
            f"{rate:.1%}",
            spread([run.labels for run in runs], 0),
            *ends(runs),
        )


def _coverage(seeds: int, rounds: int) -> Iterator[Row]:
    from bandit.auditing import AuditConfig
    from simulator.judge_study import audited_scores, spread

    for strategy, rate in (("uniform", 0.2), ("neyman", 0.2), ("neyman", 0.1)):
        config = AuditConfig(rate, "uniform" if strategy == "uniform" else "neyman")
        covered, widths, labels, errors = 0, [], [], []
        for seed in range(seeds):
            tally, truth = audited_scores(config, seed=seed, n=rounds)
            found = tally.quality()
            covered += found.low <= truth <= found.high
            widths.append(found.high - found.low)
            labels.append(tally.n_audits)
            errors.append(abs(found.value - truth))
        yield (
            strategy,
            f"{rate:.0%}",
            f"{covered / seeds:.3f}",
            spread(widths, 3),
            spread(errors, 4),
            spread(labels, 0),
        )


def _delay(seeds: int, rounds: int | None, world: Mapping[str, Any]) -> Iterator[Row]:
    from bandit.auditing import AuditConfig
    from simulator.delay import Delay
    from simulator.engine import run_study
    from simulator.inputs import Wishes, plan_study
    from simulator.judge_study import last_quarter, spread
    from simulator.judges import PanelConfig

    study = plan_study(Wishes(policies="composed", seeds=seeds, rounds=rounds, **world))
    late = Delay(500.0)
    panel = PanelConfig(bias=0.1, noise=0.1, audits=AuditConfig(0.1), delay=late)
    kinds = {
        "all, at once": study,
        "a judge of all at once (bias .1, noise .1), people a tenth, 500 late": replace(
            study, panel=panel
        ),
        "a tenth, 500 queries late": replace(study, feedback_rate=0.1, feedback_delay=late),
    }
    judged, tenth = [*kinds][1:]
    full: list[float] = []
    for kind, policy in (
        ("all, at once", "composed"),
        (judged, "corrected"),
        (judged, "composed"),
        (tenth, "composed"),
        (tenth, "linucb"),
        (tenth, "lints"),
        ("all, at once", "ridge-full"),
        ("none", "always-cloud"),
    ):
        case = replace(kinds.get(kind, study), policies=(policy,))
        runs = run_study(case, workers=1)[policy]
        regret = [run.windows["all"]["regret"] for run in runs]
        full = full or regret
        yield (
            kind,
            policy,
            spread(regret, 4),
            spread([last_quarter(run.series) for run in runs], 4),
            f"{sum(regret) / sum(full):.2f}",
        )


def _votes(seeds: int, rounds: int) -> Iterator[Row]:
    from simulator.judge_study import JudgeWorld, ends, run_judged
    from simulator.judges import PanelConfig

    whom = {
        "from anybody": (0.0, 0.0),
        "more on the edge's answers": (2.0, 0.0),
        "more on bad answers": (0.0, 4.0),
        "both": (2.0, 4.0),
    }
    for name, (on_edge, on_bad) in whom.items():
        for weighed in (False, True):
            panel = PanelConfig(
                judge_rate=0.0, vote_rate=0.1, votes_on_edge=on_edge, votes_on_bad=on_bad,
                people_noise=0.1,
            )  # fmt: skip
            runs = [
                run_judged(JudgeWorld(), panel, rounds=rounds, seed=seed, voters=weighed)
                for seed in range(seeds)
            ]
            yield (
                name,
                "yes" if weighed else "no",
                *ends(runs),
            )


def _probes(seeds: int, rounds: int, fooled: float) -> Iterator[Row]:
    from simulator.judge_study import JudgeWorld, biased, ends, run_judged, spread

    for rate in (0.0, 0.02, 0.05):
        panel = replace(biased(fooled=fooled, rate=0.02), probe_rate=rate)
        runs = [run_judged(JudgeWorld(), panel, rounds=rounds, seed=seed) for seed in range(seeds)]
        yield (
            f"{rate:.0%}",
            spread([run.labels for run in runs], 0),
            *ends(runs),
        )
