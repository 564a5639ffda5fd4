"""Test who can use the web port, with which role and which credentials."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import fakeredis
import pytest
from starlette.requests import Request

from shadowdiff.config import AccessConfig, ProxyConfig, Secret, TokenConfig
from shadowdiff.queries.errors import RequestError
from shadowdiff.report import Redactor, TriageWriter
from shadowdiff.rule_changes.added_rules import RuleBook
from shadowdiff.store import Store
from shadowdiff.web import create_web
from shadowdiff.web.access import Access
from shadowdiff.web.audit import MAX_ENTRIES, AuditLog
from tests.fakes.asgi import Answer, get, post_form
from tests.fakes.shop import NOW_MS, open_shop, replace_parts, web_parts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.applications import Starlette

READER, WRITER = "reader-token-0123456789", "writer-token-0123456789"
TOKENS = (
    TokenConfig(name="ci", role="read", secret=Secret(READER.encode())),
    TokenConfig(name="release", role="write", secret=Secret(WRITER.encode())),
)
PROXY = ProxyConfig(
    peers=("127.0.0.0/8",), user_header="x-user", groups_header="x-groups", read=("dev",), write=("sre",)
)
RULE = b'{"target": "shop", "rule": {"ignore": "$.price"}, "author": "ada", "reason": "sale", "confirm": true}'
ORIGIN = "http://shadowdiff.example"


class Door:
    """A web port with access control, its store, and a clock that the test controls."""

    def __init__(self, config: AccessConfig, *, is_loopback: bool = False) -> None:
        self.now_ms = NOW_MS
        self.store = Store(fakeredis.FakeAsyncRedis())
        access = Access(config, is_loopback=is_loopback)
        book = RuleBook(self.store, lambda: NOW_MS, lambda: None)
        redact = Redactor(b"a key").text
        self.audit = AuditLog(self.store, lambda: self.now_ms, redact)
        state = replace_parts(
            web_parts(open_shop()),
            book=book,
            audit=self.audit,
            redact=redact,
            triage=TriageWriter(self.store, lambda: self.now_ms, redact),
            access=lambda: access,
            now_ms=lambda: self.now_ms,
        )
        self.app: Starlette = create_web(state)

    async def ask(self, path: str, **headers: str) -> Answer:
        """Request a path."""
        return await get(self.app, path, "GET", b"", None, **headers)

    async def make_rule(self, **headers: str) -> Answer:
        """Request a new rule."""
        return await get(self.app, "/api/v1/rules", "POST", RULE, "application/json", **headers)


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    """Yield a port with two tokens and a proxy."""
    made = Door(AccessConfig(tokens=TOKENS, proxy=PROXY))
    yield made
    await made.store.close()


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def test_without_credentials_nothing_is_read_or_changed(door: Door) -> None:
    """The API names the missing credentials, a page redirects to the form, and the style of the form is served."""
    refused = await get(door.app, "/api/v1/targets")
    assert (refused.status, refused.headers["www-authenticate"]) == (401, 'Bearer realm="shadowdiff"')
    page = await get(door.app, "/targets/shop?route=GET%20/")
    assert (page.status, page.headers["location"]) == (303, "/login?next=%2Ftargets%2Fshop%3Froute%3DGET%2520%2F")
    assert [(await door.ask(path)).status for path in ("/login", "/static/style.css")] == [200, 200]
    assert (await door.make_rule()).status == 401
    assert (await get(door.app, "/nothing", "PUT")).status == 401


async def test_a_token_reads_or_writes_by_its_role(door: Door) -> None:
    """Both roles can read and preview, but only one can write."""
    assert (await door.ask("/api/v1/targets", **bearer(READER))).status == 200
    tried = b'{"target": "shop", "rules": [{"ignore": "$.price"}]}'
    preview = await get(door.app, "/api/v1/rules/preview", "POST", tried, "application/json", **bearer(READER))
    assert preview.status == 200
    refused = await door.make_rule(**bearer(READER))
    assert (refused.status, refused.json["error"]) == (403, "ci needs the role write for this request")
    assert (await door.make_rule(**bearer(WRITER))).status == 200


async def test_asking_for_a_revision_is_a_write(door: Door) -> None:
    """A new revision starts a run, and so discards evidence."""
    asked = "/api/v1/verdict?target=shop"
    assert (await door.ask(asked, **bearer(READER))).status == 200
    assert (await door.ask(f"{asked}&revision=", **bearer(READER))).status == 200
    assert (await door.ask(f"{asked}&revision=v9", **bearer(READER))).status == 403
    assert (await door.ask(f"{asked}&revision=v9", **bearer(WRITER))).status == 200


@pytest.mark.parametrize("token", ["", "x", READER[:-1], READER + "x", READER.upper(), "\x00", "é" * 30])
async def test_a_wrong_token_is_refused(door: Door, token: str) -> None:
    """The port rejects similar tokens, and tokens with any characters."""
    assert (await door.ask("/api/v1/targets", **bearer(token))).status == 401


async def test_after_too_many_wrong_tokens_an_address_waits(door: Door) -> None:
    """A minute without tries resets the limit. Logged-in users are not affected."""
    login = await log_in(door, READER)
    statuses = [(await door.ask("/api/v1/targets", **bearer("wrong"))).status for _ in range(12)]
    assert statuses == [401] * 10 + [429] * 2
    assert (await door.ask("/api/v1/targets", **bearer(READER))).status == 429
    assert (await door.ask("/api/v1/targets", cookie=login)).status == 200
    assert (await post_form(door.app, "/login", {"token": READER})).status == 429
    door.now_ms += 60_000
    assert (await door.ask("/api/v1/targets", **bearer(READER))).status == 200


async def log_in(door: Door, token: str) -> str:
    """Return the cookie of a login."""
    answer = await post_form(door.app, "/login", {"token": token, "next": "/rules"})
    assert (answer.status, answer.headers["location"]) == (303, "/rules")
    cookie, *marks = answer.headers["set-cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=43200"} == set(marks)
    assert token not in cookie
    return cookie


async def test_a_browser_logs_in_and_writes_with_the_token_of_the_page(door: Door) -> None:
    """The user has the name of the token."""
    cookie = await log_in(door, WRITER)
    page = await get(door.app, "/rules", cookie=cookie)
    assert "Log out release" in page.text
    (csrf,) = set(re.findall(r'name="csrf" value="([^"]+)"', page.text))
    fields = {"do": "add", "target": "shop", "rule": "{ignore: $.price}", "author": "ada", "reason": "sale"}
    made = await post_form(door.app, "/rules", fields | {"csrf": csrf}, cookie=cookie)
    assert made.status == 303
    (entry,) = (await door.ask("/api/v1/audit", cookie=cookie)).json["entries"]
    assert (entry["user"], entry["auth"], entry["source"], entry["action"]) == (
        "release", "login", "127.0.0.1", "rule added",
    )  # fmt: skip
    assert entry["details"]["author"] == "ada (release)"
    assert "rule added" in (await door.ask("/audit", cookie=cookie)).text


async def test_a_login_writes_only_from_these_pages(door: Door) -> None:
    """The cookie alone is not enough, because a browser sends it automatically."""
    cookie = await log_in(door, WRITER)
    page = (await door.ask("/rules", cookie=cookie)).text
    csrf = re.findall(r'name="csrf" value="([^"]+)"', page)[0]
    own = {"cookie": cookie, "origin": ORIGIN, "sec_fetch_site": "same-origin"}
    refused: list[dict[str, str]] = [
        {"cookie": cookie},
        {"cookie": cookie, "x_csrf_token": csrf},
        own,
        own | {"x_csrf_token": csrf[:-1]},
        own | {"x_csrf_token": ""},
        own | {"x_csrf_token": csrf, "origin": "https://elsewhere.example"},
        own | {"x_csrf_token": csrf, "origin": "null"},
        own | {"x_csrf_token": csrf, "sec_fetch_site": "same-site"},
        own | {"x_csrf_token": csrf, "sec_fetch_site": "cross-site"},
    ]
    assert [(await door.make_rule(**headers)).status for headers in refused] == [403] * len(refused)
    assert (await door.make_rule(**own, x_csrf_token=csrf)).status == 200
    asked = "/api/v1/verdict?target=shop&revision=v9"
    assert (await door.ask(asked, cookie=cookie, sec_fetch_site="cross-site")).status == 403


async def test_logging_in_needs_the_form_of_these_pages_too(door: Door) -> None:
    """Without the form's token, another site could log a browser in as another user."""
    given = {"token": READER}
    assert (await post_form(door.app, "/login", given, origin="https://elsewhere.example")).status == 403
    assert (await post_form(door.app, "/login", given, cookie="a=b")).status == 403
    assert (await post_form(door.app, "/login", given | {"csrf": "other"})).status == 403
    page = await get(door.app, "/login")
    cookie, *marks = page.headers["set-cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} == set(marks)
    csrf = re.findall(r'name="csrf" value="([^"]+)"', page.text)[0]
    assert (await post_form(door.app, "/login", given | {"csrf": csrf}, cookie=cookie)).status == 303


@pytest.mark.parametrize("back", ["https://elsewhere.example", "//elsewhere.example", "/\\elsewhere", "", "x\r\ny"])
async def test_the_way_back_after_a_login_stays_here(door: Door, back: str) -> None:
    """No link to the form redirects to another site."""
    answer = await post_form(door.app, "/login", {"token": READER, "next": back})
    assert (answer.status, answer.headers["location"]) == (303, "/")


async def test_a_login_ends_with_its_time_its_token_or_a_click(door: Door) -> None:
    """A change of any part of the cookie invalidates it."""
    cookie = await log_in(door, READER)
    name, _, value = cookie.partition("=")
    forged = [value.replace("ci~", "release~"), value[:-2] + "AA", value + "x", "ci~", "~", ""]
    assert [(await door.ask("/api/v1/targets", cookie=f"{name}={one}")).status for one in forged] == [401] * 6
    changed = (TokenConfig(name="ci", role="read", secret=Secret(b"another-token-0123456789")), TOKENS[1])
    later = Door(AccessConfig(tokens=changed))
    assert (await later.ask("/api/v1/targets", cookie=cookie)).status == 401
    replica = Door(AccessConfig(tokens=TOKENS))
    assert (await replica.ask("/api/v1/targets", cookie=cookie)).status == 200
    short = Access(AccessConfig(tokens=TOKENS), is_loopback=False)
    short.session_s = -1
    assert short.of_login(value) is None
    csrf = re.findall(r'name="csrf" value="([^"]+)"', (await door.ask("/", cookie=cookie)).text)[0]
    gone = await post_form(door.app, "/logout", {"csrf": csrf}, cookie=cookie)
    assert (gone.status, gone.headers["set-cookie"].split("; ")[0]) == (303, f"{name}=")
    for one in (later, replica):
        await one.store.close()


async def test_a_trusted_proxy_names_the_user_and_the_groups(door: Door) -> None:
    """The groups determine the role. A script sends a token instead."""
    named = {"x_user": "ada", "x_groups": "dev, ops"}
    assert (await door.ask("/api/v1/targets", **named)).status == 200
    assert (await door.ask("/api/v1/targets", x_user="ada", x_groups="ops")).status == 403
    assert (await door.ask("/api/v1/targets", x_user=" ", x_groups="dev")).status == 401
    assert (await door.make_rule(x_user="ada", x_groups="sre")).status == 403
    page = await get(door.app, "/rules", x_user="ada", x_groups="sre")
    csrf = re.findall(r'name="csrf" value="([^"]+)"', page.text)[0]
    cookie = page.headers["set-cookie"].split("; ")[0]
    sent = {"cookie": cookie, "origin": "https://diff.example", "x_forwarded_host": "diff.example"}
    made = await door.make_rule(
        x_user="ada", x_groups="sre", x_csrf_token=csrf, x_forwarded_for="9.9.9.9, 1.2.3.4", **sent
    )
    assert made.status == 200
    (entry,) = await door.audit.newest(5)
    assert (entry.user, entry.auth, entry.source) == ("ada", "proxy", "1.2.3.4")


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ("guests", {"read": set[str]()}),
        ("shop-team", {"read": {"shop"}, "write": {"shop"}}),
        ("shop-team,cart-team", {"read": {"shop", "cart"}, "write": {"shop", "cart"}}),
        ("shop-team,cart-readers", {"read": {"shop", "cart"}, "write": {"shop"}}),
        ("privacy", {"read": None, "export": None}),
        ("sre,shop-team", {"read": None, "write": None}),
    ],
)
async def test_each_role_of_a_user_has_the_targets_of_the_groups_that_grant_it(
    groups: str, expected: dict[str, set[str] | None]
) -> None:
    """A group that only reads a target does not widen where another group may write."""
    config = ProxyConfig(
        peers=("127.0.0.0/8",), user_header="x-user", groups_header="x-groups",
        read=("*",), write=("shop-team", "cart-team", "sre"), export=("privacy",),
        targets={"shop-team": ("shop",), "cart-team": ("cart",), "cart-readers": ("cart",), "sre": ("*",)}
        | {"privacy": ("*", "shop")},
    )  # fmt: skip
    headers = [(b"x-user", b"ada"), (b"x-groups", groups.encode())]
    request = Request({"type": "http", "client": ("127.0.0.1", 1), "headers": headers})
    caller = Access(AccessConfig(proxy=config), is_loopback=False).of_proxy(request)
    assert caller is not None
    assert {
        role: targets if targets is None else frozenset(targets) for role, targets in expected.items()
    } == caller.roles


