"""A YAML file as plain data, with the line on which each key stands.

In: the bytes of a file.  Out: a `Document`: nested dicts and lists, and lines by path.
Holds: a key written twice is a fault, not a silent overwrite; only `true` and `false` are booleans, and dates stay
text (YAML 1.2's core), so that `no` is a host name and `expires: 2027-01-01` is what was written.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
import yaml

from shadowdiff.config.problem import MISSING, ConfigError, Problem, path_text

if TYPE_CHECKING:
    from collections.abc import Iterator

Path_ = tuple[str | int, ...]
_NODES: Final = 100_000
_DEPTH: Final = 64
_BOOL: Final = re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$")
_NULL: Final = re.compile(r"^(?:~|null|Null|NULL|)$")
_INT: Final = re.compile(r"^[-+]?[0-9]+$")
_FLOAT: Final = re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$")


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """The data of one file, and where each of its keys stands."""

    name: str
    data: dict[str, Any]
    lines: dict[Path_, int]

    def where(self, path: Path_) -> str:
        """Return `FILE:LINE` of the key at `path`, or of the nearest one above it."""
        if not self.lines:
            return self.name
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.name}:{self.lines.get(path, 1)}"


class _Loader(yaml.SafeLoader):
    """The safe loader with the scalars of YAML 1.2's core."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", _BOOL, "tTfF"),
    ("null", _NULL, ["~", "n", "N", ""]),
    ("int", _INT, "-+0123456789"),
    ("float", _FLOAT, "-+.0123456789"),
    ("merge", re.compile("^<<$"), "<"),
):
    cast("Any", _Loader).add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, list(_first))


def _decimal_int(loader: _Loader, node: yaml.ScalarNode) -> int:
    """Return 10 for `010`, which YAML 1.1 reads as 8."""
    return int(loader.construct_scalar(node), 10)


_Loader.add_constructor("tag:yaml.org,2002:int", _decimal_int)


def read_document(name: str, content: bytes) -> Document:
    """Return the data and lines of a YAML file.

    Raises: ConfigError with every duplicate key, or the first fault of syntax.
    """
    try:
        loader = _Loader(content)
        node = _node(loader)
        if node is None:
            return Document(name=name, data={}, lines={})
        lines, problems = _survey(name, node)
        if problems:
            raise ConfigError(tuple(problems))
        data: Any = cast("Any", loader).construct_document(node)
    except yaml.MarkedYAMLError as error:
        raise ConfigError((_syntax(name, error),)) from error
    except (yaml.reader.ReaderError, UnicodeDecodeError) as error:
        at = error.start if isinstance(error, UnicodeDecodeError) else error.position
        message = f"is not UTF-8 text (at character {at + 1}); write YAML, such as `targets: […]`"
        raise ConfigError((Problem(where=f"{name}:1", key="", message=message),)) from error
    return Document(name=name, data=data, lines=lines)


def plain(text: str) -> object:
    """Return the data of one YAML value.

    Raises: yaml.YAMLError.
    """
    loader = _Loader(text)
    node = _node(loader)
    return None if node is None else cast("Any", loader).construct_document(node)


def _node(loader: _Loader) -> yaml.Node | None:
    """Return the root of a document. Raises: yaml.YAMLError, also where it is nested deeper than Python can follow."""
    try:
        return loader.get_single_node()
    except RecursionError:
        raise yaml.MarkedYAMLError(problem="it is nested too deep", problem_mark=loader.get_mark()) from None


def _syntax(name: str, error: yaml.MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
    return Problem(where=where, key="", message=f"is not YAML: {error.problem or error.context}")


def _survey(name: str, root: yaml.Node) -> tuple[dict[Path_, int], list[Problem]]:
    """Return the line of every path, and what no configuration may hold: repeated or unnamed keys, endless aliases."""
    lines: dict[Path_, int] = {}
    problems: list[Problem] = []
    if not isinstance(root, yaml.MappingNode):
        return lines, [Problem(where=f"{name}:1", key="", message="write keys and values, such as `targets: […]`")]
    todo: list[tuple[Path_, yaml.Node]] = [((), root)]
    while todo:
        path, node = todo.pop()
        for part, line, child in _children(node):
            here = f"{name}:{line}"
            if not isinstance(part, int) and not isinstance(part, str):
                problems.append(Problem(where=here, key=path_text(path), message="write this key as text"))
            elif (*path, part) in lines:
                first = lines[(*path, part)]
                problems.append(
                    Problem(
                        where=here, key=path_text((*path, part)), message=f"is written twice, first on line {first}"
                    )
                )
            else:
                lines[(*path, part)] = line
                todo.append(((*path, part), child))
        if len(lines) > _NODES or len(path) > _DEPTH:
            return lines, [
                Problem(where=f"{name}:1", key="", message="is too large or too deep, or its aliases are endless")
            ]
    return lines, problems


def _children(node: yaml.Node) -> Iterator[tuple[str | int | object, int, yaml.Node]]:
    """Yield the key or index, the line (from 1) and the value of each child."""
    if isinstance(node, yaml.MappingNode):
        for key, value in cast("list[tuple[yaml.Node, yaml.Node]]", node.value):
            text = isinstance(key, yaml.ScalarNode) and key.tag.endswith((":str", ":merge"))
            yield (key.value if text else MISSING), key.start_mark.line + 1, value
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(cast("list[yaml.Node]", node.value)):
            yield index, value.start_mark.line + 1, value
