"""Test samples: a mismatch is stored, redacted and bounded, and a match is not stored."""

from __future__ import annotations

import base64
import json
import pickle
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from shadowdiff.model import Comparison, Failure, Keep, Kind, Later, Pair, Result, Side
from shadowdiff.report import (
    Redactor,
    ReportStage,
    Sample,
    SampleSettings,
    newest_samples,
    print_of,
    sample,
)
from shadowdiff.report.redaction import FORM, SOME
from shadowdiff.report.samples import NOT_STORED, SampleSource, encode_sample, keep_writes
from shadowdiff.report.secret_span import INLINE_WORK
from tests.fakes.samples import sample_writes
from tests.fakes.store_reader import MemoryStore
from tests.fakes.traffic import MATCH, PRODUCT, difference, mismatch, observation, pair

if TYPE_CHECKING:
    from collections.abc import Callable

AT_MS = 1_772_000_000_000
SETTINGS = SampleSettings(redactor=Redactor(b"a key"), keep=5, incomparable=2, body_bytes=1000, ttl_s=60)
INCOMPARABLE = Comparison(result=Result.INCOMPARABLE, reason="primary_5xx")


def _store(*comparisons: Comparison, settings: SampleSettings = SETTINGS) -> MemoryStore:
    store = MemoryStore()
    for number, comparison in enumerate(comparisons):
        store.commit(sample_writes(pair(number=number), comparison, settings, AT_MS + number))
    return store


async def _one(store: MemoryStore, result: Result = Result.MISMATCH) -> Sample:
    listed = await newest_samples(store, "shop", 1, result=result)
    found = await sample(store, listed[0].id)
    assert found is not None
    return found


@pytest.mark.parametrize("comparison", [MATCH, Comparison(result=Result.IGNORED, differences=(difference(rule="r"),))])
def test_matching_pair_is_not_stored(comparison: Comparison) -> None:
    """Matches and covered differences leave no sample."""
    assert () == sample_writes(pair(), comparison, SETTINGS, AT_MS)


async def test_mismatch_is_kept_whole() -> None:
    """The sample has both responses, the request, the differences, and their ids."""
    found = await _one(_store(mismatch()))
    assert ("shop", "GET /products/{id}", "GET", "/products/17?view=full", AT_MS) == (
        found.target,
        found.route,
        found.method,
        found.path,
        found.at_ms,
    )
    assert PRODUCT == json.loads(found.primary.body.text) == json.loads(found.candidate.body.text)
    assert (200, 4.2, 6.8) == (found.primary.status, found.primary.duration_ms, found.candidate.duration_ms)
    assert (difference(),) == found.differences
    assert ("accept", "application/json") in found.request_headers


async def test_the_request_id_is_the_one_that_v2_logs() -> None:
    """The id is x-request-id if the request has one, otherwise the id that paired it."""
    with_header = await _one(_store(mismatch()))
    store = MemoryStore()
    bare = pair(candidate=observation(Side.CANDIDATE, request_headers=()))
    store.commit(sample_writes(bare, mismatch(), SETTINGS, AT_MS))
    assert ("7d9f5e52-66a1-4c1e-8a55-000000000017", bare.candidate.id) == (
        with_header.request_id,
        (await _one(store)).request_id,
    )


def test_ids_are_safe_in_urls_and_name_their_target() -> None:
    """An id is the target and hexadecimal digits of the pair's key."""
    made = pair()
    (write,) = sample_writes(made, mismatch(), SETTINGS, AT_MS)
    assert isinstance(write, Keep)
    assert made.key.hex()[:16] == write.name


async def test_the_newest_come_first_and_only_so_many_are_kept() -> None:
    """Five samples of eight with the same fault are kept."""
    listed = await newest_samples(_store(*[mismatch()] * 8), "shop", 100)
    assert (5, True) == (len(listed), listed == sorted(listed, key=lambda line: -line.at_ms))


async def test_a_flood_of_mismatches_stays_within_the_bound() -> None:
    """Thousands of failures fill the store only up to a limit, and every listed sample can be read."""
    store = MemoryStore()
    for number in range(1000):
        store.commit(sample_writes(pair(number=number), mismatch(), SETTINGS, AT_MS + number))
    listed = await newest_samples(store, "shop", 100)
    assert 5 == len(listed)
    assert all([await sample(store, line.id) for line in listed])