def test_a_hook_token_of_a_target_is_not_accepted_as_a_bearer_token() -> None:
    """It only calls hooks, and a bearer token is no hook token."""
    hook = TokenConfig(name="flagger", role="hook", secret=Secret(b"hook-token-0123456789"), targets=("shop",))
    access = Access(AccessConfig(tokens=(*TOKENS, hook)), is_loopback=False, hook_token=b"all-hooks-0123456789")
    assert frozenset({"shop"}) == access.hook_targets("hook-token-0123456789", "1.2.3.4", 0)
    assert access.hook_targets("all-hooks-0123456789", "1.2.3.4", 0) is None
    with pytest.raises(RequestError, match="configured token"):
        access.hook_targets(WRITER, "1.2.3.4", 0)
    caller = access.check_token("hook-token-0123456789", "1.2.3.4", 0)
    assert caller is not None
    assert {} == caller.roles


async def test_a_head_request_needs_the_role_of_its_get(door: Door) -> None:
    """A HEAD request runs the same handler, so a new revision in it starts a run."""
    asked = "/api/v1/verdict?target=shop&revision=v9"
    answers = [await get(door.app, asked, "HEAD", b"", None, authorization=f"Bearer {one}") for one in (READER, WRITER)]
    assert [403, 200] == [answer.status for answer in answers]


