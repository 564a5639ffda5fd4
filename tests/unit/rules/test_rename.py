"""Names in the styles that serializers use."""

from __future__ import annotations

import pytest

from shadowdiff.rules.kinds.rename import STYLES, in_style, usual_in_style


@pytest.mark.parametrize(
    ("name", "in_styles"),
    [
        ("user_id", ("userId", "UserId", "user_id", "user-id")),
        ("userID", ("userId", "UserId", "user_id", "user-id")),
        ("HTTPServer", ("httpServer", "HttpServer", "http_server", "http-server")),
        ("address-line-2", ("addressLine2", "AddressLine2", "address_line_2", "address-line-2")),
        ("__typename", ("__typename", "__Typename", "__typename", "__typename")),
        ("id", ("id", "Id", "id", "id")),
    ],
)
def test_a_name_has_one_form_in_each_style(name: str, in_styles: tuple[str, ...]) -> None:
    """Words begin at capitals, underscores and hyphens."""
    assert in_styles == tuple(in_style(name, style) for style in STYLES)


@pytest.mark.parametrize("name", ["", "_", "2026-03-01", "a b", "größe", "$ref", "a.b"])
def test_a_name_that_is_not_a_word_has_no_style(name: str) -> None:
    """Ids, dates and other keys that are data never change."""
    assert {name} == {in_style(name, style) for style in STYLES}


def test_a_long_name_is_converted_but_not_cached() -> None:
    """A body may have a name of a megabyte, so the cache limits its keys."""
    before = usual_in_style.cache_info().currsize
    assert "a" * 5000 + "B" == in_style("a" * 5000 + "_b", "camelCase")
    assert before == usual_in_style.cache_info().currsize
