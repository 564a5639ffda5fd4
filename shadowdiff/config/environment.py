"""Settings from `SHADOWDIFF_…` environment variables, laid over those of the file.

In: the file's data and the environment.  Out: the data of both, and which variable gave which path.
`SHADOWDIFF_STORE__URL` is `store.url`, `SHADOWDIFF_TARGETS__0__SAMPLE` is `targets[0].sample`; a value that begins with
`[` or `{` is read as YAML. An empty variable counts as not set.
Holds: a variable that is meant for a setting and misses it is a fault, not silence. What Kubernetes adds for a Service
named shadowdiff (`SHADOWDIFF_PORT_8080_TCP`, `SHADOWDIFF_SERVICE_HOST`) is nobody's setting.
"""

from __future__ import annotations

import copy
import difflib
import re
from typing import TYPE_CHECKING, Any, Final, cast

import yaml

from shadowdiff.config.document import plain
from shadowdiff.config.problem import Problem, path_text

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

PREFIX: Final = "SHADOWDIFF_"
FILE_VARIABLE: Final = "SHADOWDIFF_CONFIG"
_KUBERNETES: Final = re.compile(r".*(?:_SERVICE_HOST|_SERVICE_PORT(?:_\w+)?|_PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_\w+)?)?)")

Origins = dict[tuple[str | int, ...], str]


def overlay(
    data: dict[str, Any], env: Mapping[str, str], known: Collection[str]
) -> tuple[dict[str, Any], Origins, list[Problem]]:
    """Return the data with the environment's settings laid over it, their origins, and what could not be placed.

    known: the variables of all settings outside lists; one that only resembles one of them is a fault.
    """
    merged, origins, problems = copy.deepcopy(data), Origins(), list[Problem]()
    sections = {_parts(name)[0] for name in known}
    for name in sorted(name for name in env if _is_ours(name) and env[name]):
        path = _parts(name)
        if path[0] not in sections:
            problems += _stray(name, known, merged)
            continue
        try:
            _place(merged, path, _value(env[name]))
            origins[path] = f"environment {name}"
        except (LookupError, yaml.YAMLError) as error:
            message = " ".join(str(error.args[0] if isinstance(error, LookupError) else error).split())
            problems.append(Problem(where=f"environment {name}", key=path_text(path), message=message, value=env[name]))
    return merged, origins, problems


def variable(path: tuple[str | int, ...]) -> str:
    """Return the environment variable of a setting."""
    return PREFIX + "__".join(str(part).upper() for part in path)


def _is_ours(name: str) -> bool:
    return name.startswith(PREFIX) and name != FILE_VARIABLE and not _KUBERNETES.fullmatch(name)


def _parts(name: str) -> tuple[str | int, ...]:
    parts = name.removeprefix(PREFIX).lower().split("__")
    return tuple(int(part) if part.isdecimal() else part for part in parts)


def _stray(name: str, known: Collection[str], data: dict[str, Any]) -> list[Problem]:
    """Return a fault for a variable that was meant for a setting; others, and those that hold a secret, pass."""
    if _mentions(data, name):
        return []
    bare = {each.removeprefix(PREFIX): each for each in known}
    near = difflib.get_close_matches(name.removeprefix(PREFIX), bare, n=1, cutoff=0.8)
    message = f"is no setting; did you mean {bare[near[0]]}?" if near else ""
    return [Problem(where=f"environment {name}", key="", message=message)] if near else []


def _mentions(data: object, name: str) -> bool:
    """Return whether some setting's value is the name of this variable."""
    if isinstance(data, dict):
        return any(_mentions(value, name) for value in cast("dict[str, Any]", data).values())
    if isinstance(data, list):
        return any(_mentions(value, name) for value in cast("list[Any]", data))
    return data == name


def _value(text: str) -> object:
    return plain(text) if text.lstrip().startswith(("[", "{")) else text


def _place(data: dict[str, Any], path: tuple[str | int, ...], value: object) -> None:
    """Set `value` at `path`, growing mappings and lists on the way; a list grows by one at a time."""
    here: Any = data
    for part, after in zip(path, (*path[1:], None), strict=True):
        fresh: Any = value if after is None else ([] if isinstance(after, int) else {})
        if isinstance(here, list) and isinstance(part, int):
            items = cast("list[Any]", here)
            if part > len(items):
                raise LookupError(f"the list has {len(items)} entries; the next one is number {len(items)}")
            if part == len(items):
                items.append(fresh)
            elif after is None:
                items[part] = value
            here = items[part]
        elif isinstance(here, dict) and isinstance(part, str):
            mapping = cast("dict[str, Any]", here)
            if after is None or mapping.get(part) is None:
                mapping[part] = fresh
            here = mapping[part]
        else:
            raise LookupError("leads into a value that has no such part")  # noqa: TRY004 - a fault of the variable's name
