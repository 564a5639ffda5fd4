"""Every secret that the configuration names, read from where it says they are.

In: the settings as data, and the environment.  Out: `Secrets`, and a problem for each name that leads nowhere.
Holds: a setting names an environment variable or a file (with a / in it), never the secret; no message shows one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from shadowdiff.config.key import read_key, read_secret
from shadowdiff.config.values import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shadowdiff.config.problem import Problem
    from shadowdiff.config.refusal import Place

TOKEN_CHARACTERS: Final = 16
"""Fewer can be guessed."""

Path = tuple[str | int, ...]


class Secrets(msgspec.Struct, frozen=True, kw_only=True):
    """What was read; a list has an entry for each of its setting's."""

    store_key: Secret | None = None
    store_password: Secret | None = None
    sentinel_password: Secret | None = None
    tokens: tuple[Secret, ...] = ()
    records: tuple[Secret, ...] = ()
    hooks: Secret | None = None
    webhooks: tuple[Secret | None, ...] = ()


class SecretReader:
    """Reads what settings name, and notes what cannot be read."""

    def __init__(self, data: dict[str, Any], env: Mapping[str, str], place: Place, problems: list[Problem]) -> None:
        self._data = data
        self._env = env
        self._place = place
        self._problems = problems

    def all(self) -> Secrets:
        """Return every secret there is."""
        return Secrets(
            store_key=self._one(("store", "key"), read_key),
            store_password=self._one(("store", "password"), read_secret),
            sentinel_password=self._one(("store", "sentinel_password"), read_secret),
            tokens=self._many(("access", "tokens"), ("secret",)),
            records=self._many(("access", "records"), ()),
            hooks=self._one(("access", "hooks"), _token),
            webhooks=tuple(
                self._one(("webhooks", number, "secret"), _token) for number in range(self._count(("webhooks",)))
            ),
        )

    def _many(self, path: Path, rest: Path) -> tuple[Secret, ...]:
        found = [self._one((*path, number, *rest), _token) for number in range(self._count(path))]
        return tuple(secret for secret in found if secret is not None)

    def _count(self, path: Path) -> int:
        items = at(self._data, path)
        return len(cast("list[Any]", items)) if isinstance(items, list) else 0

    def _one(self, path: Path, read: Callable[[str, Mapping[str, str]], Secret]) -> Secret | None:
        name = at(self._data, path)
        if not isinstance(name, str) or not name:
            return None
        try:
            return read(name, self._env)
        except ValueError as error:
            self._problems.append(self._place.problem(path, str(error)))
            return None


def _token(name: str, env: Mapping[str, str]) -> Secret:
    secret = read_secret(name, env)
    if len(secret.reveal()) < TOKEN_CHARACTERS:
        raise ValueError(f"leads to fewer than {TOKEN_CHARACTERS} characters; `openssl rand -hex 32` makes a token")
    return secret


def at(data: object, path: Path) -> object:
    """Return what stands at a path of plain data; None where nothing does."""
    for part in path:
        if isinstance(data, dict) and isinstance(part, str):
            data = cast("dict[str, Any]", data).get(part)
        elif isinstance(data, list) and isinstance(part, int) and part < len(cast("list[Any]", data)):
            data = cast("list[Any]", data)[part]
        else:
            return None
    return data
