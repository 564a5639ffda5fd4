"""Secrets: the configuration names them but never contains them.

A setting such as `store.key` names an environment variable or a file (a path with a / in it) that contains the secret.
No message, log line or `repr` shows the secret itself.
"""

from __future__ import annotations

import base64
import hmac
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

from pydantic import PlainSerializer, PlainValidator, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticKnownError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_KEY_BYTES: Final = 32
_TOKEN_CHARACTERS: Final = 16
"""A shorter token can be guessed."""
_VARIABLE: Final = re.compile(r"[A-Z_][A-Z0-9_]*")


class Secret:
    """Bytes that no log line, error or `repr` shows; `source` is the variable or file that contains them."""

    __slots__ = ("_value", "source")

    def __init__(self, value: bytes, source: str = "") -> None:
        self._value = value
        self.source = source

    def reveal(self) -> bytes:
        """Return the secret bytes."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value, other.reveal())

    def __hash__(self) -> int:
        return hash(self._value)


def _secret_type(parse: Callable[[str], bytes]) -> Any:
    """Return the type of a setting that names a secret, which `parse` checks. The validation context has `env`."""

    def read(value: object, info: ValidationInfo) -> Secret:
        if isinstance(value, Secret):
            return value
        if not isinstance(value, str):
            raise PydanticKnownError("string_type")
        if not _VARIABLE.fullmatch(value) and ("/" not in value or _key_in(value)):  # base64 may contain a /
            source = "is neither the name of an environment variable nor a path with a /"
            raise ValueError(f"{source}; write where the secret is stored, not the secret itself")
        env = cast("dict[str, Mapping[str, str] | None]", info.context or {}).get("env")
        return Secret(b"" if env is None else parse(_read(value, env)), value)  # without env the secret is not read

    serializer = PlainSerializer(lambda secret: secret.source)
    return Annotated[Secret, PlainValidator(read), serializer, WithJsonSchema({"type": "string", "minLength": 1})]


def _read(source: str, env: Mapping[str, str]) -> str:
    if _VARIABLE.fullmatch(source):
        if not env.get(source):
            raise ValueError(f"names the environment variable {source}, which is not set")
        return env[source]
    try:
        return Path(source).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not ASCII text"
        raise ValueError(f"names a file that cannot be read: {reason}") from error


def _password(text: str) -> bytes:
    password = text.strip()
    if not password.isascii() or not password.isprintable():
        raise ValueError("names a secret with characters that a header cannot contain; use one line of ASCII")
    if not password:
        raise ValueError("names an empty variable or file; write the secret into it")
    return password.encode()


def _token(text: str) -> bytes:
    token = _password(text)
    if len(token) < _TOKEN_CHARACTERS:
        raise ValueError(f"has fewer than {_TOKEN_CHARACTERS} characters; `openssl rand -hex 32` generates a token")
    return token


def _key_in(text: str) -> bytes | None:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except ValueError:
        return None
    return key if len(key) == _KEY_BYTES else None


def _key(text: str) -> bytes:
    if key := _key_in(text):
        return key
    raise ValueError(f"is not {_KEY_BYTES} bytes in base64; `openssl rand -base64 32` generates a key")


if TYPE_CHECKING:
    Password = Token = Key = Secret
else:
    Password, Token, Key = map(_secret_type, (_password, _token, _key))
