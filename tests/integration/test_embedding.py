"""The real default model: exported by a child process, served, verified, refused when damaged."""

import hashlib
import json
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest

from features.check_texts import calibration_texts, check_texts, short_texts
from features.embedding import load_embedder
from features.errors import EmbeddingModelError
from features.featurizer import FeatureConfig, build_featurizer
from features.fitting import fit_from_file, read_prompts
from features.model_store import (
    DEFAULT_MODEL,
    _publish,
    ensure_model,
    locate,
    read_manifest,
)
from features.projection import load_projection

UNSEEN = [
    "How long does it take to boil an egg at high altitude?",
    "def area(r): return 3.14 * r ** 2  # is there a better constant in the standard library?",
    "Compare the causes of the two world wars in a table with three rows.",
    "Was kostet ein Brief in die Schweiz?",
    "Which bird lays its eggs in the nests of others? a) cuckoo b) robin c) wren",
    "The parcel came three days late and the box was open. I want my money back!",
    "If 5 machines make 5 parts in 5 minutes, how long do 100 machines need for 100 parts? " * 6,
]


@pytest.fixture(scope="module")
def folder(models_dir):
    return ensure_model(DEFAULT_MODEL, models_dir)


@pytest.fixture(scope="module")
def embedder(folder):
    return load_embedder(folder, max_tokens=128)


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def test_the_served_embedding_agrees_with_the_original(embedder):
    found = embedder.manifest
    assert found.agreement_min >= 0.99
    assert (found.pooling, found.normalised, found.dimension) == ("mean", True, 384)


def test_the_served_embedding_agrees_with_fp32_on_texts_nobody_tuned_for(embedder, models_dir):
    exact = load_embedder(ensure_model(DEFAULT_MODEL, models_dir, precision="fp32"), max_tokens=128)
    assert exact.manifest.agreement_min > 0.9999
    cosines = (embedder.embed(UNSEEN) * exact.embed(UNSEEN)).sum(1)
    assert set(UNSEEN).isdisjoint([*calibration_texts(), *short_texts(), *check_texts()])
    assert cosines.min() >= 0.99


def test_embeddings_are_unit_vectors(embedder):
    found = embedder.embed(["yes", "A longer text about ships and shoes.", "", "你好", "x " * 9000])
    assert found.shape == (5, 384)
    assert found.dtype == np.float32
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_what_means_the_same_is_closer_than_what_does_not(embedder):
    a, b, c = embedder.embed(
        ["How do I reset my password?", "I forgot my password, help", "Bake bread at home"]
    )
    assert a @ b > a @ c + 0.3


def test_a_text_has_the_same_vector_in_any_company(embedder):
    alone = embedder.embed(["Where is the harbour?"])[0]
    assert np.array_equal(alone, embedder.embed(["a " * 200, "Where is the harbour?"])[1])


def test_a_long_text_keeps_its_head_and_its_tail(embedder):
    assert len(embedder._ids("one two three " * 5000)) == 128
    head, tail = "alpha " * 95, "omega " * 31
    assert np.allclose(
        embedder.embed([head + "filler " * 400 + tail]), embedder.embed([head + tail]), atol=0.1
    )


def test_tokens_are_counted_without_special_ones(embedder):
    assert embedder.count_tokens("the cat sat") == 3
    assert embedder.count_tokens("the cat sat " * 100_000) == pytest.approx(300_000, rel=0.01)


def test_threads_get_what_one_thread_gets(embedder):
    texts = [f"Question number {i} about the sea" for i in range(12)]
    expected, found = embedder.embed(texts), {}

    def work(i):
        found[i] = embedder.embed([texts[i]])[0]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert all(np.array_equal(found[i], expected[i]) for i in range(12))


def test_an_exported_model_is_not_exported_again(folder, models_dir):
    stamp = (folder / "manifest.json").stat().st_mtime_ns
    assert ensure_model(DEFAULT_MODEL, models_dir) == folder
    assert (folder / "manifest.json").stat().st_mtime_ns == stamp


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_an_altered_file_is_refused(copy, name):
    with (copy / name).open("r+b") as file:
        file.seek(1000)
        file.write(b"\xff")
    with pytest.raises(EmbeddingModelError, match=r"sha256 differs.*Delete"):
        load_embedder(copy)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": 3}'])
