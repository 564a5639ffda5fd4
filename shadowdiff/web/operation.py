"""The declaration of an API operation. Routes and the OpenAPI document are both generated from it.

A wrong argument causes a 400 with one line that names the argument, its value and the expected values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
from starlette.responses import Response
from starlette.routing import Route

from shadowdiff.queries.errors import RequestError
from shadowdiff.web.request_context import content_kind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from shadowdiff.web.layout import WebParts

PREFIX: Final = "/api/v1"
NO_TARGET: Final = {400: "An argument is missing", 404: "There is no such target"}
WRONG: Final = {400: "An argument is missing or wrong", 404: "There is no such target"}

Arguments = Mapping[str, Any]


class ErrorMessage(msgspec.Struct, frozen=True):
    """The body of every error response."""

    error: str


@dataclass(frozen=True, slots=True)
class Parameter:
    """An argument of an operation."""

    name: str
    description: str
    _: KW_ONLY
    where: Literal["query", "path"] = "query"
    type: Literal["string", "integer", "number"] = "string"
    required: bool = False
    default: str | int | float | None = None
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()

    def read(self, request: Request) -> str | int | float | None:
        """Return the checked argument. Raises: RequestError that names the argument."""
        given: str = (request.path_params if self.where == "path" else request.query_params).get(self.name, "")
        if not given and self.required:
            raise RequestError(400, f"parameter {self.name!r} is missing: {self.description}")
        if not given:
            return self.default
        wrong = f"parameter {self.name!r} is {given!r}"
        if self.choices and given not in self.choices:
            raise RequestError(400, f"{wrong}: use one of {', '.join(self.choices)}")
        if self.type == "string":
            return given
        try:
            number = int(given) if self.type == "integer" else float(given)
        except ValueError:
            raise RequestError(400, f"{wrong}: use {'an' if self.type == 'integer' else 'a'} {self.type}") from None
        low, high = self.minimum, self.maximum
        if low is not None and high is not None and not low <= number <= high:
            raise RequestError(400, f"{wrong}: use a number from {low:g} to {high:g}")
        return number


TARGET: Final = Parameter("target", "the name of a configured target", required=True)
limit_parameter = partial(Parameter, "limit", type="integer", minimum=1)


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation of the API.

    name: the operation's OpenAPI id, if it is not derived from the path.
    answer: the type that the handler returns; None for an object described elsewhere; `str` for a line of text. A
        handler that needs another status or media type returns a `Response`.
    body: the type of the JSON body of a POST. The content type must be JSON, because another site's page can make a
        browser send JSON only after a CORS preflight.
    refuses: the error statuses, each with its meaning. Every operation also gets 401 and 403.
    role: the role that a caller needs, if it does not follow from the method; `own` if the handler checks credentials.
    changes_by: parameters with which a GET is a write.
    also: other media types of the response.
    """

    path: str
    summary: str
    handler: Callable[[WebParts, Arguments, Request], Awaitable[Any]]
    answer: Any
    parameters: tuple[Parameter, ...] = ()
    _: KW_ONLY
    refuses: Mapping[int, str]
    name: str = ""
    method: Literal["GET", "POST", "DELETE"] = "GET"
    body: Any = None
    role: Literal["read", "write", "export", "own"] | None = None
    changes_by: tuple[str, ...] = ()
    also: tuple[str, ...] = ()

    @property
    def needs(self) -> Literal["read", "write", "export", "own"]:
        """The role that a caller needs for this operation."""
        return self.role or ("read" if self.method == "GET" else "write")

    def route(self, web: WebParts) -> Route:
        """Return the route that serves this operation."""

        async def endpoint(request: Request) -> Response:
            arguments = {parameter.name: parameter.read(request) for parameter in self.parameters}
            if self.method == "POST" and (kind := content_kind(request)) != "application/json":
                raise RequestError(415, f"content-type is {kind or 'missing'!r}: send application/json")
            made = await self.handler(web, arguments, request)
            return made if isinstance(made, Response) else json_response(made)

        return Route(PREFIX + self.path, endpoint, methods=[self.method])


def json_response(value: Any, status: int = 200) -> Response:
    """Return a value as a JSON response."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")