async def test_headers_of_other_peers_than_the_proxy_are_ignored() -> None:
    """The headers of other clients are ignored. A header that occurs twice was added by a client."""
    named = {"x_user": "ada", "x_groups": "sre"}
    elsewhere = Door(AccessConfig(proxy=replace_peers(("10.0.0.0/8",))))
    assert (await elsewhere.ask("/api/v1/targets", **named)).status == 401
    assert (await elsewhere.ask("/", **named)).status == 401
    door = Door(AccessConfig(proxy=PROXY))
    doubled = {"X_user": "root", "x_user": "ada", "x_groups": "sre"}
    assert (await door.ask("/api/v1/targets", **doubled)).status == 401
    assert (await door.ask("/api/v1/targets", X_groups="sre", **named)).status == 401
    for one in (elsewhere, door):
        await one.store.close()


def replace_peers(peers: tuple[str, ...]) -> ProxyConfig:
    return ProxyConfig(
        peers=peers,
        user_header=PROXY.user_header,
        groups_header=PROXY.groups_header,
        read=PROXY.read,
        write=PROXY.write,
    )


@pytest.mark.parametrize(
    ("config", "is_loopback", "expected"),
    [
        (AccessConfig(), True, (200, 403, 200)),
        (AccessConfig(), False, (401, 401, 401)),
        (AccessConfig(anonymous="none"), True, (401, 401, 401)),
        (AccessConfig(anonymous="read"), False, (200, 401, 401)),
        (AccessConfig(anonymous="write"), False, (200, 200, 200)),
        (AccessConfig(tokens=TOKENS), True, (401, 401, 401)),
        (AccessConfig(tokens=TOKENS, anonymous="read"), False, (200, 401, 401)),
    ],
)
async def test_the_permissions_of_callers_without_credentials(
    config: AccessConfig, is_loopback: bool, expected: tuple[int, int, int]
) -> None:
    """Callers without credentials can read, write from elsewhere, or write from this machine, as configured."""
    door = Door(config, is_loopback=is_loopback)
    answers = (
        await get(door.app, "/api/v1/targets"),
        await door.make_rule(),
        await door.make_rule(host="localhost"),
    )
    assert tuple(answer.status for answer in answers) == expected
    await door.store.close()