def test_few_samples_are_made_of_a_frequent_fingerprint() -> None:
    """The service knows in advance which pairs cannot be kept, so a broken v2 costs no more than a working one."""
    stage = ReportStage(SETTINGS)
    made = sum(
        any(isinstance(write, Keep | Later) for write in stage(pair(number=number), mismatch(), AT_MS))
        for number in range(2000)
    )
    assert 5 <= made <= 100


async def test_rejected_pairs_would_not_have_been_kept() -> None:
    """The store has the same samples as if each pair had been offered."""
    stage, (drawn, offered) = ReportStage(SETTINGS), (MemoryStore(), MemoryStore())
    for number in range(300):
        what = mismatch(difference(f"$['f{number % 3}']"))
        said = msgspec.structs.replace(SETTINGS, keep=100, per_fingerprint=4)
        stage = stage if number else ReportStage(said)
        one = pair(number=number)
        drawn.commit(stage(one, what, AT_MS))
        found = print_of(one, what)
        offered.commit(sample_writes(one, what, said, AT_MS, found.id if found else None))
    listed = [[line.id for line in await newest_samples(store, "shop", 100)] for store in (drawn, offered)]
    assert (12, listed[0]) == (len(listed[1]), listed[1])


async def test_incomparable_pairs_are_listed_apart_and_fewer() -> None:
    """Incomparable pairs are not differences, so they do not replace differences."""
    store = _store(*[INCOMPARABLE] * 5, mismatch())
    assert (2, 1) == (
        len(await newest_samples(store, "shop", 100, result=Result.INCOMPARABLE)),
        len(await newest_samples(store, "shop", 100)),
    )
    assert "primary_5xx" == (await _one(store, Result.INCOMPARABLE)).reason


async def test_samples_expire() -> None:
    """After the retention time, neither the list nor the item is left."""
    clock = [0.0]
    store = MemoryStore(lambda: clock[0])
    store.commit(sample_writes(pair(), mismatch(), SETTINGS, AT_MS))
    clock[0] = SETTINGS.ttl_s + 1.0
    assert (set(), []) == (store.names(), await newest_samples(store, "shop", 10))


async def test_samples_older_than_the_limit_are_not_returned() -> None:
    """Newer samples extend the list, but older samples are no longer returned."""
    store = _store(mismatch(), mismatch())
    old, new = f"shop-{pair(number=0).key.hex()[:16]}", f"shop-{pair(number=1).key.hex()[:16]}"
    assert [new] == [line.id for line in await newest_samples(store, "shop", 10, since_ms=AT_MS + 1)]
    assert (None, new) == (
        await sample(store, old, since_ms=AT_MS + 1),
        getattr(await sample(store, new, since_ms=AT_MS + 1), "id", None),
    )


@pytest.mark.parametrize(
    "sample_id", ["", "shop", "shop-", "-", "shop-zz", "shop-00ff", "a:b:c", "ünknown-00", "x" * 500]
)
async def test_invalid_id_finds_nothing(sample_id: str) -> None:
    """Any text can be used as an id, and an invalid id finds nothing."""
    assert None is await sample(_store(mismatch()), sample_id)


async def test_long_body_is_cut_and_marked_as_truncated() -> None:
    """The limit applies to the stored body, and the sample has the size on the wire."""
    body = b'"' + b"x" * 5000 + b'"'
    store = MemoryStore()
    store.commit(sample_writes(pair(observation(Side.PRIMARY, body)), mismatch(), SETTINGS, AT_MS))
    kept = (await _one(store)).primary.body
    assert (1000, True, 5002) == (len(kept.text), kept.truncated, kept.bytes_sent)


