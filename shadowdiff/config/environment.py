"""Apply `SHADOWDIFF_…` environment variables to the data of the configuration file.

`SHADOWDIFF_STORE__URL` sets `store.url`, `SHADOWDIFF_TARGETS__0__SAMPLE` sets `targets[0].sample`. A value that begins
with `[` or `{` is YAML; an empty variable counts as unset. A variable that only resembles a setting is an error, except
those that Kubernetes adds for a Service named shadowdiff (`SHADOWDIFF_PORT_8080_TCP`).
"""

from __future__ import annotations

import copy
import difflib
import re
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
import yaml

from shadowdiff.config.document import Document, parse_yaml
from shadowdiff.config.problem import KeyPath, Problem, natural, path_text

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

PREFIX: Final = "SHADOWDIFF_"
FILE_VARIABLE: Final = "SHADOWDIFF_CONFIG"
_KUBERNETES: Final = re.compile(r".*(?:_SERVICE_HOST|_SERVICE_PORT(?:_\w+)?|_PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_\w+)?)?)")


def overlay(document: Document, env: Mapping[str, str], known: Collection[str]) -> tuple[Document, list[Problem]]:
    """Return the document with the environment's settings, and the problems.

    known: the variables of all settings outside lists; a variable that only resembles one of them is an error.
    """
    data, origins, problems = copy.deepcopy(document.data), dict[KeyPath, str](), list[Problem]()
    sections = {_parts(name)[0] for name in known}
    ours = [name for name in env if name.startswith(PREFIX) and name != FILE_VARIABLE and env[name]]
    for name in sorted(ours, key=natural):
        path, text, where = _parts(name), env[name], f"environment {name}"
        if _KUBERNETES.fullmatch(name):
            continue
        if path[0] not in sections:
            if meant := _nearest(name, known, data):
                problems.append(Problem(where=where, key="", message=f"unknown setting; did you mean {meant}?"))
            continue
        try:
            _set(data, path, parse_yaml(text) if text.lstrip().startswith(("[", "{")) else text)
            origins[path] = where
        except (LookupError, yaml.YAMLError) as error:
            message = " ".join(str(error.args[0] if isinstance(error, LookupError) else error).split())
            problems.append(Problem(where=where, key=path_text(path), message=message, value=text))
    return msgspec.structs.replace(document, data=data, origins=origins), problems


def variable(path: KeyPath) -> str:
    """Return the environment variable of a setting."""
    return PREFIX + "__".join(str(part).upper() for part in path)


def _parts(name: str) -> KeyPath:
    parts = name.removeprefix(PREFIX).lower().split("__")
    return tuple(int(part) if part.isdecimal() else part for part in parts)


def _nearest(name: str, known: Collection[str], data: dict[str, Any]) -> str | None:
    """Return the known variable that this variable resembles, unless a setting names this variable as its secret."""
    bare = {each.removeprefix(PREFIX): each for each in known}
    near = difflib.get_close_matches(name.removeprefix(PREFIX), bare, n=1, cutoff=0.8)
    return bare[near[0]] if near and not _mentions(data, name) else None


def _mentions(data: object, name: str) -> bool:
    if isinstance(data, dict):
        return any(_mentions(value, name) for value in cast("dict[str, Any]", data).values())
    if isinstance(data, list):
        return any(_mentions(value, name) for value in cast("list[Any]", data))
    return data == name or (isinstance(data, str) and f"${{{name}}}" in data)


def _set(data: dict[str, Any], path: KeyPath, value: object) -> None:
    """Set `value` at `path` and create missing mappings and lists; a list grows by one entry at a time."""
    here: Any = data
    for part, after in zip(path, (*path[1:], None), strict=True):
        fresh: Any = value if after is None else ([] if isinstance(after, int) else {})
        if isinstance(here, list) and isinstance(part, int):
            items = cast("list[Any]", here)
            if part > len(items):
                raise LookupError(f"the list has {len(items)} entries, so the next one is number {len(items)}")
            if part == len(items):
                items.append(fresh)
            elif after is None:
                items[part] = value
        elif isinstance(here, dict) and isinstance(part, str):
            mapping = cast("dict[str, Any]", here)
            if after is None or mapping.get(part) is None:
                mapping[part] = fresh
        else:
            raise LookupError("there is no such setting, because the setting above it is a single value")  # noqa: TRY004 - a fault of the variable's name
        here = cast("Any", here)[part]
