"""A stored or shown parameter of a change contains no secret: only numbers, harmless words and hashes."""

from __future__ import annotations

import json

import msgspec
import pytest

from shadowdiff.compare import Limits, compare
from shadowdiff.model import Comparison, Difference, Kind, Pair, Result, Severity, Side
from shadowdiff.model.relation import Relation
from shadowdiff.report import Redactor, SafeParameters, Sample, Summary, hides_lines
from shadowdiff.report.parameters import safe_parameter
from shadowdiff.report.samples import SampleSource, encode_sample
from shadowdiff.rules import compile_rules
from tests.fakes.responses import NOW, pair_of, response
from tests.unit.report.planting import NAMES, PLANTS

R = Relation
REDACTOR = Redactor(b"a key")
PAIR = pair_of(response(Side.PRIMARY, b"{}"), response(Side.CANDIDATE, b"{}"))
UUID = "6f1c2f9e-8f9b-4a52-a5b1-0d3bb6f0d0c1"


def difference(path: str, one: str, other: str, bit: Relation, text: str) -> Difference:
    """Return a difference with one parameter."""
    return Difference(
        path=path, pattern=path, kind=Kind.VALUE, primary=one, candidate=other, severity=Severity.VALUE,
        relations=int(bit), parameters=((int(bit), text),),
    )  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "+1", "-0.05", "100", "1/60", "57.05 → 58.05", "1.25.3 → 1.27.0", "+86400", "+1000000", "sans → sans-serif",
        "shipped → delivered", "+/v2/", "-.json", "v1.2 → v2.0-rc1", '"" → new', "http → https", "EUR → USD",
    ],
)  # fmt: skip
def test_a_number_or_a_word_is_kept(text: str) -> None:
    """Redaction leaves these as they are."""
    assert safe_parameter(REDACTOR, text) == text


