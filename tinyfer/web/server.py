"""HTTP on 127.0.0.1: who may ask, for what, and how much.

    with Server(engine, port=8765) as server:
        print(server.address)
        engine.run(lambda: stop.asked)

GET  /TOKEN/                          the page; also page.css and page.js: the only files there are
GET  /TOKEN/about                     JSON: model, labels, colours, notes
POST /TOKEN/frame?client=&time=&still=   a JPEG or PNG -> JSON, see engine.described; 204 where a newer one came

Whoever asks must know the token, which is new at each start; must name this machine as the host, so that no site can
reach the server under a name of its own (DNS rebinding); and a browser's page must come from here. Bodies have a length
and an upper bound. Nothing is stored, no other file is read."""

from __future__ import annotations

import contextlib
import hmac
import http
import http.server
import io
import json
import os
import pathlib
import re
import secrets
import socketserver
import sys
import threading
import time
import urllib.parse

import numpy as np
from PIL import Image

from tinyfer import faces, overlay
from tinyfer.errors import UserError
from tinyfer.web.engine import Busy, Engine

PORT = 8765
LARGEST_BODY = 4 << 20  # bytes
LARGEST_PICTURE = 4 << 20  # pixels
DROPPED = 1 << 20  # bytes of what is refused that are still read
CONNECTIONS = 48
PICTURES = 12  # in memory at a time
SECONDS = 20  # that a connection may be silent
FOLDER = pathlib.Path(__file__).parent
FILES = {"": ("page.html", "text/html"), "page.css": ("page.css", "text/css"),
         "page.js": ("page.js", "text/javascript")}
LOCAL = ("127.0.0.1", "localhost", "[::1]")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src "
                               "'self' data: blob:; media-src 'self' blob:; base-uri 'none'; form-action 'none'; "
                               "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()"}


