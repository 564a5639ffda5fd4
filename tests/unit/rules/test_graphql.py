"""Test which operation a GraphQL request contains, and that only requests that every server reads alike are safe."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.model import Candidate, Target
from shadowdiff.rules import Router, Rule, Traffic
from shadowdiff.rules.graphql import (
    MAX_BATCH,
    MAX_BYTES,
    MAX_DEPTH,
    MAX_NAME_CHARS,
    MAX_TOKENS,
    MOST_PERSISTED,
    Definition,
    GraphqlPaths,
    Operation,
    UnreadableError,
    read_document,
)

JSON = ((b"content-type", b"application/json"),)
UNREADABLE = Operation("_unreadable", is_query=False)
QUERY = "query A{a}"


def operation(
    body: object = b"", method: str = "POST", path: str = "/graphql", headers: tuple[tuple[bytes, bytes], ...] = JSON
) -> Operation | None:
    """Return the operation of one request to a target with the path `/graphql`."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return GraphqlPaths(["/graphql"]).operation(method, path, headers, raw)


def name_and_safety(found: Operation | None) -> tuple[str, bool | None]:
    """Return the two parts of an operation that most tests compare."""
    assert found is not None
    return found.name, found.is_query


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{a}", [("query", "")]),
        ("query{a}", [("query", "")]),
        ("query A($x: [Int!]! = [1], $y: In = {a: {b: 1}}) @d(a: {b: 1}) @e {a(x: $x)}", [("query", "A")]),
        ("fragment F on X @d {a} query A {...F ... on X {b}}", [("query", "A")]),
        ("query A{a} mutation B{b}", [("query", "A"), ("mutation", "B")]),
        ("subscription S {s}", [("subscription", "S")]),
        ("query mutation {a}", [("query", "mutation")]),
        ('{a(x: "mutation M{", y: "\\"}") }', [("query", "")]),
        ('{a(x: """ "" \\""" mutation{ """)}', [("query", "")]),
        ("{a} # mutation M{b}", [("query", "")]),
        ("\ufeff,,query\r\n# x\rA,{a,b}", [("query", "A")]),
    ],
)
def test_the_operations_of_a_document_are_read(text: str, expected: list[tuple[str, str]]) -> None:
    """Strings, comments, fragments, variables and directives do not matter."""
    assert tuple(Definition(*one) for one in expected) == read_document(text).operations


@pytest.mark.parametrize(
    "text",
    [
        "", "# only a comment", "fragment F on X {a}", "query A", "{a", "{a}}", "{a]", "(a)", "query A B {a}", "{a};",
        "query @d mutation {a}", "query A {a} mutation", "type X {a: Int}", "extend {a}", "Query {a}", "[{a}]",
        '{a(x: "open)}', '{a(x: """open)}', '{a(x: "line\nend")}', "{a} # \u2028 mutation {b}", "{a\u00a0}", "{a?}",
        "{a}" * 2000, "{a" * (MAX_DEPTH + 1) + "}" * (MAX_DEPTH + 1), "{" + "a " * MAX_TOKENS + "}",
    ],
)  # fmt: skip
def test_a_document_that_servers_reject_or_that_is_too_large_cannot_be_read(text: str) -> None:
    """Such a document is not safe."""
    with pytest.raises(UnreadableError):
        read_document(text)


@pytest.mark.parametrize(
    ("text", "is_equal"),
    [
        ("{\n  a(x: 2, y: [3, 4]) # comment\n}", True),
        ('{a(x: "t", y: [])}', False),
        ("{a(x: 1, y: [1]) {b}}", False),
        ("{b(x: 1, y: [1])}", False),
    ],
)
def test_the_hash_of_a_query_depends_on_its_form_only(text: str, is_equal: bool) -> None:
    """Literals of the same kind, blanks and comments do not change the name of a query without a name."""
    assert is_equal is (read_document("{a(x:1 y:[1])}").digest == read_document(text).digest)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"query": QUERY}, ("A", True)),
        ({"query": QUERY, "variables": {"query": "x", "Query": "y"}, "operationName": None}, ("A", True)),
        ({"query": QUERY + "query B{b}", "operationName": "B", "extensions": {"x": 1}}, ("B", True)),
        ({"query": "mutation M{a}"}, ("M", False)),
        ({"query": QUERY + "mutation M{a}", "operationName": "A"}, ("A", False)),
        ({"query": "query GetUser_12345_3f2a9c01{a}"}, ("GetUser_{id}_{id}", True)),
        ([{"query": QUERY}], ("A", True)),
        ([{"query": QUERY}, {"query": "{b}"}], ("_batch", True)),
        ([{"query": QUERY}, {"query": "mutation{b}"}], ("_batch", False)),
    ],
)
def test_the_operation_of_a_body_is_named(body: object, expected: tuple[str, bool]) -> None:
    """The name of the operation that runs is the label; every operation of the document must be a query."""
    assert expected == name_and_safety(operation(body))


