"""A reload applies a valid configuration. If the new configuration has an error, the service uses the old one."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.integration.service.conftest import JSON, World, metrics_of, serving, settings, target
from tests.integration.service.scripts import always, echoes_the_path, response, v2
from tests.running import WITHIN_S, Service

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import RedisServer

    Change = Callable[[dict[str, Any]], str | None]

DIFFERS = response(b'{"side": "v2"}', "200 OK", f"content-type: {JSON}")
RELOADED = "shadowdiff_config_last_reload_successful"
RELOADED_AT = "shadowdiff_config_last_reload_timestamp_seconds"
WRONG = "config reload failed; keeping previous: "
COVERS = [{"ignore": "$.side", "reason": "the side says who it is"}]
DEEP = 100_000


def _text(config: dict[str, Any], **changes: Any) -> str:
    """Return a file with a changed target and a rule that covers the difference; the rule must not be applied."""
    (shop,) = config["targets"]
    return yaml.safe_dump(config | {"targets": [shop | {"rules": COVERS} | changes]})


FAULTS: dict[str, tuple[Change, str]] = {
    "syntax": (lambda config: _text(config) + "drain: [1s\n", "shadowdiff.yaml:"),
    "no file": (lambda _config: None, "shadowdiff.yaml: cannot be read: No such file or directory"),
    "no text": (lambda _config: "\0", "shadowdiff.yaml:1: is not UTF-8 text"),
    "a wrong value": (lambda config: _text(config, sample=7), "targets[0].sample: "),
    "an unknown key": (lambda config: _text(config, smaple=1), "targets[0].smaple: "),
    "a wrong rule": (lambda config: _text(config, rules=[*COVERS, {"ignore": "$["}]), "targets[0].rules[1]"),
    "no secret": (lambda config: _text(config | {"access": {"records": ["/none/token"]}}), "access.records[0]: "),
    "nested without end": (lambda _config: "targets: " + "[" * DEEP, "is not YAML: it is nested too deep"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_wrong_file_changes_nothing(redis_server: RedisServer, tmp_path: Path, fault: str) -> None:
    """A log line names the key or the line, a metric reports the error, and pairs are compared as before."""
    change, expected = FAULTS[fault]
    config = settings(redis_server.url, store={"prefix": f"wrong{time.monotonic_ns()}"})
    async with v2(always(DIFFERS)) as port:
        config["targets"] = [target(port)]
        async with serving(tmp_path, config) as world:
            file = world.service.write()
            right = yaml.safe_load(file.read_text())
            assert 1.0 == (await metrics_of(world.service))[RELOADED, ()]
            await _reload(world.service, change(right))
            assert 0.0 == (await metrics_of(world.service))[RELOADED, ()]
            (said,) = [line for line in world.service.log.splitlines() if WRONG in line]
            assert expected in said
            assert "Traceback" not in world.service.log
            await world.both("after-wrong", b'{"side": "v1"}')
            await world.until(pairs__mismatch=1, pairs__ready=1)
            await _reload(world.service, _text(right))
            assert 1.0 == (await metrics_of(world.service))[RELOADED, ()]
            await world.both("after-right", b'{"side": "v1"}')
            await world.until(pairs__mismatch=1, pairs__ignored=1, pairs__ready=2)


async def test_each_wrong_file_is_logged(redis_server: RedisServer, tmp_path: Path) -> None:
    """Several invalid files in quick succession each get a log line."""
    config = settings(redis_server.url, target(), store={"prefix": f"each{time.monotonic_ns()}"})
    async with serving(tmp_path, config) as world:
        right = yaml.safe_load(world.service.write().read_text())
        wrong = [(change(right), expected) for change, expected in FAULTS.values()]
        for text, _ in wrong:
            await _reload(world.service, text)
        said = [line for line in world.service.log.splitlines() if WRONG in line]
        assert len(wrong) == len(said)
        assert [] == [line for line, (_, expected) in zip(said, wrong, strict=True) if expected not in line]


async def test_correct_file_adds_targets_and_rules(redis_server: RedisServer, tmp_path: Path) -> None:
    """After SIGHUP, pairs of a new target are compared, and a new rule covers an old difference."""
    config = settings(redis_server.url, store={"prefix": f"right{time.monotonic_ns()}"})
    async with v2(always(DIFFERS)) as port, v2(echoes_the_path(lambda _path: b'{"side": "v1"}')) as other:
        config["targets"] = [target(port)]
        async with serving(tmp_path, config) as world:
            await world.both("before", b'{"side": "v1"}')
            await world.until(pairs__mismatch=1)
            await _take(world.service, config, target(port, rules=COVERS), target(other, "added"))
            await world.both("after", b'{"side": "v1"}')
            await world.until(pairs__mismatch=1, pairs__ignored=1)
            world.mesh.host = "added"
            added = World(world.service, world.mesh, "added")
            await added.both("new", b'{"side": "v1"}')
            await added.until(pairs__match=1, pairs__ready=1)


async def test_removed_target_returns(redis_server: RedisServer, tmp_path: Path) -> None:
    """If a reload removes a target and a later reload restores it, waiting pairs of the target are compared."""
    config = settings(redis_server.url, store={"prefix": f"returns{time.monotonic_ns()}"})
    async with v2(always(DIFFERS)) as port:
        config["targets"] = [target(port)]
        async with serving(tmp_path, config) as world:
            assert await world.mesh.record("parted", b'{"side": "v1"}', h_content_type=JSON) == 202
            await world.service.until(lambda books: books["observations"]["primary"]["waiting"] == 1)
            await _take(world.service, config, target(port, "other"))
            await _take(world.service, config, target(port))
            assert await world.mesh.mirror("parted") == 202
            await world.until(pairs__mismatch=1, pairs__ready=1)


async def _take(service: Service, config: dict[str, Any], *targets: dict[str, Any]) -> None:
    """Reload the service with other targets."""
    service.config = config | {"targets": list(targets)}
    await _reload(service, service.write().read_text())


async def _reload(service: Service, text: str | None) -> None:
    """Write another file, or remove it; send SIGHUP, and wait until the service has processed it."""
    before = (await metrics_of(service))[RELOADED_AT, ()]
    file = service.write()
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    service.send(signal.SIGHUP)
    async with asyncio.timeout(WITHIN_S):
        while before == (await metrics_of(service))[RELOADED_AT, ()]:  # noqa: ASYNC110 - another process has no event
            await asyncio.sleep(0.02)
