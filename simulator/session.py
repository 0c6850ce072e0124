"""Runs a study with a progress bar and writes its folder, whole or not at all."""

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from simulator.engine import EngineName, Run, curves, results, run_study
from simulator.inputs import Wishes, plan_study
from simulator.study import Study


@dataclass(frozen=True, slots=True)
class Session:
    """A study and its runs: policy to runs, by seed."""

    study: Study
    runs: Mapping[str, Sequence[Run]]


def run_session(
    wishes: Wishes, *, out: Path | None, engine: EngineName = "local", workers: int | None = None
) -> dict[str, Any]:
    """Plan, run and, if ``out`` is given, write; returns the content of ``results.json``."""
    session = play(wishes, engine=engine, workers=workers)
    return keep(session, out)


def play(wishes: Wishes, *, engine: EngineName = "local", workers: int | None = None) -> Session:
    """Plan and run."""
    with _progress() as bar:
        reading = bar.add_task("features", total=None)

        def featurized(done: int, total: int) -> None:
            bar.update(reading, completed=done, total=total)

        study = plan_study(wishes, progress=featurized)
        bar.remove_task(reading)
        for note in study.table.notes:
            bar.console.print(
                f"note: {note}", style="dim", markup=False, highlight=False, soft_wrap=True
            )
        running = bar.add_task("runs", total=len(study.policies) * len(study.seeds))
        runs = run_study(
            study,
            engine=engine,
            workers=workers,
            on_done=lambda label, seed: bar.update(
                running, advance=1, description=f"{label} #{seed}"
            ),
        )
    return Session(study, runs)


def keep(session: Session, out: Path | None) -> dict[str, Any]:
    """The content of ``results.json``, and its folder written where there is to be one."""
    study, runs = session.study, session.runs
    found = results(study, runs)
    if out is not None:
        write_folder(out, study, found, curves(study, runs))
    return found


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def write_folder(
    out: Path, study: Study, found: Mapping[str, Any], series: Mapping[str, Any]
) -> None:
    """Write results, series, plots and report next to ``out``, then move them into place."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".writing-") as name:
        folder = Path(name)
        (folder / "results.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
        (folder / "series.json").write_text(json.dumps(series) + "\n", "utf-8")
        from simulator.report import write_report  # noqa: PLC0415 - loads matplotlib

        write_report(folder, found, series, notes=study.table.notes)
        for path in sorted(folder.iterdir()):
            shutil.move(path, out / path.name)
