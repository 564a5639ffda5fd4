"""Test how the benchmark of releases matches labels with causes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml
from release_labels import Cause, Labels, causes_per_change, match, read_labels, wholly_explained
from release_pairs import DATA, PairError, names, read_pair, read_request

if TYPE_CHECKING:
    from pathlib import Path


def cause(place: str, **changed: object) -> Cause:
    """Return a cause at a place."""
    stated: dict[str, object] = {
        "id": place, "place": place, "kind": "value", "relation": "other", "routes": ("GET /",), "pairs": 1,
    }  # fmt: skip
    return Cause(**(stated | changed))  # pyright: ignore[reportArgumentType]


def labels(folder: Path, *changes: dict[str, object], noise: tuple[dict[str, object], ...] = ()) -> Labels:
    """Read labels from a file, as the benchmark does."""
    file = folder / "labels.yaml"
    _ = file.write_text(yaml.safe_dump({"changes": list(changes), "noise": list(noise)}))
    return read_labels(file)


def label(name: str, **stated: object) -> dict[str, object]:
    """Return a label as in the file."""
    return {"name": name, "text": name, "place": name} | stated


@pytest.mark.parametrize(
    ("stated", "found"),
    [
        ({}, True),
        ({"place": "stock"}, False),
        ({"kinds": ["value", "type"]}, True),
        ({"kinds": ["added"]}, False),
        ({"relations": ["other"]}, True),
        ({"relations": ["scaled"]}, False),
        ({"routes": "^GET"}, True),
        ({"routes": "^POST"}, False),
        ({"v1": "^1", "v2": "^2"}, True),
        ({"v1": "^2"}, False),
        ({"v2": "^1"}, False),
    ],
)
def test_a_label_matches_a_cause_only_if_everything_that_it_states_matches(
    tmp_path: Path, stated: dict[str, object], *, found: bool
) -> None:
    """A label that states no kind, relation, route or value accepts any."""
    result = match(labels(tmp_path, label("price", **stated)), [cause("$.price", values=(("10", "20"),))])
    assert found == ("price" in result.found)
    assert found == (not result.missing)
    assert found == (not result.extra)


def test_the_requests_of_samples_decide_before_the_names_of_routes(tmp_path: Path) -> None:
    """A label names paths, and shadowdiff may name the route with a placeholder."""
    stated = labels(tmp_path, label("price", routes="orders"))
    found = match(stated, [cause("$.price", routes=("GET /{name}",), requests=("GET /orders",))])
    assert ["price"] == list(found.found)
    assert {} == match(stated, [cause("$.price", routes=("GET /orders",), requests=("GET /x",))]).found


def test_values_decide_only_if_a_sample_has_them(tmp_path: Path) -> None:
    """A cause without a stored value can be the change."""
    result = match(labels(tmp_path, label("price", v1="^2")), [cause("$.price")])
    assert ["price"] == list(result.found)


def test_a_place_without_detail_is_only_a_change_of_the_whole_body(tmp_path: Path) -> None:
    """Otherwise, one place for a whole page would count as every change of the page."""
    stated = labels(tmp_path, label("font", place=".*"), label("page", place=".*", coarse=True))
    result = match(stated, [cause("text[*]")])
    assert ["page"] == list(result.found)
    assert ["font"] == [one.name for one in result.missing]


def test_a_part_of_a_body_is_not_also_the_whole_body(tmp_path: Path) -> None:
    """The whole body has the part's cause only if it has no other."""
    stated = labels(tmp_path, label("font"), label("page", place=".*", coarse=True))
    both = match(stated, [cause("font"), cause("text[*]")])
    assert {"font": ["font"], "page": ["text[*]"]} == {
        name: [one.id for one in some] for name, some in both.found.items()
    }
    assert [] == match(stated, [cause("font")]).missing


@pytest.mark.parametrize("why", [{"unreachable": "no request"}, {"equal": "documented"}])
def test_a_change_that_no_cause_can_show_is_not_missing(tmp_path: Path, why: dict[str, object]) -> None:
    """Such a change does not count, and claims no cause."""
    result = match(labels(tmp_path, label("price", **why)), [cause("$.price")])
    assert [] == result.missing
    assert {} == result.found
    assert ["$.price"] == [one.place for one in result.extra]


def test_a_cause_that_is_no_change_is_noise_or_extra(tmp_path: Path) -> None:
    """A cause that fits a change and noise counts as the change."""
    stated = labels(tmp_path, label("price"), noise=(label("took"), label("any_price", place="price")))
    result = match(stated, [cause("$.price"), cause("$.took"), cause("$.stock")])
    assert ["price"] == list(result.found)
    assert ["$.took"] == [one.place for one in result.noise]
    assert ["$.stock"] == [one.place for one in result.extra]


def test_causes_per_change_counts_each_cause_once(tmp_path: Path) -> None:
    """Two causes of one change and one cause of two changes make three causes of three changes."""
    stated = labels(tmp_path, label("a"), label("b"), label("c", place="b"))
    result = match(stated, [cause("a1"), cause("a2"), cause("b")])
    assert 3 / 3 == causes_per_change(result)
    assert 0.0 == causes_per_change(match(stated, []))


def test_a_pair_is_wholly_explained_if_all_its_causes_are_in_the_top() -> None:
    """A pair without causes is not explained."""
    sets = [(frozenset({"a"}), 5), (frozenset({"a", "b"}), 3), (frozenset({"a", "c"}), 2), (frozenset[str](), 9)]
    assert 8 == wholly_explained(sets, frozenset({"a", "b"}))


@pytest.mark.parametrize(
    "broken",
    [
        {"changes": [label("a", plaec="b")], "noise": []},
        {"changes": [label("a", place="(")], "noise": []},
        {"changes": [{"name": "a"}], "noise": []},
        {"changes": [label("a")], "noise": [label("a")]},
        {"changes": []},
    ],
)
def test_a_wrong_label_is_an_error_that_names_the_file(tmp_path: Path, broken: dict[str, object]) -> None:
    """Unknown keys, wrong expressions, missing fields and repeated names are errors."""
    file = tmp_path / "labels.yaml"
    _ = file.write_text(yaml.safe_dump(broken))
    with pytest.raises(PairError, match=r"labels\.yaml"):
        _ = read_labels(file)


@pytest.mark.parametrize("name", names())
def test_the_committed_pairs_are_complete(name: str) -> None:
    """Each pair has requests, pinned versions and labels with a source."""
    pair = read_pair(DATA / name)
    stated = read_labels(pair.folder / "labels.yaml")
    assert len(pair.requests) >= 10
    assert all(label.source for label in stated.changes)
    pinned = "package-lock.json" if pair.installer == "npm" else "requirements.txt"
    assert all((pair.folder / version / pinned).is_file() for version in pair.versions)


def test_a_request_is_a_path_or_states_its_method() -> None:
    """The default method is GET."""
    assert ("GET", "/a") == (read_request("/a").method, read_request("/a").path)
    assert "PUT" == read_request("PUT /a").method
    assert b"x" == read_request({"request": "POST /a", "body": "x"}).body
    with pytest.raises(ValueError, match="not a request"):
        _ = read_request("a")
