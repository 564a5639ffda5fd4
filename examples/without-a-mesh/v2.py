"""v2: a rewrite of the shop. It contains no code for shadowdiff, and has a fault: one price in ten is text."""

import json
import socketserver
import sys
from wsgiref.simple_server import WSGIServer, make_server


def shop(environ, start_response):
    """Answer GET /products/{id}."""
    path = environ["PATH_INFO"]
    if not path.startswith("/products/"):
        return answer(start_response, "404 Not Found", {"error": "no such page"})
    number = int(path.rpartition("/")[2])
    price = 10 + number % 7
    return answer(
        start_response,
        "200 OK",
        {"id": number, "name": f"Product {number}", "price": str(price) if number % 10 == 0 else price},
    )


def answer(start_response, status, value):
    """Send JSON."""
    start_response(status, [("Content-Type", "application/json"), ("X-Version", "2.0.0")])
    return [json.dumps(value).encode()]


class Server(socketserver.ThreadingMixIn, WSGIServer):
    """A thread for each request."""

    daemon_threads = True


if __name__ == "__main__":
    make_server("127.0.0.1", int(sys.argv[1]), shop, Server).serve_forever()
