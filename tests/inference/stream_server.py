"""A camera on the loopback that sends numbered pictures as MJPEG over HTTP, and that stalls, is cut and comes back on request."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2

from tests.video.videos import picture

FPS = 50
JPEGS = [cv2.imencode(".jpg", picture(index)[:, :, ::-1])[1].tobytes() for index in range(256)]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request, client_address):
        """Clients go away in the middle: that is what the tests are about."""


class StreamServer:
    """Serves a stream at `url`; a context manager.

    The pictures' numbers count on at FPS a second, modulo 256, whoever is connected.

    mode: what connected clients get: `send` pictures, `stall` nothing, or `garbage`. status: of the answer.
    sent: number of the newest picture that was sent. clients: number of connections so far.
    """

    def __init__(self):
        self.mode, self.status = "send", 200
        self.sent = self.clients = 0
        self._ended = threading.Event()
        self._tick = threading.Condition()
        self._number = 0
        self._port = 0
        self._connections = []
        self.start()

    def __enter__(self):
        threading.Thread(target=self._count, daemon=True).start()
        return self

    def __exit__(self, *error):
        self._ended.set()
        if self._server is not None:
            self.cut()

    @property
    def url(self):
        return f"http://127.0.0.1:{self._port}/stream?password=geheim"

    def start(self):
        """Listens, at the same port as before."""
        self._server = _Server(("127.0.0.1", self._port), self._handler())
        self._port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def cut(self):
        """Ends all connections and stops listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._server = None
        with self._tick:
            connections, self._connections = self._connections, []
            for ended in connections:
                ended.set()
            self._tick.notify_all()

    def _count(self):
        start = time.monotonic()
        while not self._ended.wait(1 / FPS):
            with self._tick:
                self._number = int(FPS * (time.monotonic() - start))
                self._tick.notify_all()

    def _handler(self):
        server = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *arguments):
                pass

            def do_GET(self):
                ended = threading.Event()
                with server._tick:
                    server.clients += 1
                    server._connections.append(ended)
                self.send_response(server.status)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                while not ended.is_set() and server.status == 200:
                    with server._tick:
                        server._tick.wait(1.0)
                        number = server._number % 256
                    if server.mode == "garbage":
                        self.wfile.write(bytes(range(7, 107)) * 40)
                    elif server.mode == "send" and not ended.is_set():
                        jpeg = JPEGS[number]
                        self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg))
                        self.wfile.write(jpeg + b"\r\n")
                        server.sent = number

        return Handler
