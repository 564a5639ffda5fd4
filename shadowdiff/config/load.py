"""Read, lay over, check, build: the way from a file and an environment to one `Config`.

In: a path (or None) and the environment.  Out: `Config`, or `ConfigError` with every fault at once.
Reads: the file, and the key file and OpenAPI files that it names. Opens no connection and resolves no name.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import msgspec

from shadowdiff.config import settings
from shadowdiff.config.build import build
from shadowdiff.config.document import Document, read_document
from shadowdiff.config.environment import FILE_VARIABLE, overlay
from shadowdiff.config.exposure import exposed
from shadowdiff.config.openapi import read_routes
from shadowdiff.config.problem import ConfigError, Problem
from shadowdiff.config.protobuf import read_protobuf
from shadowdiff.config.refusal import Place, check, known_variables
from shadowdiff.config.review import review
from shadowdiff.config.secrets import SecretReader
from shadowdiff.rules import Rule, RuleError, parse_rules

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from shadowdiff.config.values import Config, ProtobufConfig


class Loaded(NamedTuple):
    """A configuration in the words of the file, and the values built of it."""

    root: settings.Root
    config: Config


def load_config(path: Path | None, env: Mapping[str, str]) -> Config:
    """Return the checked configuration of a YAML file and the environment.

    path: the file; None takes SHADOWDIFF_CONFIG from the environment, or no file at all.
    Raises: ConfigError, with all that is wrong.
    """
    return load(path, env).config


def load(path: Path | None, env: Mapping[str, str]) -> Loaded:
    """Return the settings as written beside the values built of them.

    Raises: ConfigError, with all that is wrong.
    """
    source = path or (Path(env[FILE_VARIABLE]) if env.get(FILE_VARIABLE) else None)
    document = _read(source)
    data, origins, problems = overlay(document.data, env, known_variables())
    data = _without_empty(data)
    place = Place(document, origins)
    root = check(data, place, problems)
    secrets = SecretReader(data, env, place, problems).all()
    rules = [_rules(target, index, place, problems) for index, target in enumerate(_targets(data))]
    routes = [_routes(target, index, source, place, problems) for index, target in enumerate(_targets(data))]
    protobuf = [_protobuf(target, index, source, place, problems) for index, target in enumerate(_targets(data))]
    problems += _clashes(data, place)
    problems += exposed(root, place) if root else ()
    if root is not None and root.pairing.settle >= root.pairing.window:
        problems.append(place.problem(("pairing", "settle"), "write less than pairing.window"))
    if root is None or problems:
        raise ConfigError(tuple(problems))
    config = build(root, source, secrets, rules, routes, protobuf=protobuf)
    warnings = tuple(map(str, review(config, place, datetime.now(UTC))))
    return Loaded(root, msgspec.structs.replace(config, warnings=warnings))


def _read(source: Path | None) -> Document:
    if source is None:
        return Document(name="environment", data={}, lines={})
    try:
        return read_document(str(source), source.read_bytes())
    except OSError as error:
        message = f"cannot be read: {error.strerror or error}"
        raise ConfigError((Problem(where=str(source), key="", message=message),)) from error


def _without_empty(data: dict[str, Any]) -> dict[str, Any]:
    """Return the data without keys that were written with nothing behind them; rules are left as they are."""
    kept: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, dict):
            kept[key] = _without_empty(cast("dict[str, Any]", value))
        elif isinstance(value, list) and key != "rules":
            items = cast("list[Any]", value)
            kept[key] = [_without_empty(cast("dict[str, Any]", x)) if isinstance(x, dict) else x for x in items]
        elif value is not None:
            kept[key] = value
    return kept


def _rules(target: dict[str, Any], index: int, place: Place, problems: list[Problem]) -> tuple[Rule, ...]:
    """Return the rules of a target, after adding a problem for each that is wrong."""
    items = target.get("rules")
    rules: list[Rule] = []
    for number, item in enumerate(cast("list[object]", items) if isinstance(items, list) else []):
        try:
            rules += parse_rules([item])
        except RuleError as error:
            key, _, message = str(error).partition(": ")
            inside = tuple(key.removeprefix("rules[0]").removeprefix(".").split(".")) if "." in key else ()
            if isinstance(item, dict):  # what is no mapping was said already
                problems.append(place.problem(("targets", index, "rules", number, *inside), message))
    return tuple(rules)


def _routes(
    target: dict[str, Any], index: int, source: Path | None, place: Place, problems: list[Problem]
) -> tuple[str, ...]:
    """Return the routes of the OpenAPI file that a target names, if it names one."""
    name = target.get("openapi")
    if not isinstance(name, str) or not name:
        return ()
    path = ("targets", index, "openapi")
    if target.get("routes"):
        problems.append(place.problem(path, "names the routes, and so does `routes`: leave one of them out"))
    try:
        return read_routes((source.parent if source else Path()) / name)
    except ValueError as error:
        problems.append(place.problem(path, str(error), name))
        return ()


def _protobuf(
    target: dict[str, Any], index: int, source: Path | None, place: Place, problems: list[Problem]
) -> ProtobufConfig | None:
    """Return the descriptors that a target names, if it names some."""
    section: Any = target.get("protobuf")
    name: Any = cast("dict[str, Any]", section).get("descriptor_set") if isinstance(section, dict) else None
    if not isinstance(name, str) or not name:
        return None
    answers: Any = cast("dict[str, Any]", section).get("answers")
    routes = cast("dict[object, object]", answers) if isinstance(answers, dict) else {}
    try:
        named = {str(route): str(message) for route, message in routes.items()}
        return read_protobuf((source.parent if source else Path()) / name, named)
    except ValueError as error:
        problems.append(place.problem(("targets", index, "protobuf", "descriptor_set"), str(error), name))
        return None


def _targets(data: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the entries of the list of targets, as far as they are what they should be."""
    targets = data.get("targets")
    return [x if isinstance(x, dict) else {} for x in cast("list[Any]", targets)] if isinstance(targets, list) else []


def _clashes(data: dict[str, Any], place: Place) -> Iterator[Problem]:
    """Yield targets that bear one name, and ports that are given twice."""
    names: dict[object, int] = {}
    for index, target in enumerate(_targets(data)):
        name = target.get("name")
        if isinstance(name, str) and names.setdefault(name, index) != index:
            path = ("targets", index, "name")
            message = f"is the name of targets[{names[name]}] too; give each its own"
            yield place.problem(path, message, name)
    listen = data.get("listen")
    taken: dict[object, str] = {}
    for name in ("mirror", "records", "web", "metrics"):
        default = settings.Listen.model_fields[name].default
        port = cast("dict[str, Any]", listen).get(name, default) if isinstance(listen, dict) else default
        if str(port) != "0" and taken.setdefault(str(port), name) != name:
            message = f"is the port of listen.{taken[str(port)]} too; give each its own"
            yield place.problem(("listen", name), message, port)
