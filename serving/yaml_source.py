"""A YAML file as values that remember their lines, with ``${NAME}`` filled in."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from serving.errors import SettingsError

Location: TypeAlias = tuple[str | int, ...]

_MOST_VALUES = 100_000
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


@dataclass(slots=True)
class YamlDocument:
    """What a file says, and on which line.

    Attributes
    ----------
    lines
        Location, such as ``("arms", 0, "model")``, to line number, from 1.
    """

    path: Path
    values: dict[str, Any] = field(default_factory=dict)
    lines: dict[Location, int] = field(default_factory=dict)

    def where(self, location: Location) -> str | None:
        """``file:line`` of the nearest place that the file has, or None if it says nothing of it.

        An error about something that is missing belongs to the mapping that should have it.
        """
        for end in range(len(location), 0, -1):
            if location[:end] in self.lines:
                return f"{self.path}:{self.lines[location[:end]]}"
        return None


def read(path: Path, environ: Mapping[str, str]) -> YamlDocument:
    """The file's values, with ``${NAME}`` and ``${NAME:-default}`` taken from ``environ``.

    Raises
    ------
    SettingsError
        If the file cannot be read, is not YAML, is not a mapping, names something twice, or uses a
        variable that is not set.
    """
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(str(path), f"cannot be read ({error})") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SettingsError(f"{path}:{line}", f"not valid YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise SettingsError(str(path), f"not valid YAML: {error}") from error
    except RecursionError as error:
        raise SettingsError(str(path), "nested too deeply") from error
    document = YamlDocument(path)
    if root is None:
        return document
    if not isinstance(root, yaml.MappingNode):
        raise SettingsError(f"{path}:1", "settings are a mapping of names to values")
    document.values = _Walk(document, environ).value(root, ())
    return document


class _Walk:
    """One pass over the nodes of a document."""

    def __init__(self, document: YamlDocument, environ: Mapping[str, str]) -> None:
        self._document = document
        self._environ = environ
        self._scalars = yaml.constructor.SafeConstructor()
        self._open: list[yaml.Node] = []
        self._n_values = 0

    def value(self, node: yaml.Node, location: Location) -> Any:
        self._document.lines.setdefault(location, node.start_mark.line + 1)
        if any(node is outer for outer in self._open):
            raise SettingsError(self._at(node), "an alias to what it is part of has no end")
        self._n_values += 1
        if self._n_values > _MOST_VALUES:
            # A few aliases of aliases would fill the memory.
            raise SettingsError(
                self._at(node), f"more than {_MOST_VALUES:,} values, aliases included"
            )
        self._open.append(node)
        found = self._content(node, location)
        self._open.pop()
        return found

    def _content(self, node: yaml.Node, location: Location) -> Any:
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, location)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*location, i)) for i, item in enumerate(node.value)]
        if "${" in node.value:
            return _VARIABLE.sub(lambda found: self._variable(found, node), node.value)
        return self._scalar(node)

    def _scalar(self, node: yaml.Node) -> Any:
        try:
            return self._scalars.construct_object(node)
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            # A tag that is not plain YAML, or what looks like a date and is none.
            raise SettingsError(
                self._at(node), f"{node.value[:80]!r} cannot be read as {node.tag}", "quote it"
            ) from error

    def _mapping(self, node: yaml.MappingNode, location: Location) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            if key in values:
                raise SettingsError(self._at(key_node), f"{key!r} is given twice")
            self._document.lines[(*location, key)] = key_node.start_mark.line + 1
            values[key] = self.value(value_node, (*location, key))
        return values

    def _variable(self, found: re.Match[str], node: yaml.Node) -> str:
        name, default = found.group(1), found.group(2)
        value = self._environ.get(name, default)
        if value is None:
            raise SettingsError(
                self._at(node),
                f"the environment variable {name} is not set",
                f"set it, or write ${{{name}:-default}}",
            )
        return value

    def _at(self, node: yaml.Node) -> str:
        return f"{self._document.path}:{node.start_mark.line + 1}"
