"""Test names of routes: spellings of paths, words and values, stable names and limits."""

from __future__ import annotations

import random
import string

import pytest

from shadowdiff.model import OTHER
from shadowdiff.report import Redactor
from shadowdiff.rules.path_parameters import (
    MAX_COLLECTION_WORDS,
    MAX_FREQUENT_WORDS,
    MAX_POSITIONS,
    OFTEN,
    PathParameter,
    PathParameters,
)
from shadowdiff.rules.routes import Router, normal


def names(router: Router, *paths: str) -> list[str]:
    """Return the routes of some paths."""
    return [router.route("GET", path) for path in paths]


def words(count: int, seed: int = 1) -> list[str]:
    """Return different words without digits."""
    draw = random.Random(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        found["".join(draw.choices(string.ascii_lowercase, k=9))] = None
    return list(found)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/caf%C3%A9", "/caf%c3%a9"),
        ("/%7Euser", "/~user"),
        ("/%61bc", "/abc"),
        ("/café", "/caf%C3%A9"),
        ("http://shop.example/products/x?q=1", "/products/x"),
        ("/products/x?q=1", "/products/x"),
        ("/products/x#part", "/products/x"),
        ("", "/"),
    ],
)
def test_two_spellings_of_one_path_are_one_route(one: str, other: str) -> None:
    """RFC 3986 defines which spellings are equivalent."""
    assert normal(one) == normal(other)
    assert names(Router(), one) == names(Router(), other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("/Products", "/products"), ("/products", "/products/"), ("/a%2Fb", "/a/b"), ("/a%3Fb", "/a?b"), ("*", "/")],
)
def test_different_paths_stay_different(one: str, other: str) -> None:
    """Case, a trailing slash and an escaped delimiter matter."""
    assert len(set(names(Router(), one, other))) == 2


def test_normalizing_twice_is_normalizing_once() -> None:
    """Invalid escapes are unchanged, and an escaped percent sign stays escaped."""
    for path in ("/%2537E", "/%7e%7E%2f", "/%", "/%zz", "/a%2", "/\ud800"):
        assert normal(normal(path)) == normal(path)


def test_the_more_literal_template_decides() -> None:
    """Literal segments come before partly literal ones, then parameters. A method comes before no method."""
    router = Router(["/p/{id}", "/p/new", "/p/{id}.json", "POST /p/{order}", "/p/{a}-{b}.txt"])
    assert names(router, "/p/7", "/p/new", "/p/7.json", "/p/x-y.txt", "/p/-y.txt", "/p/", "/p/.json") == [
        "GET /p/{id}",
        "GET /p/new",
        "GET /p/{id}.json",
        "GET /p/{a}-{b}.txt",
        "GET /p/{id}",
        "GET /p/",
        "GET /p/{id}",
    ]
    assert router.route("POST", "/p/7") == "POST /p/{order}"


def test_a_template_matches_every_spelling_of_its_path() -> None:
    """The template itself can have any spelling."""
    router = Router(["/café/{id}", "/%7eme"])
    assert names(router, "/caf%c3%a9/x", "/~me") == ["GET /café/{id}", "GET /%7eme"]


def test_a_position_with_many_rare_words_has_values() -> None:
    """User names become one route, and the rest of the path is named as before."""
    router = Router()
    for word in words(MAX_COLLECTION_WORDS + 1):
        router.route("GET", f"/users/{word}/orders")
    assert names(router, "/users/somebody/orders", "/users/else/cart", "/users") == [
        "GET /users/{name}/orders",
        "GET /users/{name}/cart",
        "GET /users",
    ]


def test_frequent_words_stay_words() -> None:
    """`/users/me` is not a user name, for any number of users."""
    router = Router()
    for word in words(200):
        names(router, f"/users/{word}", "/users/me", "/users/search")
    assert names(router, "/users/me", "/users/search", "/users/anybody") == [
        "GET /users/me",
        "GET /users/search",
        "GET /users/{name}",
    ]


def test_an_api_with_many_routes_keeps_them() -> None:
    """Forty frequent operations are forty routes."""
    router, operations = Router(), words(40)
    for count in (MAX_COLLECTION_WORDS, 40):
        for _ in range(OFTEN):
            names(router, *(f"/api/{word}" for word in operations[:count]))
    assert names(router, *(f"/api/{word}" for word in operations)) == [f"GET /api/{word}" for word in operations]


