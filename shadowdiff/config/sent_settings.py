"""The settings of a candidate and a control: where requests are sent, what is changed in them, TLS, and limits."""

from __future__ import annotations

from shadowdiff.config.base_section import Section, setting
from shadowdiff.config.secrets import Filled
from shadowdiff.config.value_types import (
    Distinct,
    HeaderName,
    PathPrefix,
    Period,
    SentHeader,
    ServerName,
    Share,
    Text,
    Url,
)
from shadowdiff.model import HostPolicy


class HeaderEdits(Section):
    """Changes of the headers in each request. Host and the headers of a connection cannot be changed."""

    set: dict[SentHeader, Filled] = setting(
        {},
        "Headers that shadowdiff adds to each request, such as x-env: shadow. They replace headers of the user with "
        "the same name. Write secrets as `${NAME}`; see [requests to v2](#requests-to-v2).",
    )
    replace: dict[SentHeader, Filled] = setting(
        {}, "New values for headers that the user sent, such as authorization: Bearer ${V2_TOKEN}."
    )
    remove: Distinct[SentHeader] = setting(
        (), "Headers that shadowdiff does not send. x-foo-* means every header that starts with x-foo-."
    )


class QueryEdits(Section):
    """Changes of the query parameters in each request."""

    set: dict[Text, Filled] = setting(
        {},
        "Parameters that shadowdiff adds to each request. They replace the user's parameters that have the same name.",
    )
    replace: dict[Text, Filled] = setting({}, "New values for parameters that the user sent.")
    remove: Distinct[Text] = setting(
        (), "Parameters that shadowdiff does not send. foo_* means every parameter that starts with foo_."
    )


class SendLimitSettings(Section):
    """Limits that protect the service. shadowdiff sheds requests over a limit. They never count against v2."""

    rate: float | None = setting(
        None,
        "How many requests all processes together send per second. If unset, there is no limit.",
        gt=0,
        allow_inf_nan=False,
    )
    concurrency: int | None = setting(
        None, "How many requests one process sends at the same time. If unset, there is no such limit.", ge=1
    )


class SentSettings(Section):
    """Where requests are sent, and what is changed in them."""

    url: Url
    timeout_s: Period
    headers: HeaderEdits = HeaderEdits()
    query: QueryEdits = QueryEdits()
    path_prefix: dict[PathPrefix, PathPrefix] = setting(
        {},
        "Prefixes of paths, and the prefix that shadowdiff sends instead: `/v1: /v2` replaces /v1, and `/v1: /` "
        "removes it. A prefix covers whole segments. If several match, the longest one applies.",
        max_length=16,
    )
    ca: Text | None = setting(
        None, "A PEM file with the CAs that may sign the server's certificate. If unset, the system's CAs may."
    )
    cert: Text | None = setting(None, "A PEM file with the client certificate that shadowdiff presents.")
    cert_key: Text | None = setting(None, "A PEM file with the key of `cert`. If unset, `cert` contains the key.")
    server_name: ServerName | None = setting(
        None, "The name in the server's certificate, and in the TLS handshake. If unset, the host in `url`."
    )
    limits: SendLimitSettings = SendLimitSettings()


class CandidateSettings(SentSettings):
    """v2."""

    url: Url = setting(..., "The URL of v2: scheme, host and port, and optionally a path prefix.")
    timeout_s: Period = setting(
        10.0, "How long shadowdiff waits for v2's response. A missing response counts as a difference.", "timeout"
    )
    queue_timeout_s: Period = setting(
        5.0, "How long a request may wait in the queue before shadowdiff sends it to v2.", "queue_timeout"
    )
    concurrency: int = setting(
        128,
        "How many requests shadowdiff sends to v2 at the same time; further ones wait in the queue. To protect v2, use "
        "`limits` instead.",
        ge=1,
    )
    queue: int = setting(1024, "How many requests may wait in the queue for v2.", ge=0)
    host: HostPolicy = setting(
        HostPolicy.CANDIDATE,
        "The Host header that v2 receives. `candidate`: the host in `candidate.url`. `preserve`: the host that the "
        "user requested.",
    )
    revision_header: HeaderName = setting("x-version", "The response header in which v2 sends its revision.")
    revalidate: Share = setting(
        0.1,
        "The share of conditional requests that shadowdiff sends to v2 a second time with v2's own ETag, because users "
        "only have v1's ETags; see [304](comparing.md#not-modified).",
    )


class ControlSettings(SentSettings):
    """A second v1 that serves no users and shows v1's own noise."""

    url: Url = setting(..., "The URL of the control: scheme, host and port, and optionally a path prefix.")
    timeout_s: Period = setting(10.0, "How long shadowdiff waits for the control's response.", "timeout")
    sample: Share = setting(0.05, "The share of compared requests that shadowdiff also sends to the control.")
