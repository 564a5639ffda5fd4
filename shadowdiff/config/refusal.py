"""What pydantic refuses, in the words of a person who edits the file.

In: the data laid together, and where each path was written.  Out: the settings, or a `Problem` for each fault.
Holds: an unknown key is answered with the nearest setting, or with all that may stand there.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, Final, get_args

from pydantic import BaseModel, ValidationError

from shadowdiff.config import settings
from shadowdiff.config.environment import Origins, variable
from shadowdiff.config.problem import MISSING, Problem, path_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic_core import ErrorDetails

    from shadowdiff.config.document import Document

# What pydantic calls its refusals, in the words of a person who edits the file.
_RIGHT: Final = {
    "missing": "is required",
    "string_type": "write text, in quotes if it looks like a number",
    "int_type": "write a whole number",
    "int_parsing": "write a whole number",
    "int_from_float": "write a whole number",
    "float_type": "write a number",
    "float_parsing": "write a number",
    "tuple_type": "write a list, such as [a, b]",
    "dict_type": "write keys and values",
    "model_type": "write keys and values",
    "model_attributes_type": "write keys and values",
    "too_short": "write at least one",
    "string_too_short": "write something, or leave the key out",
    "greater_than_equal": "write {ge} or more",
    "greater_than": "write more than {gt}",
    "less_than_equal": "write {le} or less",
    "literal_error": "write {expected}",
    "enum": "write {expected}",
    "finite_number": "write a finite number",
}


class Place:
    """Where a path was written: its environment variable, or its line."""

    def __init__(self, document: Document, origins: Origins) -> None:
        self._document = document
        self._origins = origins

    def where(self, path: tuple[str | int, ...]) -> str:
        """Return the place of `path`, or of the nearest one above it."""
        for length in range(len(path), 0, -1):
            if path[:length] in self._origins:
                return self._origins[path[:length]]
        return self._document.where(path)

    def problem(self, path: tuple[str | int, ...], message: str, value: object = MISSING) -> Problem:
        """Return a fault at `path`."""
        return Problem(where=self.where(path), key=path_text(path), message=message, value=value)


def check(data: dict[str, Any], place: Place, problems: list[Problem]) -> settings.Root | None:
    """Return the settings, or None after adding a problem for each fault."""
    try:
        return settings.Root.model_validate(data)
    except ValidationError as error:
        problems.extend(_problem(fault, place) for fault in error.errors(include_url=False))
        return None


def _problem(fault: ErrorDetails, place: Place) -> Problem:
    path = tuple(fault["loc"])
    context = fault.get("ctx", {})
    if fault["type"] == "extra_forbidden":
        message = _unknown(path)
    elif fault["type"] == "value_error":
        message = str(context["error"])
    else:
        message = _RIGHT.get(fault["type"], fault["msg"]).format_map(context)
    silent = fault["type"] in {"missing", "extra_forbidden"} or not path
    return Problem(
        where=place.where(path), key=path_text(path), message=message, value=MISSING if silent else fault["input"]
    )


def _unknown(path: tuple[str | int, ...]) -> str:
    """Return what to say of a key that no setting has: the nearest one, or all of them."""
    names = list(keys_at(path[:-1]))
    near = difflib.get_close_matches(str(path[-1]).lower(), names, n=1, cutoff=0.5)
    return f"is no setting; did you mean {near[0]}?" if near else f"is no setting; there are {', '.join(names)}"


def keys_at(path: tuple[str | int, ...]) -> tuple[str, ...]:
    """Return the settings that may stand at `path` of the file."""
    model = settings.Root
    for part in path:
        if isinstance(part, str):
            model = next(_models(model.model_fields[part].annotation), model)
    return tuple(model.model_fields)


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    """Yield the settings' models inside a type such as `tuple[Model, ...]` or `Model | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def known_variables() -> tuple[str, ...]:
    """Return the environment variable of each setting outside the list of targets."""
    sections = {name: next(_models(field.annotation), None) for name, field in settings.Root.model_fields.items()}
    return tuple(
        variable((name, key) if key else (name,))
        for name, model in sections.items()
        for key in (model.model_fields if model and name not in {"targets", "webhooks"} else ("",))
    )
