"""An image encoder from sentence-transformers: any CLIP-like model in a folder on this machine.

It loads torch, which the rest of a server does without (about half a gigabyte), so only a setting
that names a model brings it in.
"""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from features.errors import EmbeddingModelError
from features.model_store import source_hash
from features.picture import Floats

_REMEDY = "Name a folder with a CLIP model as sentence-transformers saves it, or none"


class LocalImageEncoder:
    """Encodes pictures with a model that `load_image_encoder` loaded; one at a time.

    Attributes
    ----------
    model_id
        Name and digest of the model's files.
    dimension
        Length of its vectors.
    """

    def __init__(self, model: Any, *, name: str, digest: str) -> None:
        self._model = model
        self._lock = threading.Lock()
        self.model_id = f"{name}:{digest[:12]}"
        self.source_hash = digest
        self.dimension = int(self.encode([Image.new("RGB", (32, 32), "grey")]).shape[1])

    def encode(self, images: Sequence[Image.Image]) -> Floats:
        """Unit vectors of shape (len(images), dimension)."""
        with self._lock:
            found = self._model.encode(
                list(images), normalize_embeddings=True, show_progress_bar=False
            )
        return np.asarray(found, dtype=np.float32)


def load_image_encoder(model: str) -> LocalImageEncoder:
    """The encoder in the folder ``model``; nothing is downloaded.

    Raises
    ------
    EmbeddingModelError
        If there is no such folder, or it holds no model that takes pictures.
    """
    folder = Path(model).expanduser()
    if not folder.is_dir():
        raise EmbeddingModelError(model, "there is no such folder", _REMEDY)
    try:
        from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - loads torch

        loaded = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
        return LocalImageEncoder(loaded, name=folder.name, digest=source_hash(model, folder))
    except Exception as error:
        why = f"cannot encode pictures ({type(error).__name__}: {str(error)[:200]})"
        raise EmbeddingModelError(model, why, _REMEDY) from error
