"""The exporter of the library's README, with one metric of each type; every scrape takes a little work."""

import random
import sys
import time
from collections.abc import Iterator

from prometheus_client import REGISTRY, Counter, Enum, Gauge, Histogram, Info, Summary, start_http_server
from prometheus_client.core import GaugeMetricFamily

ORDERS = Counter("shop_orders", "Orders by country", ["country"])
FAILURES = Counter("shop_failures_total", "Failed orders")
QUEUE = Gauge("shop_queue_length", "Orders that wait")
TEMPERATURE = Gauge("shop_room_celsius", "Temperature\nof the room")
TOOK = Histogram("shop_order_seconds", "How long an order takes", buckets=(0.1, 0.5, 1, 5))
SIZE = Summary("shop_order_bytes", "Size of an order")
STATE = Enum("shop_state", "State of the shop", states=["open", "closed"])
BUILD = Info("shop_build", "Build of the shop")


class Scraped:
    """A collector that works during each scrape, as exporters of other systems do."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield how long the work took."""
        began = time.perf_counter()
        sum(range(20_000 + random.randrange(10_000)))
        yield GaugeMetricFamily("shop_scrape_seconds", "How long the scrape took", value=time.perf_counter() - began)


def main() -> None:
    """Serve fixed values of the shop, and the library's own metrics of the process."""
    for country, orders in (("ch", 12), ("de", 40), ("fr", 7)):
        ORDERS.labels(country).inc(orders)
    FAILURES.inc(2)
    QUEUE.set(5)
    TEMPERATURE.set(21.5)
    for seconds in (0.05, 0.3, 0.3, 0.9, 2, 7):
        TOOK.observe(seconds)
        SIZE.observe(seconds * 1000)
    STATE.state("open")
    BUILD.info({"version": "7", "branch": 'a "quoted" name'})
    REGISTRY.register(Scraped())
    start_http_server(int(sys.argv[1]), "127.0.0.1")
    while True:
        time.sleep(60)


if __name__ == "__main__":
    main()
