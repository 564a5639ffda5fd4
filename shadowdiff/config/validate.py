"""Validate configuration data, and describe each problem for a user who edits the file.

For an unknown key, the problem suggests the nearest setting, or lists all settings of the section. This module also
finds problems of several settings: open ports, duplicate names and ports, unreadable TLS files.
"""

from __future__ import annotations

import difflib
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, cast, get_args

from msgspec import UNSET
from pydantic import BaseModel, ValidationError

from shadowdiff.config.destination_problems import destination_problems, unreadable
from shadowdiff.config.environment import variable
from shadowdiff.config.port_settings import ListenConfig
from shadowdiff.config.settings import Root
from shadowdiff.store import check_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pydantic_core import ErrorDetails

    from shadowdiff.config.document import Document
    from shadowdiff.config.problem import KeyPath, Problem

_ADVICE: Final = {
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "write a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "write a number"),
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "write keys and values"),
    **dict.fromkeys(("literal_error", "enum"), "write {expected}"),
    "missing": "is required",
    "string_type": "write text, in quotes if it looks like a number",
    "tuple_type": "write a list, such as [a, b]",
    "too_short": "write at least one entry",
    "too_long": "write at most {max_length} entries",
    "string_too_short": "is empty; write a value, or remove the key",
    "greater_than_equal": "write {ge} or more",
    "greater_than": "write more than {gt}",
    "less_than_equal": "write {le} or less",
    "finite_number": "write a finite number",
}
"""The fix for each type of pydantic error."""


def validate(document: Document, problems: list[Problem], env: Mapping[str, str] | None = None) -> Root | None:
    """Return the settings, or add every problem to `problems` and return None. Without `env`, read no secret."""
    try:
        return Root.model_validate(document.data, by_alias=True, by_name=False, context={"env": env})
    except ValidationError as error:
        problems.extend(_problem(fault, document) for fault in error.errors(include_url=False) if not _follows(fault))
        return None


def _follows(fault: ErrorDetails) -> bool:
    """Return whether a fault only follows from others: a list is too short because its entries are invalid."""
    return fault["type"] == "too_short" and bool(fault["input"])


def _problem(fault: ErrorDetails, document: Document) -> Problem:
    path = tuple(part for part in fault["loc"] if part != "[key]")
    context = fault.get("ctx", {})
    if fault["type"] == "extra_forbidden":
        names = keys_at(path[:-1])
        near = difflib.get_close_matches(str(path[-1]).lower(), names, n=1, cutoff=0.5)
        message = f"unknown setting; did you mean {near[0]}?" if near else f"unknown setting; known: {', '.join(names)}"
    elif fault["type"] == "value_error":
        message = str(context["error"])
    else:
        message = _ADVICE.get(fault["type"], fault["msg"]).format_map(context)
    has_value = path and fault["type"] not in {"missing", "extra_forbidden"}
    return document.problem(path, message, fault["input"] if has_value else UNSET)


def keys_at(path: KeyPath) -> tuple[str, ...]:
    """Return the YAML keys of the settings that may be at `path` in the file."""
    section: type[BaseModel] = Root
    for part in path:
        if isinstance(part, str):
            section = _sections(section).get(part) or section
    return tuple(_sections(section))


