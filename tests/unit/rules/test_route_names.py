"""Names of routes: spellings as HTTP has them, words told from values, names that stay and have a bound."""

from __future__ import annotations

import random
import string

import pytest

from shadowdiff.rules.routes import OTHER, Router, normal
from shadowdiff.rules.segments import MAX_PLACES, MOST_WORDS, MOST_WORDS_EVER, OFTEN, Place, Places


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
    """RFC 3986 says which spellings are equivalent."""
    assert normal(one) == normal(other)
    assert names(Router(), one) == names(Router(), other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("/Products", "/products"), ("/products", "/products/"), ("/a%2Fb", "/a/b"), ("/a%3Fb", "/a?b"), ("*", "/")],
)
def test_what_http_tells_apart_stays_apart(one: str, other: str) -> None:
    """Case, a trailing slash and an escaped delimiter make another path."""
    assert len(set(names(Router(), one, other))) == 2


def test_normalizing_twice_is_normalizing_once() -> None:
    """What has no valid escape is left as it is, and an escaped percent sign stays escaped."""
    for path in ("/%2537E", "/%7e%7E%2f", "/%", "/%zz", "/a%2", "/\ud800"):
        assert normal(normal(path)) == normal(path)


def test_the_more_literal_template_decides() -> None:
    """Literal before partly literal before parameter; a method before none; a parameter is never empty."""
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
    """It may be written as people write it."""
    router = Router(["/café/{id}", "/%7eme"])
    assert names(router, "/caf%c3%a9/x", "/~me") == ["GET /café/{id}", "GET /%7eme"]


def test_a_place_with_many_rare_words_takes_values() -> None:
    """Names of users are one route; what stands below them is told apart as before."""
    router = Router()
    for word in words(MOST_WORDS + 1):
        router.route("GET", f"/users/{word}/orders")
    assert names(router, "/users/somebody/orders", "/users/else/cart", "/users") == [
        "GET /users/{name}/orders",
        "GET /users/{name}/cart",
        "GET /users",
    ]


def test_words_that_come_again_stay_words() -> None:
    """`/users/me` is no user's name, however many users there are."""
    router = Router()
    for word in words(200):
        names(router, f"/users/{word}", "/users/me", "/users/search")
    assert names(router, "/users/me", "/users/search", "/users/anybody") == [
        "GET /users/me",
        "GET /users/search",
        "GET /users/{name}",
    ]


def test_an_api_with_many_routes_keeps_them() -> None:
    """Forty operations side by side, each asked for again and again, are forty routes."""
    router, operations = Router(), words(40)
    for count in (MOST_WORDS, 40):
        for _ in range(OFTEN):
            names(router, *(f"/api/{word}" for word in operations[:count]))
    assert names(router, *(f"/api/{word}" for word in operations)) == [f"GET /api/{word}" for word in operations]


def test_no_place_holds_more_words_than_the_bound() -> None:
    """However often they come, so many words are values."""
    router = Router()
    for word in words(MOST_WORDS_EVER + 1):
        names(router, *[f"/tags/{word}"] * OFTEN)
    assert names(router, "/tags/another") == ["GET /tags/{name}"]


def test_a_name_once_given_stays() -> None:
    """Whatever comes later, scanners at the root included: a place turns once, and never back."""
    router = Router()
    names(router, *["/products/1"] * OFTEN)
    for word in words(300):
        router.route("GET", f"/users/{word}")
    first = names(router, "/users/a", "/products/1")
    for word in words(5000, seed=2):
        names(router, f"/users/{word}", f"/{word}", f"/users/x/{word}")
    assert names(router, "/users/a", "/products/1") == first == ["GET /users/{name}", "GET /products/{id}"]


def test_processes_that_share_what_they_found_name_alike() -> None:
    """Also one that started anew, and whichever found the place first."""
    first, second, anew = Router(), Router(), Router()
    for word in words(60):
        names(first, f"/users/{word}", "/users/me")
    found = first.take_found()
    assert found == [Place("/users", ("me",))]
    for router in (second, anew):
        router.adopt(first.given(), found)
    named = [names(router, "/users/zoe", "/users/me") for router in (first, second, anew)]
    assert named == [["GET /users/{name}", "GET /users/me"]] * 3


def test_the_first_process_to_find_a_place_decides_which_words_stay() -> None:
    """Two that found it at once come to one mind."""
    one, other = Router(), Router()
    for word in words(60):
        names(one, f"/users/{word}", "/users/me")
        names(other, f"/users/{word}", "/users/self")
    other.adopt(one.given(), one.take_found())
    assert names(other, "/users/me", "/users/self") == names(one, "/users/me", "/users/self")


def test_what_was_counted_under_a_word_finds_its_later_name() -> None:
    """Old counts can be added to the name that the place bears now; templates are never renamed."""
    router = Router(["/users/vip"])
    assert router.named_now("GET /users/anna/orders") == "GET /users/anna/orders"
    router.adopt([], [Place("/users", ("me",))])
    asked = ("GET /users/anna/orders", "GET /users/me", "GET /users/vip", OTHER)
    assert list(map(router.named_now, asked)) == ["GET /users/{name}/orders", "GET /users/me", "GET /users/vip", OTHER]


def test_more_names_than_the_bound_are_other() -> None:
    """Those given first stay."""
    router = Router(most=3)
    assert names(router, "/a", "/b", "/c", "/d", "/a", "/e") == ["GET /a", "GET /b", "GET /c", OTHER, "GET /a", OTHER]


def test_a_route_that_a_rule_speaks_of_is_never_other() -> None:
    """Else the rule would stop holding where there are many routes."""
    router = Router(["/orders/{id}"], most=1, spoken_of=["GET /carts/{id}", "/orders/{id}"])
    assert names(router, "/a", "/b", "/orders/1", "/carts/1", "/carts/1/x") == [
        "GET /a",
        OTHER,
        "GET /orders/{id}",
        "GET /carts/{id}",
        OTHER,
    ]


def test_the_bound_is_that_of_all_processes_together() -> None:
    """A name that the others had no room for is given no longer."""
    router = Router(most=2)
    names(router, "/a", "/b")
    assert router.take_fresh() == ["GET /a", "GET /b"]
    router.adopt(["GET /a", "GET /z"], [])
    assert names(router, "/a", "/b", "/z") == ["GET /a", OTHER, "GET /z"]


def test_names_that_a_place_of_values_used_up_are_free_again() -> None:
    """A bound of routes is not spent on users' names."""
    router = Router(most=MOST_WORDS + 2)
    for word in words(100):
        router.route("GET", f"/users/{word}")
    assert names(router, "/carts", "/users/x") == ["GET /carts", "GET /users/{name}"]
    assert set(router.given()) == {"GET /carts", "GET /users/{name}"}


def test_what_is_remembered_of_places_has_a_bound_whatever_comes() -> None:
    """Paths of random words at every depth fill no memory."""
    places, draw = Places(), random.Random(5)
    for word in words(20_000, seed=3):
        places.name(["", *draw.sample([word, word[::-1], word[:4], word[4:]], 4)])
    assert len(places.places()) <= MAX_PLACES
    assert places.held <= MAX_PLACES * MOST_WORDS_EVER