@pytest.mark.parametrize("secret", ["4539148803436467", "johannes.mustermann@mail.example.com", "AKIAIOSFODNN7EXAMPLE"])
async def test_a_cut_never_shows_a_part_of_a_secret(secret: str) -> None:
    """Redaction cannot detect the half that is left of a secret, in a body, a header, or an id."""
    redactor = SETTINGS.redactor
    for shown in range(2, len(secret), 2):

        def cut_at(most: int, shown: int = shown) -> bytes:
            return (b"a " * most)[: most - shown] + secret.encode() + b" end" * 20

        headers = (b"content-type", b"text/plain"), (b"x-info", cut_at(2048))
        body = cut_at(1000)
        sides = (
            observation(Side.PRIMARY, body[:1000], body_bytes=len(body), content_type=b"text/plain"),
            observation(Side.CANDIDATE, body, headers=headers, request_headers=((b"x-request-id", cut_at(2048)),)),
        )
        store = MemoryStore()
        store.commit(sample_writes(pair(*sides), mismatch(), SETTINGS, AT_MS))
        kept = await _one(store)
        texts = (
            kept.primary.body.text,
            kept.candidate.body.text,
            kept.request_id,
            dict(kept.candidate.headers)["x-info"],
        )
        for text in texts:
            assert text.startswith("a a a")
            assert len(text) > 700
            assert secret[:shown] not in text.replace("a ", "").replace(redactor.secret(secret), "")


async def test_partly_recorded_body_is_marked_as_truncated() -> None:
    """A body that the recorder truncated is not shown as complete."""
    store = MemoryStore()
    store.commit(sample_writes(pair(observation(Side.PRIMARY, b"{", body_bytes=9000)), mismatch(), SETTINGS, AT_MS))
    assert (True, 9000) == ((await _one(store)).primary.body.truncated, (await _one(store)).primary.body.bytes_sent)


async def test_summary_has_the_failure_of_v2() -> None:
    """The summary describes a refused connection."""
    store = MemoryStore()
    failed = observation(Side.CANDIDATE, status=0, failure=Failure.REFUSED, headers=())
    store.commit(sample_writes(pair(candidate=failed), mismatch(), SETTINGS, AT_MS))
    assert Failure.REFUSED is (await newest_samples(store, "shop", 1))[0].failure


async def test_control_response_is_kept() -> None:
    """The response of a second v1 is stored with the two others."""
    store = MemoryStore()
    store.commit(sample_writes(pair(control=observation(Side.CONTROL, b"c")), mismatch(), SETTINGS, AT_MS))
    control = (await _one(store)).control
    assert "c" == (control.body.text if control else None)


async def test_filters_choose_among_the_newest() -> None:
    """The filters apply before the limit."""
    removed = mismatch(difference(kind=Kind.REMOVED, candidate=None))
    store = _store(removed, mismatch(), mismatch())
    listed = await newest_samples(store, "shop", 1, wanted=lambda line: "removed" in line.kinds)
    assert [AT_MS] == [line.at_ms for line in listed]


async def test_only_so_many_differences_are_listed_and_the_rest_are_counted() -> None:
    """A line of the list stays short."""
    found = [difference(f"$['{n}']") for n in range(40)]
    store = _store(msgspec.structs.replace(mismatch(*found), unlisted=7))
    line = (await newest_samples(store, "shop", 1))[0]
    assert (16, 31) == (len(line.differences), line.unlisted)


async def test_no_secret_is_stored() -> None:
    """The store contains no secret of a header, cookie, query, form, body or difference."""
    secret = "hunter2-the-secret"
    asked = observation(
        Side.CANDIDATE,
        json.dumps({"user": {"password": secret}, "next": f"https://h/?token={secret}"}).encode(),
        path=f"/login?api_key={secret}",
        headers=((b"content-type", b"application/json"), (b"set-cookie", f"sid={secret}".encode())),
        request_headers=(
            (b"authorization", f"Bearer {secret}".encode()),
            (b"cookie", f"sid={secret}".encode()),
            (b"content-type", b"application/x-www-form-urlencoded"),
        ),
        request_body=f"password={secret}&user=jo".encode(),
    )
    found = difference("$['user']['password']", primary='"other"', candidate=f'"{secret}"')
    store = MemoryStore()
    store.commit(sample_writes(pair(candidate=asked), mismatch(found), SETTINGS, AT_MS))
    kept = msgspec.json.encode(await _one(store)).decode()
    listed = msgspec.json.encode(await newest_samples(store, "shop", 9)).decode()
    assert (0, 0) == (kept.count(secret), listed.count(secret))
    assert kept.count("‹redacted:") >= 8


