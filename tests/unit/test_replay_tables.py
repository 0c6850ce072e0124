"""Reading replay tables: what is read, what is completed, and what a bad one gets."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simulator.errors import BadTableError
from simulator.fill import Assumptions, Price, complete, read_prices
from simulator.synthetic import SyntheticConfig, make_synthetic
from simulator.table import load_table, models_of

ROWS = [
    {
        "prompt": f"question {i}",
        "domain": "law" if i % 2 else "math",
        "score:small-7b": i / 10,
        "score:large-70b": 1.0,
        "cost_usd:large-70b": 0.002,
        "tok_out:small-7b": 100,
    }
    for i in range(10)
]


def write(path, rows):
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        names = list(rows[0])
        cells = (",".join("" if row[n] is None else str(row[n]) for n in names) for row in rows)
        path.write_text("\n".join([",".join(names), *cells]) + "\n")
    return path


@pytest.fixture(params=[".parquet", ".csv", ".jsonl"])
def suffix(request):
    return request.param


def test_every_format_reads_the_same(tmp_path, suffix):
    table = load_table(write(tmp_path / f"t{suffix}", ROWS), ["small-7b", "large-70b"])
    assert table.models == ("small-7b", "large-70b")
    assert table.domain_names == ("law", "math")
    np.testing.assert_allclose(table.quality[:, 0], np.arange(10) / 10)
    assert np.isnan(table.cost_usd[:, 0]).all()
    assert (table.cost_usd[:, 1] == 0.002).all()


def broken(change):
    rows = [dict(row) for row in ROWS]
    change(rows)
    return rows


def drop(name):
    def change(rows):
        for row in rows:
            row.pop(name)

    return change


def put(i, name, value):
    return lambda rows: rows[i].update({name: value})


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (drop("prompt"), "no column 'prompt'"),
        (put(3, "score:small-7b", float("nan")), "row 4: score:small-7b is not measured"),
        (put(2, "score:large-70b", 1.5), "row 3: score:large-70b is 1.5; want a number in [0, 1]"),
        (put(5, "score:small-7b", -0.1), "row 6: score:small-7b is -0.1"),
        (put(1, "cost_usd:large-70b", -1.0), "row 2: cost_usd:large-70b is -1"),
    ],
)
def test_a_bad_table_is_refused_in_one_line(tmp_path, suffix, change, expected):
    path = write(tmp_path / f"t{suffix}", broken(change))
    with pytest.raises(BadTableError) as caught:
        load_table(path, ["small-7b", "large-70b"])
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_misspelt_model_gets_the_nearest_name(tmp_path):
    path = write(tmp_path / "t.parquet", ROWS)
    with pytest.raises(BadTableError, match=r"did you mean 'large-70b'\?"):
        load_table(path, ["small-7b", "lrage-70b"])
    assert models_of(path) == ["small-7b", "large-70b"]


def test_unmeasured_rows_can_be_left_out(tmp_path):
    path = write(tmp_path / "t.jsonl", broken(put(3, "score:small-7b", None)))
    table = load_table(path, ["small-7b", "large-70b"], drop_unmeasured=True)
    assert len(table) == 9
    assert "left out 1 of 10 rows" in table.notes[0]


@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "t.jsonl"])
def test_an_empty_file_is_refused(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(BadTableError, match="the file is empty"):
        load_table(tmp_path / name, ["a", "b"])


@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "t.jsonl"])
def test_a_huge_file_that_is_no_table_is_refused_without_reading_it(tmp_path, name):
    with (tmp_path / name).open("wb") as file:
        file.truncate(5 * 1024**3)
    with pytest.raises(BadTableError, match=r"not a Parquet file|NUL bytes"):
        load_table(tmp_path / name, ["a", "b"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("prompt,score:a\nx,0.5,9\n", "row 1: 3 cells where the header has 2"),
        ("prompt,score:a,score:a\nx,1,1\n", "column 'score:a' appears twice"),
        ("prompt,score:a\nx,high\n", "row 1: score:a is 'high', not a number"),
        ("prompt,score:a\n", "the table has no rows"),
        ("prompt,other\nx,1\n", "no column 'score:<model>'"),
    ],
)
def test_a_bad_csv_says_where(tmp_path, text, expected):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(BadTableError) as caught:
        load_table(path, ["a"])
    assert expected in str(caught.value)


def test_broken_json_names_its_line(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps(ROWS[0]) + "\n{oops\n")
    with pytest.raises(BadTableError, match="line 2: not JSON"):
        load_table(path, ["small-7b"])


def test_a_missing_file_names_a_similar_one(tmp_path):
    write(tmp_path / "table.csv", ROWS)
    with pytest.raises(BadTableError, match=r"no such file; did you mean 'table.csv'\?"):
        load_table(tmp_path / "tabel.csv", ["small-7b"])


def test_only_so_many_rows_are_read(tmp_path, suffix):
    path = write(tmp_path / f"t{suffix}", ROWS)
    table = load_table(path, ["small-7b"], max_rows=4)
    assert len(table) == 4
    assert "first 4 rows" in table.notes[0]


def test_cost_comes_from_prices_and_tokens(tmp_path):
    table = load_table(write(tmp_path / "t.jsonl", ROWS), ["small-7b", "large-70b"])
    prices = {"small-7b": Price(1.0, 2.0), "large-70b": Price(10.0, 20.0)}
    done = complete(table, Assumptions(prices=prices))
    expected = (done.tokens_in[:, 0] * 1.0 + 100 * 2.0) / 1e6
    np.testing.assert_allclose(done.cost_usd[:, 0], expected)
    # The large model's bill is known and its length is not: the length follows from the bill.
    np.testing.assert_allclose(done.tokens_out[:, 1], np.round((2000 - 30) / 20), atol=1)
    assert np.isfinite(done.latency_s).all()


def test_an_unknown_price_is_assumed_aloud(tmp_path):
    table = load_table(write(tmp_path / "t.jsonl", ROWS), ["small-7b", "large-70b"])
    done = complete(table, Assumptions())
    assert any("no price is known for small-7b" in note for note in done.notes)
    assert (done.cost_usd > 0.0).all()


def test_latency_is_sampled_by_seed(tmp_path):
    table = load_table(write(tmp_path / "t.jsonl", ROWS), ["small-7b", "large-70b"])
    once, again, other = (complete(table, Assumptions(seed=s)).latency_s for s in (1, 1, 2))
    np.testing.assert_array_equal(once, again)
    assert (once != other).any()


def test_prices_are_read_by_name_without_the_maker(tmp_path):
    path = tmp_path / "prices.csv"
    path.write_text("model,usd_per_M_in,usd_per_M_out\nacme/Small-7B,0.1,0.2\nsmall-7b,9,9\n")
    assert read_prices(path) == {"small-7b": Price(0.1, 0.2)}


def test_a_bad_price_is_refused(tmp_path):
    path = tmp_path / "prices.csv"
    path.write_text("model,usd_per_M_in,usd_per_M_out\nsmall-7b,cheap,0.2\n")
    with pytest.raises(BadTableError, match="row 1: a price that is not a number"):
        read_prices(path)


def test_the_synthetic_world_is_the_same_for_a_seed_and_needs_both_arms():
    one, two = make_synthetic(), make_synthetic()
    assert one.prompts == two.prompts
    np.testing.assert_array_equal(one.quality, two.quality)
    best = one.quality.max(axis=1).mean()
    assert best > one.quality.mean(axis=0).max() + 0.01
    assert make_synthetic(SyntheticConfig(seed=1)).prompts != one.prompts
