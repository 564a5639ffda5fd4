"""Test the settings of requests to the candidate and the control. Each bad value gives one line with key and fix."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml
from click.testing import CliRunner

from shadowdiff.cli import main
from shadowdiff.config import ConfigError, load_config

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "hunter2-hunter2"
ENV = {"V2_TOKEN": TOKEN, "BREAK": "a\r\nx-evil: 1", "ODD": "ünreadable", "EMPTY": ""}


def problems(folder: Path, candidate: str, *, url: str = "https://v2", side: str = "candidate") -> str:
    """Return the problems of a candidate or a control with these settings."""
    path = folder / "s.yaml"
    sent = f"{{url: '{url}', {candidate}}}"
    both = sent if side == "candidate" else f"{{url: 'http://v2'}}, control: {sent}"
    path.write_text(f"targets: [{{name: a, hosts: [a], candidate: {both}}}]")
    try:
        return "\n".join(load_config(path, ENV).warnings)
    except ConfigError as error:
        return str(error)


BAD = [
    ("headers: {set: {Host: x}}", "headers.set.Host: cannot be changed here; candidate.host selects the Host header"),
    ("headers: {replace: {connection: x}}", "headers.replace.connection: cannot be changed, because each connection"),
    ("headers: {set: {transfer-encoding: chunked}}", "headers.set.transfer-encoding: cannot be changed"),
    ("headers: {remove: [Content-Length]}", "headers.remove[0]: cannot be changed"),
    (
        "headers: {remove: [x-shadowdiff]}",
        "headers.remove[0]: cannot be changed, because each connection or shadowdiff",
    ),
    ("headers: {set: {baggage: x}}", "headers.set.baggage: cannot be changed"),
    ("headers: {set: {'x y': x}}", "headers.set.x y: write the name of a header"),
    ('headers: {set: {"x\\r\\ny": x}}', "headers.set.x y: write the name of a header"),
    (
        'headers: {set: {x-a: "a\\r\\nb"}}',
        "headers.set.x-a: has characters that a request cannot contain",
    ),
    (
        "headers: {set: {x-a: '${BREAK}'}}",
        "headers.set.x-a: names a secret with characters that a",
    ),
    ("headers: {set: {x-a: '${ODD}'}}", "headers.set.x-a: names a secret with characters that a"),
    ("headers: {set: {x-a: '${EMPTY}'}}", "headers.set.x-a: names the environment variable EMPTY, which is not set"),
    ("headers: {set: {x-a: '${NOWHERE}'}}", "headers.set.x-a: names the environment variable NOWHERE"),
    ("headers: {set: {x-a: '${./nowhere}'}}", "headers.set.x-a: names a file that cannot be read"),
    ("headers: {set: {x-a: '${V2_TOKEN'}}", "headers.set.x-a: has ${ without }; write ${NAME}"),
    (
        "headers: {set: {x-a: '${v2 token}'}}",
        "headers.set.x-a: has ${…} with neither a variable nor a path",
    ),
    ("headers: {set: {x-a: 1}}", "headers.set.x-a: write text, in quotes if it looks like a number"),
    (f"headers: {{set: {{authorization: Bearer {TOKEN}}}}}", "headers.set.authorization: must not contain the secret"),
    (f"headers: {{replace: {{x-api-key: {TOKEN}}}}}", "headers.replace.x-api-key: must not contain the secret itself"),
    (f"query: {{set: {{api_key: {TOKEN}}}}}", "query.set.api_key: must not contain the secret itself; write ${NAME}"),
    (f"headers: {{set: {TOKEN}}}", "headers.set: write keys and values"),
    (f"headers: {{sett: {{x: {TOKEN}}}}}", "headers.sett: unknown setting; did you mean set?"),
    (f"headers: [{{set: {{x: {TOKEN}}}}}]", "headers: write keys and values"),
    ("path_prefix: {v1: /v2}", "path_prefix.v1: write the beginning of a path, such as /v1"),
    ("path_prefix: {/v1: '/v2?x'}", "path_prefix./v1: write the beginning of a path, such as /v1"),
    ('path_prefix: {/v1: "/v2 HTTP/1.1\\r\\nx: y"}', "path_prefix./v1: write the beginning of a path"),
    ("limits: {rate: 0}", "limits.rate: write more than 0"),
    ("limits: {rate: .inf}", "limits.rate: write a number"),
    ("limits: {concurrency: 0}", "limits.concurrency: write 1 or more"),
    ("server_name: 'a b'", "server_name: write a name in the certificate"),
    ("ca: ./nowhere.pem", "ca: names a file that cannot be read: No such file or directory"),
    ("cert_key: ./s.pem", "cert_key: names a file that cannot be read"),
]


@pytest.mark.parametrize("side", ["candidate", "control"])
@pytest.mark.parametrize(("settings", "expected"), BAD)
def test_a_bad_value_gives_one_line_without_secrets(settings: str, expected: str, side: str, tmp_path: Path) -> None:
    """The line names the key and the fix, for a candidate and for a control."""
    line, *others = problems(tmp_path, settings, side=side).splitlines()
    assert f"targets[0].{side}.{expected}" in line
    assert [] == [other for other in others if "cert_key: needs" not in other]
    assert not any(secret in line for secret in (TOKEN, "x-evil", "ünreadable"))


@pytest.mark.parametrize("setting", ["ca: /dev/null", "cert: /dev/null", "cert_key: /dev/null", "server_name: v2"])
def test_tls_settings_need_https(setting: str, tmp_path: Path) -> None:
    """Over plain HTTP they would have no effect."""
    expected = f"targets[0].candidate.{setting.partition(':')[0]}: is for TLS: begin candidate.url with https://"
    assert expected in problems(tmp_path, setting, url="http://v2")


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def test_tls_files_must_fit(tmp_path: Path) -> None:
    """The files are loaded at once, so that no request meets a file that cannot be used."""
    for name in ("one", "two"):
        key, cert = str(tmp_path / f"{name}.key"), str(tmp_path / f"{name}.pem")
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                 "-keyout", key, "-out", cert, "-subj", f"/CN={name}")  # fmt: skip
    _openssl("pkey", "-in", str(tmp_path / "one.key"), "-aes256", "-passout", "pass:x", "-out", str(tmp_path / "shut"))
    (tmp_path / "text").write_text("no certificate")

    def found(settings: str) -> str:
        return problems(tmp_path, settings.replace("./", f"{tmp_path}/")).partition("targets[0].candidate.")[2]

    assert "" == found("ca: ./one.pem, cert: ./two.pem, cert_key: ./two.key, server_name: one")
    assert found("ca: ./text").startswith("ca: names a file that has no certificate in PEM format (got ")
    assert found("ca: ./").startswith("ca: names a file that cannot be read: Is a directory")
    for settings in ("cert_key: ./one.key", "cert_key: ./shut", "cert_key: ./text"):
        assert found(f"cert: ./two.pem, {settings}").startswith("cert: names a file that does not fit cert_key; write")
    assert found("cert: ./one.pem").startswith("cert: names a file that does not fit cert_key")
    assert found("cert_key: ./one.key").startswith("cert_key: needs candidate.cert, the certificate of this key")


def test_a_limit_above_the_concurrency_gives_a_warning(tmp_path: Path) -> None:
    """Such a limit is never reached."""
    warning = problems(tmp_path, "concurrency: 8, limits: {concurrency: 9}")
    assert "targets[0].candidate.limits.concurrency: has no effect, because candidate.concurrency is 8" in warning


def test_values_come_from_variables_and_files_and_are_never_shown(tmp_path: Path) -> None:
    """`check-config` prints where each secret is. The value itself is only in the request."""
    (tmp_path / "key").write_text(f" {TOKEN}\n")
    path = tmp_path / "s.yaml"
    from_file = {"cookie": f"${{{tmp_path}/key}}"}
    headers = {"set": {"Authorization": "Bearer ${V2_TOKEN}", "x-env": "shadow"}, "replace": from_file}
    candidate = {"url": "http://v2", "headers": headers, "query": {"set": {"key": "${V2_TOKEN}"}}}
    path.write_text(yaml.safe_dump({"targets": [{"name": "a", "hosts": ["a"], "candidate": candidate}]}))
    config = load_config(path, ENV)
    sent = config.targets[0].target.candidate
    assert [f"Bearer {TOKEN}".encode(), b"shadow"] == [value.reveal() for value in sent.headers.set.values()]
    assert ["authorization", "x-env"] == list(sent.headers.set)
    assert TOKEN.encode() == sent.headers.replace["cookie"].reveal()
    assert [TOKEN.encode()] * 3 == sent.secrets()
    assert TOKEN not in repr(config) + str(config)
    shown = CliRunner().invoke(main, ["check-config", str(path)], env=ENV | {"SHADOWDIFF_CONFIG": ""})
    assert (0, True, False) == (shown.exit_code, "Bearer ${V2_TOKEN}" in shown.output, TOKEN in shown.output)


def test_a_variable_in_a_text_is_no_misspelled_setting(tmp_path: Path) -> None:
    """The variable is accepted even if its name resembles that of a setting."""
    path = tmp_path / "s.yaml"
    headers = "{set: {authorization: 'Bearer ${SHADOWDIFF_STORE_KEYS}'}}"
    path.write_text(f"targets: [{{name: a, hosts: [a], candidate: {{url: 'http://v2', headers: {headers}}}}}]")
    assert load_config(path, {"SHADOWDIFF_STORE_KEYS": TOKEN}).targets[0].target.candidate.secrets() == [TOKEN.encode()]


def test_a_wildcard_is_a_host(tmp_path: Path) -> None:
    """It may have a port. A wildcard in another place is an error."""
    path = tmp_path / "s.yaml"
    path.write_text("targets: [{name: a, hosts: ['*.shop.example', '*.x:80'], candidate: {url: 'http://v2'}}]")
    assert ("*.shop.example", "*.x:80") == load_config(path, {}).targets[0].target.hosts
    for host in ("*", "a.*.b", "*a.b", "*."):
        path.write_text(f"targets: [{{name: a, hosts: ['{host}'], candidate: {{url: 'http://v2'}}}}]")
        with pytest.raises(ConfigError, match=r"targets\[0\].hosts\[0\]: write a host, such as"):
            load_config(path, {})
