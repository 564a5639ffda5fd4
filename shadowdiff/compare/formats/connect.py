"""Unary calls of Connect with Protocol Buffers. The body is one message, and the path names the method, as in gRPC.

Calls with JSON and all errors are JSON bodies. HTTP statuses and headers contain the rest of a response.
Source: Connect protocol, "Unary-Response" and "Unary-Get-Request".
"""

from __future__ import annotations

from shadowdiff.compare.formats.grpc import Protobuf


class Connect(Protobuf):
    """Reads one message by the method of the path; if there are no descriptors, compares bytes."""

    name = "`application/proto` (Connect)"
    docs = (
        "the message of a unary call, as for `application/protobuf`. Calls with JSON, and all errors, have JSON bodies"
    )
    media_types = ("application/proto",)