@pytest.mark.parametrize(
    "secret",
    [
        "jo@example.org", "123456", "4111111111111111", "078051120", "+491701234567", UUID, "a8Kd92xQ",
        "sk_live_4eC39HqLyjWDarjtT1zdp7dc", "AKIAIOSFODNN7EXAMPLE", "d41d8cd98f00b204e9800998ecf8427e",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.x", "two words", "a" * 33, "password=hunter2", "line\nend",
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", ["{}", "+{}", "{} → x", "x → {}"])
def test_everything_else_becomes_a_hash(secret: str, form: str) -> None:
    """Equal parameters have equal hashes."""
    text = form.format(secret)
    safe = safe_parameter(REDACTOR, text)
    assert secret.lstrip("+") not in safe
    assert "‹redacted:" in safe
    assert safe == safe_parameter(REDACTOR, text)


def test_a_parameter_of_a_secret_value_is_a_hash() -> None:
    """The name of the member decides, even if the values look harmless."""
    found = difference("$['password']", '"hunter"', '"tiger"', R.CONSTANT, "hunter → tiger")
    assert SafeParameters(REDACTOR)(PAIR, found, R.CONSTANT, "hunter → tiger").startswith("‹redacted:")
    pin = difference("$['user']['pin_token']", "1234", "1235", R.OFFSET, "+1")
    assert SafeParameters(REDACTOR)(PAIR, pin, R.OFFSET, "+1").startswith("‹redacted:")
    code = difference("$['code'][0]", '"abc"', '"def"', R.CONSTANT, "abc → def")
    assert SafeParameters(REDACTOR)(PAIR, code, R.CONSTANT, "abc → def").startswith("‹redacted:")


def test_words_without_values_are_kept() -> None:
    """The form of a secret says nothing of the secret."""
    found = difference("$['token']", '"a"', '"b"', R.GENERATED, "token")
    assert SafeParameters(REDACTOR)(PAIR, found, R.GENERATED, "token") == "token"
    status = difference("status", "200", "500", R.CONSTANT, "200 → 500")
    assert SafeParameters(REDACTOR)(PAIR, status, R.CONSTANT, "200 → 500") == "200 → 500"


@pytest.mark.parametrize("form", PLANTS)
@pytest.mark.parametrize("name", NAMES[::4])
@pytest.mark.parametrize("body_type", ["application/json", "text/html", "application/x-www-form-urlencoded"])
def test_no_stored_sample_has_a_secret_in_a_parameter(form: str, name: str, body_type: str) -> None:
    """The names of the secrets are elsewhere in the bodies."""
    secrets = "Zebra", "Tigers"
    plant, headers = PLANTS[form], ((b"content-type", body_type.encode()),)
    one, other = (plant(name, secret).encode() for secret in secrets)
    pair = pair_of(response(Side.PRIMARY, one, headers), response(Side.CANDIDATE, other, headers))
    comparison = compare(pair, compile_rules((), NOW), Limits())
    texts = [text for found in comparison.differences for text in _safe(pair, found)]
    for encoded, kind in zip(
        encode_sample(SampleSource(pair, comparison, REDACTOR, 1000, 0, None)), (Summary, Sample), strict=True
    ):
        stored = msgspec.msgpack.decode(encoded, type=kind)
        texts += [text for found in stored.differences for _, text in found.parameters]
    assert not any(secret in text for secret in secrets for text in texts)


def _safe(pair: Pair, found: Difference) -> list[str]:
    return [SafeParameters(REDACTOR)(pair, found, bit, text) for bit, text in found.parameters]


def test_a_line_with_a_secret_has_a_coarse_place() -> None:
    """The template of a line may contain words of the secret."""
    headers = ((b"content-type", b"text/plain"),)
    sides = (Side.PRIMARY, b"password=horse-battery-staple"), (Side.CANDIDATE, b"PASSWORD=horse-battery-staple\n")
    one, other = (response(side, body, headers) for side, body in sides)
    pair = pair_of(one, other)
    (found,) = compare(pair, compile_rules((), NOW), Limits()).differences
    assert found.pattern != "text[*]"
    assert [True] == hides_lines(REDACTOR, pair, Comparison(result=Result.MISMATCH, differences=(found,)))
    assert REDACTOR.difference(found).pattern == "text[*]"
    plain = difference("text[0]", "took [-3-]ms", "took {+4+}ms", R.OFFSET, "+1")
    assert [False] == hides_lines(REDACTOR, pair, Comparison(result=Result.MISMATCH, differences=(plain,)))


def test_all_parameters_of_a_pair_share_a_limit_of_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pair with hundreds of parameters costs the event loop as much as one. Above the limit, each becomes a hash."""
    budgets: list[Redactor] = []
    limited = Redactor.limited

    def noted(self: Redactor, units: int) -> Redactor:
        budgets.append(limited(self, units))
        return budgets[-1]

    monkeypatch.setattr(Redactor, "limited", noted)
    body = json.dumps([{"password": "x" * 50, "token": f"t{at}"} for at in range(20_000)]).encode()
    pair = pair_of(response(Side.PRIMARY, body), response(Side.CANDIDATE, body))
    safe = SafeParameters(REDACTOR)
    found = [difference(f"$[{at}]", f'"a{at}"', f'"b{at}"', R.CONSTANT, f"a{at} → b{at}") for at in range(300)]
    texts = [safe(pair, one, R.CONSTANT, "horse → battery") for one in found]
    assert all(text.startswith("‹redacted:") for text in texts)
    assert 1 == len(budgets)


@pytest.mark.parametrize(
    ("body_type", "text"),
    [
        ("text/plain", "private_key: |\n  begin\n  {}\n  end\n"),
        ("text/html", "<r><password kind='x'>{}</password></r>"),
        ("text/html", "<r><secret><part>{}</part></secret></r>"),
        ("text/html", "<pre>password: correct horse {} # why</pre>"),
        ("text/html", "<p>two words</p><p>API key: {}</p>"),
    ],
)
def test_a_line_with_a_secret_that_another_line_names_has_a_coarse_place(body_type: str, text: str) -> None:
    """The place may contain the words that both secrets have."""
    headers = ((b"content-type", body_type.encode()),)
    sides = (Side.PRIMARY, "zebra-GHIJK.zebra"), (Side.CANDIDATE, "zebra-GHIJN.zebra")
    one, other = (response(side, text.format(secret).encode(), headers) for side, secret in sides)
    pair = pair_of(one, other)
    comparison = compare(pair, compile_rules((), NOW), Limits())
    assert any("zebra" in found.pattern for found in comparison.differences)
    shown = zip(comparison.differences, hides_lines(REDACTOR, pair, comparison), strict=True)
    assert not any("zebra" in found.pattern for found, hides in shown if not hides)


def test_a_line_of_a_long_text_is_searched_without_the_rest() -> None:
    """Searching a whole body may take too long for the event loop."""
    headers = ((b"content-type", b"text/plain"),)
    lines = "token: x\n" * 60_000
    sides = (Side.PRIMARY, "one of them\npassword=horse-battery\n"), (Side.CANDIDATE, "one of those\npassword=horse\n")
    one, other = (response(side, (text + lines).encode(), headers) for side, text in sides)
    pair = pair_of(one, other)
    texts = (("one of [-them-]", "one of {+those+}"), ("password=horse-[-battery-]", "password=horse"))
    found = (difference("text[0]", *each, R.OFFSET, "+1") for each in texts)
    found = tuple(msgspec.structs.replace(each, pattern="text[one of {text}]") for each in found)
    assert hides_lines(REDACTOR, pair, Comparison(result=Result.MISMATCH, differences=found)) == [False, True]
