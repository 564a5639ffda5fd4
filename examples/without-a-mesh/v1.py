"""v1: a small shop. Comments mark the two lines for shadowdiff.

Any WSGI server works; the standard library's keeps the example short.
"""

import json
import socketserver
import sys
from wsgiref.simple_server import WSGIServer, make_server

from shadowdiff_recorder import WsgiMiddleware  # 1: the file, copied next to this one


def shop(environ, start_response):
    """Answer GET /products/{id} and POST /orders."""
    path = environ["PATH_INFO"]
    if environ["REQUEST_METHOD"] == "POST":
        return answer(start_response, "201 Created", {"ordered": True})
    if not path.startswith("/products/"):
        return answer(start_response, "404 Not Found", {"error": "no such page"})
    number = int(path.rpartition("/")[2])
    return answer(start_response, "200 OK", {"id": number, "name": f"Product {number}", "price": 10 + number % 7})


def answer(start_response, status, value):
    """Send JSON."""
    start_response(status, [("Content-Type", "application/json")])
    return [json.dumps(value).encode()]


application = WsgiMiddleware(shop)  # 2: around everything else, so that it sees what the user gets


class Server(socketserver.ThreadingMixIn, WSGIServer):
    """A thread for each request."""

    daemon_threads = True


if __name__ == "__main__":
    make_server("127.0.0.1", int(sys.argv[1]), application, Server).serve_forever()
