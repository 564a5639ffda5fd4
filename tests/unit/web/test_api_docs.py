"""docs/api.md, held against the code both ways."""

from __future__ import annotations

import re
from pathlib import Path

from shadowdiff.web.api import OPERATIONS
from shadowdiff.web.operation import PREFIX

PAGE = (Path(__file__).parents[3] / "docs" / "api.md").read_text()


def test_every_address_of_the_api_is_in_the_docs_and_no_other() -> None:
    """What is served is documented, and what is documented is served."""
    documented = set(re.findall(r"^\| `(/api/v1/[^`]+)` \|", PAGE, re.MULTILINE))
    assert {*(PREFIX + operation.path for operation in OPERATIONS), f"{PREFIX}/openapi.json"} == documented


def test_every_parameter_is_in_the_docs() -> None:
    """With its name, as it is given."""
    for operation in OPERATIONS:
        for parameter in operation.parameters:
            shown = f"{{{parameter.name}}}" if parameter.where == "path" else f"`{parameter.name}`"
            assert shown in PAGE


def test_every_choice_of_a_parameter_is_in_the_docs() -> None:
    """So that nobody has to guess."""
    choices = {choice for operation in OPERATIONS for parameter in operation.parameters for choice in parameter.choices}
    assert {choice for choice in choices if f"`{choice}`" not in PAGE} == set()


def test_the_pictures_are_there() -> None:
    """Each that is shown."""
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", PAGE)
    assert pictures
    assert [] == [name for name in pictures if not (Path(__file__).parents[3] / "docs" / name).is_file()]
