"""Serves an exported embedding model with onnxruntime and tokenizers only.

One thread per call and no spinning: on a shared machine, two threads that wait for each other
turned 14 ms into 146. Every text runs alone, without padding, so that its vector does not depend on
what else is asked at the same time (int8 scales are found per run).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from features.errors import EmbeddingModelError
from features.model_store import TOKENIZER, WEIGHTS, ModelManifest, read_manifest
from features.text import cut_middle, speakable

CHARS_PER_TOKEN = 8
"""Twice what English needs: longer texts are cut by characters before they are tokenised."""

_COUNTED_CHARS = 20_000

_SLOWER = ["SkipLayerNormFusion"]
"""onnxruntime 1.31's fused kernel takes several times as long as the two that it replaces."""


class Embedder:
    """Texts to unit vectors; safe to call from several threads.

    Parameters
    ----------
    session
        onnxruntime session of the exported graph: token ids of one text in, embedding out.
    tokenizer
        The model's own, with neither padding nor truncation.
    max_tokens
        Longest input, special tokens included; at most the model's own maximum. Of a longer text
        the first three quarters and the last quarter of that many tokens are kept.
    """

    def __init__(
        self, session: Any, tokenizer: Any, manifest: ModelManifest, *, max_tokens: int
    ) -> None:
        self._session = session
        self._tokenizer = tokenizer
        self.manifest = manifest
        self.max_tokens = max_tokens
        self.model_id = manifest.model_id
        self.dimension = manifest.dimension

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors, shape (len(texts), dimension), float32.

        Raises
        ------
        EmbeddingModelError
            If the model gives a value that is not finite, or fails.
        """
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for i, text in enumerate(texts):
            vectors[i] = self._embed(text)
        return vectors

    def count_tokens(self, text: str) -> int:
        """Tokens of ``text`` without special ones; an estimate beyond 20,000 characters."""
        shown = speakable(cut_middle(text, _COUNTED_CHARS))
        counted = len(self._tokenizer.encode(shown, add_special_tokens=False).ids)
        return round(counted * max(1.0, len(text) / max(1, len(shown))))

    def _embed(self, text: str) -> NDArray[np.float32]:
        ids = np.array([self._ids(text)], dtype=np.int64)
        try:
            (found,) = self._session.run(None, {"input_ids": ids})
        except Exception as error:  # onnxruntime's own exceptions have no useful common base
            raise EmbeddingModelError(self.model_id, f"inference failed: {error}", "") from error
        vector: NDArray[np.float32] = np.asarray(found[0], dtype=np.float32)
        norm = float(np.linalg.norm(vector))
        if vector.shape != (self.dimension,) or not np.isfinite(norm) or norm == 0:
            raise EmbeddingModelError(
                self.model_id,
                "gave an embedding that is not finite or has another shape",
                "Delete its folder in the cache; it is exported again at the next start",
            )
        return vector / np.float32(norm)

    def _ids(self, text: str) -> list[int]:
        text = self.manifest.prefix + speakable(cut_middle(text, CHARS_PER_TOKEN * self.max_tokens))
        text = text.lower() if self.manifest.lowercase else text
        ids: list[int] = self._tokenizer.encode(text).ids
        if len(ids) <= self.max_tokens:
            return ids
        tail = self.max_tokens // 4
        return ids[: self.max_tokens - tail] + ids[-tail:]


def load_embedder(folder: Path, *, max_tokens: int | None = None) -> Embedder:
    """An embedder on an exported folder, after its files were verified.

    Raises
    ------
    EmbeddingModelError
        If a file is missing, altered, or cannot be loaded.
    """
    manifest = read_manifest(folder)
    limit = min(max_tokens or manifest.max_tokens, manifest.max_tokens)
    try:
        session = onnxruntime.InferenceSession(
            str(folder / WEIGHTS),
            session_options(),
            providers=["CPUExecutionProvider"],
            disabled_optimizers=_SLOWER,
        )
        tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        tokenizer.no_truncation()
        tokenizer.no_padding()
    except Exception as error:  # both libraries raise bare exceptions of their own
        raise EmbeddingModelError(
            manifest.model, f"cannot be loaded: {error}", f"Delete {folder} and start again"
        ) from error
    return Embedder(session, tokenizer, manifest, max_tokens=limit)


def session_options() -> Any:
    """One thread and no spinning. The arena stays: it is 5 % faster, and small at 128 tokens."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.log_severity_level = 3
    return options