def test_a_position_with_too_many_words_has_values() -> None:
    """A position with too many words becomes a parameter, even if each word is frequent."""
    router = Router()
    for word in words(MAX_FREQUENT_WORDS + 1):
        names(router, *[f"/tags/{word}"] * OFTEN)
    assert names(router, "/tags/another") == ["GET /tags/{name}"]


def test_a_name_stays() -> None:
    """After a scan of the root, a position can change to values, but never back."""
    router = Router()
    names(router, *["/products/1"] * OFTEN)
    for word in words(300):
        router.route("GET", f"/users/{word}")
    first = names(router, "/users/a", "/products/1")
    for word in words(5000, seed=2):
        names(router, f"/users/{word}", f"/{word}", f"/users/x/{word}")
    assert names(router, "/users/a", "/products/1") == first == ["GET /users/{name}", "GET /products/{id}"]


def test_processes_that_share_parameters_use_the_same_names() -> None:
    """Names agree after a restart, and whichever process found the parameter first."""
    first, second, restarted = Router(), Router(), Router()
    for word in words(60):
        names(first, f"/users/{word}", "/users/me")
    found = first.take_new_parameters()
    assert found == [PathParameter("/users", ("me",))]
    for router in (second, restarted):
        router.adopt(first.names_in_use(), found)
    named = [names(router, "/users/zoe", "/users/me") for router in (first, second, restarted)]
    assert named == [["GET /users/{name}", "GET /users/me"]] * 3


def test_the_first_process_to_find_a_parameter_decides_which_words_stay() -> None:
    """If two processes find it at the same time, they agree afterwards."""
    one, other = Router(), Router()
    for word in words(60):
        names(one, f"/users/{word}", "/users/me")
        names(other, f"/users/{word}", "/users/self")
    other.adopt(one.names_in_use(), one.take_new_parameters())
    assert names(other, "/users/me", "/users/self") == names(one, "/users/me", "/users/self")


def test_an_earlier_name_leads_to_the_current_one() -> None:
    """Earlier counts can therefore be added to it. Templates are never renamed."""
    router = Router(["/users/vip"])
    assert router.current_name("GET /users/anna/orders") == "GET /users/anna/orders"
    router.adopt([], [PathParameter("/users", ("me",))])
    asked = ("GET /users/anna/orders", "GET /users/me", "GET /users/vip", OTHER)
    assert list(map(router.current_name, asked)) == [
        "GET /users/{name}/orders",
        "GET /users/me",
        "GET /users/vip",
        OTHER,
    ]


def test_a_template_covers_the_names_that_were_inferred_before_it() -> None:
    """Counts from before the template was configured are shown under it."""
    router = Router(["/users/{user}", "/files/{file}.json"])
    asked = ("GET /users/anna", "GET /users/{name}", "GET /files/{id}.json", "GET /files/{id}")
    assert list(map(router.current_name, asked)) == [
        "GET /users/{user}",
        "GET /users/{user}",
        "GET /files/{file}.json",
        "GET /files/{id}",
    ]


def test_a_route_that_a_rule_names_keeps_its_name() -> None:
    """Otherwise the rule would stop applying."""
    router = Router(named_by_rules=["GET /users/vip"])
    for word in words(60):
        names(router, f"/users/{word}")
    assert names(router, "/users/vip", "/users/anna") == ["GET /users/vip", "GET /users/{name}"]
    assert "GET /users/vip" == router.current_name("GET /users/vip")


def test_a_word_that_occurs_often_is_still_a_value() -> None:
    """One handler has one name: a user with many requests is a user."""
    router = Router()
    names(router, *["/users/anna"] * 50)
    for word in words(60):
        names(router, f"/users/{word}")
    assert names(router, "/users/anna", "/users/anna.json") == ["GET /users/{name}", "GET /users/{name}.json"]


def test_a_scan_keeps_the_routes_of_an_api() -> None:
    """Frequent words after `/` stay words, for any number of other words."""
    router = Router()
    for word in words(300):
        names(router, "/products", "/cart/7", f"/{word}.php")
    assert names(router, "/products", "/cart/7", "/x.php") == ["GET /products", "GET /cart/{id}", "GET /{name}.php"]