def _sections(section: type[BaseModel]) -> dict[str, type[BaseModel] | None]:
    """Return each key of a section, with the subsection that it contains, if any."""
    return {field.alias or name: next(_models(field.annotation), None) for name, field in section.model_fields.items()}


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    """Yield the sections inside a type such as `tuple[Section, ...]` or `Section | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def known_variables() -> tuple[str, ...]:
    """Return the environment variable of each setting that is not in a list."""
    return tuple(
        variable((name, key) if key else (name,))
        for name, section in _sections(Root).items()
        for key in (_sections(section) if section and name not in {"targets", "webhooks"} else ("",))
    )


def find_conflicts(root: Root | None, document: Document, target_names: Sequence[object]) -> Iterator[Problem]:
    """Yield the problems of the data; some can be found only if the single settings are valid."""
    yield from _duplicate_names(("targets",), target_names, document)
    yield from _duplicate_ports(document.data.get("listen"), document)
    if root is None:
        return
    yield from _duplicate_names(("access", "tokens"), [token.name for token in root.access.tokens], document)
    yield from _unknown_targets(root, document)
    access, web, host = root.access, root.tls.web, root.listen.web_host
    is_guarded = access.tokens or access.proxy or access.anonymous or (web and web.client_ca)
    if not is_guarded and not _is_loopback(host):
        message = (
            "can be reached from other machines, but access is not restricted: set `access.tokens` or `access.proxy`, "
            "or allow everyone with `access.anonymous: read` (or write)"
        )
        yield document.problem(("listen", "web_host"), message, host)
    for port, files in root.tls.model_dump(exclude_none=True).items():
        for setting, name in files.items():
            yield from unreadable(("tls", port, setting), name, document)
    yield from _store_connection(root, document)
    yield from destination_problems(root, document)
    if root.pairing.settle_s >= root.pairing.window_s:
        yield document.problem(("pairing", "settle"), "is not shorter than pairing.window; write a shorter duration")


def _is_loopback(host: str) -> bool:
    """Return whether a listening address is loopback; of all names, only `localhost` is."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _duplicate_names(path: tuple[str, ...], names: Sequence[object], document: Document) -> Iterator[Problem]:
    for index, name in enumerate(names):
        if isinstance(name, str) and name in names[:index]:
            message = f"is also the name of {'.'.join(path)}[{names.index(name)}]; choose another name"
            yield document.problem((*path, index, "name"), message, name)


def _unknown_targets(root: Root, document: Document) -> Iterator[Problem]:
    """Yield a problem for each target that a token or a group may use, but that is not configured."""
    known = [target.name for target in root.targets]
    limits: list[tuple[KeyPath, tuple[str, ...]]] = [
        (("access", "tokens", number, "targets"), token.targets) for number, token in enumerate(root.access.tokens)
    ]
    if root.access.proxy:
        limits += [(("access", "proxy", "targets", group), names) for group, names in root.access.proxy.targets.items()]
    for path, names in limits:
        for number, name in enumerate(names):
            if name not in {"*", *known}:
                message = f"is no configured target; write {', '.join([*known, '*'])} (* means all)"
                yield document.problem((*path, number), message, name)


def _duplicate_ports(listen: object, document: Document) -> Iterator[Problem]:
    ports: dict[str, str] = {}
    for name in ("mirror", "records", "web", "metrics"):
        default = ListenConfig.model_fields[name].default
        port = cast("dict[str, Any]", listen).get(name, default) if isinstance(listen, dict) else default
        if str(port) != "0" and ports.setdefault(str(port), name) != name:
            message = f"is also the port of listen.{ports[str(port)]}; choose another port"
            yield document.problem(("listen", name), message, port)


def _store_connection(root: Root, document: Document) -> Iterator[Problem]:
    store, url = root.store, root.store.url or ""
    if url:
        try:
            check_url(url)
        except ValueError as error:
            yield document.problem(("store", "url"), str(error))
    for setting, name in store.model_dump(include={"ca", "cert", "cert_key"}, exclude_none=True).items():
        yield from unreadable(("store", setting), name, document)
        if not (url.startswith("rediss") or store.sentinel_tls):
            yield document.problem(("store", setting), "works only with TLS: begin store.url with rediss://", name)
    if (store.cert is None) != (store.cert_key is None):
        yield document.problem(("store", "cert"), "works only together with store.cert_key; set both, or remove both")
    if "+sentinel://" not in url:
        for setting in ("sentinel_username", "sentinel_password", "sentinel_tls"):
            value = getattr(store, setting)
            if value is not None:
                message = "works only with sentinels: begin store.url with redis+sentinel://"
                yield document.problem(("store", setting), message, value)
