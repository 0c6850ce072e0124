"""The command line: mounts the command groups, nothing else."""

from importlib import import_module
from importlib.util import find_spec

from serving.cli import app


def main() -> None:
    """Run the command that was asked for."""
    if find_spec("simulator.cli") is not None:
        app.add_typer(import_module("simulator.cli").app)
    app()


if __name__ == "__main__":
    main()
