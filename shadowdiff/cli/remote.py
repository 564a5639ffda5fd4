"""Ask a running service, for the commands that show what it knows.

In: its address and a path of its API.  Out: the answer's bytes, or a typed value.
Holds: every failure is one line that names the address and the way out, and ends the command with 2.
"""

from __future__ import annotations

import http.client
import os
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import HTTPRedirectHandler, Request, build_opener

import click
import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

DEFAULT_URL: Final = "http://127.0.0.1:8082"
TIMEOUT_S: Final = 15.0
MAX_ANSWER_BYTES: Final = 256 * 1024 * 1024

TOKEN_VARIABLE: Final = "SHADOWDIFF_TOKEN"  # noqa: S105 - the name of a variable
"""Not an option: what is written on a command line shows in the list of processes."""


class _StayHere(HTTPRedirectHandler):
    """Follows nothing: a token is for the service that was named."""

    def redirect_request(self, req: Request, fp: object, code: int, msg: str, headers: object, newurl: str) -> None:  # noqa: PLR0917 - as the library calls it
        """Leave the answer as it is."""


_OPENER: Final = build_opener(_StayHere)
_HEADERS: Final = {"Accept": "application/json", "Content-Type": "application/json"}
Shape = TypeVar("Shape")
Command = TypeVar("Command", bound="Callable[..., Any]")


class RemoteError(click.ClickException):
    """The service does not answer, or refuses."""

    exit_code = 2


def url_option(command: Command) -> Command:
    """Add `--url`, which names the service."""
    return click.option(
        "--url",
        envvar="SHADOWDIFF_URL",
        default=DEFAULT_URL,
        show_default=True,
        show_envvar=True,
        metavar="URL",
        help="The web port of the service.",
    )(command)


def json_option(command: Command) -> Command:
    """Add `--json`, which prints what the API answers."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, as the API answers it.")(command)


def target_option(command: Command) -> Command:
    """Add `--target`, which names a target; pass what it gives through `target_of`."""
    return click.option("--target", metavar="NAME", help="The target; may be left out where there is only one.")(
        command
    )


def ask(url: str, *path: str, **arguments: str | float | None) -> bytes:
    """Return the API's answer. Raises: RemoteError, in one line."""
    return _call(url, None, path, arguments)


def page(url: str, *path: str, **arguments: str | float | None) -> bytes:
    """Return a page. Raises: RemoteError, in one line."""
    return _call(url, None, path, arguments, root="")


def tell(url: str, body: bytes, *path: str, **arguments: str | float | None) -> bytes:
    """Return the API's answer to JSON that is posted. Raises: RemoteError, in one line."""
    return _call(url, body, path, arguments)


def take_back(url: str, *path: str, **arguments: str | float | None) -> bytes:
    """Return the API's answer to a DELETE. Raises: RemoteError, in one line."""
    return _call(url, None, path, arguments, "DELETE")


def _call(
    url: str,
    body: bytes | None,
    path: Sequence[str],
    arguments: Mapping[str, str | float | None],
    method: str | None = None,
    *,
    root: str = "/api/v1",
) -> bytes:
    given = {name: value for name, value in arguments.items() if value is not None}
    if "://" not in url:
        url = f"http://{url}"
    address = f"{url.rstrip('/')}{root}/{'/'.join(quote(part, safe='') for part in path)}"
    if given:
        address += f"?{urlencode(given)}"
    if not address.startswith(("http://", "https://")):
        raise RemoteError(f"--url {url!r} is no address: give one such as {DEFAULT_URL}")
    token = os.environ.get(TOKEN_VARIABLE)
    headers = {**_HEADERS, "Authorization": f"Bearer {token}"} if token else _HEADERS
    try:
        with _OPENER.open(Request(address, body, headers=headers, method=method), timeout=TIMEOUT_S) as answer:  # noqa: S310 - only http and https come here
            return answer.read(MAX_ANSWER_BYTES)
    except HTTPError as refusal:
        raise RemoteError(_refusal(url, refusal)) from refusal
    except (URLError, http.client.HTTPException, OSError, ValueError) as failure:
        reason = getattr(failure, "reason", None) or failure
        raise RemoteError(
            f"no shadowdiff answers at {url} ({reason}): start one with `shadowdiff serve` or `shadowdiff demo`, "
            "or name another with --url or SHADOWDIFF_URL"
        ) from failure


def read(answer: bytes, shape: type[Shape], url: str) -> Shape:
    """Return an answer as a typed value. Raises: RemoteError where it is none of this API."""
    try:
        return msgspec.json.decode(answer, type=shape)
    except msgspec.DecodeError as error:
        raise RemoteError(f"what answers at {url} is not this version's API ({error})") from error


def target_of(given: str | None, url: str) -> str:
    """Return the target that was named, else the only one. Raises: RemoteError where there are several, or none."""
    if given:
        return given
    names = [target.name for target in read(ask(url, "targets"), _Targets, url).targets]
    if len(names) == 1:
        return names[0]
    listed = ", ".join(names) or "none is configured"
    raise RemoteError(f"--target is missing: there are {len(names)} targets ({listed})")


class _Named(msgspec.Struct, frozen=True):
    name: str


class _Targets(msgspec.Struct, frozen=True):
    targets: list[_Named]


def _refusal(url: str, refusal: HTTPError) -> str:
    try:
        return msgspec.json.decode(refusal.read(65_536), type=dict[str, str])["error"]
    except (msgspec.DecodeError, KeyError, OSError):
        return f"{url} answers {refusal.code} {refusal.reason}: is it the web port of shadowdiff?"
