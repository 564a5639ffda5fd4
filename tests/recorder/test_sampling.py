"""The recorder draws the same sample as the Lua filter and the service.

One table has the expected results for all three.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from shadowdiff_recorder import WsgiMiddleware, fnv1a32

from tests.recorder.apps import ignore_head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.recorder.stub import Stub

VECTORS = cast(
    "list[tuple[str, int, bool, bool]]", json.loads((Path(__file__).parents[2] / "fixtures/sampling.json").read_text())
)
ASCII = [vector for vector in VECTORS if vector[0].isascii() and vector[0].strip() == vector[0] != ""]


def empty_app(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Respond with 200 without a body."""
    start_response("200 OK", [])
    return [b""]


def test_the_table_has_vectors_on_both_sides_of_each_rate() -> None:
    """The table contains both sampled and unsampled ids."""
    assert {True, False} == {tenth for _, _, tenth, _ in VECTORS} == {half for _, _, _, half in VECTORS}
    assert len(ASCII) > 20


@pytest.mark.parametrize(("text", "expected"), [(text, value) for text, value, _, _ in VECTORS])
def test_the_hash_of_every_vector_matches_the_table(text: str, expected: int) -> None:
    """The sampling hash is FNV-1a-32 of the id's bytes, with ASCII letters in lower case."""
    assert expected == fnv1a32(text.encode().decode("latin-1"))


@pytest.mark.parametrize(("rate", "column"), [(0.1, 2), (0.5, 3)])
def test_the_sample_matches_the_table(rate: float, column: int, stub: Stub, keep: Callable[[Any], Any]) -> None:
    """The middleware records exactly the ids that the table marks, and counts the others."""
    app = keep(WsgiMiddleware(empty_app, url=stub.url, sample=rate))
    for vector in ASCII:
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "SERVER_NAME": "v1", "SERVER_PORT": "80"}
        app({**environ, "HTTP_X_REQUEST_ID": vector[0]}, ignore_head)
    assert app.recorder.flush(10)
    expected = [vector[0] for vector in ASCII if vector[column]]
    assert expected == [record["id"] for record in stub.records]
    assert {"sampled_out": len(ASCII) - len(expected)} == app.recorder.stats()["skipped"]
