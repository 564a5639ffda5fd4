"""Run a service that uses every feature that needs Redis, so it calls every command and writes every key.

The caller passes a Redis and the port of a v2.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from shadowdiff.web.api import openapi_document
from tests.integration.service.conftest import balanced_and_still, settings, target

if TYPE_CHECKING:
    from tests.integration.service.conftest import World

NEW_KEYS = 80
"""More than the pairs after which a container counts as open-ended."""
LARGE = b'{"large": "%b"}' % (b"l" * 300_000)


def everything(url: str, port: int, **store: Any) -> dict[str, Any]:
    """Return a configuration that enables every use of Redis, with low limits."""
    shop = target(port, control={"url": f"http://127.0.0.1:{port}", "sample": 1.0})
    config = settings(
        url, shop, pairing={"window": "1s", "settle": "100ms", "claim_idle": "600ms"},
        samples={"keep": 4, "per_fingerprint": 2},
    )  # fmt: skip
    config["store"] |= store
    return config | {"webhooks": [{"url": f"http://127.0.0.1:{port}/hook"}]}


async def ask_for_everything(world: World) -> None:
    """Run every script and every read: pairs, orphans, rules, runs, noise, notes, gates, and each GET.

    There are more samples than the limits allow, per fingerprint and in total. Comparing one large pair takes longer
    than the time after which a worker counts as dead.
    """
    await world.both("large", LARGE)
    await world.both("line", b"a line of text", "/text", h_content_type="text/plain")
    for number in range(8):
        await world.both(f"a{number}", b'{"price": %d}' % number, f"/items/{number}")
    for number in range(5):
        await world.both(f"b{number}", b'{"price": 9, "of%d": 1}' % number, "/more")
    for number in range(NEW_KEYS):  # each pair has a key that no other pair has
        word = "".join(chr(ord("a") + number // 26**at % 26) for at in range(3))
        await world.both(f"c{number}", b'{"price": 9, "of": {"%b": 1}}' % f"user {word}".encode(), "/users")
    await world.mesh.record("alone", b"{}")
    await world.mesh.record("alone", b"{}")
    await world.service.until(balanced_and_still)
    made = {"target": "shop", "rule": {"ignore": "$.x"}, "author": "ada", "reason": "why", "confirm": True}
    why = {"author": "ada", "reason": "why"}
    await _posted(world, "rules", made)
    await _posted(world, "rules/preview", {"target": "shop", "rules": [{"ignore": "$.price"}]})
    await _posted(world, "runs?target=shop", why)
    for action in ("learn", "forget"):
        await _posted(world, "noise?target=shop", why | {"action": action})
    hook = {"name": "shop", "namespace": "a", "checksum": "1", "metadata": {"target": "shop"}}
    await _posted(world, "gates/flagger/open", hook)
    listed = await asyncio.to_thread(world.service.get, "rules")
    rule = listed["targets"][0]["rules"][0]["id"] if "targets" in listed else listed["rules"][0]["id"]
    found = (await asyncio.to_thread(world.service.get, "fingerprints?target=shop"))["fingerprints"][0]["id"]
    for part, body in (("state", {"state": "fixed"}), ("note", {"text": "seen"})):
        await _posted(world, f"fingerprints/{found}/{part}", body | {"author": "ada"})
    cause = (await asyncio.to_thread(world.service.get, "causes?target=shop&run=all"))["causes"][0]["id"]
    for part, body in (("state", {"state": "fixed"}), ("note", {"text": "seen"})):
        await _posted(world, f"causes/{cause}/{part}", body | {"author": "ada"})
    await _posted(world, "erasures", why | {"request_id": "alone"})
    sample = next(one for one in await world.samples() if one["request_id"] != "large")  # the large one is truncated
    for path, methods in openapi_document("0")["paths"].items():
        if "get" in methods:
            name = found if "fingerprints" in path else cause if "causes" in path else sample["id"]
            asked = path.removeprefix("/api/v1/").replace("{target}", "shop").replace("{id}", name)
            async with world.mesh.session.get(world.service.url("web", f"/api/v1/{asked}?target=shop")) as response:
                assert response.status == 200, (path, await response.text())
    gone = world.service.url("web", f"/api/v1/rules/{rule}?author=ada")
    async with world.mesh.session.delete(gone, headers={"content-type": "application/json"}) as response:
        assert response.status == 200, await response.text()


async def _posted(world: World, path: str, body: dict[str, Any]) -> None:
    async with world.mesh.session.post(world.service.url("web", f"/api/v1/{path}"), json=body) as response:
        assert response.status == 200, (path, await response.text())
