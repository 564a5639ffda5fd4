"""Read the pairs of releases in `releases_data`: what to install, how to start it, and which requests to send.

Each pair is a folder with `pair.yaml`, `requests.yaml` and `labels.yaml`, which `release_labels` reads. Every instance
gets a copy of the folder `files`, if it exists. A wrong file raises PairError with its name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

DATA = Path(__file__).with_name("releases_data")
Installer = Literal["pip", "npm"]


class PairError(Exception):
    """A file of a pair is wrong. The message names the file."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request of the list."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two releases of one service.

    versions: of v1 and v2. start, prepare: commands with the placeholders {bin}, {data}, {folder}, {host} and {port}.
    setup: requests that each instance gets before it is compared. ready: a path that has a response when the instance
    runs. target: settings of the target that a user of this service has to write.
    """

    name: str
    folder: Path
    installer: Installer
    versions: tuple[str, str]
    host: str
    start: tuple[str, ...]
    prepare: tuple[tuple[str, ...], ...]
    ready: str
    requests: tuple[Request, ...]
    setup: tuple[Request, ...]
    target: dict[str, Any] = field(default_factory=dict[str, Any])


def names() -> list[str]:
    """Return the names of all pairs."""
    return sorted(file.parent.name for file in DATA.glob("*/pair.yaml"))


def read_pair(folder: Path) -> Pair:
    """Read one pair. Raises: PairError."""
    stated = read_yaml(folder / "pair.yaml")
    try:
        first, second = stated["versions"]
        return Pair(
            name=folder.name,
            folder=folder,
            installer=stated["installer"],
            versions=(str(first), str(second)),
            host=stated["host"],
            start=tuple(stated["start"]),
            prepare=tuple(tuple(command) for command in stated.get("prepare", [])),
            ready=stated.get("ready", "/"),
            requests=tuple(read_request(one) for one in read_yaml(folder / "requests.yaml")),
            setup=tuple(read_request(one) for one in stated.get("setup", [])),
            target=stated.get("target", {}),
        )
    except (KeyError, TypeError, ValueError) as problem:
        raise PairError(f"{folder}: pair.yaml or requests.yaml is wrong: {problem!r}") from problem


def read_request(stated: str | dict[str, Any]) -> Request:
    """Read a request: `/path`, `METHOD /path`, or an object with `request`, `headers` and `body`."""
    if isinstance(stated, str):
        stated = {"request": stated}
    method, _, path = stated["request"].rpartition(" ")
    if not path.startswith("/") or stated.keys() - {"request", "headers", "body"}:
        raise ValueError(f"not a request: {stated}")
    headers = tuple((str(name).lower(), str(value)) for name, value in stated.get("headers", {}).items())
    return Request(method or "GET", path, headers, stated.get("body", "").encode())


def read_yaml(file: Path) -> Any:
    """Return the content of a file. Raises: PairError."""
    try:
        return yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError) as problem:
        raise PairError(f"{file}: {problem}") from problem