def test_words_below_a_parameter_are_counted_together() -> None:
    """A few files of each user are many files."""
    router = Router()
    found = words(MAX_COLLECTION_WORDS + 1)
    for word in found:
        names(router, f"/users/{word}/files/{word[::-1]}", f"/users/{word}/files/{word[1:]}")
    assert names(router, "/users/a/files/b") == ["GET /users/{name}/files/{name}"]


def test_names_over_the_limit_are_other() -> None:
    """Earlier names stay."""
    router = Router(max_names=3)
    assert names(router, "/a", "/b", "/c", "/d", "/a", "/e") == ["GET /a", "GET /b", "GET /c", OTHER, "GET /a", OTHER]


def test_a_route_that_a_rule_names_is_never_other() -> None:
    """A route that a rule names is never `other`, because the rule would stop applying."""
    router = Router(["/orders/{id}"], max_names=1, named_by_rules=["GET /carts/{id}", "/orders/{id}"])
    assert names(router, "/a", "/b", "/orders/1", "/carts/1", "/carts/1/x") == [
        "GET /a",
        OTHER,
        "GET /orders/{id}",
        "GET /carts/{id}",
        OTHER,
    ]


def test_all_processes_share_one_limit() -> None:
    """A name that does not fit is no longer used."""
    router = Router(max_names=2)
    names(router, "/a", "/b")
    assert router.take_new_names() == ["GET /a", "GET /b"]
    router.adopt(["GET /a", "GET /z"], [])
    assert names(router, "/a", "/b", "/z") == ["GET /a", OTHER, "GET /z"]


def test_names_of_a_position_with_values_are_freed() -> None:
    """User names do not use up the limit."""
    router = Router(max_names=MAX_COLLECTION_WORDS + 2)
    for word in words(100):
        router.route("GET", f"/users/{word}")
    assert names(router, "/carts", "/users/x") == ["GET /carts", "GET /users/{name}"]
    assert set(router.names_in_use()) == {"GET /carts", "GET /users/{name}"}


def test_path_parameters_use_bounded_memory() -> None:
    """Random words at every depth use bounded memory."""
    places, draw = PathParameters(), random.Random(5)
    for word in words(20_000, seed=3):
        places.name(["", *draw.sample([word, word[::-1], word[:4], word[4:]], 4)])
    words_of, values_of = places._words, places._values  # pyright: ignore[reportPrivateUsage]
    assert len(values_of) <= MAX_POSITIONS
    remembered = [*words_of.values(), *values_of.values()]
    assert sum(map(len, remembered)) <= MAX_POSITIONS * MAX_FREQUENT_WORDS


def test_secrets_are_hidden_in_names_and_words() -> None:
    """Redaction happens before a word is stored, and in names from an earlier version. Templates are unchanged."""
    router = Router(["/verify/secret"], hide=lambda path: path.replace("secret", "{token}"))
    assert ["GET /a/{token}", "GET /verify/secret"] == names(router, "/a/secret", "/verify/secret")
    assert "GET /b/{token}" == router.peek("GET", "/b/secret")
    assert "GET /c/{token}" == router.current_name("GET /c/secret")
    assert [] == [word for word in router.names_in_use() if word.startswith("GET /a/secret")]


def test_secrets_do_not_use_up_the_names() -> None:
    """All secrets share one name, and their position does not change to values."""
    redactor = Redactor(b"k")
    router = Router(max_names=3, hide=redactor.route_path)
    paths = [f"/cart;jsessionid=Zq{number:03d}abc/items" for number in range(100)]
    assert {"GET /cart;jsessionid={token}/items"} == set(names(router, *paths))
    assert [] == router.take_new_parameters()


def test_a_long_segment_is_named_in_linear_time() -> None:
    """An email address has at most 254 characters; its pattern takes quadratic time in `%40`."""
    short, long = "a" * 200 + "@example.org", "a" * 300 + "@example.org"
    assert "GET /{email}" == Router().route("GET", f"/{short}")
    assert "GET /{token}" == Router().route("GET", f"/{long}")
    assert "GET /{token}" == Router().route("GET", "/" + "%40" * 100_000)
