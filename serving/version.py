"""Which Pointsman this is."""

from importlib import metadata


def version() -> str:
    """The installed version, such as ``0.1.0``."""
    try:
        return metadata.version("pointsman")
    except metadata.PackageNotFoundError:
        return "0+unknown"
