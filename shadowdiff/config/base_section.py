"""The base of all sections of the configuration, and the declaration of one setting."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

SOURCE_HELP: Final = "Write the name of an environment variable or the path of a file (with a /) that contains it."
"""The end of the help text of each secret."""


def setting(default: Any, description: str, key: str | None = None, **bounds: Any) -> Any:
    """Declare a setting. default: `...` if it is required. key: in YAML, if it is not the field's name."""
    return Field(default, description=description, alias=key, **bounds)


class Section(BaseModel):
    """A part of the file. It rejects unknown keys and never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, validate_by_name=True)