class Refusal(Exception):
    """Why a request is not answered: an HTTP status, and a sentence."""

    def __init__(self, status: http.HTTPStatus, sentence: str):
        super().__init__(sentence)
        self.status = status


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """Serves the page and hands its frames to the engine, in threads of its own while the block lasts.

    port 0: any that is free. UserError where the port is taken."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 32
    allow_reuse_address = sys.platform != "win32"  # there it would share the port with whoever holds it

    def __init__(self, engine: Engine, port: int = PORT):
        self.engine, self.token = engine, secrets.token_urlsafe(18)
        self._room = threading.Semaphore(CONNECTIONS)
        self.pictures = threading.Semaphore(PICTURES)
        self.files = {name: ((FOLDER / file).read_bytes(), kind) for name, (file, kind) in FILES.items()}
        try:
            super().__init__(("127.0.0.1", port), Handler)
        except OSError as error:
            raise UserError(f"--port {port}: it cannot be listened on ({error.strerror}); name another, or 0 for any "
                            f"that is free.") from None
        self.public = codespace(self.port)

    def server_bind(self) -> None:
        """Without the look-up of the machine's name that http.server does, which can take half a minute."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    @property
    def port(self) -> int:
        return self.server_address[1]

    @property
    def address(self) -> str:
        """What to open in the browser."""
        base = f"https://{self.public}" if self.public else f"http://127.0.0.1:{self.port}"
        return f"{base}/{self.token}/"

    def __enter__(self) -> Server:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.1}, name="server", daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self.shutdown()
        self.server_close()

    def process_request(self, request, client_address) -> None:
        if not self._room.acquire(blocking=False):
            with contextlib.suppress(OSError):
                request.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be started
            self._room.release()
            raise

    def process_request_thread(self, request, client_address) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request, client_address) -> None:
        """Browsers that go away are nothing to tell; the rest is."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def about(self) -> dict:
        """What the page must know."""
        model = self.engine.model
        return {"model": model.title, "note": faces.DRAWN_ONLY if faces.drawn_only(model) else "",
                "labels": list(model.labels), "colours": {label: overlay.colour(label) for label in model.labels},
                "faint": overlay.FAINT}


def codespace(port: int) -> str:
    """The host under which GitHub Codespaces shows a port of this machine; "" elsewhere."""
    name = os.environ.get("CODESPACE_NAME", "")
    domain = os.environ.get("GITHUB_CODESPACES_PORT_FORWARDING_DOMAIN", "app.github.dev")
    return f"{name}-{port}.{domain}" if name else ""


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "tinyfer", ""
    timeout = SECONDS
    disable_nagle_algorithm = True
    server: Server

    def log_message(self, format, *args) -> None:
        """Nothing is written down."""

    def do_GET(self) -> None:
        self._respond(self._get)

    def do_POST(self) -> None:
        self._unread = True
        self._respond(self._post)
        if self.close_connection and self._unread:
            self._drop_body()

    def _respond(self, work) -> None:
        try:
            self._check_sender()
            work(*self._path())
        except Refusal as refusal:
            self.close_connection = True  # what of the request is still to come is not read
            self._send(refusal.status, str(refusal).encode(), "text/plain")

    # ------------------------------------------------------------------------------------------------ who may ask

    def _check_sender(self) -> None:
        """The request names this machine as its host; if a page sent it, the page is ours."""
        hosts, origins = self.headers.get_all("Host", []), self.headers.get_all("Origin", [])
        host = hosts[0] if len(hosts) == 1 else ""
        if not self._known(host):
            raise Refusal(http.HTTPStatus.FORBIDDEN, "this host is not served; open http://127.0.0.1 with the port")
        if len(origins) > 1 or (origins and not self._ours(origins[0], host)):
            raise Refusal(http.HTTPStatus.FORBIDDEN, "pages of other sites may not ask")

    def _known(self, host: str) -> bool:
        public = self.server.public.lower()
        return re.sub(r":[0-9]{1,5}$", "", host.lower()) in LOCAL or (public != "" and host.lower() == public)

    def _ours(self, origin: str, host: str) -> bool:
        """An origin is ours if it is what was asked for; Codespaces writes this machine's own instead."""
        scheme, _, place = origin.lower().partition("://")
        own = [f"{name}:{self.server.port}" for name in LOCAL] + [self.server.public.lower()] * bool(self.server.public)
        return scheme in ("http", "https") and place in (host.lower(), *own)

    def _path(self) -> tuple[str, dict[str, str]]:
        """What stands after the token, and the query."""
        path, _, query = self.path.partition("?")
        token, slash, name = path.removeprefix("/").partition("/")
        if not (slash and hmac.compare_digest(token.encode(), self.server.token.encode())):
            raise Refusal(http.HTTPStatus.NOT_FOUND, "open the address that the program printed: it is a new one at "
                                                     "each start")
        try:
            words = urllib.parse.parse_qsl(query, max_num_fields=8)
        except ValueError:
            raise Refusal(http.HTTPStatus.BAD_REQUEST, "the query has too many fields") from None
        return name, dict(words)

    # ------------------------------------------------------------------------------------------------- what there is

    def _get(self, name: str, query: dict[str, str]) -> None:
        if name == "about":
            self._send_json(self.server.about())
        elif name in self.server.files:
            self._send(http.HTTPStatus.OK, *self.server.files[name])
        else:
            raise Refusal(http.HTTPStatus.NOT_FOUND, "there is no such page")

    def _post(self, name: str, query: dict[str, str]) -> None:
        if name != "frame":
            raise Refusal(http.HTTPStatus.NOT_FOUND, "there is no such page")
        if "Origin" not in self.headers:
            raise Refusal(http.HTTPStatus.FORBIDDEN, "frames come from the page alone")
        client, moment = self._sender(query)
        if not self.server.pictures.acquire(timeout=2):
            raise Refusal(http.HTTPStatus.SERVICE_UNAVAILABLE, "too many pictures wait")
        try:
            picture = decoded(self._body())
            answer = self.server.engine.ask(client, picture, moment, query.get("still") == "1")
        except UserError as error:
            raise Refusal(http.HTTPStatus.BAD_REQUEST, str(error)) from None
        except Busy:
            raise Refusal(http.HTTPStatus.SERVICE_UNAVAILABLE, "too many pages wait") from None
        finally:
            self.server.pictures.release()
        if answer is None:
            self._send(http.HTTPStatus.NO_CONTENT, b"", "text/plain")
        else:
            self._send_json(answer)

    def _sender(self, query: dict[str, str]) -> tuple[str, float]:
        client, moment = query.get("client", ""), query.get("time", "0")
        if not re.fullmatch(r"[0-9A-Za-z-]{1,40}", client):
            raise Refusal(http.HTTPStatus.BAD_REQUEST, "client: expected up to 40 letters and digits")
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", moment):
            raise Refusal(http.HTTPStatus.BAD_REQUEST, "time: expected seconds")
        return client, float(moment)

    def _body(self) -> bytes:
        """What was sent along: of a stated length, which is bounded, and whole."""
        length = self.headers.get_all("Content-Length", [])
        if self.headers.get("Transfer-Encoding") or len(length) != 1 or not re.fullmatch(r"[0-9]{1,12}", length[0]):
            raise Refusal(http.HTTPStatus.LENGTH_REQUIRED, "a picture's length in bytes must be told before it")
        if int(length[0]) > LARGEST_BODY:
            raise Refusal(http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected at most {LARGEST_BODY >> 20} MiB")
        self._unread = False
        data = self.rfile.read(int(length[0]))
        if len(data) < int(length[0]):
            raise Refusal(http.HTTPStatus.BAD_REQUEST, "the picture is not whole")
        return data

    def _drop_body(self) -> None:
        """Read what was refused, within bounds: a connection closed over unread bytes is reset, and on Windows the
        answer is then lost with it."""
        end = time.perf_counter() + 1
        with contextlib.suppress(OSError, ValueError):
            self.connection.settimeout(0.5)
            left = min(int(self.headers.get("Content-Length", "0")), DROPPED)
            while left > 0 and time.perf_counter() < end and (part := self.rfile.read1(min(left, 1 << 16))):
                left -= len(part)

    # ------------------------------------------------------------------------------------------------------ answering

    def _send_json(self, value: dict) -> None:
        self._send(http.HTTPStatus.OK, json.dumps(value, separators=(",", ":")).encode(), "application/json")

    def _send(self, status: http.HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        if status != http.HTTPStatus.NO_CONTENT:
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if status != http.HTTPStatus.NO_CONTENT:
            self.wfile.write(body)

    def send_error(self, code, message=None, explain=None) -> None:
        """What http.server itself refuses: requests that are none."""
        self.close_connection = True
        self._send(http.HTTPStatus(code), http.HTTPStatus(code).phrase.encode(), "text/plain")


def decoded(data: bytes) -> np.ndarray:
    """A JPEG or PNG -> uint8 (H,W,3) BGR, upright. UserError for anything else, and for what is too large."""
    try:
        image = Image.open(io.BytesIO(data), formats=("JPEG", "PNG"))
        if image.width * image.height <= LARGEST_PICTURE:
            rgb = np.asarray(faces.open_picture(image).convert("RGB"))
            return np.ascontiguousarray(rgb[..., ::-1])
    except Image.DecompressionBombError:
        pass
    except Exception:  # the decoders raise a dozen kinds on damaged files
        raise UserError("the frame is no whole JPEG or PNG.") from None
    raise UserError(f"the frame has more than {LARGEST_PICTURE >> 20} megapixels.")
