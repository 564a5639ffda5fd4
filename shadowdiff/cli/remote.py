"""Call the API of a running service.

Every failure prints one line with the address and a fix, and the command exits with 2.
"""

from __future__ import annotations

import functools
import getpass
import http.client
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import HTTPRedirectHandler, Request, build_opener

import click
import msgspec

from shadowdiff.cli.output_errors import write_file

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_URL: Final = "http://127.0.0.1:8082"
TIMEOUT_S: Final = 15.0
MAX_RESPONSE_BYTES: Final = 256 * 1024 * 1024

TOKEN_VARIABLE: Final = "SHADOWDIFF_TOKEN"  # noqa: S105 - the name of a variable
"""The token is not a command-line option, because the process list shows command lines."""


class _NoRedirect(HTTPRedirectHandler):
    """Redirects are not followed, so that the token is sent only to the given service."""

    def redirect_request(self, req: Request, fp: object, code: int, msg: str, headers: object, newurl: str) -> None:  # noqa: PLR0917 - the library's signature
        """Return None, so that the redirect is not followed."""


_OPENER: Final = build_opener(_NoRedirect)
_HEADERS: Final = {"Accept": "application/json", "Content-Type": "application/json"}
_MAX_NUMBER: Final = 1e15
Shape = TypeVar("Shape")


class RemoteError(click.ClickException):
    """The service does not respond, or rejects the request."""

    exit_code = 2


class FiniteRange(click.FloatRange):
    """A range that rejects `nan` and `inf`; a plain range accepts `nan`, because every comparison with it is false."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number. Raises: click.BadParameter."""
        number = super().convert(value, param, ctx)
        if not abs(number) <= _MAX_NUMBER:
            self.fail(f"{value} is not a number up to {_MAX_NUMBER:g}.", param, ctx)
        return number


url_option: Final = click.option(
    "--url",
    envvar="SHADOWDIFF_URL",
    default=DEFAULT_URL,
    show_default=True,
    show_envvar=True,
    metavar="URL",
    help="The URL of the service's web port.",
)
json_option: Final = click.option("--json", "as_json", is_flag=True, help="Print the API's JSON response.")
target_option: Final = click.option("--target", metavar="NAME", help="The target. Required only if there are several.")
"""Pass the option's value to `Remote.target_of`."""
html_option: Final = click.option(
    "--html",
    "file",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write the page as a single HTML file.",
)
"""Pass the option's value to `Remote.save_page`."""


