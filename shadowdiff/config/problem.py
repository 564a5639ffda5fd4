"""Configuration problems: one line each, all reported together.

A line has the source (file and line, or environment variable), the key, the advice, and the value. No line shows a
password, even if a user wrote the password in place of its name, and no line contains a line break.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

KeyPath = tuple[str | int, ...]
_SHOWN_CHARACTERS: Final = 80
_DIGITS: Final = re.compile("([0-9]+)")
_USERINFO: Final = re.compile(r"//.*@", re.DOTALL)
"""Up to the last @, because an unescaped password may contain one, or a slash."""
_IN_QUERY: Final = re.compile(r"(?<=[?&])((?:user|pass)[a-z]*=)[^&]*")
_SECRET: Final = re.compile(
    r"(?:^|\.)(?:[a-z_]*password|secret|store\.key|access\.records|access\.hooks)(?:\[\d+\])*$"
    r"|\.(?:headers|query)\.(?:set|replace)(?:\.|$)"
)
"""Keys whose value names a secret, and may by mistake be the secret itself."""
_NAMES: Final = frozenset({"password", "sentinel_password", "secret", "key", "records", "hooks"})
_MAPS: Final = frozenset({"set", "replace"})
"""Maps from the names of headers or parameters to their values."""
_URL_PATH: Final = re.compile(r"(://[^/\s]*)/.*", re.DOTALL)


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One problem. `where` is `FILE:LINE` or `environment NAME`; `key` is a path such as `targets[0].candidate.url`."""

    where: str
    key: str
    message: str
    value: object = msgspec.UNSET

    def __str__(self) -> str:
        """Return the problem as one line."""
        key = f"{self.key}: " if self.key else ""
        got = ""
        if self.value is not msgspec.UNSET and not _SECRET.search(self.key):
            shown = _without_secrets(self.value, hide_paths=self.key.startswith("webhooks"))
            text = json.dumps(shown, ensure_ascii=False, default=str)
            got = f" (got {text if len(text) <= _SHOWN_CHARACTERS else f'{text[:_SHOWN_CHARACTERS]}…'})"
        return " ".join(f"{self.where}: {key}{self.message}{got}".splitlines())


class ConfigError(Exception):
    """The configuration cannot be used; `problems` contains all problems, in the order of the file."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        problems = in_order(problems)
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Sort problems by source, with line 9 before line 10; problems of one line keep their order."""
    return tuple(sorted(problems, key=lambda problem: natural(problem.where)))


def natural(text: str) -> list[str | int]:
    """Return a sort key that compares digits as numbers."""
    return [int(part) if at % 2 else part for at, part in enumerate(_DIGITS.split(text))]


def masked(url: str) -> str:
    """Return `url` without the user and password that it may contain."""
    return _IN_QUERY.sub(r"\1***", _USERINFO.sub("//***@", url))


def path_text(path: KeyPath) -> str:
    """Return `targets[0].candidate.url` for ("targets", 0, "candidate", "url")."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def _without_secrets(value: object, *, hide_paths: bool) -> object:
    """Return a value without passwords. hide_paths: a webhook URL's path is a credential."""
    match value:
        case str():
            text = masked(value)
            return _URL_PATH.sub(r"\1/***", text) if hide_paths else text
        case dict():
            return {
                name: "***"
                if name in _MAPS or (name in _NAMES and isinstance(part, str | list))
                else _without_secrets(part, hide_paths=hide_paths)
                for name, part in cast("dict[Any, object]", value).items()
            }
        case list():
            return [_without_secrets(part, hide_paths=hide_paths) for part in cast("list[object]", value)]
        case _:
            return value
