"""From what a user asked for to a `Study`: table, rows, features, prices, drift, scenario."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bandit.utility import PRESETS, BadScenarioError, Scenario
from simulator.delay import parse_delay
from simulator.drift import NO_DRIFT, DriftPlan, load_plan
from simulator.embeddings import FeatureBank, Progress, build_bank
from simulator.environment import Order
from simulator.errors import BadStudyError, nearest
from simulator.fill import Assumptions, Price, complete, read_prices
from simulator.labels import split_labels
from simulator.pictures import with_pictures
from simulator.roster import Casting, cast, default_labels, parse_label
from simulator.study import Study, WarmStart
from simulator.synthetic import CLOUD, EDGE, make_synthetic
from simulator.table import MAX_ROWS, ReplayTable, load_table, models_of
from simulator.wheel import DEFAULT_PAIR, examples_dir, load_wheel
from simulator.workload import trace_arrivals

BUILT_IN = ("paretobandit", "paretobandit-val", "paretobandit-test", "synthetic")
_SPLIT_SEED = 20_26
_NO_FEATURES = FeatureBank("none", {"none": 1}, np.zeros((1, 1), dtype=np.float32))


@dataclass(frozen=True, slots=True)
class Wishes:
    """The options of ``pointsman simulate``, as given."""

    table: str | None = None
    edge: str | None = None
    cloud: str | None = None
    arms: str | None = None
    policies: str | None = None
    scenario: str = "quality"
    weights: str | None = None
    mes: float | None = None
    rounds: int | None = None
    seeds: int = 1
    seed: int = 0
    order: Order = "shuffle"
    rows: str | None = None
    fit_rows: str | None = None
    warm_start: str | None = None
    warm_rows: str | None = None
    invert_warm: bool = False
    drift: str | None = None
    budget_usd: float | None = None
    latency_slo_s: float | None = None
    quality_floor: float | None = None
    feedback_rate: float = 1.0
    feedback_delay: str = "0"
    judge_noise: float = 0.0
    judge_bias: float = 0.0
    prices: Path | None = None
    price: Sequence[str] = field(default_factory=tuple)
    arrivals: Path | None = None
    arrivals_speed: float = 1.0
    max_rows: int = MAX_ROWS
    drop_unmeasured: bool = False
    cascade: bool = False
    join: str | None = None
    image_model: str | None = None
    data_dir: Path = Path(".pointsman")


def plan_study(wishes: Wishes, *, progress: Progress | None = None) -> Study:
    """The study that was asked for; everything is checked before anything slow begins.

    Raises
    ------
    SimulatorError, BadScenarioError
        In one line.
    """
    scenario = read_scenario(wishes)
    labels = (
        split_labels(wishes.policies) if wishes.policies else default_labels(cascade=wishes.cascade)
    )
    for label in labels:
        parse_label(label)
    delay = parse_delay(wishes.feedback_delay)
    # Which models it swaps in has to be known before the table is read, its rounds only after.
    sketch = load_plan(wishes.drift, wishes.rounds or 1000) if wishes.drift else NO_DRIFT
    source, arms = choose_arms(wishes)
    whole = open_table(wishes, source, arms, sketch)
    rows = select_rows("--rows", wishes.rows, whole)
    table = whole.take(rows)
    plan = load_plan(wishes.drift, wishes.rounds, len(table)) if wishes.drift else NO_DRIFT
    rounds = plan.rounds or wishes.rounds or len(table)
    fit = None
    if wishes.fit_rows and wishes.fit_rows != "cross":
        fit = select_rows("--fit-rows", wishes.fit_rows, whole)
    warm = _warm_table(wishes, source, arms, whole)
    study = Study(
        table=table,
        bank=_NO_FEATURES.take(np.zeros(len(table), dtype=np.int64)),
        arms=arms,
        policies=labels,
        scenario=scenario,
        rounds=rounds,
        seeds=tuple(range(wishes.seed, wishes.seed + wishes.seeds)),
        order=wishes.order,
        plan=plan,
        feedback_rate=wishes.feedback_rate,
        feedback_delay=delay,
        judge_noise=wishes.judge_noise,
        judge_bias=wishes.judge_bias,
        budget_usd=wishes.budget_usd,
        latency_slo_s=wishes.latency_slo_s,
        quality_floor=wishes.quality_floor,
        arrivals=_arrivals(wishes, table, rounds),
        cascade=wishes.cascade,
    )
    _rehearse(study)
    bank = _bank(wishes, whole, progress)
    study = replace(study, bank=bank.take(rows))
    if fit is not None:
        study = replace(study, fit=replace(study, table=whole, bank=bank).rows_to_fit(fit))
    if warm is not None:
        study = replace(study, warm=WarmStart(warm, _bank(wishes, warm, progress)))
    return study


def _rehearse(study: Study) -> None:
    """Find out what the plan or a policy's settings have wrong before anything is embedded."""
    survey = study.world(study.seeds[0]).survey()
    for label in study.policies:
        cast(Casting(study, label, study.seeds[0], survey))


def read_scenario(wishes: Wishes) -> Scenario:
    """The preset, with other weights or another minimal expectation score where wished."""
    if wishes.scenario not in PRESETS:
        hint = nearest(wishes.scenario, list(PRESETS))
        raise BadStudyError("--scenario", wishes.scenario, f"unknown{hint}")
    scenario = PRESETS[wishes.scenario]
    try:
        if wishes.weights is not None:
            parts = [float(part) for part in wishes.weights.split(",")]
            name = f"weights {wishes.weights}"
            q, c, t = parts
            scenario = replace(scenario, name=name, w_quality=q, w_cost=c, w_latency=t)
        return scenario if wishes.mes is None else replace(scenario, mes=wishes.mes)
    except BadScenarioError:
        raise
    except ValueError:
        want = "want three numbers that sum to 1, such as 0.7,0.2,0.1"
        raise BadStudyError("--weights", wishes.weights, want) from None


