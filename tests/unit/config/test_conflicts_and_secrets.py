"""Open ports need an explicit setting. Secrets are read from variables and files and never shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from shadowdiff.cli import main
from shadowdiff.config import ConfigError, load_config
from shadowdiff.config.document import Document
from shadowdiff.config.validate import validate

if TYPE_CHECKING:
    from pathlib import Path

    from shadowdiff.config.problem import Problem

OPEN = "listen: {web_host: 0.0.0.0}\n"
ENV = {"TOKEN_A": "a" * 20, "TOKEN_B": "b" * 20, "SHORT": "short", "ODD": "ünreadable-in-a-header"}


def faults(tmp_path: Path, text: str, env: dict[str, str] | None = None) -> str:
    """Return the faults of a configuration, or an empty list if it is valid."""
    path = tmp_path / "shadowdiff.yaml"
    path.write_text(text)
    try:
        load_config(path, ENV | (env or {}))
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "shadowdiff.example"])
def test_an_open_web_port_needs_an_access_setting(tmp_path: Path, host: str) -> None:
    """The error lists the possible fixes."""
    messages = faults(tmp_path, f"listen: {{web_host: '{host}'}}")
    assert "listen.web_host: can be reached from other machines" in messages
    assert "access.anonymous: read" in messages


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_a_loopback_port_needs_no_access_setting(tmp_path: Path, host: str) -> None:
    """Only this machine can reach it."""
    assert faults(tmp_path, f"listen: {{web_host: '{host}'}}") == ""


SHOP = "\ntargets: [{name: shop, hosts: [shop], candidate: {url: 'http://v2'}}]"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            "access: {tokens: [{name: ci, secret: TOKEN_A, targets: [shop, shap]}]}",
            'access.tokens[0].targets[1]: is no configured target; write shop, * (* means all) (got "shap")',
        ),
        (
            "access: {proxy: {peers: ['::1'], targets: {team: [shap]}}}",
            'access.proxy.targets.team[0]: is no configured target; write shop, * (* means all) (got "shap")',
        ),
        (
            "access: {tokens: [{name: ci, secret: TOKEN_A, targets: [Shop]}]}",
            "access.tokens[0].targets[0]: write the name of a target, such as recommendation, or * for all targets",
        ),
        (
            "access: {tokens: [{name: ci, secret: TOKEN_A, targets: []}]}",
            "access.tokens[0].targets: write at least one",
        ),
        ("access: {tokens: [{name: ci, secret: TOKEN_A, targets: shop}]}", "write a list, such as [a, b]"),
        (
            "access: {tokens: [{name: ci, secret: TOKEN_A, role: admin}]}",
            "access.tokens[0].role: write 'read', 'write', 'export', 'all' or 'hook' (got \"admin\")",
        ),
        ("access: {anonymous: hook}", "access.anonymous: write 'none', 'read', 'write', 'export' or 'all' (got"),
        ("access: {tokens: [{name: ci, secret: TOKEN_A, role: all, targets: [shop, '*']}]}", ""),
        ("access: {proxy: {peers: ['::1'], read: [team], targets: {team: [shop], '*': ['*']}}}", ""),
    ],
)
def test_a_limit_to_targets_names_configured_targets(tmp_path: Path, said: str, expected: str) -> None:
    """A name with a mistake would give a user no target, or later another one."""
    found = faults(tmp_path, said + SHOP)
    assert (expected in found) if expected else not found


@pytest.mark.parametrize(
    "said",
    [
        "access: {anonymous: read}",
        "access: {anonymous: none}",
        "access: {tokens: [{name: ci, secret: TOKEN_A}]}",
        "access: {proxy: {peers: [10.0.0.0/8, '::1']}}",
    ],
)
def test_any_access_setting_is_enough(tmp_path: Path, said: str) -> None:
    """Tokens, a proxy, or an explicit `anonymous` is enough."""
    assert faults(tmp_path, OPEN + said) == ""


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("access: {tokens: [{name: ci, secret: NOWHERE}]}", "access.tokens[0].secret: names the environment variable"),
        ("access: {tokens: [{name: ci, secret: SHORT}]}", "fewer than 16 characters"),
        ("access: {tokens: [{name: ci, secret: ODD}]}", "that a header cannot contain"),
        ("access: {tokens: [{name: ci, secret: ./none}]}", "cannot be read"),
        ("access: {tokens: [{name: ci, secret: abcdefghijklmnopq}]}", "write where the secret is stored"),
        (
            "access: {tokens: [{name: ci, secret: TOKEN_A}, {name: ci, secret: TOKEN_B}]}",
            "access.tokens[1].name: is also the name of access.tokens[0]",
        ),
        ("access: {proxy: {peers: [10.0.0.1/8]}}", "access.proxy.peers[0]: write a network"),
        ("access: {records: [TOKEN_A, SHORT]}", "access.records[1]: has fewer"),
        ("tls: {web: {cert: ./none.pem, key: ./none.key}}", "tls.web.cert: names a file that cannot be read"),
        ("store: {ca: ./none}", "store.ca: names a file that cannot be read"),
        ("store: {password: NOWHERE}", "store.password: names the environment variable NOWHERE"),
        ("store: {sentinel_password: NOWHERE}", "store.sentinel_password: names the environment variable NOWHERE"),
        (
            "store: {url: redis+cluster://a, sentinel_tls: true}",
            "store.sentinel_tls: works only with sentinels: begin store.url",
        ),
    ],
)
def test_an_unusable_secret_or_file_is_a_fault(tmp_path: Path, said: str, message: str) -> None:
    """The error has the key, and never the secret itself."""
    line = faults(tmp_path, said)
    assert message in line
    assert not any(secret in line for secret in ENV.values())


def test_a_variable_with_a_secret_is_no_misspelled_setting(tmp_path: Path) -> None:
    """The variable is accepted even if its name resembles that of a setting."""
    text = "access: {records: [SHADOWDIFF_ACCESS_RECORDS]}"
    assert faults(tmp_path, text, {"SHADOWDIFF_ACCESS_RECORDS": "r" * 20}) == ""


def test_secrets_are_read_and_never_shown(tmp_path: Path) -> None:
    """Secrets come from a variable or a file, without surrounding white space."""
    kept = tmp_path / "token"
    kept.write_text("  " + "f" * 20 + "\n")
    path = tmp_path / "shadowdiff.yaml"
    path.write_text(f"access: {{tokens: [{{name: ci, secret: {kept}}}], records: [TOKEN_B]}}")
    config = load_config(path, ENV)
    assert [token.secret.reveal() for token in config.access.tokens] == [b"f" * 20]
    assert [secret.reveal() for secret in config.access.records] == [b"b" * 20]
    assert "f" * 20 not in repr(config)


SLIPS = (
    'store: {url: "redis://me:hun/ter2@redis:6379/0"}',
    'store: {url: "redis://me:hun@ter2 @redis:6379/0"}',
    'store: {url: "redis://me:@hunter2@redis:6379/0 "}',
    'store: {url: ["redis://redis:6379/0?password=hunter2"]}',
    "store: {password: hunter2, key: hunter2}",
    'store: [{password: hunter2, key: hunter2, url: "redis://me:hunter2@redis"}]',
    "access: {tokens: [{name: ci, secret: hunter2-is-my-token}]}",
    "access: {tokens: {name: ci, secret: hunter2-is-my-token}}",
    "access: {records: [hunter2-is-my-token], hooks: hunter2-is-my-token}",
    "access: {records: {a: 1}, hooks: [hunter2-is-my-token]}",
    'webhooks: [{url: "https://hooks.example/T0/hunter2 "}]',
    'webhooks: {url: "https://hooks.example/T0/hunter2", secret: hunter2}',
    'web: {trace_url: "https://me:hunter2@jaeger.example/{trace_id}"}',
    'telemetry: {otlp: "http://me:hunter2@otel:4318"}',
    'targets: [{name: a, hosts: [a], candidate: {url: "http://me:hunter2@v2"}}]',
)


@pytest.mark.parametrize("said", SLIPS)
def test_a_misplaced_secret_is_not_repeated(tmp_path: Path, said: str) -> None:
    """Only the key is shown for a secret in an unescaped URL, in place of its name, or in a map instead of a list."""
    line = faults(tmp_path, said)
    assert ": " in line
    assert not any(part in line for part in ("hunter2", "ter2", "hun/", "hun@"))


def test_the_effective_configuration_has_no_passwords(tmp_path: Path) -> None:
    """Passwords with unescaped characters and passwords in a query are hidden too."""
    for url in ("redis://me:hun@ter2@redis:6379/0", "redis://redis:6379/0?password=hunter2&username=me"):
        path = tmp_path / "shadowdiff.yaml"
        path.write_text(f'store: {{url: "{url}"}}')
        ran = CliRunner().invoke(main, ["check-config", str(path)])
        assert "***" in ran.output
        assert not any(part in ran.output for part in ("hunter2", "ter2"))


@pytest.mark.parametrize("source", ["hunter2", "not-a-variable", ""])
def test_a_secret_instead_of_its_source_is_an_error(source: str) -> None:
    """`istio snippets` reads no secrets, and rejects the same files as `serve`."""
    problems: list[Problem] = []
    document = Document(name="s.yaml", data={"store": {"password": source}})
    assert validate(document, problems) is None
    assert ["s.yaml: store.password: is neither the name of an environment variable nor a path with a /"] == [
        str(problem).partition(";")[0] for problem in problems
    ]
