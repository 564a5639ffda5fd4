"""Parse YAML into plain data, with the line of each key.

A duplicate key is an error. Scalars follow the core schema of YAML 1.2: only `true` and `false` are booleans, and dates
stay text. So `no` can be a host name, and the date in `expires: 2027-01-01` stays text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
import yaml

from shadowdiff.config.problem import ConfigError, KeyPath, Problem, path_text

if TYPE_CHECKING:
    from collections.abc import Iterator

_NODES: Final = 100_000
_DEPTH: Final = 64


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """The data of one file and of the environment, with the line or variable of each key."""

    name: str
    data: dict[str, Any] = {}
    lines: dict[KeyPath, int] = {}
    origins: dict[KeyPath, str] = {}

    def problem(self, path: KeyPath, message: str, value: object = msgspec.UNSET) -> Problem:
        """Return a problem at `path`, with the source of the key or of its nearest parent key."""
        above = [path[:length] for length in range(len(path), 0, -1)]
        where = next((self.origins[each] for each in above if each in self.origins), self.name)
        if where == self.name and self.lines:
            where = f"{self.name}:{next((self.lines[each] for each in above if each in self.lines), 1)}"
        return Problem(where=where, key=path_text(path), message=message, value=value)


class _Loader(yaml.SafeLoader):
    """The safe loader with YAML 1.2 scalars; a value that cannot be constructed is an error with its line."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Return the next node and its children. Raises: yaml.MarkedYAMLError if it is nested deeper than _DEPTH."""
        if self._depth > _DEPTH:
            raise yaml.MarkedYAMLError(problem="it is nested too deeply", problem_mark=cast("Any", self).get_mark())
        self._depth += 1
        try:
            return cast("Any", super()).compose_node(parent, index)
        finally:
            self._depth -= 1

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: FBT001, FBT002 - PyYAML's signature
        """Return the value of a node. Raises: yaml.MarkedYAMLError."""
        try:
            return cast("Any", super()).construct_object(node, deep)
        except (ValueError, ArithmeticError, AttributeError, LookupError, TypeError) as error:
            problem = f"a value of the type {node.tag.rpartition(':')[2]} cannot be read: {error}"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from error


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("int", r"^[-+]?[0-9]+$", "-+0123456789"),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", "-+.0123456789"),
    ("merge", "^<<$", "<"),
):
    cast("Any", _Loader).add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first))
# 10 for `010`, which YAML 1.1 reads as 8.
_Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(cast("Any", loader).construct_scalar(node)))


def read_document(name: str, content: bytes) -> Document:
    """Return the data and lines of a YAML file. Raises: ConfigError, as `read_value` does."""
    data, lines = read_value(name, content)
    if not isinstance(data, dict | None):
        problem = Problem(
            where=f"{name}:1", key="", message="is not a mapping; write keys and values, such as `targets: […]`"
        )
        raise ConfigError((problem,))
    return Document(name=name, data=cast("dict[str, Any]", data or {}), lines=lines)


def read_value(name: str, content: bytes) -> tuple[object, dict[KeyPath, int]]:
    """Return the value of a YAML text, None if it is empty, and the line of each path in it.

    Raises: ConfigError with all duplicate keys, or with the first syntax error.
    """
    try:
        loader = _Loader(content)
        node = loader.get_single_node()
        if node is None:
            return None, {}
        lines, problems = _scan(name, node)
        if problems:
            raise ConfigError(tuple(problems))
        return cast("object", cast("Any", loader).construct_document(node)), lines
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        message = f"is not YAML: {error.problem or error.context}"
        raise ConfigError((Problem(where=where, key="", message=message),)) from error
    except (yaml.reader.ReaderError, UnicodeDecodeError) as error:
        at = error.start if isinstance(error, UnicodeDecodeError) else error.position
        message = f"is not UTF-8 text (at character {at + 1}); write YAML, such as `targets: […]`"
        raise ConfigError((Problem(where=f"{name}:1", key="", message=message),)) from error


def parse_yaml(text: str) -> object:
    """Return the data of one YAML value. Raises: yaml.YAMLError."""
    return cast("Any", _Loader(text)).get_single_data()


def _scan(name: str, root: yaml.Node) -> tuple[dict[KeyPath, int], list[Problem]]:
    """Return the line of every path, and all problems: duplicate keys, keys that are not text, recursive aliases."""
    lines: dict[KeyPath, int] = {}
    problems: list[Problem] = []
    todo: list[tuple[KeyPath, yaml.Node]] = [((), root)]
    while todo:
        path, node = todo.pop()
        for part, line, child in _children(node):
            here = f"{name}:{line}"
            if part is None:
                problems.append(Problem(where=here, key=path_text(path), message="write this key as text"))
            elif (*path, part) in lines:
                message = f"is written twice, first on line {lines[(*path, part)]}"
                problems.append(Problem(where=here, key=path_text((*path, part)), message=message))
            else:
                lines[(*path, part)] = line
                todo.append(((*path, part), child))
        if len(lines) > _NODES or len(path) > _DEPTH:
            message = "is too large or nested too deeply, or its aliases refer to themselves"
            return lines, [Problem(where=f"{name}:1", key="", message=message)]
    return lines, problems


def _children(node: yaml.Node) -> Iterator[tuple[str | int | None, int, yaml.Node]]:
    """Yield the key (None if it is not text) or index, the line (from 1) and the value of each child."""
    if isinstance(node, yaml.MappingNode):
        for key, value in cast("list[tuple[yaml.Node, yaml.Node]]", node.value):
            is_text = isinstance(key, yaml.ScalarNode) and key.tag.endswith((":str", ":merge"))
            yield (key.value if is_text else None), key.start_mark.line + 1, value
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(cast("list[yaml.Node]", node.value)):
            yield index, value.start_mark.line + 1, value
