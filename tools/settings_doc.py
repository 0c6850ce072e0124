"""Write ``docs/settings.md`` from the settings themselves: ``python tools/settings_doc.py``."""

import sys
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from serving.settings import Settings

_HEAD = """# Settings

Made from the code by `tools/settings_doc.py`; a test compares the two.

One YAML file (`pointsman.yaml` here, `--config FILE`, or `POINTSMAN_CONFIG`), every name below
also as an environment variable: `POINTSMAN_` and the path in capitals with two underscores between
its parts, such as `POINTSMAN_SERVER__PORT=9000`. The environment wins over the file. `${NAME}` in
the file takes the environment variable `NAME`. An unknown name is refused with the nearest valid
one; `pointsman check` validates without serving.
"""


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _shown(value: Any) -> str:
    text = "" if value is None else str(value)
    return f"`{text}`" if text and len(text) <= 60 else "none" if value is None else ""


def _rows(model: type[BaseModel], path: str) -> list[str]:
    lines = ["| setting | default | what it is |", "|---|---|---|"]
    for name, field in model.model_fields.items():
        if field.is_required():
            default = "required"
        elif field.default_factory is not None:
            default = ""
        else:
            default = _shown(field.default)
        lines.append(f"| `{path}{name}` | {default} | {field.description or ''} |")
        for nested in _models(field.annotation):
            lines += _rows(nested, f"{path}{name}[].")[2:]
    return lines


def render() -> str:
    """The whole page."""
    parts = [_HEAD]
    for name, field in Settings.model_fields.items():
        models = _models(field.annotation)
        what = (models[0].__doc__ or "").strip().splitlines()[0] if models else field.description
        parts.append(f"## `{name}`\n\n{what}\n")
        if models:
            several = "[]." if "tuple" in str(field.annotation) else "."
            several = ".NAME." if str(field.annotation).startswith("dict") else several
            parts.append("\n".join(_rows(models[0], f"{name}{several}")) + "\n")
    return "\n".join(parts)


def main() -> None:
    """Write the page."""
    target = Path(__file__).parent.parent / "docs/settings.md"
    target.write_text(render())
    sys.stdout.write(f"wrote {target.name}\n")


if __name__ == "__main__":
    main()
