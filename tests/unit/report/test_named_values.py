"""Hide secrets whose name is apart from the value."""

from __future__ import annotations

import pytest

from shadowdiff.report import Redactor

R = Redactor(b"a key")


@pytest.mark.parametrize(
    ("text", "media_type", "shown"),
    [
        ('[["password", "S"], ["user", "jo"]]', "", '[["password", "‹›"], ["user", "jo"]]'),
        ('["password", 42]', "", '["password", "‹›"]'),
        ('["password", "a", "b"]', "", '["password", "a", "b"]'),
        ('["user", "S"]', "", '["user", "S"]'),
        ('{"required": ["password", "email"]}', "", '{"required": ["password", "email"]}'),
        ('{"required" :\n ["password",\n "email"]}', "", '{"required" :\n ["password",\n "email"]}'),
        ('required: ["password", "email"]', "application/yaml", 'required: ["password", "email"]'),
        ('{"required": [["password", "S"]]}', "", '{"required": [["password", "‹›"]]}'),
        ('{"x-required": ["password", "S"]}', "", '{"x-required": ["password", "‹›"]}'),
        ('{"header": ["password", "S"]}', "", '{"header": ["password", "‹›"]}'),
        ("mysql --password S -h db", "", "mysql --password ‹› -h db"),
        ("curl --api-key 'S x' -v", "", "curl --api-key '‹›' -v"),
        ("tool --token --verbose", "", "tool --token --verbose"),
        ("non-token S", "", "non-token S"),
        ("id,password\r\n1,S\r\n2,\r\n", "text/csv", "id,password\r\n1,‹›\r\n2,\r\n"),
        ('id;"api key";z\n1;"S;S";3\n', "text/csv", 'id;"api key";z\n1;"‹›";3\n'),
        ("token\tid\nS\t1", "text/tab-separated-values", "token\tid\n‹›\t1"),
        ("id,password\n1,S\n", "text/plain", "id,password\n1,S\n"),
        ("id,name\n1,S\n", "text/csv", "id,name\n1,S\n"),
        ('password = """\nS\n"""\nb = 1', "", 'password = """‹›"""\nb = 1'),
    ],
)
def test_only_the_value_is_replaced(text: str, media_type: str, shown: str) -> None:
    """Redacting the result again does not change it."""
    stored = R.body(text.replace("S", "hunter2"), media_type)
    assert R.body(stored, media_type) == stored
    start, end = stored.find("‹"), stored.find("›")
    assert shown.replace("S", "hunter2") == (stored[: start + 1] + stored[end:] if start >= 0 else stored)
