"""The command line: mounts the command groups, nothing else."""

import sys
from importlib import import_module

from serving.cli import app


def main() -> None:
    """Run the command that was asked for."""
    mine = {c.callback.__name__ for c in app.registered_commands if c.callback}
    mine |= {str(group.name) for group in app.registered_groups}
    # A server neither waits for the simulator's imports nor stops for what is wrong with them.
    if not mine.intersection(sys.argv[1:2]):
        app.add_typer(import_module("simulator.cli").app)
    app()


if __name__ == "__main__":
    main()
