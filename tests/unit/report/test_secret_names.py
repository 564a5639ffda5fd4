"""A name is secret if it contains a secret word, and the docs list all these words."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.report import Redactor
from shadowdiff.report.secret_names import (
    ANYWHERE,
    DESCRIBES,
    LAST,
    NEUTRAL,
    OPENS,
    OWNERS,
    QUERY_NAMES,
    WHOLE,
    NameFilter,
    Secrecy,
    header_secrecy,
    secrecy,
)
from tests.unit.report.planting import NAMES

R: Final = Redactor(b"a key")
DOCS: Final = (Path(__file__).parents[3] / "docs" / "reports.md").read_text()

SECRET: Final = (
    *NAMES[:7], *NAMES[11:],
    "userPassword", "PASSWORD_OLD", "apiKey2", "JSESSIONID", "connect.sid", "passwordSalt", "secretValue", "tokenvalue",
    "newpassword", "passwordconfirmation", "secretkeybase", "contraseña", "mot_de_passe", "dbpass", "session_id",
    "x-session", "x-csrf", "x-auth", "csrfmiddlewaretoken", "authorization", "signature_v2", "jwtValue", "user_pin",
    "pin_code", "totp_code", "api_key_prod", "access_key_id", "spring.datasource.password", "passWord", "To-Ken",
    "signingKey", "masterkey", "set-cookie", "password_reset_url", "authenticity_token", "oauthTokenSecret",
    "AWS_SECRET_ACCESS_KEY", "SharedAccessSignature", "secret_id", "userPwd", "passphrase", "authorization_code",
    "X-Amz-Signature", "cardCvc", "encryptedPassword", "security_answer", "recoveryPhrase", "mfa_code",
)  # fmt: skip
UNLESS_NUMBER: Final = (
    "tokens",
    "secrets",
    "apiKeys",
    "max_tokens",
    "maxtokens",
    "promptTokens",
    "credentials",
    "pass",
)
SHOWN: Final = (
    "token_type", "tokenCount", "tokenizer", "keyboard", "secretary", "csrf_enabled", "monkey", "public_key",
    "primary_key", "cacheKey", "idempotency-key", "passive", "passport", "compass", "spin", "design", "pinned",
    "token_endpoint", "token_url", "authorization_endpoint", "passwordUpdatedAt", "password_policy", "passwordless",
    "secretName", "cookie_name", "signature_algorithm", "author", "access-control-allow-headers", "www-authenticate",
    "etag", "key", "code", "id", "sessions", "session_count", "com.acme.TokenService", "boarding_pass", "assertions",
)  # fmt: skip


@pytest.mark.parametrize("name", SECRET)
def test_name_with_a_secret_word_is_a_secret(name: str) -> None:
    """The quick check, which skips most texts, also detects the name."""
    assert secrecy(name) is Secrecy.SECRET or name in {"tokens", "passwords", "secrets", "apiKeys", "credentials"}
    assert "Jo-of-copper" not in R.text(json.dumps({name: "Jo-of-copper"}))


@pytest.mark.parametrize("name", UNLESS_NUMBER)
def test_plural_is_a_secret_unless_it_is_a_short_number(name: str) -> None:
    """`max_tokens: 100` is a count. Any other value of such a name is hidden."""
    assert secrecy(name) is Secrecy.UNLESS_NUMBER
    for count in ("100", "12.5", "-1", "true", "null"):
        assert R.text(f'{{"{name}": {count}}}') == f'{{"{name}": {count}}}'
    for hidden in ('"a"', '["a", 1]', '{"a": 1}', "12345678901"):
        assert R.text(f'{{"{name}": {hidden}}}') != f'{{"{name}": {hidden}}}'


@pytest.mark.parametrize("name", SHOWN)
def test_similar_name_is_not_a_secret(name: str) -> None:
    """Similar names are parts of ordinary words, and words that describe a secret."""
    assert secrecy(name) is Secrecy.NONE
    assert R.text(json.dumps({name: "copper"})) == json.dumps({name: "copper"})


@pytest.mark.parametrize("value", ["true", "false", "null", '""'])
def test_boolean_is_not_a_secret(value: str) -> None:
    """Booleans are shown under any name, in a body, a query and a header."""
    plain = value.strip('"')
    assert R.text(f'{{"password": {value}}}') == f'{{"password": {value}}}'
    assert R.path(f"/a?token={plain}") == f"/a?token={plain}"
    assert R.header("access-control-allow-credentials", plain) == plain


@pytest.mark.parametrize(
    "name", ["ocp-apim-subscription-key", "x-functions-key", "x-auth-key", "fastly-key", "x-zumo-auth", "X-User-Key"]
)
def test_headers_with_keys_are_hidden(name: str) -> None:
    """Header names match in any spelling."""
    assert "copper" not in R.header(name, "kettle-of-copper")


@pytest.mark.parametrize("name", ["sec-websocket-key", "idempotency-key", "surrogate-key", "x-cache-key", "x-keyboard"])
def test_headers_with_keys_of_another_kind_are_shown(name: str) -> None:
    """These keys are identifiers, and grant no access."""
    assert header_secrecy(name) is Secrecy.NONE
    assert R.header(name, "kettle") == "kettle"


def test_allowed_names_are_shown() -> None:
    """A name in `allow` is never redacted. Declared secrets stay hidden, and so do values that look like secrets."""
    redactor = Redactor(b"k", ["own"], allow=["page_token", "x-user-key", "own", "code"])
    for shown in ('{"pageToken": "a"}', "?page-token=a", "<page_token>a</page_token>", "page_token: a\n", "/?code=a"):
        assert redactor.text(shown) == shown
    assert redactor.header("x-user-key", "a") == "a"
    assert redactor.text('{"own": "a"}') != '{"own": "a"}'
    assert "ghp_" not in redactor.text('{"page_token": "ghp_4242aB3dE5gH7jK9mN1pQ3rS5tU7vW9xY1z9"}')
    assert redactor.text('{"tokens": {"page_token": "a"}}') != '{"tokens": {"page_token": "a"}}'


PARTS: Final = st.sampled_from([*ANYWHERE, *LAST, *OPENS, *OWNERS, *WHOLE, *NEUTRAL, "key", "code", "x", "ship"])
SPELLED: Final = PARTS.flatmap(lambda word: st.sampled_from([word, word.upper(), word.capitalize()]))


@given(st.lists(st.tuples(SPELLED, st.sampled_from(["", "_", "-", ".", " ", "2", "é", "\\n"])), min_size=1, max_size=5))
def test_the_quick_check_never_misses_a_name(parts: list[tuple[str, str]]) -> None:
    """The quick check detects a secret name in any division, spelling and escaping."""
    name = "".join(word + divider for word, divider in parts)
    if secrecy(name):
        assert all(NameFilter().may_match(json.dumps({name: 1}, ensure_ascii=one)) for one in (True, False))


@pytest.mark.parametrize("text", ['{"items": [{"id": 1}]}', '{"shipping": 1, "author": "me", "inside": 2}'])
def test_the_quick_check_spares_everyday_names(text: str) -> None:
    """Two adjacent names do not form a third, and short words count only as whole words."""
    assert not NameFilter().may_match(text)


@given(st.text(max_size=40), st.integers(2000, 100_000))
def test_long_name_is_judged_by_its_ends(name: str, length: int) -> None:
    """A long name uses bounded work and memory."""
    padding = "x" * length
    assert secrecy(f"{padding}_{name}_password") is Secrecy.SECRET
    assert secrecy(f"password_{padding}") is Secrecy.SECRET


@pytest.mark.parametrize("words", [ANYWHERE, LAST, NEUTRAL, OPENS, OWNERS, WHOLE, QUERY_NAMES, DESCRIBES], ids=min)
def test_the_docs_list_every_word(words: tuple[str, ...]) -> None:
    """The page tells readers what is hidden."""
    listed = set(re.findall(r"[a-z]+", DOCS.partition("### Which names are hidden")[2].partition("\n### ")[0]))
    assert set(words) - {"v", "b"} - listed == set()