def test_a_query_without_a_usable_name_has_the_hash_of_its_document() -> None:
    """Names are limited in length, because they are labels."""
    found, long = operation({"query": "{a}"}), operation({"query": "query " + "a" * 65 + "{a}"})
    assert (f"query-{read_document('{a}').digest}", True) == name_and_safety(found)
    assert long is not None
    assert long.name.startswith("query-")


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{}", b"[]", b"null", b"{", b"\xff", b"[" * 50_000,
        b'{"query": "query A{a}", "query": "mutation B{b}"}',
        {"Query": "mutation B{b}", "query": QUERY},
        {"query": QUERY, "id": "stored-mutation"},
        {"query": QUERY, "operationName": "B"},
        {"query": QUERY, "operationName": 1},
        {"query": QUERY + "query B{b}"},
        {"query": ["{a}"]},
        [{"query": QUERY}] * (MAX_BATCH + 1),
        [{"query": "{" + "a " * 200 + "}"}] * 21,
        [[{"query": QUERY}]],
        {"query": QUERY, "extensions": {"persistedQuery": {"version": 1, "sha256Hash": "0" * 64}}},
        {"query": QUERY, "variables": "x" * MAX_BYTES},
    ],
)  # fmt: skip
def test_a_body_that_servers_may_read_differently_is_not_safe(body: Any) -> None:
    """Repeated, unknown or misspelled members, a wrong hash, and everything beyond a limit."""
    assert UNREADABLE == operation(body)


@pytest.mark.parametrize(
    ("headers", "is_readable"),
    [
        (((b"content-type", b"Application/JSON; charset=UTF-8"),), True),
        (((b"content-type", b"application/json; charset=utf-16"),), False),
        (((b"content-type", b"text/plain"),), False),
        (((b"content-type", b"multipart/form-data; boundary=x"),), False),
        ((*JSON, (b"content-encoding", b"gzip")), False),
        ((*JSON, *JSON), False),
        ((), False),
    ],
)
def test_the_type_of_a_body_must_be_clear(headers: tuple[tuple[bytes, bytes], ...], is_readable: bool) -> None:
    """A body in another type, charset or coding is not decoded."""
    assert is_readable is (operation({"query": QUERY}, headers=headers) != UNREADABLE)


def test_a_body_may_be_the_document() -> None:
    """Some clients send `application/graphql`."""
    headers = ((b"content-type", b"application/graphql"),)
    assert Operation("A", is_query=True) == operation(QUERY.encode(), headers=headers)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"query": QUERY}, ("A", True)),
        ({"query": "mutation M{a}"}, ("M", False)),
        ({"query": QUERY, "QUERY": "mutation M{a}"}, ("_unreadable", False)),
        ([("query", QUERY), ("query", "mutation M{a}")], ("_unreadable", False)),
        ({"query": QUERY, "utm": "1", "variables": "{}"}, ("A", True)),
        ({"extensions": "{"}, ("_unreadable", False)),
    ],
)
def test_the_operation_of_a_url_is_read(query: Any, expected: tuple[str, bool]) -> None:
    """A GET has its operation in parameters."""
    assert expected == name_and_safety(operation(method="GET", path=f"/graphql?{urlencode(query)}"))


def test_requests_with_two_sources_of_an_operation_are_not_safe() -> None:
    """Servers disagree on which one they use; some separate parameters by semicolons."""
    url = f"/graphql?{urlencode({'query': QUERY})}"
    assert UNREADABLE == operation({"query": QUERY}, path=url)
    assert UNREADABLE == operation(b"{}", method="GET", path=url)
    assert UNREADABLE == operation(method="GET", path="/graphql?query={a}%23;query=mutation{b}")


@pytest.mark.parametrize(("method", "path"), [("GET", "/graphql"), ("OPTIONS", "/graphql"), ("POST", "/graphql/x")])
def test_other_requests_have_no_operation(method: str, path: str) -> None:
    """The page of an editor, a preflight, and other paths."""
    assert operation(method=method, path=path) is None