async def test_many_samples_are_read_like_few() -> None:
    """For any number of samples, reading returns the newest ones up to the limit."""
    settings = msgspec.structs.replace(SETTINGS, keep=2000, per_fingerprint=2000)
    listed = await newest_samples(_store(*[mismatch()] * 700, settings=settings), "shop", 600)
    assert [AT_MS + 699 - n for n in range(600)] == [line.at_ms for line in listed]


HOSTILE_TEXTS = {
    "percent-encoding": "a=%41&",
    "escapes": '\\"',
    "parameters": "token=x&",
    "numbers": "1 ",
    "card numbers": "4111 1111 1111 1111 ",
    "account numbers": "DE89 3704 0044 0532 0130 00 ",
    "shapes": "a@b.co ",
    "entities": "&quot;",
    "attributes": "<a k='",
    "tags": "<token><pin/>",
    "titled elements": "<key>token</key><b>x</b>",
    "members": '{"token":1,',
    "strings in strings": '"a\\"',
    "named values": '{"name":"token","value":"x"},',
    "arrays of two": '["token","x"],',
    "options": "--token x ",
    "columns": "pin,token\n1,2\n",
    "pairs": "token: x\n",
    "quoted pairs": 'token=\\"',
    "blocks": "token: |\n  a\n",
    "form fields": "form-data; name=token\r\n\r\nx\r\n--",
    "addresses": "//a:b@c ",
    "path segments": "/token/a1b2c3d4e5f6",
    "base64": base64.b64encode(b"password=abc&").decode(),
    "divided base64": "AAAAAAAAAAAA-",
    "declared paths": '{"a":[{"b":1}],"ssn":2},',
}
"""For each scanner, a text that makes the scanner repeat its step."""
CALLS_PER_UNIT = 16
"""The number of function calls, in Python and in C, that one work unit allows."""


def _calls(run: Callable[[], object]) -> int:
    """Return the number of function calls, a measure of work that does not depend on the machine."""
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    sys.setprofile(count)
    try:
        run()
    finally:
        sys.setprofile(None)
    return calls


def _hostile(text: str, size: int, where: str) -> tuple[Pair, Comparison]:
    """Return a pair with a long text at one path."""
    long = (text * size)[:size]
    wire = long.encode()
    stated: dict[str, Any] = {
        "body": {"body": wire, "headers": ((b"content-type", FORM.encode()),)},
        "header": {"headers": ((b"x-a", wire),)},
        "request": {"request_body": wire},
        "path": {"path": "/" + long},
    }.get(where, {})
    shown = [long[at : at + 512] for at in range(0, size, 512)] if where == "difference" else ["1"]
    found = mismatch(*(difference("$", primary=value) for value in shown))
    return pair(observation(Side.PRIMARY), observation(Side.CANDIDATE, **stated)), found


@pytest.mark.parametrize("text", HOSTILE_TEXTS.values(), ids=HOSTILE_TEXTS)
@pytest.mark.parametrize("where", ["body", "header", "request", "path", "difference"])
def test_work_on_the_event_loop_is_bounded(text: str, where: str) -> None:
    """A sample that needs more work is made in another process."""
    one, found = _hostile(text, 60_000, where)
    redactor = Redactor(b"a key", paths=["$..ssn"])
    stage = ReportStage(msgspec.structs.replace(SETTINGS, redactor=redactor))
    assert _calls(lambda: stage(one, found, AT_MS)) <= CALLS_PER_UNIT * INLINE_WORK


@pytest.mark.parametrize("text", HOSTILE_TEXTS.values(), ids=HOSTILE_TEXTS)
def test_work_for_a_path_is_bounded(text: str) -> None:
    """Paths are redacted on the event loop, including those that become route names."""
    path, redactor = (text * 60_000)[:60_000], Redactor(b"a key", paths=["$..ssn"])
    for redact in (redactor.place, redactor.route_path):
        assert _calls(partial(redact, path)) <= CALLS_PER_UNIT * INLINE_WORK