def remote_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add `--url` and `--json`, and pass the command a `Remote` made from them as its first argument."""

    @url_option
    @json_option
    @functools.wraps(command)
    def run(*, url: str, as_json: bool, **options: Any) -> None:
        command(Remote(url, as_json=as_json), **options)

    return run


@dataclass(frozen=True, slots=True)
class Remote:
    """A client of the API.  as_json: print responses unchanged. Every method may raise RemoteError."""

    url: str
    as_json: bool = False
    timeout_s: float = TIMEOUT_S

    def get(self, *path: str, **arguments: str | float | None) -> bytes:
        """Return the JSON response to a GET."""
        return self.send("GET", None, *path, **arguments)

    def send(self, method: str, body: msgspec.Struct | None, *path: str, **arguments: str | float | None) -> bytes:
        """Return the JSON response. A response that is not JSON is an error, so that `--json` never prints it."""
        response = self._call(method, body, "/api/v1", *path, **arguments)
        self.decode(response, msgspec.Raw)
        return response

    def get_page(self, *path: str, **arguments: str | float | None) -> bytes:
        """Return a page or other content that is not JSON."""
        return self._call("GET", None, "", *path, **arguments)

    def _call(
        self, method: str, body: msgspec.Struct | None, root: str, *path: str, **arguments: str | float | None
    ) -> bytes:
        url = self.url if "://" in self.url else f"http://{self.url}"
        if not url.startswith(("http://", "https://")):
            raise RemoteError(f"--url {url!r} is not a web address: use one such as {DEFAULT_URL}")
        query = urlencode({name: value for name, value in arguments.items() if value is not None})
        address = f"{url.rstrip('/')}{root}/{'/'.join(quote(part, safe='') for part in path)}"
        if query:
            address += f"?{query}"
        token = os.environ.get(TOKEN_VARIABLE)
        headers = {**_HEADERS, "Authorization": f"Bearer {token}"} if token else _HEADERS
        data = None if body is None else msgspec.json.encode(body)
        try:
            sent = Request(address, data, headers=headers, method=method)  # noqa: S310 - http or https, checked above
            with _OPENER.open(sent, timeout=self.timeout_s) as response:
                return response.read(MAX_RESPONSE_BYTES)
        except HTTPError as error:
            raise RemoteError(_error_text(url, error)) from error
        except TimeoutError as error:  # the request was sent; a URLError if it was not
            raise RemoteError(
                f"{url} accepted the request, but did not respond within {self.timeout_s:g} s: it may still be working "
                "on it; repeat the command later"
            ) from error
        except (URLError, http.client.HTTPException, OSError, ValueError) as failure:
            reason = getattr(failure, "reason", None) or failure
            raise RemoteError(
                f"shadowdiff does not respond at {url} ({reason}): start it with `shadowdiff serve` or `shadowdiff "
                "demo`, or set another address with --url or SHADOWDIFF_URL"
            ) from failure

    def decode(self, response: bytes, shape: type[Shape]) -> Shape:
        """Decode a response of the API in this version."""
        try:
            return msgspec.json.decode(response, type=shape)
        except msgspec.DecodeError as error:
            raise RemoteError(
                f"the server at {self.url} is not the same version as this command ({error}): install its version"
            ) from error

    def show(self, response: bytes, shape: type[Shape], view: Callable[[Shape], None]) -> None:
        """Print a response as JSON, or let `view` print it."""
        if self.as_json:
            click.echo(response)
        else:
            view(self.decode(response, shape))

    def save_page(self, kind: str, name: str, file: Path | None) -> bool:
        """Write the page of a sample or fingerprint to the `--html` file. Return whether `--html` was given.

        Raises: click.UsageError if the id is empty or `--json` is given. OutputError if the write fails.
        """
        if not name.strip():
            raise click.UsageError(f"ID is empty: use an ID that `shadowdiff {kind}` lists")
        if file is None:
            return False
        if self.as_json:
            raise click.UsageError("--html and --json cannot be combined")
        write_file(file, self.get_page(kind, name, download=1))
        click.echo(f"wrote the page of {name} to {file}, with secrets redacted")
        return True

    def target_of(self, given: str | None) -> str:
        """Return the given target, or the only target. Raises: RemoteError if there is not exactly one target."""
        if given:
            return given
        names = [target.name for target in self.decode(self.get("targets"), _Targets).targets]
        if len(names) == 1:
            return names[0]
        listed = ", ".join(names) or "none configured"
        raise RemoteError(f"--target is missing: there are {len(names)} targets ({listed})")


class _Named(msgspec.Struct, frozen=True):
    name: str


class _Targets(msgspec.Struct, frozen=True):
    targets: list[_Named]


def user() -> str:
    """Return the name of this machine's current user, as the author of a change."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user can have no name
        return f"uid {os.getuid()}"


def _error_text(url: str, error: HTTPError) -> str:
    """Return the service's error text, or a hint if the response is not shadowdiff's JSON."""
    try:
        return msgspec.json.decode(error.read(65_536), type=dict[str, str])["error"]
    except (msgspec.DecodeError, KeyError, OSError, http.client.HTTPException):
        hint = "check that --url is the web port of shadowdiff (listen.web)"
        if error.code in {502, 503, 504}:
            hint = "a proxy cannot reach the service; check that it runs and is ready"
        elif error.code >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
            hint = "the service failed on this request; its log has the traceback"
        return f"{url} returned {error.code} {error.reason}: {hint}"
