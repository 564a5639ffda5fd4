"""Read, lay over, check, build: the way from a file and an environment to one `Config`.

In: a path (or None) and the environment.  Out: `Config`, or `ConfigError` with every fault at once.
Reads: the file, the key file that it names. Opens no connection and resolves no name.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast, get_args

from pydantic import BaseModel, ValidationError

from shadowdiff.config import settings
from shadowdiff.config.document import Document, read_document
from shadowdiff.config.environment import FILE_VARIABLE, Origins, overlay, variable
from shadowdiff.config.problem import MISSING, ConfigError, Problem, path_text
from shadowdiff.config.values import (
    Config,
    LimitsConfig,
    ListenConfig,
    LogConfig,
    PairingConfig,
    SamplesConfig,
    Secret,
    StoreConfig,
    TargetConfig,
)
from shadowdiff.model import Candidate, Control, Gate, Target

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic_core import ErrorDetails

    from shadowdiff.rules import Rule

_KEY_BYTES: Final = 32
_VARIABLE: Final = re.compile(r"[A-Z_][A-Z0-9_]*")

# What pydantic calls its refusals, in the words of a person who edits the file.
_RIGHT: Final = {
    "missing": "is required",
    "string_type": "write text, in quotes if it looks like a number",
    "int_type": "write a whole number",
    "int_parsing": "write a whole number",
    "int_from_float": "write a whole number",
    "float_type": "write a number",
    "float_parsing": "write a number",
    "tuple_type": "write a list, such as [a, b]",
    "dict_type": "write keys and values",
    "model_type": "write keys and values",
    "model_attributes_type": "write keys and values",
    "too_short": "write at least one",
    "string_too_short": "write something, or leave the key out",
    "greater_than_equal": "write {ge} or more",
    "greater_than": "write more than {gt}",
    "less_than_equal": "write {le} or less",
    "literal_error": "write {expected}",
    "enum": "write {expected}",
    "finite_number": "write a finite number",
}


def load_config(path: Path | None, env: Mapping[str, str]) -> Config:
    """Return the checked configuration of a YAML file and the environment.

    path: the file; None takes SHADOWDIFF_CONFIG from the environment, or no file at all.
    Raises: ConfigError, with all that is wrong.
    """
    return read_settings(path, env)[1]


def read_settings(path: Path | None, env: Mapping[str, str]) -> tuple[settings.Root, Config]:
    """Return the settings in the words of the file beside the values built of them.

    Raises: ConfigError, with all that is wrong.
    """
    source = path or (Path(env[FILE_VARIABLE]) if env.get(FILE_VARIABLE) else None)
    document = _read(source)
    data, origins, problems = overlay(document.data, env, known_variables())
    data = _without_empty(data)
    place = _Place(document, origins)
    root = _check(data, place, problems)
    key = _key(data, env, place, problems)
    rules = list(_rules(data, place, problems))
    problems += _clashes(data, place)
    if root is None or problems:
        raise ConfigError(tuple(problems))
    return root, _build(root, source, key, rules)


class _Place:
    """Where a path was written: its environment variable, or its line."""

    def __init__(self, document: Document, origins: Origins) -> None:
        self._document = document
        self._origins = origins

    def where(self, path: tuple[str | int, ...]) -> str:
        for length in range(len(path), 0, -1):
            if path[:length] in self._origins:
                return self._origins[path[:length]]
        return self._document.where(path)


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


def _check(data: dict[str, Any], place: _Place, problems: list[Problem]) -> settings.Root | None:
    """Return the settings, or None after adding a problem for each fault."""
    try:
        return settings.Root.model_validate(data)
    except ValidationError as error:
        problems.extend(_problem(fault, place) for fault in error.errors(include_url=False))
        return None


def _problem(fault: ErrorDetails, place: _Place) -> Problem:
    path = tuple(fault["loc"])
    context = fault.get("ctx", {})
    if fault["type"] == "extra_forbidden":
        message = _unknown(path)
    elif fault["type"] == "value_error":
        message = str(context["error"])
    else:
        message = _RIGHT.get(fault["type"], fault["msg"]).format_map(context)
    silent = fault["type"] in {"missing", "extra_forbidden"} or not path
    return Problem(
        where=place.where(path), key=path_text(path), message=message, value=MISSING if silent else fault["input"]
    )


def _unknown(path: tuple[str | int, ...]) -> str:
    """Return what to say of a key that no setting has: the nearest one, or all of them."""
    names = list(keys_at(path[:-1]))
    near = difflib.get_close_matches(str(path[-1]).lower(), names, n=1, cutoff=0.5)
    return f"is no setting; did you mean {near[0]}?" if near else f"is no setting; there are {', '.join(names)}"


def keys_at(path: tuple[str | int, ...]) -> tuple[str, ...]:
    """Return the settings that may stand at `path` of the file."""
    model = settings.Root
    for part in path:
        if isinstance(part, str):
            model = next(_models(model.model_fields[part].annotation), model)
    return tuple(model.model_fields)


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    """Yield the settings' models inside a type such as `tuple[Model, ...]` or `Model | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def known_variables() -> tuple[str, ...]:
    """Return the environment variable of each setting outside the list of targets."""
    sections = {name: next(_models(field.annotation), None) for name, field in settings.Root.model_fields.items()}
    return tuple(
        variable((name, key) if key else (name,))
        for name, model in sections.items()
        for key in (model.model_fields if model and name != "targets" else ("",))
    )


