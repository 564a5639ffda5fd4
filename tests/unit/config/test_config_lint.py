"""Test warnings about valid settings that cannot work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shadowdiff.config import load_config
from tests.fakes.shop_proto import descriptor_set

if TYPE_CHECKING:
    from pathlib import Path

PROXY = "access: {proxy: {peers: [10.0.0.0/8], "
_A = "name: a, hosts: [a], candidate: {url: 'http://v2'}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("drain: 1s", ["targets"]),
        ("pairing: {window: 15s}\ntargets: [{A!}]", ["targets[0].candidate.timeout"]),
        ("pairing: {window: 15001ms}\ntargets: [{A!}]", []),
        ("targets: [{A!, control: {url: 'http://c', timeout: 30s}}]", ["targets[0].control.timeout"]),
        ("targets: [{A!, control: {url: 'http://v2'}}]", ["targets[0].control.url"]),
        ("targets: [{A!, control: {url: 'http://c', sample: 0}}]", ["targets[0].control.sample"]),
        ("targets: [{A!, sample: 0}]", ["targets[0].sample"]),
        ("targets: [{A!, gate: {max_mismatch_ratio: 0}}]", ["targets[0].gate.max_mismatch_ratio"]),
        ("targets: [{A!, gate: {min_coverage: 1}}]", ["targets[0].gate.min_coverage"]),
        ("targets: [{A!, routes: [POST /x, GET /y, /z]}]", ["targets[0].routes[0]"]),
        ("targets: [{A!, methods: [POST /x], routes: [POST /x, POST /y]}]", ["targets[0].routes[1]"]),
        ("targets: [{A!, graphql: [/g], routes: [POST /g], rules: [{ignore: $.a, methods: [POST]}]}]", []),
        ("targets: [{A!, graphql: [/g, /a//b]}]", ["targets[0].graphql[1]"]),
        ("targets: [{A!, methods: [POST, POST /x]}]", ["targets[0].methods[1]"]),
        (
            "targets: [{A!, include: [POST /x, GET /y, /z], exclude: [/z]}]",
            ["targets[0].include[0]", "targets[0].include[2]"],
        ),
        ("targets: [{A!, exclude: [{path: PUT /a*}, {header: {x-a: b}}]}]", ["targets[0].exclude[0]"]),
        ("targets: [{A!, methods: [POST /a;b/x]}]", ["targets[0].methods[0]"]),
        ("targets: [{A!, methods: ['POST /{any}'], routes: ['POST /x{y}']}]", ["targets[0].routes[0]"]),
        ("targets: [{A!, methods: [POST /x], rules: [{ignore: $.a, methods: [POST]}]}]", []),
        ("targets: [{A!, body_types: {POST /x: text/plain, GET /y: text/xml}}]", ["targets[0].body_types.POST /x"]),
        ("targets: [{name: a, hosts: [a], candidate: {url: 'http://A'}}]", ["targets[0].candidate.url"]),
        ("targets: [{A!}, {name: b, hosts: [A], candidate: {url: 'http://b2'}}]", ["targets[1].hosts[0]"]),
        ("targets: [{A!}, {name: b, hosts: [a-shadow], candidate: {url: 'http://b2'}}]", ["targets[0].hosts[0]"]),
        ("targets: [{A!}, {name: b, hosts: ['a:81'], candidate: {url: 'http://b2'}}]", []),
        ("limits: {in_flight_bytes: 1KiB}\ntargets: [{A!}]", ["limits.in_flight_bytes"]),
        ("limits: {compare_ms: 20000}\ntargets: [{A!}]", ["pairing.claim_idle"]),
        ("targets: [{name: a, hosts: [a], candidate: {url: 'http://127.0.0.1:8080'}}]", ["targets[0].candidate.url"]),
        ("targets: [{name: a, hosts: [a], candidate: {url: 'http://[::1]:8081/x'}}]", ["targets[0].candidate.url"]),
        ("targets: [{name: a, hosts: [a], candidate: {url: 'http://127.0.0.1:8083'}}]", []),
        ("targets: [{name: a, hosts: [a], candidate: {url: 'http://v2:8080'}}]", []),
        (
            "listen: {mirror: 80}\ntargets: [{name: a, hosts: [a], candidate: {url: 'http://localhost'}}]",
            ["targets[0].candidate.url"],
        ),
        ("targets: [{A!, control: {url: 'http://0.0.0.0:8080'}}]", ["targets[0].control.url"]),
        ("redaction: {names: [pageToken], allow: [x, page_token]}\ntargets: [{A!}]", ["redaction.allow[1]"]),
        ("redaction: {names: [own], allow: [page_token]}\ntargets: [{A!}]", []),
        ("store: {shards: 4}\ntargets: [{A!}]", ["store.shards"]),
        (PROXY + "targets: {team: [a], sre: ['*']}, read: ['*'], write: [sre]}}\ntargets: [{A!}]", []),
        (PROXY + "targets: {team: [a]}, read: ['*'], write: [sre]}}\ntargets: [{A!}]", ["access.proxy.write[0]"]),
        (PROXY + "targets: {team: [a], x: [a]}, read: [team]}}\ntargets: [{A!}]", ["access.proxy.targets"]),
        (PROXY + "read: [team], export: [sre]}}\ntargets: [{A!}]", []),
        ("targets: [{A!, rules: [{ignore: $}]}]", ["targets[0].rules[0]"]),
        ("targets: [{A!, rules: [{ignore: $.a}, {ignore: $.a.b}]}]", ["targets[0].rules[1]"]),
        ("targets: [{A!, rules: [{ignore: '$[3:1]'}, {ignore: '$[1:3]'}]}]", ["targets[0].rules[0]"]),
        ("targets: [{A!, rules: [{ignore: header.date}, {ignore: header.x-id}]}]", ["targets[0].rules[0]"]),
        ("targets: [{A!, headers: {compare: [date]}, rules: [{ignore: header.date}]}]", []),
        ("targets: [{A!, headers: {exclude: ['x-id*']}, rules: [{ignore: header.x-id}]}]", ["targets[0].rules[0]"]),
        ("targets: [{A!, rules: [{ignore: $.a, expires: 2020-01-01}]}]", ["targets[0].rules[0]"]),
        ("targets: [{A!, rules: [{ignore: $.a, methods: [POST]}]}]", ["targets[0].rules[0]"]),
        ("targets: [{A!, methods: [POST], rules: [{ignore: $.a, methods: [POST]}]}]", []),
    ],
)
def test_a_warning_names_the_key_that_cannot_work(tmp_path: Path, text: str, expected: list[str]) -> None:
    """Each contradiction gives one warning at its key. A similar setting that works gives no warning."""
    path = tmp_path / "s.yaml"
    path.write_text(text.replace("A!", _A))
    warnings = load_config(path, {}).warnings
    assert expected == [warning.split(": ")[1] for warning in warnings]


def test_a_window_shorter_than_the_default_timeouts_suggests_values(tmp_path: Path) -> None:
    """The warning names both settings, and values that work."""
    path = tmp_path / "s.yaml"
    path.write_text(f"pairing: {{window: 10s}}\ntargets: [{{{_A}}}]")
    (warning,) = load_config(path, {}).warnings
    assert "is 10s, candidate.queue_timeout 5s: together they must be less than pairing.window, 10s" in warning
    assert warning.endswith("write, for example, timeout: 6s and queue_timeout: 3s")
    candidate = "candidate: {url: 'http://v2', timeout: 6s, queue_timeout: 3s}"
    path.write_text(f"pairing: {{window: 10s}}\ntargets: [{{name: a, hosts: [a], {candidate}}}]")
    assert () == load_config(path, {}).warnings


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("", ["targets[0].methods"]),
        (", methods: [POST]", []),
        (", protobuf: {descriptor_set: shop.pb, answers: {GET /x: shop.v1.Product}}", []),
    ],
)
def test_descriptors_without_post_give_a_warning(more: str, expected: list[str], tmp_path: Path) -> None:
    """Every gRPC call is a POST, which targets do not forward by default."""
    (tmp_path / "shop.pb").write_bytes(descriptor_set())
    given = more if "protobuf" in more else f", protobuf: {{descriptor_set: shop.pb}}{more}"
    path = tmp_path / "s.yaml"
    path.write_text(f"targets: [{{{_A}{given}}}]")
    warnings = load_config(path, {}).warnings
    assert expected == [warning.split(": ")[1] for warning in warnings]