async def test_a_browser_on_this_machine_needs_the_token_of_a_form_too() -> None:
    """A request from this machine does not prove that a user sent it."""
    door = Door(AccessConfig(), is_loopback=True)
    local = {"host": "localhost", "origin": "http://localhost", "sec_fetch_site": "same-origin"}
    assert (await door.make_rule(**local)).status == 403
    given = {"cookie": "shadowdiff_csrf=t0ken", "x_csrf_token": "t0ken"}
    assert (await door.make_rule(**local, **given)).status == 200
    await door.store.close()


async def test_the_audit_is_bounded_and_so_is_each_entry(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    """Many changes use bounded memory, and the newest ones are kept."""
    long = RULE.replace(b"sale", b"s" * 900)
    with caplog.at_level("INFO"):
        made = await get(door.app, "/api/v1/rules", "POST", long, "application/json", **bearer(WRITER))
    assert made.status == 200
    (line,) = [record for record in caplog.records if record.getMessage() == "audit: rule added"]
    said: dict[str, Any] = vars(line)
    assert (said["user"], said["auth"], said["source"], said["author"]) == (
        "release",
        "token",
        "127.0.0.1",
        "ada (release)",
    )
    name = door.store.keys.name(0, "audit")
    (entry,) = await door.audit.newest(5)
    assert len(entry.details["reason"]) == 501
    await door.store.command("RPUSH", name, *[b"{}"] * (MAX_ENTRIES + 5))
    gone = await get(door.app, f"/api/v1/rules/{made.json['id']}?author=bob", "DELETE", b"", None, **bearer(WRITER))
    assert gone.status == 200
    assert int(await door.store.command("LLEN", name)) == MAX_ENTRIES
    assert [one.action for one in await door.audit.newest(10)] == ["rule removed", "rule added"]


async def test_rejected_requests_and_previews_are_not_logged_as_changes(door: Door) -> None:
    """The audit log contains only changes."""
    await door.make_rule(**bearer(READER))
    await get(door.app, "/api/v1/rules", "POST", b"{}", "application/json", **bearer(WRITER))
    tried = {"do": "preview", "target": "shop", "rule": "{ignore: $.price}"}
    shown = await post_form(door.app, "/rules", tried, **bearer(WRITER))
    assert shown.status == 200
    assert await door.audit.newest(10) == []


async def test_an_identified_user_is_the_author_and_need_not_enter_a_name(door: Door) -> None:
    """Pages use the identity. In the API, a given name has priority."""
    cookie = await log_in(door, WRITER)
    (found, *_) = (await door.ask("/api/v1/fingerprints?target=shop", cookie=cookie)).json["fingerprints"]
    for path in (f"/fingerprints/{found['id']}", "/rules?target=shop"):
        page = (await door.ask(path, cookie=cookie)).text
        assert ("as release" in page, 'name="author"' in page) == (True, False)
    (csrf,) = set(re.findall(r'name="csrf" value="([^"]+)"', page))
    for path, fields in {
        f"/fingerprints/{found['id']}": {"do": "state", "state": "fixed"},
        "/rules": {"do": "add", "target": "shop", "rule": "{ignore: $.price}", "reason": "sale"},
    }.items():
        assert (await post_form(door.app, path, fields | {"csrf": csrf}, cookie=cookie)).status == 303
    said = json.dumps({"text": "seen", "author": "ada"}).encode()
    noted = f"/api/v1/fingerprints/{found['id']}/note"
    assert (await get(door.app, noted, "POST", said, "application/json", **bearer(WRITER))).status == 200
    assert ["ada (release)", "release", "release"] == [one.details["author"] for one in await door.audit.newest(3)]


async def test_a_name_is_required_if_the_user_is_unknown() -> None:
    """An example is a loopback port without access settings."""
    door = Door(AccessConfig(), is_loopback=True)
    (found, *_) = (await door.ask("/api/v1/fingerprints?target=shop")).json["fingerprints"]
    assert 'name="author" required' in (await door.ask(f"/fingerprints/{found['id']}")).text
    assert 'name="author"' in (await door.ask("/rules?target=shop")).text
    await door.store.close()


async def test_a_secret_that_a_rule_quotes_is_redacted_in_the_audit(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    """The log and the store have the redacted text. The rule itself and its author are unchanged."""
    quoting = RULE.replace(b"$.price", b"$.users['jo@example.com']").replace(b"sale", b"asked by al@example.com")
    with caplog.at_level("INFO"):
        made = await get(door.app, "/api/v1/rules", "POST", quoting, "application/json", **bearer(WRITER))
    assert "jo@example.com" in made.text
    written = repr([vars(record) for record in caplog.records]) + repr(await door.audit.newest(5))
    assert [False, False, True] == [one in written for one in ("jo@example.com", "al@example.com", "ada (release)")]
