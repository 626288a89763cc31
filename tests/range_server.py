"""A web server on the loopback that serves bytes by range, counts what it serves, and misbehaves on request."""

import re
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Where = Callable[[int, int], bool]
_KINDS = ("busy", "denied", "missing", "cut", "reset", "stall", "flip", "shift")


@dataclass
class _Fault:
    kind: str
    times: int
    where: Where


class _Server(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """Clients that go away in the middle are what some tests are about."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class RangeServer:
    """Serves `files` (name to bytes) at `url(name)`; a context manager.

    bytes: body bytes sent; requests: requests answered; ranges: (first, last) of each GET that was answered with 206, in order.
    connections: TCP connections accepted. Whether it knows ranges and suffix ranges is set by `accept_ranges` and
    `accept_suffix`. etags: sent with the files named there; a range is served only if `If-Range` is absent or the same.
    """

    def __init__(self, files: dict[str, bytes], *, accept_ranges: bool = True, accept_suffix: bool = True, stall: float = 5.0):
        self.files = files
        self.accept_ranges = accept_ranges
        self.accept_suffix = accept_suffix
        self.stall = stall
        self.bytes = 0
        self.requests = 0
        self.connections = 0
        self.etags: dict[str, str] = {}
        self.ranges: list[tuple[int, int]] = []
        self._faults: list[_Fault] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> "RangeServer":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/{name}"

    def misbehave(self, kind: str, times: int = 1, where: Where = lambda first, last: True) -> None:
        """The next `times` GETs whose range satisfies `where(first, last)` go wrong.

        busy: 503; denied: 403; missing: 404; cut: half the body, then the connection ends; reset: it ends without an answer;
        stall: half the body, then nothing for `self.stall` seconds; flip: bits in the middle of the body change; shift: another
        range.
        """
        assert kind in _KINDS, kind
        with self._lock:
            self._faults.append(_Fault(kind, times, where))

    def reset_counts(self) -> None:
        with self._lock:
            self.bytes = self.requests = self.connections = 0
            self.ranges.clear()

    def _fault(self, first: int, last: int) -> str | None:
        with self._lock:
            for fault in self._faults:
                if fault.times and fault.where(first, last):
                    fault.times -= 1
                    return fault.kind
        return None

    def _range(self, header: str | None, size: int) -> tuple[int, int] | str | None:
        """(first, last), None for the whole file, or "bad" where it cannot be satisfied."""
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", header or "")
        if header and not match:
            return "bad"
        if not header or not self.accept_ranges:
            return None
        if not match[1]:
            if not self.accept_suffix:
                return "bad"
            return (max(0, size - int(match[2])), size - 1) if size else "bad"
        first, last = int(match[1]), min(int(match[2] or size - 1), size - 1)
        return (first, last) if first <= last else "bad"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # headers and body are two writes

            def setup(self):
                super().setup()
                with server._lock:
                    server.connections += 1

            def log_message(self, *arguments):
                pass

            def _status(self, code: int, length: int = 0, **headers: str) -> None:
                self.send_response(code)
                self.send_header("Content-Length", str(length))
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()

            def do_HEAD(self):
                with server._lock:
                    server.requests += 1
                content = server.files.get(self.path.lstrip("/"))
                self._status(404) if content is None else self._status(200, len(content))

            def do_GET(self):
                with server._lock:
                    server.requests += 1
                content = server.files.get(self.path.lstrip("/"))
                if content is None:
                    return self._status(404)
                etag = server.etags.get(self.path.lstrip("/"))
                unchanged = self.headers.get("If-Range") in (None, etag)
                wanted = server._range(self.headers.get("Range") if unchanged else None, len(content))
                if wanted == "bad":
                    return self._status(416, Content_Range=f"bytes */{len(content)}")
                first, last = wanted or (0, len(content) - 1)
                fault = server._fault(first, last)
                if fault in ("busy", "denied", "missing"):
                    return self._status({"busy": 503, "denied": 403, "missing": 404}[fault])
                if fault == "reset":
                    self.close_connection = True
                    return None
                body = content[first : last + 1]
                if fault == "flip":
                    middle = len(body) // 2
                    body = body[:middle] + bytes([body[middle] ^ 0xFF]) + body[middle + 1 :]
                if fault == "shift":
                    body = body[1:] + b"\0"
                tag = {"ETag": etag} if etag else {}
                if wanted is None:
                    self._status(200, len(body), **tag)
                else:
                    with server._lock:
                        server.ranges.append((first, last))
                    self._status(206, len(body), Content_Range=f"bytes {first}-{last}/{len(content)}", **tag)
                self._send(body[: len(body) // 2] if fault in ("cut", "stall") else body)
                if fault == "stall":
                    server._ended.wait(server.stall)
                if fault in ("cut", "stall"):
                    self.close_connection = True
                return None

            def _send(self, body: bytes) -> None:
                try:
                    for start in range(0, len(body), 1 << 16):
                        chunk = body[start : start + (1 << 16)]
                        self.wfile.write(chunk)
                        with server._lock:
                            server.bytes += len(chunk)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

        return Handler


def wait_until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    """Waits until `true()`; fails the test when that takes longer than `seconds`."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
