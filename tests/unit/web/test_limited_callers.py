"""Walk every route as a caller that is limited to one target: nothing shows that another target exists.

A request that names the other target gets the response of a request that names no target at all. A new operation or
page is part of the walk. The walk fails until it knows the new body, form or id.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlencode

import fakeredis
import pytest
from starlette.routing import Route

from shadowdiff.config import AccessConfig, Secret, TokenConfig
from shadowdiff.erasure.erasure import Eraser
from shadowdiff.queries.causes import WITHOUT_RUNS
from shadowdiff.report import CauseWrites, CountedRun, Redactor, ReportStage, SampleSettings, TriageWriter
from shadowdiff.rule_changes.added_rules import RuleBook
from shadowdiff.store import Store
from shadowdiff.verdict import count_writes, history_writes
from shadowdiff.web import create_web
from shadowdiff.web.access import Access
from shadowdiff.web.api import OPERATIONS
from shadowdiff.web.app import PAGES
from shadowdiff.web.audit import MAX_ENTRIES, AuditLog
from shadowdiff.web.operation import PREFIX
from tests.fakes.asgi import Answer, get
from tests.fakes.erasure import RecordedErasure
from tests.fakes.shop import NOW_MS, replace_parts, shop_target, web_parts
from tests.fakes.store_reader import MemoryStore
from tests.fakes.traffic import difference, mismatch, observation, pair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from starlette.applications import Starlette

from shadowdiff.model import Side

LIMITED, UNLIMITED, HOOK = "limited-token-0123456789", "unlimited-token-0123456", "hook-token-0123456789012"
NAMES: Final = ("shop", "vault")
"""The target that the limited caller may use, and the other target. Everything about the latter contains its name."""
FORM: Final = "application/x-www-form-urlencoded"
AUTHOR: Final = {"author": "ada", "reason": "why"}
WITHOUT_TARGETS: Final = {"/login", "/static/{name}", f"{PREFIX}/openapi.json", "/live", "/logout"}
EMPTY: Final = {f"{PREFIX}/runs", f"{PREFIX}/suggestions"}
"""Operations that name no target in this test, because no run has started and there are only a few samples."""
UNAVAILABLE: Final = 501
"""Runs and noise are not part of the web port in this test."""


class Ids(NamedTuple):
    """What a request about one target names."""

    target: str
    sample: str
    fingerprint: str
    rule: str
    cause: str = "0" * 12

    def of(self, path: str) -> str:
        """Return a path with these ids. A new kind of id must be added here."""
        kinds = {
            "samples": self.sample,
            "fingerprints": self.fingerprint,
            "causes": self.cause,
            "rules": self.rule,
        }
        for name in re.findall(r"{(\w+)}", path):
            kind = re.findall(r"/(\w+)/{id}", path)
            path = path.replace(f"{{{name}}}", {"target": self.target, "name": "style.css"}.get(name) or kinds[kind[0]])
        return path


def bodies(ids: Ids) -> dict[str, Any]:
    """Return a valid body of each operation with a body. A new operation with a body must be added here."""
    flagger = {"name": "a", "namespace": "b", "metadata": {"target": ids.target, "token": HOOK}}
    return {
        "add-rule": AUTHOR | {"target": ids.target, "rule": {"ignore": "$.x"}},
        "preview-rules": {"target": ids.target, "rules": [{"ignore": "$.x"}], "without": [ids.rule]},
        "set-fingerprint-state": {"state": "fixed", "author": "ada"},
        "set-fingerprint-note": {"text": "seen", "author": "ada"},
        "set-cause-state": {"state": "fixed", "author": "ada"},
        "set-cause-note": {"text": "seen", "author": "ada"},
        "start-run": AUTHOR,
        "learn-noise": AUTHOR | {"action": "learn"},
        "erase": AUTHOR | {"target": ids.target, "request_id": "xyzzy"},
    } | {f"flagger-{hook}": flagger for hook in ("check", "promote", "rollback", "open", "event")}


def forms(ids: Ids) -> dict[str, list[dict[str, str]]]:
    """Return valid forms of each page with a form. A new page with a form must be added here."""
    rule = AUTHOR | {"target": ids.target, "rule": "{ignore: $.x}"}
    return {
        "/rules": [
            rule | {"do": "preview"},
            rule | {"do": "add"},
            rule | {"do": "preview-removal", "id": ids.rule},
            AUTHOR | {"do": "remove", "id": ids.rule},
        ],
        "/fingerprints/{id}": [
            {"do": "state", "state": "fixed", "author": "ada"},
            {"do": "note", "text": "x", "author": "ada"},
        ],
        "/causes/{id}": [
            {"do": "state", "state": "fixed", "author": "ada"},
            {"do": "note", "text": "x", "author": "ada"},
        ],
        "/erase": [
            AUTHOR | {"do": do, "kind": "request_id", "value": "xyzzy", "target": ids.target}
            for do in ("preview", "erase")
        ],
        "/login": [],
        "/logout": [],
    }


def requests(app: Starlette, ids: Ids) -> Iterator[tuple[str, str, str, bytes, str | None]]:
    """Yield requests to every route: its declared path, method, address, body, and type of the body."""
    declared = {(one.method, PREFIX + one.path): one for one in OPERATIONS}
    about = {"target": ids.target}
    for route in app.routes:
        assert isinstance(route, Route)
        for method in sorted(set(route.methods or ()) - {"HEAD"}):
            operation, address = declared.get((method, route.path)), ids.of(route.path)
            queries: list[dict[str, str]] = [{}, about]
            if operation:
                named = {one.name for one in operation.parameters}
                more = {"fingerprint": ids.fingerprint, "route": f"GET /{ids.target}/{{id}}", "author": "ada"}
                queries = [
                    *([{}] if "target" in named else ()),
                    {k: v for k, v in (about | more).items() if k in named},
                ]
                if operation.method == "POST":
                    body = json.dumps(bodies(ids)[operation.name]).encode()
                    yield route.path, method, f"{address}?{urlencode(queries[-1])}", body, "application/json"
                    continue
            elif method == "POST":
                for form in forms(ids)[route.path]:
                    yield route.path, method, address, urlencode({"csrf": "t", **form}).encode(), FORM
                continue
            elif method == "GET":
                difference_of = about | {"sample": ids.sample, "path": f"$['{ids.target}field']"}
                queries += [about | {"suggest": "1"}, difference_of, {"download": "1"}, about | {"added": ids.rule}]
            for query in queries:
                yield route.path, method, f"{address}?{urlencode(query)}", b"", None


class Port:
    """A web port with two targets that have samples, rules, counts and audited changes."""

    def __init__(self) -> None:
        self.store = Store(fakeredis.FakeAsyncRedis())
        token = {"limited": LIMITED, "unlimited": UNLIMITED, "hook": HOOK}
        tokens = tuple(
            TokenConfig(
                name=name,
                role="hook" if name == "hook" else "all",
                secret=Secret(secret.encode()),
                targets=("*",) if name == "unlimited" else ("shop",),
            )
            for name, secret in token.items()
        )
        access = Access(AccessConfig(tokens=tokens), is_loopback=False)
        redact = Redactor(b"a key").text
        self.audit = AuditLog(self.store, lambda: NOW_MS, redact)
        self.book = RuleBook(self.store, lambda: NOW_MS, lambda: None)
        counts = MemoryStore(lambda: NOW_MS / 1000)
        report = ReportStage(SampleSettings(redactor=Redactor(b"a key")))
        causes = CauseWrites(
            lambda _: CountedRun(WITHOUT_RUNS), lambda _: True, lambda _pair, _difference, _bit, text: text
        )
        for number, name in enumerate(NAMES):
            seen: dict[str, Any] = {"target": name, "path": f"/{name}/1", "host": name, "id": f"{name}-id"}
            one = pair(
                observation(Side.PRIMARY, b'{"a": "%b 1"}' % name.encode(), **seen),
                observation(Side.CANDIDATE, b'{"a": "%b 2"}' % name.encode(), **seen),
                number=number, target=name, route=f"GET /{name}/{{id}}",
            )  # fmt: skip
            found = mismatch(difference(f"$['{name}field']"))
            for writes in (
                count_writes(one, found),
                report(one, found, NOW_MS),
                history_writes(one, found, NOW_MS),
                causes(one, found, NOW_MS),
            ):
                counts.commit(writes)
        parts = web_parts(counts, targets=tuple(map(shop_target, NAMES)))
        self.queries = parts.queries
        parts = replace_parts(
            parts,
            book=self.book, audit=self.audit, redact=redact, access=lambda: access,
            triage=TriageWriter(self.store, lambda: NOW_MS, redact),
            eraser=Eraser(self.queries, RecordedErasure(), Redactor(b"a key"), lambda: self.book.added),  # pyright: ignore[reportArgumentType]
        )  # fmt: skip
        parts.closing.set()  # so that the stream of events ends
        self.app = create_web(parts)

    async def ids(self, target: str) -> Ids:
        """Return the ids of a target's data. Add a rule and an audited change, if it has none."""
        rule = next((one.id for one in self.book.added if one.target == target), None)
        if rule is None:
            rule = (await self.book.add(target, {"ignore": f"$.{target}rule"}, "ada", "why")).id
            entry = {"user": "ada", "auth": "token", "source": "1.2.3.4", "action": "x", "target": target}
            line = json.dumps(entry | {"at_ms": NOW_MS, "details": {"of": target}})
            await self.store.command("LPUSH", self.store.keys.name(0, "audit"), line)
        found = await self.ask(f"{PREFIX}/samples?target={target}", UNLIMITED)
        (sample,) = found.json["samples"]
        (cause,) = (await self.ask(f"{PREFIX}/causes?target={target}", UNLIMITED)).json["causes"]
        return Ids(target, sample["id"], sample["fingerprint"], rule, cause["id"])

    async def requests(self, target: str) -> AsyncIterator[tuple[str, str, str, bytes, str | None]]:
        """Yield requests about a target to every route; some of them remove its rule."""
        for at in range(len(list(requests(self.app, await self.ids(target))))):
            yield list(requests(self.app, await self.ids(target)))[at]

    async def ask(
        self, address: str, token: str, method: str = "GET", body: bytes = b"", kind: str | None = None
    ) -> Answer:
        """Send one request with a token."""
        cookie = "shadowdiff_csrf=t"
        return await get(self.app, address, method, body, kind, authorization=f"Bearer {token}", cookie=cookie)


