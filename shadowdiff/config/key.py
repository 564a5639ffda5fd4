"""Secrets, which never stand in the file: settings such as `store.key` name where each is.

In: the name of an environment variable, or of a file.  Out: a `Secret` (a key: 32 bytes), or ValueError.
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
_NAMES: Final = "names where the secret is, an environment variable or a file with a / in its path, not the secret"
_VARIABLE: Final = re.compile(r"[A-Z_][A-Z0-9_]*")


def read_key(name: str, env: Mapping[str, str]) -> Secret:
    """Return the key that the variable or file `name` holds.

    Raises: ValueError, saying what is wrong with the name or with what it leads to.
    """
    return Secret(_decoded(_key_text(name, env)))


def read_secret(name: str, env: Mapping[str, str]) -> Secret:
    """Return the text that the variable or file `name` holds, without white space around it.

    Raises: ValueError, saying what is wrong with the name or with what it leads to.
    """
    secret = _text(name, env).strip()
    if not secret.isascii() or not secret.isprintable():
        raise ValueError("leads to text that no header can carry; write it in ASCII, on one line")
    if not secret:
        raise ValueError("leads to nothing: the variable or file is empty")
    return Secret(secret.encode())


def _key_text(name: str, env: Mapping[str, str]) -> str:
    if not _VARIABLE.fullmatch(name) and _is_key(name):
        raise ValueError(_NAMES)
    return _text(name, env)


def _text(name: str, env: Mapping[str, str]) -> str:
    if _VARIABLE.fullmatch(name):
        if not env.get(name):
            raise ValueError(f"names the environment variable {name}, which is not set")
        return env[name]
    if "/" not in name:
        raise ValueError(_NAMES)
    try:
        return Path(name).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not ASCII text"
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
