"""Pictures of replay tables become features, whatever the file's format."""

import base64

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simulator.embeddings import FeatureBank
from simulator.errors import BadTableError
from simulator.picture_study import TEXT, compare, variants
from simulator.pictures import with_pictures, without_pictures
from simulator.table import load_table
from tests import pictures, studies
from tests.unit.test_featurizer import made
from tests.unit.test_replay_tables import ROWS, write

COLOURS = ("black", "white", None, "grey", *[None] * 6)
BLOBS = [None if c is None else pictures.encoded(pictures.flat(c)) for c in COLOURS]
FEATURIZER = made()
SIZES = {"constant": 1, "image": len(FEATURIZER.schema["image"])}
BRIGHTNESS = 1 + FEATURIZER.schema["image"].index("brightness")


def table(folder, suffix):
    path = folder / f"t{suffix}"
    if suffix == ".parquet":
        rows = [{**row, "image_jpeg": blob} for row, blob in zip(ROWS, BLOBS, strict=True)]
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        texts = [None if blob is None else base64.b64encode(blob).decode() for blob in BLOBS]
        write(path, [{**row, "image_jpeg": t} for row, t in zip(ROWS, texts, strict=True)])
    return load_table(path, ["small-7b", "large-70b"])


def bank(n):
    return FeatureBank(
        "v", SIZES, np.ones((n, sum(SIZES.values())), dtype=np.float32) * [1, *[0] * 12]
    )


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_every_format_shows_the_same_pictures(tmp_path, suffix):
    found = with_pictures(bank(10), table(tmp_path, suffix).pictures, FEATURIZER, tmp_path)
    brightness = found.matrix[:, BRIGHTNESS]
    assert brightness[:4] == pytest.approx([0.0, 1.0, 0.0, 128 / 255], abs=1e-3)
    assert not found.matrix[4:, 1:].any()
    assert found.matrix[0, 1:].any()


def test_rows_keep_their_own_pictures_when_some_are_taken(tmp_path):
    some = table(tmp_path, ".parquet").take(np.array([3, 1, 1]))
    found = with_pictures(bank(3), some.pictures, FEATURIZER, tmp_path)
    assert found.matrix[:, BRIGHTNESS] == pytest.approx([128 / 255, 1.0, 1.0], abs=1e-3)


def test_features_are_made_once(tmp_path):
    column = table(tmp_path, ".parquet").pictures
    first = with_pictures(bank(10), column, FEATURIZER, tmp_path / "cache")

    class Blind:
        schema_version = FEATURIZER.schema_version

    again = with_pictures(bank(10), column, Blind(), tmp_path / "cache")
    assert np.array_equal(first.matrix, again.matrix)


def test_a_cell_that_is_no_picture_is_refused_by_its_row(tmp_path):
    rows = [{**row, "image_jpeg": "no base64!" if i == 2 else None} for i, row in enumerate(ROWS)]
    column = load_table(write(tmp_path / "t.jsonl", rows), ["small-7b", "large-70b"]).pictures
    with pytest.raises(BadTableError, match="row 3: image_jpeg"):
        with_pictures(bank(10), column, FEATURIZER, tmp_path)


def test_a_table_without_the_column_has_none(tmp_path):
    assert load_table(write(tmp_path / "t.csv", ROWS), ["small-7b", "large-70b"]).pictures is None


def seeing(n=400):
    """A study where only the picture's feature tells which arm is better."""
    values = studies.features(n)
    whole = FeatureBank("made", {"first": 3, "image": 1}, np.roll(values, -1, axis=1))
    return studies.study(n, policies=("ridge-full", "always-cloud"), seeds=(0, 1)), whole


def test_what_pictures_add_is_measured_seed_by_seed():
    from dataclasses import replace

    from simulator.engine import run_study

    study, whole = seeing()
    found = variants(replace(study, bank=whole))
    assert {name: one.policies for name, one in found.items()} == {
        TEXT: ("ridge-full", "always-cloud"),
        "text, image": ("ridge-full",),
    }
    runs = {name: run_study(one, workers=1) for name, one in found.items()}
    gained = compare(runs, ("quality",))["ridge-full", "text, image"]["quality"]
    assert gained.low > 0.1


def test_without_pictures_the_rest_stays():
    _, whole = seeing()
    blind = without_pictures(whole)
    assert not blind.matrix[:, 3].any()
    assert np.array_equal(blind.matrix[:, :3], whole.matrix[:, :3])
    assert np.array_equal(without_pictures(whole, keep="image").matrix, whole.matrix)