def test_a_path_that_exceeds_the_work_budget_is_hidden_completely() -> None:
    """In a shorter path, the text around secrets stays visible."""
    redactor = Redactor(b"a key")
    assert redactor.place("['token=x&']") == f"['token={SOME}&']"
    assert redactor.place("token=x&" * 20_000) == SOME
    assert redactor.route_path("/" + "token=x&" * 20_000) == "/{token}"


def test_the_place_of_a_line_has_no_secret() -> None:
    """Secrets in a line are hidden, and a cut line ends with a keyed hash, which is redacted only once."""
    one, other = Redactor(b"a key"), Redactor(b"another key")
    assert one.place("text[password: hunter]") == f"text[password: {SOME}]"
    cut = "text[a long line…0123abcd]"
    assert cut != one.place(cut) != other.place(cut)
    assert one.place(one.place(cut)) == one.place(cut)
    assert one.place("$['a…0123abcd]']") == "$['a…0123abcd]']"


@pytest.mark.parametrize("text", ["a=%41&", "token=x&"])
@pytest.mark.parametrize("where", ["body", "header", "request", "path", "difference"])
@pytest.mark.parametrize("size", [10, 1500, 90_000])
def test_a_process_makes_the_sample_that_the_event_loop_would_make(text: str, size: int, where: str) -> None:
    """The sample is the same in both."""
    one, found = _hostile(text, size, where)
    redactor = Redactor(b"a key", paths=["$..ssn"])
    settings = msgspec.structs.replace(SETTINGS, redactor=redactor)
    name = print_of(one, found)
    for write in ReportStage(settings)(one, found, AT_MS):
        if not isinstance(write, Later):
            continue
        assert size > 10
        function, arguments = pickle.loads(pickle.dumps(write[:2]))  # noqa: S301 - our own
        assert write.writes(function(*arguments)) == sample_writes(one, found, settings, AT_MS, name and name.id)


@pytest.mark.parametrize("text", HOSTILE_TEXTS.values(), ids=HOSTILE_TEXTS)
@pytest.mark.parametrize("media_type", ["application/json", "application/yaml", "text/csv", FORM])
def test_every_repeated_step_is_charged(text: str, media_type: str) -> None:
    """The actual work is proportional to the charged work, for any text."""
    redactor = Redactor(b"a key", paths=["$..ssn"]).limited(10**9)
    before = redactor.work_left
    calls = _calls(lambda: redactor.body("token pin " + text * (4000 // len(text)), media_type))
    assert calls <= CALLS_PER_UNIT * (before - redactor.work_left)


async def test_a_body_that_takes_too_much_work_is_not_stored() -> None:
    """The sample reports this, keeps everything else, and shows no value of the body."""
    one, found = _hostile("token=hunter2&", 200_000, "body")
    settings = msgspec.structs.replace(SETTINGS, body_bytes=200_000)
    differs = mismatch(*found.differences, difference("$['a']", candidate='"hunter2"'))
    source = SampleSource(one, differs, settings.redactor, settings.body_bytes, AT_MS)
    store = MemoryStore()
    store.commit(keep_writes(settings, source, encode_sample(source, 20_000)))
    kept = await _one(store)
    assert (NOT_STORED, True, 200_000) == (
        kept.candidate.body.text,
        kept.candidate.body.truncated,
        kept.candidate.body.bytes_sent,
    )
    assert ("accept", "application/json") in kept.request_headers
    assert [("$", SOME, SOME), ("$['a']", SOME, SOME)] == [
        (one.path, one.primary, one.candidate) for one in kept.differences
    ]
    assert "hunter2" not in msgspec.json.encode(kept).decode()


async def test_a_whole_budget_suffices_for_large_bodies_of_usual_text() -> None:
    """Only hostile text exceeds the budget."""
    body = json.dumps([PRODUCT | {"token": f"t{number}"} for number in range(800)]).encode()
    one = pair(observation(Side.PRIMARY, body), observation(Side.CANDIDATE, body))
    settings = msgspec.structs.replace(SETTINGS, body_bytes=256 << 10)
    store = MemoryStore()
    store.commit(sample_writes(one, mismatch(), settings, AT_MS))
    assert (await _one(store)).candidate.body.text.count("‹redacted:") > 700
