"""What is wrong with a configuration: one line for each fault, all of them at once.

A line names the place (file and line, or the environment variable), the key, what would be right, and the value.
Holds: no line carries a password, whoever wrote it in the place of its name, and none holds a line break, whatever the
input holds.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, cast

import msgspec

_SHOWN_CHARACTERS: Final = 80
_USERINFO: Final = re.compile(r"//.*@", re.DOTALL)
"""To the last @: a password may hold one, or a slash, that should have been escaped."""
_IN_QUERY: Final = re.compile(r"(?<=[?&])((?:user|pass)[a-z]*=)[^&]*")
_SECRET: Final = re.compile(r"(?:^|\.)(?:[a-z_]*password|secret|store\.key|access\.records|access\.hooks)(?:\[\d+\])*$")
"""Keys whose value is the name of a secret, and perhaps the secret itself, by mistake."""
_NAMES: Final = frozenset({"password", "sentinel_password", "secret", "key", "records", "hooks"})
_PATH: Final = re.compile(r"(://[^/\s]*)/.*", re.DOTALL)
"""Of a webhook's URL, which is a credential."""


class Missing:
    """Stands where a key has no value at all."""


MISSING: Final = Missing()


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One fault. `where` is `FILE:LINE` or `environment NAME`; `key` a path such as `targets[0].candidate.url`."""

    where: str
    key: str
    message: str
    value: object = MISSING

    def __str__(self) -> str:
        """Return the fault as one line."""
        key = f"{self.key}: " if self.key else ""
        silent = self.value is MISSING or _SECRET.search(self.key) is not None
        got = "" if silent else f" (got {shown(self.value, hides_paths=self.key.startswith('webhooks'))})"
        return " ".join(f"{self.where}: {key}{self.message}{got}".splitlines())


class ConfigError(Exception):
    """The configuration cannot be used; `problems` says all that is wrong with it."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def masked(url: str) -> str:
    """Return `url` with the user and password that it may carry left out."""
    return _IN_QUERY.sub(r"\1***", _USERINFO.sub("//***@", url))


def shown(value: object, *, hides_paths: bool = False) -> str:
    """Return a value as short JSON on one line, without passwords; hides_paths: of URLs too."""
    text = json.dumps(_plain(value, hides_paths=hides_paths), ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def _plain(value: object, *, hides_paths: bool) -> object:
    """Return a value with what may be a secret in it left out."""
    match value:
        case str():
            text = masked(value)
            return _PATH.sub(r"\1/***", text) if hides_paths else text
        case dict():
            return {
                name: "***"
                if name in _NAMES and isinstance(part, str | list)
                else _plain(part, hides_paths=hides_paths)
                for name, part in cast("dict[Any, object]", value).items()
            }
        case list():
            return [_plain(part, hides_paths=hides_paths) for part in cast("list[object]", value)]
        case _:
            return value


def path_text(path: tuple[str | int, ...]) -> str:
    """Return `targets[0].candidate.url` for ("targets", 0, "candidate", "url")."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")