@pytest.fixture
async def port() -> AsyncIterator[Port]:
    """Yield a port with data of both targets."""
    made = Port()
    yield made
    await made.store.close()


def renamed(text: str, ids: Ids, ghost: Ids) -> str:
    """Return a text with the ids of a target replaced by those of another."""
    for one, other in zip(ids, ghost, strict=True):
        text = text.replace(one, other)
    return text


async def test_a_limited_caller_cannot_tell_another_target_from_a_missing_one(port: Port) -> None:
    """Statuses, texts and counts are the same, and no page, list, error or audit entry names the other target."""
    await port.ids("shop")
    other = await port.ids("vault")
    ghost = Ids("ghost", other.sample.replace("vault", "ghost"), "0" * 12, "0" * len(other.rule))
    missing = list(requests(port.app, ghost))
    for asked, instead in zip(requests(port.app, other), missing, strict=True):
        _, method, address, body, kind = asked
        answer = await port.ask(address, LIMITED, method, body, kind)
        expected = await port.ask(instead[2], LIMITED, method, instead[3], kind)
        assert (expected.status, expected.text) == (answer.status, renamed(answer.text, other, ghost)), asked
        assert "vault" not in expected.text, asked
    assert [] == [one for one in await port.audit.newest(MAX_ENTRIES) if one.user != "ada"]


