"""One file served on this machine alone, until Ctrl-C."""

import errno
import os
import shutil
import sys
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from connections_env.arguments import UsageError
from connections_env.terminal import say

HOST, TRIES = "127.0.0.1", 100
_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "frame-ancestors 'none'",
}


class _Handler(BaseHTTPRequestHandler):
    """Answers for one file at `/`, and only to a browser that was pointed at this machine by its own name."""

    def __init__(self, path: Path, *args: Any):
        self.file = path
        super().__init__(*args)

    def do_GET(self) -> None:
        if not self._asked_for_the_page():
            return
        with self.file.open("rb") as file:
            self._head(os.fstat(file.fileno()).st_size)
            if self.command == "GET":
                shutil.copyfileobj(file, self.wfile)

    do_HEAD = do_GET  # noqa: N815

    def _asked_for_the_page(self) -> bool:
        # A page elsewhere may have its own name point here to read what this server gives.
        name = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
        if name not in (HOST, "localhost"):
            self.send_error(403, "asked for under another name")
        elif self.path.partition("?")[0] != "/":
            self.send_error(404, "there is one page here, at /")
        else:
            return True
        return False

    def _head(self, size: int) -> None:
        self.send_response(200)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(size))
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Requests are no news."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = False  # a port that another server has is taken

    def handle_error(self, *_: Any) -> None:
        """A browser that goes away in the middle is no news either."""


def server_of(path: Path, port: int) -> ThreadingHTTPServer:
    """A server of this file at the port, or at the next that is free. Raises `UsageError`."""
    for candidate in range(port, min(port + TRIES, 65536)):
        try:
            return _Server((HOST, candidate), partial(_Handler, path))
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
    raise UsageError(f"no port is free from {port} on; choose another --port")


def serve(path: Path, port: int) -> None:
    """Serves a page until Ctrl-C; says where, and opens a browser where there is one."""
    with server_of(path, port) as server:
        url = f"http://{HOST}:{server.server_address[1]}/"
        print(f"Viewing at {url} (Ctrl-C ends it)", flush=True)
        try:
            open_browser(url)
            server.serve_forever()
        except KeyboardInterrupt:
            say("viewing ended")


def open_browser(url: str) -> None:
    """Opens a browser with windows; one that lives in the terminal would take it over."""
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return
    import webbrowser  # here, since few need it

    webbrowser.open(url)