def test_a_damaged_manifest_is_refused(copy, text):
    (copy / "manifest.json").write_text(text)
    with pytest.raises(EmbeddingModelError, match="Delete"):
        load_embedder(copy)


def test_a_broken_folder_gives_way_to_a_whole_one(copy, tmp_path):
    broken = tmp_path / "target"
    broken.mkdir()
    (broken / "model.onnx").write_bytes(b"half")
    _publish(copy, broken)
    assert read_manifest(broken)
    assert not copy.exists()


def test_a_whole_folder_of_another_process_is_kept(copy, folder, tmp_path):
    theirs = shutil.copytree(folder, tmp_path / "theirs")
    (theirs / "mark").touch()
    _publish(copy, theirs)
    assert (theirs / "mark").exists()


def test_a_file_that_is_no_model_is_refused(copy):
    (copy / "model.onnx").write_bytes(b"nonsense")
    manifest = json.loads((copy / "manifest.json").read_text())
    digest = hashlib.sha256(b"nonsense").hexdigest()
    manifest["files"]["model.onnx"] = digest
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(EmbeddingModelError, match="cannot be loaded"):
        load_embedder(copy)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_an_embedding_that_is_not_finite_is_refused(embedder, monkeypatch, value):
    class Broken:
        def run(self, *_):
            return [np.full((1, 384), value, dtype=np.float32)]

    monkeypatch.setattr(embedder, "_session", Broken())
    with pytest.raises(EmbeddingModelError, match="not finite"):
        embedder.embed(["x"])


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(EmbeddingModelError, match="no such folder"):
        locate(str(tmp_path / "nothing"))


def test_a_folder_that_is_no_model_is_refused_with_a_remedy(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(EmbeddingModelError, match=r"export failed.*Install"):
        ensure_model(str(tmp_path), tmp_path / "cache")
    assert list((tmp_path / "cache" / "embedding").iterdir()) == []


def test_the_server_side_never_loads_torch(models_dir, folder):
    code = (
        "import sys; from pathlib import Path\n"
        "from features.featurizer import FeatureConfig, build_featurizer\n"
        "f = build_featurizer(FeatureConfig(), Path(sys.argv[1]))\n"
        "f.featurize_text('What is the tallest tree?')\n"
        "print(sorted({'torch', 'transformers', 'sentence_transformers'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(models_dir)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"


def test_the_shipped_projection_belongs_to_the_default_model(models_dir, folder):
    featurizer = build_featurizer(FeatureConfig(), models_dir)
    assert featurizer.projection_source.startswith("paretobandit")
    assert len(featurizer.schema["embedding"]) == 64


def test_an_operator_can_fit_a_projection_on_prompts_of_their_own(models_dir, embedder, tmp_path):
    prompts, out = tmp_path / "prompts.jsonl", tmp_path / "mine.npz"
    rows = [{"prompt": f"Explain topic {i} of the course to me"} for i in range(30)]
    prompts.write_text("\n".join(json.dumps(row) for row in rows))
    fit_from_file(prompts, out, embedder, n_components=6, n_clusters=3)
    hash_ = embedder.manifest.source_hash
    assert load_projection(out, dimension=384, model_hash=hash_).info.n_prompts == 30
    mine = build_featurizer(FeatureConfig(projection=str(out)), models_dir)
    default = build_featurizer(FeatureConfig(), models_dir)
    assert mine.schema_version != default.schema_version
    assert (mine.projection_source, len(mine.schema["embedding"])) == ("prompts.jsonl", 6)


def test_prompts_are_read_from_rows_of_any_known_shape(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [
        {"prompt": "one prompt"},
        {"text": "two text"},
        "three string",
        {"messages": [{"role": "user", "content": "four messages"}]},
        {"prompt": "one prompt"},
        {"other": 1},
    ]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    assert read_prompts(path) == ["one prompt", "two text", "three string", "four messages"]


def test_the_manifest_describes_every_file(folder):
    assert set(read_manifest(folder).files) == {"model.onnx", "tokenizer.json"}
