"""Check docs/api.md against the code in both directions."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from shadowdiff.web.api import OPERATIONS
from shadowdiff.web.operation import PREFIX

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "api.md").read_text()
REFERENCE = (ROOT / "docs" / "api-reference.md").read_text()


def test_every_address_of_the_api_is_in_the_docs_and_no_other() -> None:
    """The docs list exactly the paths that the API serves."""
    documented = set(re.findall(r"^\| `(/api/v1/[^`]+)` \|", PAGE, re.MULTILINE))
    assert {*(PREFIX + operation.path for operation in OPERATIONS), f"{PREFIX}/openapi.json"} == documented


def test_every_parameter_is_in_the_docs() -> None:
    """The docs have the name of every parameter."""
    for operation in OPERATIONS:
        for parameter in operation.parameters:
            shown = f"{{{parameter.name}}}" if parameter.where == "path" else f"`{parameter.name}`"
            assert shown in PAGE


def test_every_choice_of_a_parameter_is_in_the_docs() -> None:
    """The docs list every allowed value."""
    choices = {choice for operation in OPERATIONS for parameter in operation.parameters for choice in parameter.choices}
    assert {choice for choice in choices if f"`{choice}`" not in PAGE} == set()


def test_the_pictures_are_there() -> None:
    """Each linked image exists."""
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", PAGE)
    assert pictures
    assert [] == [name for name in pictures if not (Path(__file__).parents[3] / "docs" / name).is_file()]


def test_the_reference_of_every_operation_is_the_current_one() -> None:
    """`python scripts/draw_api_reference.py` was run after the last change of parameters, roles or errors."""
    command = [sys.executable, "scripts/draw_api_reference.py", "--check"]
    assert 0 == subprocess.run(command, cwd=ROOT, timeout=60, check=False).returncode


def test_every_operation_documents_its_parameters_role_and_errors() -> None:
    """The test reads the generated page by its headings, as a reader does."""
    sections = dict(re.findall(r"^## (\w+ /\S+)\n(.*?)(?=^## |\Z)", REFERENCE, re.MULTILINE | re.DOTALL))
    assert [f"{operation.method} {PREFIX}{operation.path}" for operation in OPERATIONS] == list(sections)
    for operation in OPERATIONS:
        section = sections[f"{operation.method} {PREFIX}{operation.path}"]
        rows = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
        assert [parameter.name for parameter in operation.parameters] == rows
        assert ("hooks" if operation.needs == "own" else f"`{operation.needs}`") in section
        assert [] == [status for status in operation.refuses if f"{status} " not in section]
