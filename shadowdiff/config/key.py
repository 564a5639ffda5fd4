"""The key that encrypts waiting observations: `store.key` names where it is, and it never stands in the file.

In: the name of an environment variable, or of a file.  Out: 32 bytes as a `Secret`, or ValueError.
Holds: no message shows what the variable or the file holds.
"""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shadowdiff.config.values import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEY_BYTES: Final = 32
_VARIABLE: Final = re.compile(r"[A-Z_][A-Z0-9_]*")


def read_key(name: str, env: Mapping[str, str]) -> Secret:
    """Return the key that the variable or file `name` holds.

    Raises: ValueError, saying what is wrong with the name or with what it leads to.
    """
    return Secret(_decoded(_key_text(name, env)))


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
        raise ValueError(f"names a file that cannot be read: {reason}") from error


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
