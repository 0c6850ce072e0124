"""How soon a detector finds a change, and how often it finds one where there is none."""

from typing import Annotated

import typer

from simulator.markdown import print_table
from simulator.reporting import reporting

# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it


def detect(
    *,
    runs: Annotated[int, typer.Option(help="Streams with and without a change.")] = 600,
    detector: Annotated[str, typer.Option(help="both, page-hinkley or adwin.")] = "both",
    threshold: Annotated[
        float | None, typer.Option(help="Of Page-Hinkley, in standard deviations.")
    ] = None,
) -> None:
    """Judged pulls until a change of quality is found; false alarms in 2,000 pulls without one."""
    with reporting():
        from bandit.drift import DETECTORS, DetectorConfig
        from simulator.detecting import Trial, binary, graded, measure, optimal
        from simulator.errors import BadStudyError
        from simulator.wheel import MODELS, load_wheel

        if detector not in DETECTORS[:3]:
            raise BadStudyError("--detector", detector, f"want one of {', '.join(DETECTORS[:3])}")
        usual = DetectorConfig()
        config = DetectorConfig(
            name=next(name for name in DETECTORS if name == detector),
            threshold=usual.threshold if threshold is None else threshold,
        )
        draw = graded(load_wheel((MODELS[0], MODELS[1])).quality[:, 1])
        trials = [
            *(Trial(f"graded, .92 to {to:g}", draw, 0.92, to) for to in (0.85, 0.75, 0.5)),
            Trial("graded, .75 to .92", draw, 0.75, 0.92),
            *(Trial(f"binary, .92 to {to:g}", binary, 0.92, to) for to in (0.75, 0.5)),
            Trial("binary, .6 to .4", binary, 0.6, 0.4),
        ]
        rows = []
        for trial in trials:
            results = {str(detector): measure(trial, config, runs=runs)}
            if trial.draw is binary:
                results["cusum (told both rates)"] = optimal(trial, runs=runs)
            for name, found in results.items():
                cells = (f"{found.false_alarms:.1%}", f"{found.median:.0f}", f"{found.p90:.0f}")
                rows.append((trial.name, name, *cells, f"{found.missed:.1%}"))
        typer.echo(f"\n{runs} runs each, scores of {MODELS[1]}\n")
        heads = (
            "votes",
            "detector",
            "runs with a false alarm",
            "median pulls",
            "90 %",
            "not in 600",
        )
        print_table(heads, rows)