def test_a_hash_is_known_after_its_document() -> None:
    """Until then, the kind of a persisted document is unknown, so it is not safe."""
    paths = GraphqlPaths(["/graphql"])

    def persisted(text: str, **more: str) -> tuple[str, bool | None]:
        digest = hashlib.sha256(text.encode()).hexdigest()
        body = more | {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": digest}}}
        return name_and_safety(paths.operation("POST", "/graphql", JSON, json.dumps(body).encode()))

    unnamed = f"persisted-{hashlib.sha256(QUERY.encode()).hexdigest()[:12]}"
    assert [("A", False), (unnamed, False)] == [persisted(QUERY, operationName="A"), persisted(QUERY)]
    assert ("A", True) == persisted(QUERY, query=QUERY)
    assert [("A", True), (unnamed, True)] == [persisted(QUERY, operationName="A"), persisted(QUERY)]
    persisted("mutation M{a}", query="mutation M{a}")
    assert ("M", False) == persisted("mutation M{a}", operationName="M")
    for number in range(MOST_PERSISTED):
        persisted(f"{{a{number}}}", query=f"{{a{number}}}")
    assert ("A", False) == persisted(QUERY, operationName="A")


@given(st.text(alphabet='abq {}()[]:$@!,#"\\\n1-.', max_size=60), st.text(alphabet=" ,\n\t\ufeff", max_size=5))
def test_a_mutation_is_found_in_any_document(text: str, blanks: str) -> None:
    """Text before or after a mutation never makes it a query, unless the mutation is in a string or comment."""
    for document in (f"{text}\n{blanks}mutation{{m}}", f"mutation{blanks}{{m}}{text}"):
        try:
            operations = read_document(document).operations
        except UnreadableError:
            continue
        assert "mutation" in [one.kind for one in operations] or '"' in text or "#" in text


def test_operations_are_routes_within_the_limits() -> None:
    """An operation has a route of its own; a secret in its name does not become a label."""
    router = Router(max_names=3, named_by_rules=["/graphql"], hide=lambda text: text.replace("hunter", "{token}"))
    names = [router.route("POST", "/graphql?x=1", one) for one in ("A", "hunter", "query-hunter0", "B", "A")]
    expected = ["POST /graphql#A", "POST /graphql#{token}", "POST /graphql#query-hunter0", "_other", "POST /graphql#A"]
    assert expected == names
    assert expected[:3] == router.take_new_names() == [router.current_name(one) for one in expected[:3]]
    assert "GET /a" == Router().route("GET", "/a#B")


@pytest.mark.parametrize(
    ("routes", "applies"),
    [
        (("/graphql",), True),
        (("POST /graphql",), True),
        (("POST /graphql#A",), True),
        (("/graphql#A",), True),
        (("POST /graphql#B",), False),
        (("GET /graphql",), False),
    ],
)
def test_a_rule_of_the_path_applies_to_its_operations(routes: tuple[str, ...], applies: bool) -> None:
    """A rule may also name one operation."""
    assert applies is Rule(kind="ignore", path="$", routes=routes).applies("POST /graphql#A", "POST")


def test_the_limits_are_in_the_docs() -> None:
    """docs/graphql.md names each limit of a request."""
    page = (Path(__file__).parents[3] / "docs" / "graphql.md").read_text(encoding="utf-8")
    limits = (
        f"of more than {MAX_BYTES >> 10} KiB", f"more than {MAX_TOKENS:,} tokens", f"more than {MAX_DEPTH} levels",
        f"more than {MAX_BATCH} operations", f"more than {MAX_NAME_CHARS} characters",
        f"up to {MOST_PERSISTED:,} hashes",
    )  # fmt: skip
    assert [] == [limit for limit in limits if limit not in page]


def test_post_is_allowed_at_graphql_paths() -> None:
    """`methods` does not need POST, and other methods and unclear paths stay as they are."""
    target = Target(
        name="t", hosts=("t",), candidate=Candidate(url="http://v2"), methods=("GET",), graphql=("/graphql",)
    )
    traffic = Traffic(target)
    cases = [("POST", "/graphql"), ("POST", "/graphql?a"), ("POST", "/x"), ("PUT", "/graphql"), ("POST", "//graphql")]
    assert [True, True, False, False, False] == [traffic.allows(*one) for one in cases]
