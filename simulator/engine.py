"""Runs every (policy, seed) of a study: here, in worker processes, or on Ray; same bytes always."""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any, Literal, TypeAlias

from bandit.primitives import Context
from simulator.allowance import Allowance
from simulator.driver import Driver
from simulator.errors import MissingExtraError
from simulator.hindsight import Like
from simulator.metrics import measure_windows, over_seeds
from simulator.pacers import steering_of
from simulator.roster import Casting, cast, parse_label
from simulator.series import pool, summarise
from simulator.study import Study
from simulator.warm import warm_up

EngineName: TypeAlias = Literal["local", "ray"]
OnDone: TypeAlias = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class Task:
    """One run to make; ``allowances`` stand in for the study's budget."""

    label: str
    seed: int
    like: Like | None = None
    allowances: tuple[Allowance, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """What one run came to: `measure_windows` and `summarise` of its trace.

    ``alone`` has, for every arm alone under that seed, its mean cost and quality.
    """

    label: str
    seed: int
    windows: Mapping[str, Any]
    series: Mapping[str, Any]
    alone: Mapping[str, tuple[float, float]]


def run_task(study: Study, task: Task, contexts: Sequence[Context]) -> Run:
    """Make one run."""
    with _one_thread():
        world = study.world(task.seed)
        survey = world.survey()
        policy = cast(Casting(study, task.label, task.seed, survey, task.like))
        warm_up(policy, study, task.seed)
        driver = Driver(
            world,
            policy,
            study.drive(task.seed),
            contexts=contexts,
            arrivals=study.arrival_times(),
            steering=steering_of(study, task.label, task.allowances),
        )
        trace = driver.run()
        return Run(
            task.label,
            task.seed,
            measure_windows(trace, study.yardstick()),
            summarise(trace, len(study.arms)),
            {
                arm: (float(survey.cost_usd[j]), float(survey.quality[j]))
                for j, arm in enumerate(study.arms)
            },
        )


def _one_thread() -> AbstractContextManager[Any]:
    """Sums in one order whatever the machine: BLAS with one thread."""
    try:
        from threadpoolctl import (  # type: ignore[import-untyped]  # noqa: PLC0415 - optional
            threadpool_limits,
        )
    except ImportError:
        return nullcontext()
    limits: AbstractContextManager[Any] = threadpool_limits(1)
    return limits


def run_study(
    study: Study,
    *,
    engine: EngineName = "local",
    workers: int | None = None,
    on_done: OnDone | None = None,
) -> dict[str, list[Run]]:
    """All runs, by policy in the study's order, by seed within it.

    ``random`` comes last: it spends what the first of our policies in the study spent under the
    same seed, so it needs to know that.
    """
    for label in study.policies:
        parse_label(label)
    runs: dict[tuple[str, int], Run] = {}
    with _mapper(study, engine, workers or os.cpu_count() or 1) as make:
        for stage in (_first_tasks(study), None):
            tasks = stage if stage is not None else _random_tasks(study, runs)
            for run in make(tasks):
                runs[run.label, run.seed] = run
                if on_done is not None:
                    on_done(run.label, run.seed)
    return {label: [runs[label, seed] for seed in study.seeds] for label in study.policies}


def run_tasks(study: Study, tasks: Sequence[Task], workers: int | None = None) -> list[Run]:
    """Some runs of a study, in the order of ``tasks``."""
    with _mapper(study, "local", workers or os.cpu_count() or 1) as make:
        return list(make(tasks))


def _first_tasks(study: Study) -> list[Task]:
    return [Task(p, s) for s in study.seeds for p in study.policies if p != "random"]


def _random_tasks(study: Study, runs: Mapping[tuple[str, int], Run]) -> list[Task]:
    if "random" not in study.policies:
        return []
    ours = [p for p in study.policies if parse_label(p)[0] in ("composed", "direct")]
    tasks = []
    for seed in study.seeds:
        m = runs[ours[0], seed].windows["all"] if ours else None
        tasks.append(Task("random", seed, Like(m["share"], m["cost_usd"]) if m else None))
    return tasks


Maker: TypeAlias = Callable[[Sequence[Task]], Iterator[Run]]


@contextmanager
def _mapper(study: Study, engine: EngineName, workers: int) -> Iterator[Maker]:
    if engine == "ray":
        with _ray(study, workers) as make:
            yield make
    elif workers == 1:
        contexts = study.bank.contexts()
        yield lambda tasks: (run_task(study, task, contexts) for task in tasks)
    else:
        with ProcessPoolExecutor(
            workers, get_context("spawn"), initializer=_receive, initargs=(study,)
        ) as pool_:
            yield lambda tasks: pool_.map(_work, tasks)


# What a worker process keeps between its tasks.
_WORK: dict[str, Any] = {}


def _receive(study: Study) -> None:
    _WORK["study"], _WORK["contexts"] = study, study.bank.contexts()


def _work(task: Task) -> Run:
    return run_task(_WORK["study"], task, _WORK["contexts"])


@contextmanager
def _ray(study: Study, workers: int) -> Iterator[Maker]:
    try:
        import ray  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise MissingExtraError("ray", "ray", "--engine ray") from error
    started = not ray.is_initialized()
    if started:
        ray.init(
            num_cpus=workers,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="error",
        )
    try:
        shared = ray.put(study)
        remote = ray.remote(_ray_work)

        def make(tasks: Sequence[Task]) -> Iterator[Run]:
            pending = [remote.remote(shared, task) for task in tasks]
            for future in pending:
                yield ray.get(future)

        yield make
    finally:
        if started:
            ray.shutdown()


def _ray_work(study: Study, task: Task) -> Run:
    return run_task(study, task, study.bank.contexts())


def results(study: Study, runs: Mapping[str, Sequence[Run]]) -> dict[str, Any]:
    """The content of ``results.json``."""
    return {
        "table": study.table.name,
        "rounds": study.rounds,
        "seeds": len(study.seeds),
        "arms": list(study.arms),
        "scenario": study.scenario.name,
        "policies": {
            label: over_seeds([run.windows for run in some]) for label, some in runs.items()
        },
    }


def curves(study: Study, runs: Mapping[str, Sequence[Run]]) -> dict[str, Any]:
    """The content of ``series.json``: what the plots need beside the results."""
    return {
        "drift": {
            "name": study.plan.name,
            "events": [
                {"kind": e.kind, "start": e.start, "end": min(e.end, study.rounds)}
                for e in study.plan.events
            ],
        },
        "budget_usd": study.budget_usd,
        "alone": {
            arm: [_mean(run.alone[arm][i] for run in next(iter(runs.values()))) for i in (0, 1)]
            for arm in study.arms
        },
        "policies": {label: pool([run.series for run in some]) for label, some in runs.items()},
    }


def _mean(values: Iterable[float]) -> float:
    known = list(values)
    return math.fsum(known) / len(known)