def _key(data: dict[str, Any], env: Mapping[str, str], place: _Place, problems: list[Problem]) -> Secret | None:
    """Return the buffer's key from the variable or file that `store.key` names. Its value is never shown."""
    store = data.get("store")
    name = cast("dict[str, Any]", store).get("key") if isinstance(store, dict) else None
    if not isinstance(name, str) or not name:
        return None
    try:
        return Secret(_decoded(_key_text(name, env)))
    except ValueError as error:
        problems.append(Problem(where=place.where(("store", "key")), key="store.key", message=str(error)))
        return None


def _key_text(name: str, env: Mapping[str, str]) -> str:
    if _VARIABLE.fullmatch(name):
        if not env.get(name):
            raise ValueError(f"names the environment variable {name}, which is not set")
        return env[name]
    if "/" not in name or _is_key(name):
        raise ValueError("names where the key is, an environment variable or a file with a / in its path, not the key")
    try:
        return Path(name).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not base64 text"
        raise ValueError(f"names the file {name}, which cannot be read: {reason}") from error


def _is_key(text: str) -> bool:
    try:
        return bool(_decoded(text))
    except ValueError:
        return False


def _decoded(text: str) -> bytes:
    """Return the 32 bytes of a key. The message shows nothing of it."""
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != _KEY_BYTES:
        raise ValueError("leads to something else than 32 bytes as base64; `openssl rand -base64 32` makes a key")
    return key


def _rules(data: dict[str, Any], place: _Place, problems: list[Problem]) -> Iterator[tuple[Rule, ...]]:
    """Yield the compiled rules of each target, after adding a problem for each that is wrong."""
    for index, target in enumerate(_targets(data)):
        rules = target.get("rules", [])
        if not rules:
            yield ()
            continue
        from shadowdiff.rules import RuleError, parse_rules

        path = ("targets", index, "rules")
        good = True
        for number, item in enumerate(cast("list[Any]", rules) if isinstance(rules, list) else []):
            try:
                parse_rules([item])
            except RuleError as error:
                good = False
                message = str(error)
                problems.append(
                    Problem(where=place.where((*path, number)), key=path_text((*path, number)), message=message)
                )
        yield parse_rules(rules) if good and isinstance(rules, list) else ()


def _targets(data: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the entries of the list of targets, as far as they are what they should be."""
    targets = data.get("targets")
    return [x if isinstance(x, dict) else {} for x in cast("list[Any]", targets)] if isinstance(targets, list) else []


def _clashes(data: dict[str, Any], place: _Place) -> Iterator[Problem]:
    """Yield targets that bear one name, and ports that are given twice."""
    names: dict[object, int] = {}
    for index, target in enumerate(_targets(data)):
        name = target.get("name")
        if isinstance(name, str) and names.setdefault(name, index) != index:
            path = ("targets", index, "name")
            message = f"is the name of targets[{names[name]}] too; give each its own"
            yield Problem(where=place.where(path), key=path_text(path), message=message, value=name)
    listen = data.get("listen")
    taken: dict[object, str] = {}
    for name in ("mirror", "records", "web", "metrics"):
        default = settings.Listen.model_fields[name].default
        port = cast("dict[str, Any]", listen).get(name, default) if isinstance(listen, dict) else default
        if str(port) != "0" and taken.setdefault(str(port), name) != name:
            message = f"is the port of listen.{taken[str(port)]} too; give each its own"
            yield Problem(where=place.where(("listen", name)), key=f"listen.{name}", message=message, value=port)


def _build(root: settings.Root, source: Path | None, key: Secret | None, rules: list[tuple[Rule, ...]]) -> Config:
    """Return the values: the same settings, with units in their names."""
    store, pairing, limits = root.store, root.pairing, root.limits
    sections = StoreConfig(
        url=store.url,
        prefix=store.prefix,
        shards=store.shards,
        data_dir=Path(store.data_dir) if store.data_dir else None,
        key=key,
        flush_ms=store.flush_ms,
        queue=store.queue,
    )
    return Config(
        source=source,
        store=sections,
        pairing=PairingConfig(
            window_s=pairing.window,
            settle_s=pairing.settle,
            id_headers=pairing.id_headers,
            claim_idle_s=pairing.claim_idle,
        ),
        listen=ListenConfig(**root.listen.model_dump()),
        limits=LimitsConfig(
            body_bytes=limits.body,
            in_flight=limits.in_flight,
            in_flight_bytes=limits.in_flight_bytes,
            decoded_bytes=limits.decoded,
            depth=limits.depth,
            differences=limits.differences,
            compare_ms=limits.compare_ms,
            routes=limits.routes,
            paths=limits.paths,
        ),
        samples=SamplesConfig(keep=root.samples.keep, max_age_s=root.samples.max_age, body_bytes=root.samples.body),
        log=LogConfig(format=root.log.format, level=root.log.level),
        drain_s=root.drain,
        targets=tuple(
            TargetConfig(target=_target(target), rules=own) for target, own in zip(root.targets, rules, strict=True)
        ),
    )


def _target(target: settings.TargetSettings) -> Target:
    candidate, control = target.candidate, target.control
    return Target(
        name=target.name,
        hosts=target.hosts,
        candidate=Candidate(
            url=candidate.url,
            timeout_s=candidate.timeout,
            queue_timeout_s=candidate.queue_timeout,
            concurrency=candidate.concurrency,
            queue=candidate.queue,
            host=candidate.host,
            revision_header=candidate.revision_header,
        ),
        control=Control(url=control.url, sample=control.sample, timeout_s=control.timeout) if control else None,
        sample=target.sample,
        methods=target.methods,
        routes=target.routes,
        gate=Gate(max_mismatch_ratio=target.gate.max_mismatch_ratio, min_coverage=target.gate.min_coverage),
    )
