"""Secrets: the configuration names them but never contains them.

A setting such as `store.key` names an environment variable or a file (a path with a / in it) that contains the secret.
A text such as `Bearer ${TOKEN}` has secrets in it. No message, log line or `repr` shows the secret itself.
"""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

from pydantic import PlainSerializer, PlainValidator, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticKnownError

from shadowdiff.model.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_KEY_BYTES: Final = 32
_TOKEN_CHARACTERS: Final = 16
"""A shorter token can be guessed."""
_VARIABLE: Final = re.compile(r"[A-Z_][A-Z0-9_]*")
_NAMED: Final = re.compile(r"\$\{([^{}]*)\}")
_MOST_SENT_BYTES: Final = 8192
"""Servers usually accept 8 KiB of one header."""


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


def _filled(value: object, info: ValidationInfo) -> Secret:
    """Return a text whose `${NAME}` and `${/path/of/file}` are replaced by the secrets that they name."""
    if isinstance(value, Secret):
        return value
    if not isinstance(value, str):
        raise PydanticKnownError("string_type")
    env = cast("dict[str, Mapping[str, str] | None]", info.context or {}).get("env")
    parts: list[bytes] = []

    def secret(found: re.Match[str]) -> str:
        if not _VARIABLE.fullmatch(found[1]) and "/" not in found[1]:
            raise ValueError("has ${…} with neither a variable nor a path; write ${NAME} or ${/path/of/file}")
        if env is None:  # without env the secret is not read
            return "x"
        parts.append(_password(_read(found[1], env)))
        return parts[-1].decode()

    text = _NAMED.sub(secret, value)
    if "${" in _NAMED.sub("", value):
        raise ValueError("has ${ without }; write ${NAME} or ${/path/of/file}")
    if not text.isascii() or not text.isprintable() or text != text.strip():
        raise ValueError("has characters that a request cannot contain; use one line of ASCII, without outer spaces")
    if len(text) > _MOST_SENT_BYTES:
        raise ValueError(f"has more than {_MOST_SENT_BYTES} bytes; write a shorter value")
    return Secret(text.encode(), value, tuple(parts))


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
    Password = Token = Key = Filled = Secret
else:
    Password, Token, Key = map(_secret_type, (_password, _token, _key))
    Filled = Annotated[
        Secret,
        PlainValidator(_filled),
        PlainSerializer(lambda secret: secret.source),
        WithJsonSchema({"type": "string"}),
    ]
