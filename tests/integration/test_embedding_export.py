"""Any sentence-transformers model can be exported: here a small one that the test makes."""

import subprocess
import sys
import threading

import numpy as np
import pytest

from features.embedding import load_embedder
from features.featurizer import FeatureConfig, build_featurizer
from features.model_store import ensure_model

MAKE = """
import sys, torch
from pathlib import Path
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Pooling, Transformer
folder = Path(sys.argv[1])
letters = [chr(c) for c in range(33, 127)]
vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *("##" + c for c in letters)]
words = Tokenizer(models.WordPiece({w: i for i, w in enumerate(vocabulary)}, unk_token="[UNK]"))
words.normalizer = normalizers.BertNormalizer()
words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
words.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
fast = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]",
                               cls_token="[CLS]", sep_token="[SEP]")
torch.manual_seed(0)
size = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
BertModel(BertConfig(vocab_size=len(vocabulary), **size)).save_pretrained(folder / "bert")
fast.save_pretrained(folder / "bert")
bert = Transformer(str(folder / "bert"), max_seq_length=400)
SentenceTransformer(modules=[bert, Pooling(32, pooling_mode="cls")]).save(str(folder / "model"))
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MAKE, str(folder)],
        check=True,
        timeout=240,
        capture_output=True,
    )
    return str(folder / "model")


@pytest.fixture(scope="module")
def exported(source, tmp_path_factory):
    """The folder that two processes' worth of work at once ended in, and its cache."""
    cache, found = tmp_path_factory.mktemp("cache"), []
    threads = [
        threading.Thread(target=lambda: found.append(ensure_model(source, cache))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
    return found, cache


def test_two_exports_at_once_end_in_one_whole_folder(exported):
    found, cache = exported
    assert len(found) == 2
    assert list((cache / "embedding").iterdir()) == [found[0]] == [found[1]]


def test_pooling_and_normalisation_are_the_models_own(exported):
    found = load_embedder(exported[0][0]).manifest
    assert (found.pooling, found.normalised, found.dimension) == ("cls", False, 32)
    assert found.agreement_min >= 0.99


def test_a_model_without_a_fitted_projection_gets_a_random_one(source, exported, caplog):
    config = FeatureConfig(model=source)
    featurizer = build_featurizer(config, exported[1])
    assert featurizer.projection_source == "random"
    assert len(featurizer.schema["embedding"]) == 32
    assert "random one stands in" in caplog.text
    found = featurizer.featurize_text("What is the tallest tree?")
    assert found.features_ok
    assert np.abs(found.namespaces["embedding"]).max() <= 3


def test_fp32_can_be_asked_for(source, exported):
    folder = ensure_model(source, exported[1], precision="fp32")
    found = load_embedder(folder).manifest
    assert found.precision == "fp32"
    assert found.agreement_min > 0.9999
