"""Contexts from before pictures were looked at: what they lack is what a query without any has."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from bandit.primitives import Context
from features.conversation import CONVERSATION
from features.layout import TextEmbedder, version_of
from features.projection import Projection

_OF_PICTURES = ("image", "image_embedding")
_HAD_PICTURES = CONVERSATION.index("images")


class EarlierFeatures:
    """Reads contexts whose features differ from those in force only by having none of pictures.

    Parameters
    ----------
    schema
        Namespace to the names of its features, as they are now.
    version
        Of the features as they are now.

    Attributes
    ----------
    versions
        Those that can be read, besides the one in force.
    """

    def __init__(
        self,
        embedder: TextEmbedder,
        projection: Projection,
        *,
        schema: Mapping[str, tuple[str, ...]],
        version: str,
    ) -> None:
        self._schema = schema
        self._version = version
        text_only = {name: names for name, names in schema.items() if name not in _OF_PICTURES}
        described = {name: names for name, names in schema.items() if name != "image_embedding"}
        found = (version_of(embedder, projection, known, None) for known in (text_only, described))
        self.versions = tuple(sorted(set(found) - {version}))

    def widened(self, context: Context) -> Context | None:
        """``context`` with the features in force; None if it had pictures, or other features."""
        if context.schema_version not in self.versions:
            return None
        if context.namespaces["conversation"][_HAD_PICTURES]:
            return None
        namespaces = {
            name: context.namespaces.get(name, np.zeros(len(names), dtype=np.float32))
            for name, names in self._schema.items()
        }
        return replace(context, namespaces=namespaces, schema_version=self._version)
