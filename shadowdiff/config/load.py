"""Load the configuration: read the file, apply the environment, validate, and compile the rules of each target.

All problems are reported together. This module reads the file and the files that it names; it uses no network.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from shadowdiff.config.api_descriptions import ProtobufConfig, read_protobuf, read_routes
from shadowdiff.config.document import Document, read_document
from shadowdiff.config.environment import FILE_VARIABLE, overlay
from shadowdiff.config.lint import lint
from shadowdiff.config.problem import ConfigError, KeyPath, Problem, in_order
from shadowdiff.config.settings import Config, Root, Sections, TargetConfig
from shadowdiff.config.validate import find_conflicts, known_variables, validate
from shadowdiff.rules import Rule, RuleError, parse_rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Fault = Callable[..., None]


def load_config(path: Path | None, env: Mapping[str, str]) -> Config:
    """Return the checked configuration of a YAML file and the environment.

    path: the file; if None, use SHADOWDIFF_CONFIG from the environment, or no file.
    Raises: ConfigError with all problems.
    """
    return load(path, env)[1]


def load(path: Path | None, env: Mapping[str, str]) -> tuple[Root, Config]:
    """Return the settings as written, and the configuration. Raises: ConfigError with all problems."""
    source = path or (Path(env[FILE_VARIABLE]) if env.get(FILE_VARIABLE) else None)
    document, problems = overlay(_read(source), env, known_variables())
    document = msgspec.structs.replace(document, data=cast("dict[str, Any]", _without_empty(document.data)))
    root = validate(document, problems, env)
    listed = document.data.get("targets")
    entries = cast("list[Any]", listed) if isinstance(listed, list) else []
    targets: list[dict[str, Any]] = [entry if isinstance(entry, dict) else {} for entry in entries]
    folder = source.parent if source else Path()
    files = [_read_target(index, target, folder, document, problems) for index, target in enumerate(targets)]
    problems += find_conflicts(root, document, [target.get("name") for target in targets])
    if root is None or problems:
        raise ConfigError(tuple(problems))
    sections = {name: getattr(root, name) for name in Sections.model_fields}
    compiled = tuple(
        TargetConfig(target=settings.target(routes), rules=rules, protobuf=protobuf)
        for settings, (rules, routes, protobuf) in zip(root.targets, files, strict=True)
    )
    config = Config.model_construct(source=source, targets=compiled, warnings=(), **sections)
    warnings = tuple(map(str, in_order(lint(config, document, datetime.now(UTC)))))
    return root, config.model_copy(update={"warnings": warnings})


def _read(source: Path | None) -> Document:
    if source is None:
        return Document(name="environment")
    try:
        return read_document(str(source), source.read_bytes())
    except OSError as error:
        message = f"cannot be read: {error.strerror or error}"
        raise ConfigError((Problem(where=str(source), key="", message=message),)) from error


def _without_empty(value: object) -> object:
    """Return the data without keys that have no value; do not change rules."""
    match value:
        case dict():
            parts = cast("dict[str, object]", value).items()
            return {key: part if key == "rules" else _without_empty(part) for key, part in parts if part is not None}
        case list():
            return [_without_empty(part) for part in cast("list[object]", value)]
        case _:
            return value


def _read_target(
    index: int, data: dict[str, Any], folder: Path, document: Document, problems: list[Problem]
) -> tuple[tuple[Rule, ...], tuple[str, ...], ProtobufConfig | None]:
    """Return the compiled rules, routes and descriptors of one target's raw data. Add its problems to `problems`."""

    def fault(path: KeyPath, error: object, *value: object) -> None:
        problems.append(document.problem(("targets", index, *path), str(error), *value))

    protobuf = data.get("protobuf")
    return (
        tuple(_rules(data.get("rules"), fault)),
        _routes(data, folder, fault),
        _protobuf(cast("dict[str, Any]", protobuf) if isinstance(protobuf, dict) else {}, folder, fault),
    )


def _rules(items: object, fault: Fault) -> Iterator[Rule]:
    for number, item in enumerate(cast("list[object]", items) if isinstance(items, list) else []):
        try:
            yield from parse_rules([item])
        except RuleError as error:
            key, _, message = str(error).partition(": ")
            inside = key.removeprefix("rules[0]").removeprefix(".").split(".") if "." in key else ()
            if isinstance(item, dict):  # validation has reported a rule that is not a mapping
                fault(("rules", number, *inside), message)


def _routes(data: dict[str, Any], folder: Path, fault: Fault) -> tuple[str, ...]:
    name = data.get("openapi")
    if not isinstance(name, str) or not name:
        return ()
    if data.get("routes"):
        fault(("openapi",), "cannot be combined with `routes`; remove one of them")
    try:
        return read_routes(folder / name)
    except ValueError as error:
        fault(("openapi",), error, name)
        return ()


def _protobuf(section: dict[str, Any], folder: Path, fault: Fault) -> ProtobufConfig | None:
    name, answers = section.get("descriptor_set"), section.get("answers")
    if not isinstance(name, str) or not name:
        return None
    routes = cast("dict[object, object]", answers) if isinstance(answers, dict) else {}
    try:
        return read_protobuf(folder / name, {str(route): str(message) for route, message in routes.items()})
    except ValueError as error:
        fault(("protobuf", "descriptor_set"), error, name)
        return None
