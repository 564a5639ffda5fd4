"""Test the Lua filter on Envoy's LuaJIT: its sampling, its settings, and what it does not record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

from shadowdiff.pairing.request_id import identifier

lua = pytest.importorskip("lupa.luajit21")

TREE = Path(__file__).parents[3]
SCRIPT = (TREE / "recorder" / "envoy" / "record.lua").read_bytes()
VECTORS: list[tuple[str, int, bool, bool]] = json.loads((TREE / "fixtures" / "sampling.json").read_bytes())


def _load(give: bytes, *edits: tuple[bytes, bytes]) -> Any:
    """Run the filter's file with edited settings, and return one of its locals."""
    script = SCRIPT
    for old, new in edits:
        assert old in script
        script = script.replace(old, new)
    return lua.LuaRuntime(encoding=None).execute(script + b"\nreturn " + give)


def test_the_hash_matches_every_test_vector() -> None:
    """The hash is FNV-1a-32 over the bytes, with ASCII letters in lower case."""
    fnv1a32 = _load(b"fnv1a32")

    assert [row[1] for row in VECTORS] == [int(fnv1a32(row[0].encode())) for row in VECTORS]


@pytest.mark.parametrize(("share", "column"), [(b"0.1", 2), (b"0.5", 3)])
def test_the_sample_matches_every_test_vector(share: bytes, column: int) -> None:
    """The sample also matches at the limits of a share."""
    kept = _load(b"kept", (b"local SAMPLE = 1.0", b"local SAMPLE = " + share))

    assert [row[column] for row in VECTORS] == [kept(row[0].encode()) for row in VECTORS]


def test_a_share_of_one_samples_everything_and_a_share_of_zero_nothing() -> None:
    """Both limits of the share are exact."""
    assert all(_load(b"kept")(row[0].encode()) for row in VECTORS)
    assert not any(_load(b"kept", (b"local SAMPLE = 1.0", b"local SAMPLE = 0"))(row[0].encode()) for row in VECTORS)


def test_the_vectors_have_every_form_of_id() -> None:
    """The table has at least 30 vectors: empty, upper case, non-ASCII, UUID versions 4 and 7, and both results."""
    names = {row[0] for row in VECTORS}

    assert len(names) == len(VECTORS) >= 30
    assert {"", "F47AC10B-58CC-4372-A567-0E02B2C3D479", "0192f5c0-7b1a-7c3d-9e4f-5a6b7c8d9e0f"} <= names
    assert any(not name.isascii() for name in names)
    assert {(kept_tenth, kept_half) for _, _, kept_tenth, kept_half in VECTORS} == {
        (True, True), (False, True), (False, False)
    }  # fmt: skip


REQUEST = b"""
local function request(fields)
  local handle, notes = {}, {}
  local headers = { get = function(_, name) return fields[name] end }
  function handle:headers() return headers end
  function handle:timestamp() return 1000 end
  function handle:logWarn(line) notes.warned = line end
  function handle:streamInfo()
    return { dynamicMetadata = function() return { set = function(_, _, key, value) notes[key] = value end } end }
  end
  envoy_on_request(handle)
  return notes
end
return function(name, value, path, other)
  local notes = request({ [":method"] = "GET", [":path"] = path, [":authority"] = "h", [name] = value, [other] = "z" })
  return notes["id"], notes["id-source"], notes.warned
end
"""


@pytest.mark.parametrize(
    ("name", "value", "path", "expected"),
    [
        (b"x-diff-id", b"a", b"/x", (b"a", b"x-diff-id", None)),
        (b"x-request-id", b"b", b"/x", (b"b", b"x-request-id", None)),
        (b"x-diff-id", b"", b"/x", (b"z", b"x-request-id", None)),
        (b"x-diff-id", b"i" * 256, b"/x", (b"i" * 256, b"x-diff-id", None)),
        (b"x-diff-id", b"i" * 257, b"/x", (b"z", b"x-request-id", None)),
        (b"x-diff-id", b"a", b"/healthz", (None, None, None)),
        (b"x-diff-id", b"a", b"/readyz?full", (None, None, None)),
        (b"x-diff-id", b"a", b"/healthzz", (b"a", b"x-diff-id", None)),
        (b"user-agent", b"kube-probe/1.30", b"/", (None, None, None)),
        (b"user-agent", b"Mozilla kube-probe/", b"/", (b"z", b"x-request-id", None)),
        (b"x-shadowdiff", b"1", b"/", (None, None, None)),
        (b":method", b"CONNECT", b"/", (None, None, None)),
    ],
)
def test_a_request_is_noted_under_its_id_or_skipped(
    name: bytes, value: bytes, path: bytes, expected: tuple[bytes | None, bytes | None, bytes | None]
) -> None:
    """The first id present counts. Probes and shadow traffic are skipped."""
    note = lua.LuaRuntime(encoding=None).execute(SCRIPT + REQUEST)
    other = b"x-request-id" if name != b"x-request-id" else b"traceparent"

    assert expected == note(name, value, path, other)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", b"0af7651916cd43dd8448eb211c80319c"),
        (b"00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01-more", b"0af7651916cd43dd8448eb211c80319c"),
        (b"00-00000000000000000000000000000000-b7ad6b7169203331-01", None),
        (b"00-0af7651916cd43dd8448eb211c80319c", None),
        (b"garbage", None),
        (b"", None),
    ],
)
def test_the_id_of_a_traceparent_is_its_trace_id(value: bytes, expected: bytes | None) -> None:
    """The span differs on the two sides. A malformed header has no id."""
    note = lua.LuaRuntime(encoding=None).execute(SCRIPT + REQUEST)

    assert expected == note(b"traceparent", value, b"/x", b"x-other")[0]