async def test_the_walk_reaches_the_data_of_every_route(port: Port) -> None:
    """Else the test above would prove nothing: without a limit, the same requests succeed and name the target."""
    ids = await port.ids("vault")
    named: dict[tuple[str, str], bool] = {}
    async for path, method, address, body, kind in port.requests("vault"):
        token = HOOK if "flagger" in path else UNLIMITED
        answer = await port.ask(address, token, method, body, kind)
        if "flagger" not in path and address.partition("?")[2]:
            assert answer.status < 400 or answer.status == UNAVAILABLE, (method, address, answer.text)
        named[method, path] = (
            named.get((method, path), False) or "vault" in answer.text or ids.fingerprint in answer.text
        )
    reads = {path for (method, path), is_named in named.items() if method == "GET" and not is_named}
    assert WITHOUT_TARGETS | EMPTY >= reads


async def test_a_limited_caller_can_use_its_own_target(port: Port) -> None:
    """The limit rejects no request about the caller's own target."""
    await port.ids("vault")
    async for path, method, address, body, kind in port.requests("shop"):
        answer = await port.ask(address, LIMITED, method, body, kind)
        query = address.partition("?")[2]
        assert answer.status < 400 or answer.status == UNAVAILABLE or not query, (path, address, answer.text)
        assert "vault" not in answer.text
    for name in ("check", "promote", "rollback", "open", "event"):
        hook = {"name": "a", "namespace": "b", "metadata": {"token": HOOK}}
        answer = await port.ask(
            f"{PREFIX}/gates/flagger/{name}", LIMITED, "POST", json.dumps(hook).encode(), "application/json"
        )
        assert (400, False, True) == (answer.status, "vault" in answer.text, "shop" in answer.text)


