"""Exports a sentence-transformers model to one ONNX file. Runs as a child process.

``python -m features.export --model FOLDER_OR_NAME --out DIR ...`` writes the whole pipeline of the
model (transformer, pooling, dense layers, normalisation, as its own modules say) as one graph from
token ids to the embedding, int8 where that agrees with the original, with a manifest.

int8 means dynamic quantisation per channel of the linear layers, after `features.smoothing`; the
layers that it hurts most stay in fp32 until the embeddings agree. Plain per-channel int8 of the
default model gives a text of one word a cosine of .97; this gives .99.
"""

import argparse
import logging
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper
import onnxruntime
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType, quantize_dynamic
from sentence_transformers import SentenceTransformer

from features.check_texts import calibration_texts, check_texts, short_texts
from features.embedding import load_embedder
from features.model_store import TOKENIZER, WEIGHTS, ModelManifest, file_hash, write_manifest
from features.smoothing import Encode, loudest, most_hurt, smoothed
from features.tracing import trace, trace_lean

LEAST_AGREEMENT = 0.99
_STRENGTH = 0.7
_KEPT = (0, 1, 2, 4, 8)
_LIBRARIES = ("torch", "transformers", "sentence-transformers", "onnx", "onnxruntime", "tokenizers")


def export_model(
    source: str, out: Path, *, name: str, source_hash: str, precision: str = "auto"
) -> ModelManifest:
    """Write the exported model and its manifest to ``out``, and return the manifest.

    Parameters
    ----------
    source
        A folder or the name of a hub model.
    precision
        ``auto`` or ``fp32``.
    """
    _say(f"loading {name}")
    model = SentenceTransformer(source, device="cpu", model_kwargs={"attn_implementation": "eager"})
    model.eval()
    tokenizer = model.tokenizer
    getattr(tokenizer, "backend_tokenizer", tokenizer).save(str(out / TOKENIZER))
    expected = np.asarray(model.encode(check_texts(), show_progress_bar=False))
    manifest = _describe(model, name=name, source_hash=source_hash, dimension=expected.shape[1])
    found, why = None, "asked for"
    if precision == "auto":
        try:
            found, why = _quantised(model, out, manifest, expected), f"int8 < {LEAST_AGREEMENT}"
        except Exception as error:  # noqa: BLE001 - whatever breaks int8, fp32 still serves
            why = f"int8 failed: {error}"
            _say(why)
        finally:
            (out / "plain.onnx").unlink(missing_ok=True)
    if found is None:
        trace(model, out / WEIGHTS)
        found = _checked(out, replace(manifest, precision="fp32", why=why), expected)
    _say(f"{found.precision}: cosine min {found.agreement_min:.4f} mean {found.agreement_mean:.4f}")
    return found


def _quantised(
    model: Any, out: Path, manifest: ModelManifest, expected: NDArray[np.float32]
) -> ModelManifest | None:
    """The fastest int8 form that agrees: as few layers in fp32 as it takes; None if none does."""
    encode = _encoder(model)
    plain = out / "plain.onnx"
    with smoothed(model, loudest(model, encode, calibration_texts()), _STRENGTH):
        trace_lean(model, plain)
        layers = most_hurt(model, encode, short_texts())
        for n_kept in _KEPT:
            kept = _nodes_of(layers[:n_kept], plain)
            quantize_dynamic(
                plain,
                out / WEIGHTS,
                per_channel=True,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=["MatMul"],
                nodes_to_exclude=kept,
            )
            why = f"per channel, smoothing {_STRENGTH}, {len(kept)} layers kept in fp32"
            found = _checked(out, replace(manifest, precision="int8", why=why), expected)
            _say(f"int8, {len(kept)} layers in fp32: cosine min {found.agreement_min:.4f}")
            if found.agreement_min >= LEAST_AGREEMENT:
                return found
    return None


def _describe(model: Any, *, name: str, source_hash: str, dimension: int) -> ModelManifest:
    modules = {type(module).__name__: module for module in model}
    pooling = getattr(modules.get("Pooling"), "pooling_mode", "none")
    return ModelManifest(
        model=name,
        source_hash=source_hash,
        precision="",
        why="",
        agreement_min=0.0,
        agreement_mean=0.0,
        pooling=str(pooling),
        normalised="Normalize" in modules,
        dimension=dimension,
        max_tokens=int(min(model.max_seq_length or 512, 512)),
        prefix=model.prompts.get(model.default_prompt_name or "", "") or "",
        lowercase=bool(getattr(model[0], "do_lower_case", False)),
        files={},
        versions={library: version(library) for library in _LIBRARIES},
    )


def _nodes_of(layers: Sequence[Any], path: Path) -> list[str]:
    """Names of the graph's nodes that multiply by the weights of ``layers``."""
    graph = onnx.load(str(path)).graph
    held = {tensor.name: tensor for tensor in graph.initializer}
    weights = [layer.weight.detach().numpy().T for layer in layers]
    return [
        node.name
        for node in graph.node
        if node.op_type == "MatMul" and node.input[1] in held
        for matrix in [onnx.numpy_helper.to_array(held[node.input[1]])]
        if any(np.array_equal(matrix, weight) for weight in weights)
    ]


def _encoder(model: Any) -> Encode:
    """Texts to embeddings, one at a time: padding would be measured as input."""

    def encode(texts: Sequence[str]) -> Any:
        vectors = [
            model.encode([t], convert_to_tensor=True, show_progress_bar=False) for t in texts
        ]
        return torch.cat(vectors)

    return encode


def _checked(out: Path, manifest: ModelManifest, expected: NDArray[np.float32]) -> ModelManifest:
    """Write the manifest, then serve the folder as it will be served and compare."""
    files = {file: file_hash(out / file) for file in (WEIGHTS, TOKENIZER)}
    write_manifest(out, replace(manifest, files=files))
    served = load_embedder(out).embed(check_texts())
    cosines = (served * expected).sum(1) / np.linalg.norm(expected, axis=1)
    found = replace(
        manifest,
        files=files,
        agreement_min=float(cosines.min()),
        agreement_mean=float(cosines.mean()),
    )
    write_manifest(out, found)
    return found


def _say(what: str) -> None:
    sys.stderr.write(f"  embedding model: {what}\n")
    sys.stderr.flush()


def main() -> int:
    """Export as the command line says; on failure one line on stdout says why."""
    parser = argparse.ArgumentParser(prog="python -m features.export")
    for option in ("--model", "--name", "--out", "--source-hash"):
        parser.add_argument(option, required=True)
    parser.add_argument("--precision", choices=("auto", "fp32"), default="auto")
    given = parser.parse_args()
    # Warnings of libraries about their own exporters; nothing a reader of the log can act on.
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    onnxruntime.set_default_logger_severity(3)
    torch.set_num_threads(1)  # two threads beside other work are slower than one, by far
    try:
        export_model(
            given.model,
            Path(given.out),
            name=given.name,
            source_hash=given.source_hash,
            precision=given.precision,
        )
    except Exception as error:  # noqa: BLE001 - the parent process reports it
        sys.stdout.write(f"{type(error).__name__}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
