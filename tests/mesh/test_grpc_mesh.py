"""Record the gRPC calls and streams of real clients in a real Envoy at v1, send copies to v2, and compare.

`helm template` renders filter, mirror, id and limits, and `istio.py` adds them to Envoy's own configuration.
"""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from aiohttp import web
from istio import apply, both_sides
from mesh_service import ServiceMesh, service_mesh
from mesh_world import Plan

from shadowdiff.demo.api import TARGET
from shadowdiff.demo.process import HOST, free_ports
from tests.chart.rendering import rendered, values_file
from tests.fakes.shop_proto import SERVICE, Ask, Product, descriptor_set

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

grpc: Any = pytest.importorskip("grpc")

OVER_HTTP2 = """
      typed_extension_protocol_options:
        envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
          "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
          explicit_http_config: { http2_protocol_options: {} }
"""
HEAD = "    - name: {}\n      connect_timeout: 1s"
GRPC_CLUSTERS = {HEAD.format(name) + "\n": HEAD.format(name) + OVER_HTTP2 for name in ("v1_inbound", "v1")}
"""v1's clusters for a port that is named grpc."""
METHODS = {"methods": ["POST"], "protobuf": {"descriptor_set": "shop.pb"}}


def _answers(price: Callable[[str], int]) -> Any:
    """Return the methods of a shop with these prices."""

    def get(ask: Any, context: Any) -> Any:
        if ask.sku == "none":
            context.abort(grpc.StatusCode.NOT_FOUND, "no such product")
        return Product(sku=ask.sku, unit_price=price(ask.sku), color=1)

    def listed(ask: Any, context: Any) -> Iterator[Any]:
        for number in range(3):
            yield Product(sku=f"{ask.sku}-{number}", unit_price=price(f"{ask.sku}-{number}"))
        context.set_trailing_metadata((("x-left", "0"),))

    kinds = {"request_deserializer": Ask.FromString, "response_serializer": Product.SerializeToString}
    return grpc.method_handlers_generic_handler(
        SERVICE.removeprefix("/"),
        {
            "Get": grpc.unary_unary_rpc_method_handler(get, **kinds),
            "List": grpc.unary_stream_rpc_method_handler(listed, **kinds),
        },
    )


@contextlib.contextmanager
def shop(price: Callable[[str], int]) -> Generator[int]:
    """Run a real gRPC server, and yield its port."""
    with ThreadPoolExecutor(4) as pool:
        server = grpc.server(pool)
        server.add_generic_rpc_handlers((_answers(price),))
        port = server.add_insecure_port(f"{HOST}:0")
        server.start()
        try:
            yield port
        finally:
            server.stop(None).wait()


def call(address: str) -> tuple[list[int], str]:
    """Make a user's calls, and return the prices and an error.

    The calls request one product twice, one missing product, and two streams.
    """
    kinds = {"request_serializer": Ask.SerializeToString, "response_deserializer": Product.FromString}
    with grpc.insecure_channel(address) as channel:
        get, listed = channel.unary_unary(f"{SERVICE}/Get", **kinds), channel.unary_stream(f"{SERVICE}/List", **kinds)
        prices = [get(Ask(sku=sku), timeout=10).unit_price for sku in ("same", "dear")]
        prices += [each.unit_price for sku in ("same", "late") for each in listed(Ask(sku=sku), timeout=10)]
        try:
            get(Ask(sku="none"), timeout=10)
        except grpc.RpcError as error:
            return prices, f"{error.code().name}: {error.details()}"
    return prices, ""


async def never(_request: web.Request) -> web.Response:
    """Fail, because no request in these tests uses HTTP/1.1."""
    return web.Response(status=500)


def v2_price(sku: str) -> int:
    """Return v2's price. Two of v2's prices differ from v1's price, which is always the largest 64-bit integer."""
    return 2**63 - 2 if sku in {"dear", "late-2"} else 2**63 - 1


async def sampled_differences(mesh: ServiceMesh) -> dict[str, set[tuple[str, str, str, str]]]:
    """Return the differences in the samples, keyed by route: path, kind and both values of each."""
    async with mesh.world.user.get(f"{mesh.api.url}/api/v1/samples?target={TARGET}") as answer:
        listed = (await answer.json())["samples"]
    found: dict[str, set[tuple[str, str, str, str]]] = {}
    for sample in listed:
        async with mesh.world.user.get(f"{mesh.api.url}/api/v1/samples/{sample['id']}") as answer:
            whole_sample = await answer.json()
        for one in whole_sample["differences"]:
            place = (one["path"], one["kind"], one["primary"], one["candidate"])
            found.setdefault(sample["route"], set()).add(place)
    return found


def _rendered_by_the_chart(case: str) -> list[dict[str, Any]]:
    """Return the chart's objects of a gRPC target: filter, mirror, id and limits."""
    (target,) = yaml.safe_load(values_file(case).read_text())["targets"]
    patient = {f"istio__{port}__connectTimeout": "20000ms" for port in ("mirror", "records")}
    return rendered(case, targets=[target | METHODS], **patient)


def _plan(way: str, v1: int, v2: int) -> Plan:
    """Return a mesh in which either shadowdiff calls v2 or v2's own proxy records."""
    objects = _rendered_by_the_chart("istio" if way == "asked" else "both-sides")
    if way == "asked":
        return Plan(v1=v1, config=GRPC_CLUSTERS, change=partial(apply, objects=objects))
    return Plan(
        v1=v1, config=GRPC_CLUSTERS, change=partial(both_sides, objects=objects, v2=v2, port=free_ports([0])[0])
    )


@pytest.mark.parametrize("way", ["asked", "recorded"])
async def test_calls_and_streams_are_compared_by_their_messages(way: str, tmp_path: Path) -> None:
    """Users get v1's responses through the chart's own filters, and shadowdiff finds v2's wrong prices by path.

    Bodies and trailers are exact to the last digit, whether shadowdiff calls v2 or proxies record both sides.
    """
    (tmp_path / "shop.pb").write_bytes(descriptor_set())
    with shop(lambda _: 2**63 - 1) as v1, shop(v2_price) as v2:
        settings = METHODS | {"candidate": {"url": f"http://{HOST}:{v2}", "timeout": "5s", "queue_timeout": "2s"}}
        async with service_mesh(never, never, tmp_path, _plan(way, v1, v2), settings) as mesh:
            prices, error = await asyncio.to_thread(call, mesh.world.client.removeprefix("http://"))
            ledger = await mesh.when(lambda books: books.pairs["ready"] >= 5)
            differences = await sampled_differences(mesh)
    assert (5 if way == "asked" else 0, 5 if way == "asked" else 10) == (
        ledger.mirrored["received"],
        ledger.recorded["received"],
    )
    assert [2**63 - 1] * 8 == prices
    assert "NOT_FOUND: no such product" == error
    assert {"match": 3, "mismatch": 2, "ignored": 0, "incomparable": 0} == {
        name: ledger.pairs[name] for name in ("match", "mismatch", "ignored", "incomparable")
    }
    v1_says, v2_says = str(2**63 - 1), str(2**63 - 2)
    assert differences == {
        f"POST {SERVICE}/Get": {("$['unitPrice']", "value", v1_says, v2_says)},
        f"POST {SERVICE}/List": {("$[2]['unitPrice']", "value", v1_says, v2_says)},
    }