async def test_a_role_is_limited_in_every_page_that_is_declared(port: Port) -> None:
    """The walk includes every declared page and operation."""
    walked = {(method, path) for path, method, *_ in requests(port.app, Ids("shop", "shop-0", "0", "0"))}
    declared = {*PAGES, *((one.method, PREFIX + one.path) for one in OPERATIONS)}
    assert {("POST", "/login"), ("POST", "/logout")} == declared - walked


async def test_an_entry_without_a_target_is_hidden_from_limited_callers(port: Port) -> None:
    """Such a change may concern another target. A limited caller sees all entries of its own target."""
    entry = {"at_ms": 1, "user": "ada", "auth": "token", "source": "s", "action": "POST /vault"}
    mine = entry | {"target": "shop", "action": "mine"}
    name = port.store.keys.name(0, "audit")
    await port.store.command("RPUSH", name, json.dumps(entry), *[json.dumps(entry)] * 200, json.dumps(mine))
    shown = await port.ask(f"{PREFIX}/audit?limit=1", LIMITED)
    assert ["mine"] == [one["action"] for one in shown.json["entries"]]
    assert 1 == len((await port.ask(f"{PREFIX}/audit?limit=1", UNLIMITED)).json["entries"])
    assert "mine" == (await port.audit.newest(MAX_ENTRIES))[-1].action


async def test_the_ledger_of_unknown_hosts_needs_all_targets(port: Port) -> None:
    """Requests for unknown hosts may be requests for another target."""
    for path in (f"{PREFIX}/ledger?target=_unknown", "/ledger?target=_unknown"):
        assert [200, 404] == [(await port.ask(path, token)).status for token in (UNLIMITED, LIMITED)]
    assert "unknown hosts" not in (await port.ask("/ledger", LIMITED)).text


async def test_background_tasks_use_every_target(port: Port) -> None:
    """Metrics, webhooks and indexes do not depend on a request."""
    await port.ask("/", LIMITED)
    assert [*NAMES] == port.queries.names


async def test_exports_recordings_and_replays_need_their_own_role_and_are_audited() -> None:
    """An operation that takes data out of the service cannot be declared with another role."""
    words = re.compile(r"export|record|replay")
    out = {one.name for one in OPERATIONS if words.search(f"{one.name} {one.path}")}
    assert {"export-sample"} <= out
    assert out == {one.name for one in OPERATIONS if one.needs == "export"}


@pytest.mark.parametrize("role", ["read", "write", "export", "all"])
async def test_only_the_role_export_exports(port: Port, role: str) -> None:
    """Exports are audited with their target; HEAD and an escaped address need the role, too."""
    ids = await port.ids("shop")
    config = TokenConfig(name="one", role=role, secret=Secret(LIMITED.encode()))  # pyright: ignore[reportArgumentType]
    access = Access(AccessConfig(tokens=(config,)), is_loopback=False)
    app = create_web(replace_parts(web_parts(port.queries.reader), access=lambda: access, audit=port.audit))  # pyright: ignore[reportArgumentType]
    export = f"{PREFIX}/samples/{ids.sample}/export"
    files = [f"/samples/{ids.sample}?download=1", f"/fingerprints/{ids.fingerprint}?download=1"]

    async def status(address: str, method: str = "GET") -> int:
        return (await get(app, address, method, authorization=f"Bearer {LIMITED}")).status

    before = len(await port.audit.newest(MAX_ENTRIES))
    statuses = [await status(address) for address in (export, *files)]
    may_export = role in {"export", "all"}
    assert [200 if may_export else 403] * 3 == statuses
    assert (200 if may_export else 403) == await status(export, "HEAD")
    assert 200 != await status(f"{PREFIX}/samples/{ids.sample}%3Fx/export")
    assert 200 == await status(f"/samples/{ids.sample}")
    entries = (await port.audit.newest(MAX_ENTRIES))[: -before or None]
    expected = ["sample exported", "fingerprint exported", "sample exported", "sample exported"]
    assert (expected if may_export else []) == [one.action for one in entries]
    assert {("one", "shop")} >= {(one.user, one.target) for one in entries}
