"""What is wrong with a configuration: one line for each fault, all of them at once.

A line names the place (file and line, or the environment variable), the key, what would be right, and the value.
Holds: no line carries a password, and none holds a line break, whatever the input holds.
"""

from __future__ import annotations

import json
import re
from typing import Final

import msgspec

_SHOWN_CHARACTERS: Final = 80
_USERINFO: Final = re.compile(r"//[^/@\s]*@")


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
        got = "" if self.value is MISSING else f" (got {shown(self.value)})"
        return " ".join(f"{self.where}: {key}{self.message}{got}".splitlines())


class ConfigError(Exception):
    """The configuration cannot be used; `problems` says all that is wrong with it."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def masked(url: str) -> str:
    """Return `url` with the user and password that it may carry left out."""
    return _USERINFO.sub("//***@", url)


def shown(value: object) -> str:
    """Return a value as short JSON on one line, passwords of URLs masked."""
    text = masked(json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def path_text(path: tuple[str | int, ...]) -> str:
    """Return `targets[0].candidate.url` for ("targets", 0, "candidate", "url")."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")
