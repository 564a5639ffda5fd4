"""Plant a secret under a name, and wrap the text in several encodings."""

from __future__ import annotations

import base64
import html
import json
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, quote_plus, unquote, urlencode

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

    Wrap = Callable[[str], str]
    Plant = Callable[[str, str], str]

NAMES: Final = (
    "password", "password1", "password2", "password_confirmation", "newPassword1", "tokenValue", "secret_key_base",
    "tokens", "passwords", "secrets", "apiKeys", "client-secret-2", "accessTokenV2", "DB_PASSWORD", "x-auth-key",
    "ocp-apim-subscription-key", "x-functions-key", "PHPSESSID", "passcode", "user_pass", "refreshToken", "sessionId",
    "csrf_token", "private_key", "id_token_hint", "jwt", "passwort", "credentials", "SigningKey", "webhook_secret",
    "user[password]", "apikey", "X-Hub-Signature-256", "otp", "currentPassword", "password_hash", "client_key_data",
)  # fmt: skip
"""Names of secrets as services write them."""

PLANTS: Final[dict[str, Plant]] = {
    "a member": lambda name, secret: json.dumps({"a": 1, name: secret, "z": [2]}),
    "a deep member": lambda name, secret: json.dumps({"a": [{"b": {name: secret}}], "z": 1}, indent=1),
    "a list": lambda name, secret: json.dumps({name: [secret, {"x": secret}], "z": 1}),
    "an object": lambda name, secret: json.dumps({name: {"x": {"y": secret}}, "z": 1}),
    "an entry": lambda name, secret: json.dumps([{"name": name, "type": "t", "value": secret}]),
    "a form": lambda name, secret: urlencode({"user": "jo", name: secret, "z": 1}),
    "a query": lambda name, secret: f"/cb?{urlencode({'a': 1, name: secret})}&z=1",
    "a URL": lambda name, secret: f"https://h.example/cb?{urlencode({name: secret})}#frag",
    "a fragment": lambda name, secret: f"https://h.example/cb#{urlencode({name: secret, 'z': 1})}",
    "user info": lambda _, secret: f"postgres://app:p@{secret}@db:5432/shop",
    "an element": lambda name, secret: f"<r><{_tag(name)}>{secret}</{_tag(name)}></r>",
    "an attribute": lambda name, secret: f'<r><u {_tag(name)}="{secret}" b="1"/></r>',
    "a field": lambda name, secret: (
        f'--x\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{secret}\r\n--x--\r\n'
    ),
    "a line": lambda name, secret: f"user: jo\n{_tag(name)}: {secret}\nz: 1\n",
}

WRAPS: Final[dict[str, Wrap]] = {
    "a string in JSON": lambda text: json.dumps({"note": text, "z": 1}),
    "a string in a list": lambda text: json.dumps([1, text, 2]),
    "escaped slashes": lambda text: json.dumps({"note": text}).replace("/", "\\/"),
    "a form": lambda text: urlencode({"a": "b c", "payload": text, "z": 1}),
    "a query": lambda text: f"/v1/go?page=1&next={quote(text, safe='')}&z=1",
    "a query with pluses": lambda text: f"/v1/go?page=1&next={quote_plus(text)}",
    "a URL": lambda text: f"https://h.example/go?next={quote(text, safe='')}&z=1",
    "percent-encoded twice": lambda text: f"/go?next={quote(quote(text, safe=''), safe='')}",
    "base64": lambda text: f"/go?state={quote(base64.b64encode(text.encode()).decode(), safe='')}&z=1",
    "base64 in JSON": lambda text: json.dumps({"data": base64.b64encode(text.encode()).decode(), "z": 1}),
    "base64url": lambda text: f"state {base64.urlsafe_b64encode(text.encode()).decode().rstrip('=')} end",
    "an element": lambda text: f"<r><x>{html.escape(text)}</x></r>",
    "an attribute": lambda text: f'<p data-x="{html.escape(text)}">x</p>',
}

secrets: st.SearchStrategy[str] = st.from_regex(r"[A-Z][a-z0-9]{3}[0-9][A-Za-z0-9]{9,13}[a-z]", fullmatch=True)


def _tag(name: str) -> str:
    """Return a name as XML and YAML allow it."""
    return name.replace("[", "_").replace("]", "")


def traces(secret: str, stored: str) -> list[str]:
    """Return the forms of a secret that remain in a stored text: plain, decoded, or in base64 at any alignment."""
    aligned = {base64.b64encode((" " * shift + secret).encode()).decode()[4:-4] for shift in range(3)}
    return [form for form in (secret, quote(secret), secret[:8], secret[-8:], *aligned) if form in _decoded(stored)]


def _decoded(text: str) -> str:
    """Return a text with all results of decoding its percent-encoding and escapes."""
    found = [text]
    for _ in range(12):
        text = html.unescape(unquote(text).replace('\\"', '"').replace("\\\\", "\\").replace("\\/", "/"))
        if text == found[-1]:
            break
        found.append(text)
    return "\n".join(found)
