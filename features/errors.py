"""Errors of the features layer.

::

    PointsmanError
    └── FeatureError
        ├── EmbeddingModelError     a model that cannot be loaded, exported or trusted
        └── ProjectionError         a projection that does not fit the embedding
"""

from bandit.errors import PointsmanError


class FeatureError(PointsmanError):
    """A query could not be turned into a context."""


class EmbeddingModelError(FeatureError):
    """The embedding model cannot be used, with what to do about it."""

    def __init__(self, model: str, why: str, remedy: str) -> None:
        super().__init__(f"embedding model {model!r}: {why}. {remedy}")
        self.model = model


class ProjectionError(FeatureError):
    """The projection file is damaged or was fitted for another embedding model."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"projection {path}: {why}")
        self.path = path
