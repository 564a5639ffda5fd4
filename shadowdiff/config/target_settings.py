"""The declarations of the settings of one target."""

from __future__ import annotations

from typing import Any

import msgspec
from pydantic import model_validator

from shadowdiff.config.base_section import Section, setting
from shadowdiff.config.conditions import MOST_CONDITIONS, ConditionSettings
from shadowdiff.config.sent_settings import CandidateSettings, ControlSettings
from shadowdiff.config.value_types import (
    AnyRoute,
    BodyType,
    BuiltInName,
    Distinct,
    Duration,
    GraphqlPath,
    HeaderName,
    HostName,
    Method,
    Route,
    Share,
    TargetName,
    Text,
)
from shadowdiff.model import Target


class GateSettings(Section):
    """The limits for a `pass`."""

    max_mismatch_ratio: Share = setting(0.001, "The share of compared pairs that may differ.")
    min_coverage: Share = setting(0.95, "The minimum share of v1's responses that must be compared.")
    max_p99_increase_s: Duration | None = setting(
        None,
        "How much longer v2's p99 latency may be than v1's. If unset, the verdict ignores latency.",
        "max_p99_increase",
    )


class NoiseSettings(Section):
    """How shadowdiff learns v1's own noise: values that differ between two instances of v1."""

    learn: int = setting(
        1000,
        "How many of the control's responses shadowdiff compares with v1's before it gives a verdict. It is also the "
        "minimum number of pairs for a calibration.",
        ge=20,
        le=1_000_000,
    )


class HeaderSettings(Section):
    """Which response headers are compared; see docs/comparing.md for the defaults."""

    compare: Distinct[HeaderName] = setting(
        (),
        "Headers to compare although they are excluded by default. x-foo-* means every header that starts with x-foo-.",
    )
    exclude: Distinct[HeaderName] = setting(
        (), "Headers to exclude, in addition to the default. x-foo-* means every header that starts with x-foo-."
    )

    @model_validator(mode="after")
    def _disjoint(self) -> HeaderSettings:
        both = sorted(set(self.compare) & set(self.exclude))
        if both:
            raise ValueError(f"{both[0]} is in both compare and exclude; remove it from one of them")
        return self


class ProtobufSettings(Section):
    """The descriptors with which shadowdiff decodes Protocol Buffers. Without them, it compares the bytes."""

    descriptor_set: Text = setting(
        ...,
        "The file that `protoc --include_imports --descriptor_set_out` writes. The path is relative to the "
        "configuration file.",
    )
    answers: dict[Route, str] = setting(
        {},
        "For Protocol Buffers in responses that are not gRPC: a map from routes, such as GET /products/{id}, to "
        "message names; see docs/grpc.md.",
    )


class TargetSettings(Section):
    """One service under comparison."""

    name: TargetName = setting(..., "The name of the target in metrics, pages and gates.")
    hosts: Distinct[HostName] = setting(
        ...,
        "The hosts of the target. A mirrored request belongs to the target if its Host header is one of them. "
        "`*.shop.example` means every name below shop.example.",
        min_length=1,
    )
    sample: Share = setting(
        1.0, "The share of requests to compare. shadowdiff and the recorders select the same requests, by their ids."
    )
    methods: Distinct[Method] = setting(
        ("GET", "HEAD", "OPTIONS"),
        "What shadowdiff sends to v2 and compares: methods, such as GET, or methods of one route, such as POST "
        "/orders/{id}. It only counts other requests.",
        min_length=1,
    )
    include: tuple[ConditionSettings, ...] = setting(
        (),
        "The conditions of the requests to compare: a template, such as GET /products/{id}, the start of a path, such "
        "as /api/*, or a map with route, path, header and users; see docs/routes.md. If unset, all are compared.",
        max_length=MOST_CONDITIONS,
    )
    exclude: tuple[ConditionSettings, ...] = setting(
        (),
        "The conditions of the requests that shadowdiff does not compare, in the same form as in `include`.",
        max_length=MOST_CONDITIONS,
    )
    routes: Distinct[Route] = setting(
        (),
        "The path templates of the service, such as /products/{id}. If unset, shadowdiff infers them from the traffic.",
    )
    graphql: Distinct[GraphqlPath] = setting(
        (),
        "The paths of GraphQL endpoints, such as /graphql. Each operation there is a route. Of these operations, "
        "shadowdiff sends only queries to v2, also with POST; see docs/graphql.md.",
    )
    openapi: Text | None = setting(
        None,
        "An OpenAPI file that contains the routes, instead of `routes`. The path is relative to the configuration "
        "file.",
    )
    body_types: dict[AnyRoute, BodyType] = setting(
        {},
        "The types of response bodies, which replace the Content-Type: a map from routes, such as GET /feed, /feed, or "
        "* for every route, to types, such as application/json; see docs/comparing.md.",
    )
    causes: bool = setting(
        default=True,
        description="Whether to count the changes of mismatches and to show their causes. This changes no result and "
        "no verdict.",
    )
    rules: tuple[dict[str, Any], ...] = setting((), "The rules: differences that you accept; see docs/rules.md.")
    built_in_rules: dict[BuiltInName, bool] = setting(
        {},
        "Which built-in rules apply: a map from names, such as own_origin, to true or false. A rule that is not in the "
        "map applies; see docs/rules.md.",
    )
    headers: HeaderSettings = HeaderSettings()
    candidate: CandidateSettings = setting(..., "v2.")
    control: ControlSettings | None = setting(None, "A second v1 that serves no users.")
    noise: NoiseSettings = NoiseSettings()
    protobuf: ProtobufSettings | None = setting(None, "The descriptors of gRPC and Protocol Buffers.")
    gate: GateSettings = GateSettings()

    def target(self, routes_of_openapi: tuple[str, ...]) -> Target:
        """Return the target as the stages use it."""
        values = {name: getattr(self, name) for name in Target.__struct_fields__ if hasattr(self, name)}
        values |= {
            "routes": self.routes or routes_of_openapi,
            "include": tuple(each.condition() for each in self.include),
            "exclude": tuple(each.condition() for each in self.exclude),
            "learn": self.noise.learn,
            "compare_headers": self.headers.compare,
            "exclude_headers": self.headers.exclude,
            "body_types": tuple(self.body_types.items()),
            "built_in_off": tuple(sorted(name for name, is_on in self.built_in_rules.items() if not is_on)),
        }
        return msgspec.convert(values, Target, from_attributes=True)
