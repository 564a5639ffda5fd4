"""What the API offers, as declarations: the routes and the OpenAPI document are both made of them.

In: an operation's parameters and its handler.  Out: an endpoint that checks its arguments and answers JSON.
Holds: an argument that is wrong is a 400 with one line that names it, its value and what would be right.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

if TYPE_CHECKING:
    from shadowdiff.web.state import WebState

PREFIX = "/api/v1"
_ARTICLES = {"integer": "an", "number": "a"}

Arguments = Mapping[str, Any]
Handler = Callable[["WebState", Arguments, Request], Awaitable[Any]]


class ApiError(Exception):
    """A refusal: an HTTP status and one line."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Refusal(msgspec.Struct, frozen=True):
    """What every refusal answers."""

    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One argument of an operation."""

    name: str
    description: str
    where: Literal["query", "path"] = "query"
    type: Literal["string", "integer", "number"] = "string"
    required: bool = False
    default: str | int | float | None = None
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()

    def read(self, request: Request) -> str | int | float | None:
        """Return the argument, checked. Raises: ApiError, naming it."""
        given = request.path_params.get(self.name) if self.where == "path" else request.query_params.get(self.name)
        if given is None or given == "":
            if self.required:
                raise ApiError(400, f"parameter {self.name!r} is missing: {self.description}")
            return self.default
        return self._checked(str(given))

    def _checked(self, given: str) -> str | int | float:
        if self.choices and given not in self.choices:
            raise ApiError(400, f"parameter {self.name!r} is {given!r}: give one of {', '.join(self.choices)}")
        if self.type == "string":
            return given
        try:
            number = int(given) if self.type == "integer" else float(given)
        except ValueError:
            raise ApiError(
                400, f"parameter {self.name!r} is {given!r}: give {_ARTICLES[self.type]} {self.type}"
            ) from None
        low, high = self.minimum, self.maximum
        if not (low is None or number >= low) or not (high is None or number <= high):
            raise ApiError(400, f"parameter {self.name!r} is {given!r}: give a number from {low:g} to {high:g}")
        return number


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One address of the API: what it is called, takes, answers and refuses.

    answer: the type of what the handler returns; None for an object that is described elsewhere; `str` for a line of
        text. A handler that answers with another status than 200 returns the response itself.
    body: the type of the JSON that a POST brings. It must say that it is JSON: what a page of another site can
        make a browser send without asking does not.
    refuses: the statuses other than 200, each with its reason; 401 and 403 of every operation are told apart.
    role: what a caller needs, where the method does not tell: `own` asks for credentials of its own.
    changes_by: parameters that make a GET a write.
    also: other media types that its answer may have, by a parameter.
    """

    path: str
    name: str
    summary: str
    handler: Handler
    answer: Any = None
    method: Literal["GET", "POST", "DELETE"] = "GET"
    body: Any = None
    parameters: tuple[Parameter, ...] = ()
    refuses: Mapping[int, str]
    role: Literal["read", "write", "own"] | None = None
    changes_by: tuple[str, ...] = ()
    also: tuple[str, ...] = ()

    @property
    def needs(self) -> Literal["read", "write", "own"]:
        """What a caller needs to be let through."""
        return self.role or ("read" if self.method == "GET" else "write")

    def route(self, state: WebState) -> Route:
        """Return the route that serves this operation."""

        async def endpoint(request: Request) -> Response:
            try:
                arguments = {parameter.name: parameter.read(request) for parameter in self.parameters}
                if self.method == "POST":
                    _check_json(request)
                made = await self.handler(state, arguments, request)
                return made if isinstance(made, Response) else answer(made)
            except ApiError as refusal:
                return answer(Refusal(refusal.message), refusal.status)

        return Route(PREFIX + self.path, endpoint, methods=[self.method], name=self.name)


def _check_json(request: Request) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(415, f"content-type is {kind or 'missing'!r}: send application/json")


def answer(value: Any, status: int = 200) -> Response:
    """Return a value as a JSON response."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")
