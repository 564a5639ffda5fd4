"""What is allowed and cannot work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shadowdiff.config import load_config

if TYPE_CHECKING:
    from pathlib import Path

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
        ("targets: [{name: a, hosts: [a], candidate: {url: 'http://A'}}]", ["targets[0].candidate.url"]),
        ("targets: [{A!}, {name: b, hosts: [A], candidate: {url: 'http://b2'}}]", ["targets[1].hosts[0]"]),
        ("targets: [{A!}, {name: b, hosts: [a-shadow], candidate: {url: 'http://b2'}}]", ["targets[0].hosts[0]"]),
        ("targets: [{A!}, {name: b, hosts: ['a:81'], candidate: {url: 'http://b2'}}]", []),
        ("limits: {in_flight_bytes: 1KiB}\ntargets: [{A!}]", ["limits.in_flight_bytes"]),
        ("limits: {compare_ms: 20000}\ntargets: [{A!}]", ["pairing.claim_idle"]),
        ("store: {shards: 4}\ntargets: [{A!}]", ["store.shards"]),
    ],
)
def test_a_warning_names_the_key_that_cannot_work(tmp_path: Path, text: str, expected: list[str]) -> None:
    """Each contradiction gives one warning at its key, and its neighbour that works gives none."""
    path = tmp_path / "s.yaml"
    path.write_text(text.replace("A!", _A))
    warnings = load_config(path, {}).warnings
    assert expected == [warning.split(": ")[1] for warning in warnings]
