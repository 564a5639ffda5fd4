"""What must be said in so many words before a port stands open, and where secrets are read from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from shadowdiff.cli import main
from shadowdiff.config import ConfigError, load_config

if TYPE_CHECKING:
    from pathlib import Path

OPEN = "listen: {web_host: 0.0.0.0}\n"
ENV = {"TOKEN_A": "a" * 20, "TOKEN_B": "b" * 20, "SHORT": "short", "ODD": "ünreadable-in-a-header"}


def faults(tmp_path: Path, text: str, env: dict[str, str] | None = None) -> str:
    """Return what is wrong with a configuration; nothing for a sound one."""
    path = tmp_path / "shadowdiff.yaml"
    path.write_text(text)
    try:
        load_config(path, ENV | (env or {}))
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "shadowdiff.example"])
def test_a_port_that_others_reach_needs_a_word_on_who_may_come_in(tmp_path: Path, host: str) -> None:
    """The line names the ways out."""
    told = faults(tmp_path, f"listen: {{web_host: '{host}'}}")
    assert "listen.web_host: can be reached from elsewhere" in told
    assert "access.anonymous: read" in told


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_a_loopback_port_needs_none(tmp_path: Path, host: str) -> None:
    """This machine alone comes in."""
    assert faults(tmp_path, f"listen: {{web_host: '{host}'}}") == ""


@pytest.mark.parametrize(
    "said",
    [
        "access: {anonymous: read}",
        "access: {anonymous: none}",
        "access: {tokens: [{name: ci, secret: TOKEN_A}]}",
        "access: {proxy: {peers: [10.0.0.0/8, '::1']}}",
    ],
)
def test_any_word_will_do(tmp_path: Path, said: str) -> None:
    """Tokens, a proxy, or everyone in so many words."""
    assert faults(tmp_path, OPEN + said) == ""


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("access: {tokens: [{name: ci, secret: NOWHERE}]}", "access.tokens[0].secret: names the environment variable"),
        ("access: {tokens: [{name: ci, secret: SHORT}]}", "fewer than 16 characters"),
        ("access: {tokens: [{name: ci, secret: ODD}]}", "no header can carry"),
        ("access: {tokens: [{name: ci, secret: ./none}]}", "cannot be read"),
        ("access: {tokens: [{name: ci, secret: abcdefghijklmnopq}]}", "name where the secret is"),
        (
            "access: {tokens: [{name: ci, secret: TOKEN_A}, {name: ci, secret: TOKEN_B}]}",
            "access.tokens[1].name: is another",
        ),
        ("access: {proxy: {peers: [10.0.0.1/8]}}", "access.proxy.peers[0]: write a network"),
        ("access: {records: [TOKEN_A, SHORT]}", "access.records[1]: leads to fewer"),
        ("tls: {web: {cert: ./none.pem, key: ./none.key}}", "tls.web.cert: names a file that cannot be read"),
        ("store: {ca: ./none}", "store.ca: names a file that cannot be read"),
        ("store: {password: NOWHERE}", "store.password: names the environment variable NOWHERE"),
        ("store: {sentinel_password: NOWHERE}", "store.sentinel_password: names the environment variable NOWHERE"),
        (
            "store: {url: redis+cluster://a, sentinel_tls: true}",
            "store.sentinel_tls: is for sentinels: begin store.url",
        ),
    ],
)
def test_a_secret_or_file_that_is_not_there_is_a_fault(tmp_path: Path, said: str, told: str) -> None:
    """With its key, and never with the secret itself."""
    line = faults(tmp_path, said)
    assert told in line
    assert not any(secret in line for secret in ENV.values())


def test_a_variable_that_holds_a_secret_is_nobodys_setting(tmp_path: Path) -> None:
    """However much its name is like one."""
    text = "access: {records: [SHADOWDIFF_ACCESS_RECORDS]}"
    assert faults(tmp_path, text, {"SHADOWDIFF_ACCESS_RECORDS": "r" * 20}) == ""


def test_secrets_are_read_and_never_shown(tmp_path: Path) -> None:
    """From a variable or a file, white space around them left out."""
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
def test_a_secret_in_the_wrong_place_is_not_repeated(tmp_path: Path, said: str) -> None:
    """In a URL that was not escaped, in the place of its name, in a map for a list: the key is named alone."""
    line = faults(tmp_path, said)
    assert ": " in line
    assert not any(part in line for part in ("hunter2", "ter2", "hun/", "hun@"))


def test_what_takes_effect_is_shown_without_passwords(tmp_path: Path) -> None:
    """Whatever stands in a password that should have been escaped, and in a query."""
    for url in ("redis://me:hun@ter2@redis:6379/0", "redis://redis:6379/0?password=hunter2&username=me"):
        path = tmp_path / "shadowdiff.yaml"
        path.write_text(f'store: {{url: "{url}"}}')
        ran = CliRunner().invoke(main, ["check-config", str(path)])
        assert "***" in ran.output
        assert not any(part in ran.output for part in ("hunter2", "ter2"))