def test_the_filter_and_the_service_find_the_same_id() -> None:
    """For some headers, neither finds an id."""
    note = lua.LuaRuntime(encoding=None).execute(SCRIPT + REQUEST)
    find = identifier(("x-diff-id", "x-request-id", "traceparent"))
    trace = b"0af7651916cd43dd8448eb211c80319c"
    values = [b"00-%s-b7ad6b7169203331-01" % trace, b"00-%s" % trace, b"-%s-" % trace.upper(), b"--", b"00-0-0-0", b"x"]

    for name in (b"x-diff-id", b"x-request-id", b"traceparent"):
        for value in [*values, b"y" * 256, b"y" * 257]:
            found = find([(name, value)])
            expected = (found[0].encode(), found[1].encode()) if found else (None, None)
            assert expected == note(name, value, b"/x", b"x-other")[:2]


CONDITIONS: list[tuple[list[Any], list[Any], str, str, list[tuple[str, str]], bool]] = json.loads(
    (TREE / "fixtures" / "conditions.json").read_bytes()
)
EXCLUDED = b"""function(method, path, fields)
  fields[":method"] = method
  return not excluded({ get = function(_, name) return fields[name] end }, path)
end
"""


def _lua(value: Any) -> bytes:
    """Return a value of the configuration as Lua code."""
    if isinstance(value, dict):
        parts = cast("dict[str, Any]", value).items()
        return b"{ %b }" % b" ".join(b"[%b] = %b," % (_lua(name), _lua(part)) for name, part in parts)
    if isinstance(value, list):
        return b"{ %b }" % b" ".join(b"%b," % _lua(part) for part in cast("list[Any]", value))
    return json.dumps(value, ensure_ascii=False).encode()


def test_the_conditions_match_every_test_vector() -> None:
    """The filter records what the service compares. Envoy joins fields with the same name."""
    for include, exclude, method, path, headers, expected in CONDITIONS:
        edits = (
            (b"local INCLUDE = {}", b"local INCLUDE = " + _lua(include)),
            (b"local EXCLUDE = {}", b"local EXCLUDE = " + _lua(exclude)),
        )
        runtime = lua.LuaRuntime(encoding=None)
        script = SCRIPT
        for old, new in edits:
            script = script.replace(old, new)
        fields: dict[bytes, bytes] = {}
        for name, value in headers:
            raw = value.encode("latin-1")
            fields[name.encode()] = fields[name.encode()] + b"," + raw if name.encode() in fields else raw
        is_recorded = runtime.execute(script + b"\nreturn " + EXCLUDED)
        found = is_recorded(method.encode(), path.encode("latin-1"), runtime.table_from(fields))
        assert expected == found, (include, exclude, method, path, headers)


def test_the_values_that_conditions_read_are_noted() -> None:
    """The service needs them to decide; a missing header is noted as empty, and of the cookies only the named one."""
    script = SCRIPT.replace(
        b"local EXCLUDE = {}",
        b'local EXCLUDE = { { header = { ["X-T"] = "1" } }, { users = { cookie = "sid", share = 0 } } }',
    )
    request = REQUEST.replace(
        b'notes["id"], notes["id-source"]', b'notes["q-x-t"], notes["q-cookie"], notes["q-x-other"], notes["id"]'
    ).replace(b"[name] = value", b'["x-diff-id"] = "i", [name] = value')
    note = lua.LuaRuntime(encoding=None).execute(script + request)
    assert (b"", b"sid=s", None, b"i", None) == note(b"cookie", b"a=b; sid=s; c=d", b"/x", b"x-other")
    assert (b"2", b"sid=", None, b"i", None) == note(b"x-t", b"2", b"/x", b"x-other")
    assert (None, None, None, None, None) == note(b"x-t", b"1", b"/x", b"x-other")


def test_only_trace_headers_of_a_request_are_noted() -> None:
    """Trace headers are unchanged, and one that is too long is skipped."""
    give = b'notes["id"], notes["id-source"]'
    request = REQUEST.replace(give, b'notes["q-" .. name], notes["q-" .. other]').replace(
        b"[name] = value", b'["x-diff-id"] = "i", [name] = value'
    )
    note = lua.LuaRuntime(encoding=None).execute(SCRIPT + request)
    assert (b"t", None, None) == note(b"traceparent", b"t", b"/x", b"cookie")
    assert (b"s", b"z", None) == note(b"x-b3-spanid", b"s", b"/x", b"b3")
    assert (None, b"z", None) == note(b"traceparent", b"t" * 257, b"/x", b"x-b3-flags")


def test_an_error_in_the_filter_is_logged() -> None:
    """The filter catches the error."""
    script = (
        SCRIPT
        + b"""
    local said
    envoy_on_request({ logWarn = function(_, line) said = line end })
    return said
    """
    )

    assert b"shadowdiff: not recorded" in lua.LuaRuntime(encoding=None).execute(script)


@pytest.mark.parametrize(
    ("host", "is_recorded"),
    [
        (b"a", True),
        (b"A:8080", True),
        (b"b", False),
        (b"x.shop.example", True),
        (b"y.x.Shop.example:80", True),
        (b"shop.example", False),
        (b".shop.example", False),
        (b"evilshop.example", False),
        (b"x.shop.example.evil", False),
        (b"a." * 30_000 + b"shop.example", False),
    ],
)
def test_only_named_hosts_are_recorded(host: bytes, is_recorded: bool) -> None:
    """The filter matches hosts and wildcards as the service does. Without hosts, it records every host."""
    named = _load(b"of_another", (b"local HOSTS = {}", b'local HOSTS = { "a", "*.shop.example" }'))
    assert is_recorded is not named(host)
    assert not _load(b"of_another")(host)
