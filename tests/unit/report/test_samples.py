"""Samples: what differs is kept, redacted and bounded; what matches leaves nothing."""

from __future__ import annotations

import json

import msgspec
import pytest

from shadowdiff.model import Comparison, Failure, Keep, Kind, Result, Side
from shadowdiff.report import (
    FingerprintSettings,
    Redactor,
    ReportStage,
    Sample,
    SampleSettings,
    newest_samples,
    print_of,
    sample,
    sample_writes,
)
from tests.fakes.store_reader import MemoryStore
from tests.fakes.traffic import MATCH, PRODUCT, difference, mismatch, observation, pair

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
def test_what_does_not_differ_leaves_nothing(comparison: Comparison) -> None:
    """Neither a match nor what rules cover is stored."""
    assert () == sample_writes(pair(), comparison, SETTINGS, AT_MS)


async def test_a_mismatch_is_kept_whole() -> None:
    """Both answers, the request, the differences, and what identifies them."""
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
    """x-request-id where the request bears one, else the id that paired it."""
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
    """Of eight of one fault, five stay."""
    listed = await newest_samples(_store(*[mismatch()] * 8), "shop", 100)
    assert (5, True) == (len(listed), listed == sorted(listed, key=lambda line: -line.at_ms))


async def test_a_flood_of_mismatches_stays_within_the_bound() -> None:
    """Thousands of failures fill the store no further than a bound, and what is listed can be read."""
    store = MemoryStore()
    for number in range(1000):
        store.commit(sample_writes(pair(number=number), mismatch(), SETTINGS, AT_MS + number))
    listed = await newest_samples(store, "shop", 100)
    assert 5 == len(listed)
    assert all([await sample(store, line.id) for line in listed])


def test_of_a_frequent_fault_hardly_any_sample_is_made() -> None:
    """Which pairs cannot be kept is known beforehand, so that a broken v2 costs no more than a working one."""
    stage = ReportStage(FingerprintSettings(), SETTINGS)
    made = sum(
        any(isinstance(write, Keep) for write in stage(pair(number=number), mismatch(), AT_MS))
        for number in range(2000)
    )
    assert 5 <= made <= 100


async def test_what_is_never_made_would_not_have_been_kept() -> None:
    """The same samples lie in the store as if each had been offered."""
    stage, (drawn, offered) = ReportStage(FingerprintSettings(), SETTINGS), (MemoryStore(), MemoryStore())
    for number in range(300):
        what = mismatch(difference(f"$['f{number % 3}']"))
        said = msgspec.structs.replace(SETTINGS, keep=100, per_fingerprint=4)
        stage = stage if number else ReportStage(FingerprintSettings(), said)
        one = pair(number=number)
        drawn.commit(stage(one, what, AT_MS))
        found = print_of(one, what)
        offered.commit(sample_writes(one, what, said, AT_MS, found.id if found else None))
    listed = [[line.id for line in await newest_samples(store, "shop", 100)] for store in (drawn, offered)]
    assert (12, listed[0]) == (len(listed[1]), listed[1])


async def test_incomparable_pairs_are_listed_apart_and_fewer() -> None:
    """They are not differences, and do not push differences out."""
    store = _store(*[INCOMPARABLE] * 5, mismatch())
    assert (2, 1) == (
        len(await newest_samples(store, "shop", 100, result=Result.INCOMPARABLE)),
        len(await newest_samples(store, "shop", 100)),
    )
    assert "primary_5xx" == (await _one(store, Result.INCOMPARABLE)).reason


async def test_samples_expire() -> None:
    """After their time, neither list nor item is left."""
    clock = [0.0]
    store = MemoryStore(lambda: clock[0])
    store.commit(sample_writes(pair(), mismatch(), SETTINGS, AT_MS))
    clock[0] = SETTINGS.ttl_s + 1.0
    assert (set(), []) == (store.names(), await newest_samples(store, "shop", 10))


async def test_what_is_older_than_asked_is_not_shown() -> None:
    """A list that lives on through newer samples hides those past their age."""
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
async def test_an_id_that_is_none_finds_nothing(sample_id: str) -> None:
    """Whatever an address holds."""
    assert None is await sample(_store(mismatch()), sample_id)


async def test_long_bodies_are_cut_and_say_so() -> None:
    """The bound is on what is kept; the size on the wire is told."""
    body = b'"' + b"x" * 5000 + b'"'
    store = MemoryStore()
    store.commit(sample_writes(pair(observation(Side.PRIMARY, body)), mismatch(), SETTINGS, AT_MS))
    kept = (await _one(store)).primary.body
    assert (1000, True, 5002) == (len(kept.text), kept.truncated, kept.bytes_sent)


async def test_a_body_that_was_recorded_in_part_is_marked() -> None:
    """What the recorder cut is not taken for the whole."""
    store = MemoryStore()
    store.commit(sample_writes(pair(observation(Side.PRIMARY, b"{", body_bytes=9000)), mismatch(), SETTINGS, AT_MS))
    assert (True, 9000) == ((await _one(store)).primary.body.truncated, (await _one(store)).primary.body.bytes_sent)


async def test_why_v2_gave_no_answer_is_in_the_list_too() -> None:
    """A refused connection reads as one."""
    store = MemoryStore()
    failed = observation(Side.CANDIDATE, status=0, failure=Failure.REFUSED, headers=())
    store.commit(sample_writes(pair(candidate=failed), mismatch(), SETTINGS, AT_MS))
    assert Failure.REFUSED is (await newest_samples(store, "shop", 1))[0].failure


async def test_the_control_is_kept_where_there_is_one() -> None:
    """What a second v1 answered stands beside the two."""
    store = MemoryStore()
    store.commit(sample_writes(pair(control=observation(Side.CONTROL, b"c")), mismatch(), SETTINGS, AT_MS))
    control = (await _one(store)).control
    assert "c" == (control.body.text if control else None)


async def test_filters_choose_among_the_newest() -> None:
    """A list can be narrowed before it is cut to its limit."""
    removed = mismatch(difference(kind=Kind.REMOVED, candidate=None))
    store = _store(removed, mismatch(), mismatch())
    listed = await newest_samples(store, "shop", 1, wanted=lambda line: "removed" in line.kinds)
    assert [AT_MS] == [line.at_ms for line in listed]


async def test_only_so_many_differences_are_listed_and_the_rest_are_counted() -> None:
    """A line of the list stays a line."""
    found = [difference(f"$['{n}']") for n in range(40)]
    store = _store(msgspec.structs.replace(mismatch(*found), unlisted=7))
    line = (await newest_samples(store, "shop", 1))[0]
    assert (16, 31) == (len(line.differences), line.unlisted)


async def test_no_secret_comes_to_rest() -> None:
    """Not in a header, a cookie, a query, a form, a body or a difference; in whatever the store holds."""
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


async def test_many_samples_are_read_as_few_are() -> None:
    """Newest first, up to the limit, however many there are."""
    settings = msgspec.structs.replace(SETTINGS, keep=2000, per_fingerprint=2000)
    listed = await newest_samples(_store(*[mismatch()] * 700, settings=settings), "shop", 600)
    assert [AT_MS + 699 - n for n in range(600)] == [line.at_ms for line in listed]