def choose_arms(wishes: Wishes) -> tuple[str, tuple[str, ...]]:
    """The table's name or path, and the models that play, edge first."""
    source = wishes.table or ("paretobandit" if examples_dir() else "synthetic")
    if wishes.arms:
        if wishes.edge or wishes.cloud:
            raise BadStudyError("--arms", wishes.arms, "not together with --edge and --cloud")
        arms = tuple(part.strip() for part in wishes.arms.split(",") if part.strip())
    elif source in BUILT_IN:
        pair = (EDGE, CLOUD) if source == "synthetic" else DEFAULT_PAIR
        arms = (wishes.edge or pair[0], wishes.cloud or pair[1])
    elif wishes.edge and wishes.cloud:
        arms = (wishes.edge, wishes.cloud)
    else:
        hint = nearest("", models_of(Path(source)))
        raise BadStudyError("--edge, --cloud", (wishes.edge, wishes.cloud), f"say both{hint}")
    if len(set(arms)) != len(arms) or len(arms) < 2:
        raise BadStudyError("arms", ", ".join(arms), "want at least two different models")
    return source, arms


def open_table(wishes: Wishes, source: str, arms: Sequence[str], plan: DriftPlan) -> ReplayTable:
    """The completed table of ``source``: the arms first, then models that the plan swaps in."""
    extra = [m for m in plan.extra_models() if m not in (*arms, "edge", "cloud")]
    models = [*arms, *dict.fromkeys(extra)]
    if source == "synthetic":
        table = make_synthetic()
        for model in models:
            if model not in table.models:
                hint = nearest(model, table.models)
                raise BadStudyError("arms", model, f"not in the synthetic world{hint}")
        table = _columns(table, models)
    elif source in BUILT_IN:
        _, _, part = source.partition("-")
        table = load_wheel(models, part=part or "all")
    else:
        table = load_table(
            Path(source),
            models,
            max_rows=wishes.max_rows,
            drop_unmeasured=wishes.drop_unmeasured,
            join=wishes.join,
            signals=wishes.cascade,
        )
    return complete(table, Assumptions(prices=_prices(wishes)))


def _columns(table: ReplayTable, models: Sequence[str]) -> ReplayTable:
    picks = [table.models.index(model) for model in models]
    parts = ("quality", "cost_usd", "latency_s", "tokens_in", "tokens_out")
    return replace(
        table, models=tuple(models), **{part: getattr(table, part)[:, picks] for part in parts}
    )


def _prices(wishes: Wishes) -> dict[str, Price]:
    prices = read_prices(wishes.prices) if wishes.prices else {}
    for text in wishes.price:
        model, _, numbers = text.rpartition("=")
        try:
            price_in, price_out = (float(part) for part in numbers.split(","))
        except ValueError:
            raise BadStudyError("--price", text, "want MODEL=IN,OUT in dollars a million") from None
        prices[model.strip().lower().rsplit("/", 1)[-1]] = Price(price_in, price_out)
    return prices


def select_rows(option: str, text: str | None, table: ReplayTable) -> NDArray[np.int64]:
    """Rows by position (``100:900``), or a half drawn once and for all (``first``, ``second``)."""
    n = len(table)
    if text is None or text == "all":
        return np.arange(n)
    if text in {"first", "second"}:
        shuffled = np.random.default_rng(_SPLIT_SEED).permutation(n)
        half = shuffled[: n // 2] if text == "first" else shuffled[n // 2 :]
        return np.sort(half)
    start, _, stop = text.partition(":")
    try:
        rows = np.arange(n)[int(start or 0) : int(stop) if stop else n]
    except ValueError:
        rows = np.arange(0)
    if not len(rows):
        want = f"want first, second, or START:END within the {n:,} rows"
        raise BadStudyError(option, text, want)
    return rows


def _warm_table(
    wishes: Wishes, source: str, arms: Sequence[str], whole: ReplayTable
) -> ReplayTable | None:
    if wishes.warm_start is None:
        return None
    same = wishes.warm_start in {"same", source}
    table = whole if same else open_table(wishes, wishes.warm_start, arms, NO_DRIFT)
    table = table.take(select_rows("--warm-rows", wishes.warm_rows, table))
    return table.inverted() if wishes.invert_warm else table


def _arrivals(wishes: Wishes, table: ReplayTable, rounds: int) -> NDArray[np.float64] | None:
    if wishes.arrivals is None:
        return None
    if str(wishes.arrivals) == "table":
        if table.t_s is None:
            raise BadStudyError("--arrivals", "table", "the table has no column 't_s'")
        if rounds > len(table):
            raise BadStudyError("--arrivals", "table", f"has times for {len(table):,} rounds only")
        since: NDArray[np.float64] = np.sort(table.t_s)[:rounds] - table.t_s.min()
        return since / wishes.arrivals_speed
    return trace_arrivals(wishes.arrivals, rounds, speed=wishes.arrivals_speed)


def _bank(wishes: Wishes, table: ReplayTable, progress: Progress | None) -> FeatureBank:
    from features.featurizer import (  # noqa: PLC0415 - loads a model
        FeatureConfig,
        build_featurizer,
    )

    config = FeatureConfig(image_model=wishes.image_model)
    featurizer = build_featurizer(config, wishes.data_dir / "models")
    folder = wishes.data_dir / "simulator"
    bank = build_bank(table.prompts, featurizer, folder, progress=progress)
    if table.pictures is None:
        return bank
    return with_pictures(bank, table.pictures, featurizer, folder, progress=progress)
