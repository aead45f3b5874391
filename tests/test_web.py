"""The browser page's server: who may ask and for what, one engine for many pages, rubbish, Ctrl-C; and the page itself
in a headless Chromium whose camera shows drawn faces."""

import contextlib
import gc
import http.client
import io
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from PIL import Image

from tests import chromium
from tinyfer import cli, data, faces, machine, models, webcam
from tinyfer.data import LABELS
from tinyfer.detectors import Box
from tinyfer.errors import UserError
from tinyfer.faces import FaceReader
from tinyfer.live import Session, demo
from tinyfer.live.session import live_reader
from tinyfer.web import Engine, Server
from tinyfer.web import engine as engines
from tinyfer.web import server as servers
from tinyfer.web.engine import Busy

ROOT = pathlib.Path(__file__).parent.parent


@contextlib.contextmanager
def working(engine):
    """The engine works in a thread of its own while the block lasts; its kernels in no more than that."""
    ended = threading.Event()

    def work():
        machine.set_threads(1)  # holds for this thread
        engine.run(ended.is_set)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield engine
    finally:
        ended.set()
        thread.join()


@pytest.fixture(scope="module")
def micro():
    """With its kernels compiled, which would take longer than a page waits."""
    model = models.micro(np.random.default_rng(1))
    FaceReader(model, "none").logits(np.zeros((1, 24, 24), np.uint8))
    return model


class Finder:
    """A detector that finds one face in the middle; it can be made to wait and to fail."""

    def __init__(self):
        self.go, self.calls, self.fault, self.asked = threading.Event(), [], None, threading.Event()
        self.go.set()

    def __call__(self, grey):
        self.asked.set()
        assert self.go.wait(20)
        self.calls.append(int(grey[0, 0]))
        if self.fault:
            raise self.fault
        return [Box(grey.shape[1] // 4, grey.shape[0] // 4, grey.shape[1] // 2, grey.shape[0] // 2)]


@pytest.fixture
def finder():
    return Finder()


@pytest.fixture
def engine(micro, finder):
    """Working."""
    with working(Engine(lambda still: Session(FaceReader(micro, finder), stills=still))) as engine:
        yield engine


@pytest.fixture
def server(engine):
    with Server(engine, 0) as server:
        yield server


def toy_session(still):
    return Session(live_reader("toy"), stills=still)


def until(holds):
    """Wait until something holds."""
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def frame(value=100, height=60, width=80):
    return np.full((height, width, 3), value, np.uint8)


def packed(picture, kind="JPEG"):
    """A picture as a file's bytes."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, kind)
    return file.getvalue()


def ask(server, method="GET", path="", body=None, **headers):
    """One request -> (status, headers, body); `path` stands after the token, headers that are None are left out."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    headers = {"Host": f"127.0.0.1:{server.port}", "Origin": f"http://127.0.0.1:{server.port}"} | {
        name.replace("_", "-"): value for name, value in headers.items()}
    connection.putrequest(method, path if path.startswith("/") else f"/{server.token}/{path}", skip_host=True)
    if body is not None and "Content-Length" not in headers:
        headers["Content-Length"] = str(len(body))
    for name, value in headers.items():
        if value is not None:
            connection.putheader(name, value)
    try:
        connection.endheaders(body)
    except OSError:  # it refuses without reading everything
        pass
    response = connection.getresponse()
    found = response.status, response.headers, response.read()
    connection.close()
    return found


def post(server, picture, query="client=a&time=1", **headers):
    status, _, body = ask(server, "POST", f"frame?{query}", packed(picture), **headers)
    return status, json.loads(body) if status == 200 else body.decode()


# --- the engine ------------------------------------------------------------------------------------------------------

def test_of_a_page_the_newest_frame_counts_and_other_pages_have_their_turn(engine, finder):
    finder.go.clear()
    answers = {}

    def asking(client, value):
        answers[value] = engine.ask(client, frame(value), value / 10)

    threads = []
    for client, value in (("a", 1), ("a", 2), ("a", 3), ("b", 4), ("a", 5)):
        threads.append(threading.Thread(target=asking, args=(client, value)))
        threads[-1].start()
        if value == 1:
            assert finder.asked.wait(20)  # it is worked on; the others wait
        until(lambda v=value, c=client: v == 1 or (c in engine._waiting and engine._waiting[c].time == v / 10))
    finder.go.set()
    for thread in threads:
        thread.join(20)
    assert answers[2] is None and answers[3] is None
    assert all(answers[value]["size"] == [80, 60] for value in (1, 4, 5))
    assert finder.calls == [1, 5, 4]  # a's place in the queue is the one it took first


def test_each_page_has_faces_of_its_own(engine):
    for time_ in (0.0, 0.1, 0.2):
        a = engine.ask("a", frame(), time_)
    b = engine.ask("b", frame(), 0.0)
    still = engine.ask("b", frame(), 0.0, still=True)
    assert [len(answer["faces"]) for answer in (a, b, still)] == [1, 0, 1]  # live faces must be met twice
    assert a["faces"][0]["track"] == 1 and len(a["faces"][0]["probabilities"]) == 7
    assert set(a["ms"]) == {"wait", "detect", "network"}


def test_clocks_that_go_back_do_no_harm(engine):
    for time_ in (5.0, 5.1, 5.05, 5.2):
        answer = engine.ask("a", frame(), time_)
    assert len(answer["faces"]) == 1
    assert engine.ask("a", frame(), 0.0)["faces"] == []  # another film: nothing of it was there before


def test_pages_that_are_silent_are_forgotten(engine):
    for number in range(3 * engines.CLIENTS):
        engine.ask(f"page{number}", frame(), 0.0)
    assert len(engine._sessions) == engines.CLIENTS and "page0" not in engine._sessions


def test_a_fault_is_told_to_whoever_asked_and_the_engine_goes_on(engine, finder):
    finder.fault = ValueError("broken")
    with pytest.raises(ValueError, match="broken"):
        engine.ask("a", frame(), 0.0)
    finder.fault = None
    assert engine.ask("a", frame(), 0.1) is not None


def test_too_many_pages_and_an_end(engine, finder):
    finder.go.clear()
    refused = []

    def asking(number):
        try:
            engine.ask(f"page{number}", frame(), 0.0)
        except Busy:
            refused.append(number)

    threads = [threading.Thread(target=asking, args=(number,)) for number in range(engines.CLIENTS + 4)]
    for number, thread in enumerate(threads):
        thread.start()
        if number == 0:
            assert finder.asked.wait(20)
        until(lambda n=number: len(engine._waiting) == min(n, engines.CLIENTS))
    until(lambda: len(refused) == 3)
    finder.go.set()
    for thread in threads:
        thread.join(20)
    assert len(refused) == 3  # one is worked on, CLIENTS wait


def test_after_its_end_the_engine_refuses(micro, finder):
    with working(Engine(lambda still: Session(FaceReader(micro, finder), stills=still))) as engine:
        pass
    with pytest.raises(Busy):
        engine.ask("a", frame(), 0.0)


# --- the server ------------------------------------------------------------------------------------------------------

def test_the_page_is_served_and_nothing_else(server):
    for name, kind in (("", "text/html"), ("page.css", "text/css"), ("page.js", "text/javascript")):
        status, headers, body = ask(server, path=name, Origin=None)
        assert (status, headers["Content-Type"]) == (200, f"{kind}; charset=utf-8") and len(body) > 1000
        assert "default-src 'none'" in headers["Content-Security-Policy"] and headers["Cache-Control"] == "no-store"
        assert not re.search(rb"(src|href|url|import)\W{1,3}(https?:)?//", body)  # nothing from elsewhere
    about = json.loads(ask(server, path="about")[2])
    assert about["labels"] == list(LABELS) and about["colours"]["happy"] == "#f6ec55"
    others = ("server.py", "page.html", "../page.css", "..%2fserver.py", "page.css/", "frame", "//etc/passwd",
              "%2e%2e/%2e%2e/setup.py", "about/", "page.css%00", "?", "C:/x")
    assert [ask(server, path=name)[0] for name in others if name != "?"] == [404] * (len(others) - 1)


def test_the_page_says_what_it_is_not(server):
    page = " ".join(ask(server)[2].decode().split())
    assert "Expression is not emotion" in page and "not what a person feels" in page and "stores a picture" in page
    assert faces.NOTICE.splitlines()[1] in page


def test_only_who_knows_the_token(server):
    token = server.token
    for path in ("/", "/about", f"/{token}", f"/{token[:-1]}/", f"/{token}x/", f"/{token.swapcase()}/", "//", "/%00/",
                 f"/?token={token}", f"//{token}/x", "*", f"http://127.0.0.1/{token}/"):
        assert ask(server, path=path if path.startswith("/") else "/" + path)[0] == 404
    assert len(token) == 24 and Server(server.engine, 0).token != token


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "127.0.0.2", "localhost.evil.example:80",
                                  "", None, "evil.example:8765", "127.0.0.1@evil.example", "0.0.0.0", "127.0.0.1:80:80",
                                  "localhost:123456"])
def test_other_hosts_are_refused(server, host):
    assert ask(server, Host=host)[0] == 403


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:99", "[::1]:8765"])
def test_this_machine_by_any_name_and_port(server, host):
    assert ask(server, Host=host, Origin=None)[0] == 200  # an ssh tunnel may begin at another port
    assert ask(server, Host=host, Origin=f"http://{host}")[0] == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost.evil.example", "http://127.0.0.1:1",
                                    "file://", "http://", "", "http://localhost", "chrome-extension://abc"])
def test_pages_of_other_sites_are_refused(server, origin):
    assert ask(server, Origin=origin)[0] == 403
    assert post(server, frame(), Origin=origin)[0] == 403


def test_frames_come_from_a_page(server):
    assert post(server, frame(), Origin=None) == (403, "frames come from the page alone")
    assert post(server, frame())[0] == 200


def test_who_is_refused_may_still_send_what_was_begun(server):
    """A connection that is closed over unread bytes is reset, and on Windows the answer goes with it."""
    head = (f"POST /{server.token}/nothing HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
            f"Content-Length: {500_000}\r\n\r\n")
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(head.encode())
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 404")
        for _ in range(10):  # none raises ConnectionResetError or BrokenPipeError
            connection.sendall(bytes(50_000))
            time.sleep(0.01)
        list(iter(lambda: connection.recv(1 << 16), b""))


def test_a_codespace_is_let_in(engine, monkeypatch):
    monkeypatch.setenv("CODESPACE_NAME", "fuzzy-cat")
    monkeypatch.setenv("GITHUB_CODESPACES_PORT_FORWARDING_DOMAIN", "app.github.dev")
    with Server(engine, 0) as server:
        public = f"fuzzy-cat-{server.port}.app.github.dev"
        assert server.address == f"https://{public}/{server.token}/"
        for host in (public, f"localhost:{server.port}"):
            for origin in (f"https://{public}", f"https://localhost:{server.port}", f"http://localhost:{server.port}"):
                assert post(server, frame(), Host=host, Origin=origin)[0] == 200
            assert post(server, frame(), Host=host, Origin="https://evil-1.app.github.dev")[0] == 403
        assert ask(server, Host="evil-1.app.github.dev")[0] == 403


def test_frames_are_answered(server):
    for time_ in (1, 1.1):
        status, answer = post(server, frame(), f"client=a&time={time_}")
    face = answer["faces"][0]
    assert status == 200 and face["box"] == [20, 15, 40, 30] and face["side"] == 24 and len(face["crop"]) == 768
    assert post(server, frame(), "client=b&time=1&still=1")[1]["faces"]
    status, _, body = ask(server, "POST", "frame?client=p", packed(frame(), "PNG"))
    assert status == 200 and json.loads(body)["size"] == [80, 60]


def test_bodies_are_bounded_and_pictures(server):
    def refused(body, **headers):
        status, headers, told = ask(server, "POST", "frame?client=a", body, **headers)
        assert headers["Connection"] == "close"
        return status, told.decode()

    jpeg = packed(frame())
    assert refused(b"", Content_Length=str(servers.LARGEST_BODY + 1)) == (413, "expected at most 4 MiB")
    assert refused(b"", Content_Length="9" * 12)[0] == 413
    for length in (None, "-1", "0x10", "1e3", "", "9" * 13):
        assert refused(b"", Content_Length=length)[0] == 411
    assert refused(b"4\r\nabcd\r\n0\r\n\r\n", Content_Length=None, Transfer_Encoding="chunked")[0] == 411
    assert refused(jpeg, Transfer_Encoding="chunked")[0] == 411
    others = [packed(frame(), kind) for kind in ("BMP", "GIF", "TIFF", "WEBP")]
    for body in (b"", b"GIF89a", jpeg[:-200], b"\xff\xd8\xff" + bytes(100), *others):
        assert refused(body) == (400, "the frame is no whole JPEG or PNG.")
    bomb = packed(np.zeros((2100, 2100), np.uint8), "PNG")
    assert len(bomb) < 20_000 and refused(bomb) == (400, "the frame has more than 4 megapixels.")
    assert post(server, frame())[0] == 200


@pytest.mark.parametrize("query", ["", "client=", "client=a&time=x", "client=a&time=-1", "client=a&time=nan",
                                   "client=a&time=1e9", "client=" + 41 * "a", "client=a/b", "client=a&time=" + 10 * "9",
                                   "&".join(f"a{i}=1" for i in range(20))])
def test_queries_are_checked(server, query):
    assert post(server, frame(), query)[0] == 400


def test_other_methods_and_places(server):
    assert [ask(server, method)[0] for method in ("PUT", "DELETE", "OPTIONS", "HEAD", "TRACE", "X")] == [501] * 6
    assert ask(server, "POST", "page.js", b"x")[0] == 404


def test_more_connections_than_there_is_room_for(server):
    server._room = threading.Semaphore(3)
    held = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(3)]
    until(lambda: server._room._value == 0)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as one:
        assert one.recv(100).startswith(b"HTTP/1.1 503 ")
    for connection in held:
        connection.close()
    until(lambda: server._room._value == 3)
    assert ask(server)[0] == 200


def test_a_silent_connection_is_closed(server, monkeypatch):
    monkeypatch.setattr(servers.Handler, "timeout", 0.3)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as one:
        one.sendall(b"POST /")
        assert one.recv(100) == b""


def test_a_face_is_named_by_way_of_the_server():
    """Detector, network and JPEG and all."""
    pictures = {name: data.toyfaces.scene(240, 320, name, face=90) for name in ("happy", "surprise")}
    with working(Engine(toy_session)) as engine, Server(engine, 0) as server:
        for client, (name, picture) in zip("ab", pictures.items(), strict=True):
            for time_ in (1, 1.04, 1.08):
                _, answer = post(server, picture, f"client={client}&time={time_}")
            (face,) = answer["faces"]
            best = LABELS[int(np.argmax(face["probabilities"]))]
            assert face["label"] == face["shown"] == best == name
            assert Box(*face["box"]).overlap(Box(100, 62, 120, 120)) > 0.5


# --- rubbish ---------------------------------------------------------------------------------------------------------

def bad_request(rng, server):
    """The bytes of a request that deserves no answer but a refusal: something about it is wrong, often more."""
    token, port = server.token, server.port
    rubbish = rng.bytes(int(rng.integers(0, 300)))
    good = {"method": b"POST", "path": f"/{token}/frame?client=a&time=1".encode(), "version": b"HTTP/1.1",
            "host": f"127.0.0.1:{port}".encode(), "origin": f"http://127.0.0.1:{port}".encode()}
    body = packed(frame())
    length = str(len(body)).encode()
    more = b""
    kind = int(rng.integers(0, 14))
    if kind == 0:
        return rubbish
    if kind == 1:
        good["path"] = rng.choice([b"/", b"/" + rubbish.translate(None, b" \r\n\t"), b"/x/frame", b"/" + 70_000 * b"a",
                                   f"/{token}/../frame".encode(), f"/{token}/frame%00".encode(), b"*"])
    elif kind == 2:
        good["host"] = rng.choice([b"evil.example", b"", rubbish.translate(None, b"\r\n\0"), b"127.0.0.1\xff"])
    elif kind == 3:
        good["origin"] = rng.choice([b"https://evil.example", b"null", rubbish.translate(None, b"\r\n\0"), b"http://"])
    elif kind == 4:
        length = rng.choice([b"-5", b"999999999999", b"abc", b"", b"4194305", b"1" * 5000, b"12, 13"])
    elif kind == 5:
        body, length = rubbish, str(len(rubbish)).encode()
    elif kind == 6:
        start = int(rng.integers(2, len(body) - 2))
        body = body[:start]
        length = str(len(body)).encode()
    elif kind == 7:
        more = b"".join(b"X-%d: %s\r\n" % (i, 50 * b"a") for i in range(int(rng.integers(101, 200))))
    elif kind == 8:
        more = b"X: " + 70_000 * b"a" + b"\r\n"
    elif kind == 9:
        good["method"] = rng.choice([b"PUT", b"get", b"", b"\0", b"POST" * 100, b"CONNECT"])
    elif kind == 10:
        good["version"] = rng.choice([b"HTTP/9.9", b"HTTP/1.x", b"", b"FTP/1.0", b"HTTP/0.9", b"HTTP/-1.1"])
        body = rubbish
        length = str(len(rubbish)).encode()
    elif kind == 11:
        more = b"Transfer-Encoding: chunked\r\n"
    elif kind == 12:
        more = b"Host: evil.example\r\n" if rng.random() < 0.5 else b"Content-Length: 5\r\n"
    else:
        body, length = body[:50], str(len(body)).encode()  # the rest never comes
    request = b"%(method)s %(path)s %(version)s\r\nHost: %(host)s\r\nOrigin: %(origin)s\r\n" % {
        name.encode(): value for name, value in good.items()}
    return request + more + b"Content-Length: " + length + b"\r\n\r\n" + body


def fuzz(server, count, seed):
    """Send so many; the statuses of the answers (0: closed without one)."""
    rng = np.random.default_rng(seed)
    statuses = []
    for _ in range(count):
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as one:
            answer = b""
            with contextlib.suppress(OSError):
                one.sendall(bad_request(rng, server))
                one.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionError):
                while part := one.recv(1 << 16):
                    answer += part
        found = re.match(rb"HTTP/\S+ (\d+)", answer)
        statuses.append(int(found[1]) if found else 0)
    return statuses


def rss():
    """Resident memory of this process, MB (Linux)."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def test_rubbish_is_refused_and_the_server_goes_on(server, finder, capsys):
    threads = threading.active_count()
    statuses = fuzz(server, 120, 0)
    assert set(statuses) <= {0, 400, 403, 404, 411, 413, 414, 431, 501, 505}, set(statuses)
    assert statuses.count(0) < 40 and not finder.calls
    until(lambda: threading.active_count() <= threads)
    assert post(server, frame())[0] == 200
    assert capsys.readouterr().err == ""


@pytest.mark.ci
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_a_thousand_bad_requests_leave_memory_flat(server, finder):
    threads = threading.active_count()
    fuzz(server, 200, 1)
    gc.collect()
    before = rss()
    statuses = fuzz(server, 1000, 2)
    gc.collect()
    assert len(statuses) == 1000 and 200 not in statuses and not finder.calls
    until(lambda: threading.active_count() <= threads)
    assert rss() - before < 5, (before, rss())
    assert post(server, frame())[0] == 200


def stream(server, seconds):
    """Frames of a film as fast as they are answered, over one connection -> how many."""
    film = [packed(picture) for picture in demo.film(np.arange(50) / demo.FPS, 240, 320)]
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        connection.request("POST", f"/{server.token}/frame?client=a&time={time.monotonic():.4f}",
                           film[count % len(film)], {"Origin": f"http://127.0.0.1:{server.port}"})
        response = connection.getresponse()
        response.read()
        assert response.status == 200
        count += 1
    connection.close()
    return count


@pytest.mark.ci
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_a_minute_of_frames_leaves_memory_flat():
    with working(Engine(toy_session)) as engine, Server(engine, 0) as server:
        stream(server, 15)
        gc.collect()
        before = rss()
        count = stream(server, 60)
        gc.collect()
        assert count > 600 and rss() - before < 4, (count, before, rss())


# --- the program -----------------------------------------------------------------------------------------------------

def error_of(capsys, *words):
    assert cli.status(webcam.Options, webcam.run, list(words), prog=webcam.PROG) == 2
    return capsys.readouterr().err


def test_what_does_not_go_with_the_browser(capsys):
    assert "--record is not for --browser" in error_of(capsys, "--browser", "--record", "x.mp4")
    assert "--max-frames is not for --browser" in error_of(capsys, "--browser", "--max-frames", "5")
    assert "--port is that of the page" in error_of(capsys, "--port", "1234")


def test_a_port_that_is_taken(engine):
    with Server(engine, 0) as server, pytest.raises(UserError, match=f"--port {server.port}: it cannot be listened on"):
        Server(engine, server.port)


@contextlib.contextmanager
def program(*words):
    """python -m tinyfer.webcam --browser in a process of its own -> (process, address)."""
    run = subprocess.Popen([sys.executable, "-m", "tinyfer.webcam", "--browser", "--port", "0", *words], text=True,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)})
    try:
        told = ""
        while not (address := re.search(r"http://\S+", told)):
            line = run.stdout.readline()
            assert line, run.stderr.read()
            told += line
        yield run, told, address[0]
    finally:
        run.kill()
        run.communicate()


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is sent otherwise there")
def test_the_program_tells_its_address_and_ends_by_ctrl_c():
    with program("--model", "toy") as (run, told, address):
        assert "not what a person feels" in told and "for drawn faces only" in told and "Ctrl-C ends it" in told
        port, token = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/([\w-]+)/", address).groups()
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=20)
        connection.request("GET", f"/{token}/about")
        assert json.loads(connection.getresponse().read())["note"] == "for drawn faces only"
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=20)
        assert run.returncode == 130 and err == ""


# --- the page, in a browser ------------------------------------------------------------------------------------------

def pair(times):
    """A film, grey (N,480,640), with two faces side by side."""
    return np.concatenate([demo.film(times, 480, 320), demo.film(times + demo.TURN, 480, 320)], axis=2)


browser = pytest.mark.skipif(chromium.found() is None, reason="there is no Chromium: apt-get install chromium")


@pytest.mark.browser
@browser
@pytest.mark.parametrize("film, people", [(lambda t: demo.film(t, 480, 640), 1), (pair, 2)])
def test_the_page_shows_boxes_and_bars(tmp_path, film, people):
    path = chromium.write_film(tmp_path / "film.mjpeg", film(np.arange(40) / demo.FPS))
    with program("--model", "toy") as (_, _, address), chromium.Chromium(tmp_path, path) as page:
        page.open(address)
        page.wait("document.querySelector('#note').textContent == 'for drawn faces only'")
        page.press("c")  # by the keyboard alone
        page.wait(f"document.querySelectorAll('.box').length == {people}")
        assert page.js("document.querySelectorAll('.card').length") == people
        assert page.js("document.querySelectorAll('.bar').length") == 7 * people
        names = page.js("[...document.querySelectorAll('.card:first-child .what')].map(e => e.textContent)")
        assert names == list(LABELS)
        colours = page.js("[...document.querySelectorAll('.card:first-child .fill')]"
                          ".map(e => getComputedStyle(e).backgroundColor)")
        assert len(set(colours)) == 7
        sums = page.js("[...document.querySelectorAll('.bars')].map(bars => [...bars.querySelectorAll('.percent')]"
                       ".reduce((sum, e) => sum + Number(e.textContent), 0))")
        assert all(96 <= total <= 104 for total in sums)
        page.wait("document.querySelector('.box').textContent.startsWith('neutral ')")
        box, stage = (page.js(f"document.querySelector('{what}').getBoundingClientRect().toJSON()")
                      for what in (".box", "#stage"))
        assert stage["left"] < box["left"] and box["right"] < stage["right"] and box["width"] > 0.15 * stage["width"]
        inked = ("(() => {const c = document.querySelector('%s'), d = c.getContext('2d').getImageData(0, 0, c.width, "
                 "c.height).data; return d.filter((v, i) => i %% 4 == 0 && v > 60).length})()")
        assert page.js(inked % ".crop") > 200 and page.js(inked % "#chart") > 200
        page.press("Tab", 9)
        assert page.js("document.activeElement.tagName") == "BUTTON"
        page.press("m")
        page.wait("!document.querySelector('#stage').classList.contains('mirrored')")
        page.resize(390, 844)
        assert page.js("document.documentElement.scrollWidth") <= 390
        assert page.complaints == []


@pytest.mark.browser
@browser
def test_the_page_takes_pictures_and_videos(tmp_path):
    Image.fromarray(data.toyfaces.scene(480, 640, "surprise", face=180)).save(tmp_path / "surprise.png")
    Image.fromarray(np.full((300, 400), 150, np.uint8)).save(tmp_path / "wall.jpg")
    (tmp_path / "broken.jpg").write_text("no picture")
    with program("--model", "toy") as (_, _, address), chromium.Chromium(tmp_path) as page:
        page.open(address)
        page.choose_file("#file", tmp_path / "surprise.png")
        page.wait("document.querySelector('.box')?.textContent.startsWith('surprise ')")
        assert page.js("document.querySelectorAll('.bar').length") == 7
        assert page.js("document.querySelector('#past').hidden")  # a picture has no last minute
        page.choose_file("#file", tmp_path / "wall.jpg")
        page.wait("document.querySelector('#nobody').textContent.startsWith('No face')")
        assert page.js("document.querySelectorAll('.box, .bar').length") == 0
        page.choose_file("#file", tmp_path / "broken.jpg")
        page.wait("document.querySelector('#message').textContent.includes('cannot show broken.jpg')")
        assert page.js("document.querySelector('#picture').hidden")  # the picture before is not taken for this one
        (tmp_path / "broken.webm").write_text("no video")
        page.choose_file("#file", tmp_path / "broken.webm")
        page.wait("document.querySelector('#message').textContent.includes('cannot play broken.webm')")
        assert page.js("document.querySelector('#stage').classList.contains('empty')")
        assert not page.js("document.querySelector('#past').hidden")
        page.js("document.querySelector('#camera').click()")  # there is none
        page.wait("document.querySelector('#message').textContent.includes('camera')")
        from tinyfer.live.recording import Video
        with Video(tmp_path / "film.webm", demo.FPS) as video:
            for number, grey in enumerate(demo.film(np.arange(50) / demo.FPS, 480, 640)):
                video.write(np.repeat(grey[..., None], 3, axis=2), number / demo.FPS)
        page.choose_file("#file", tmp_path / "film.webm")
        page.wait("document.querySelector('.box')?.textContent.startsWith('neutral ')")


@contextlib.contextmanager
def page_of(tmp_path, answer=None):
    """A page that shows a camera of one face. answer: faces, told in place of those that the program finds."""
    path = chromium.write_film(tmp_path / "film.mjpeg", demo.film(np.arange(10) / demo.FPS, 240, 320))
    with program("--model", "toy") as (_, _, address), chromium.Chromium(tmp_path, path) as page:
        page.open(address)
        if answer is not None:
            page.js("""{const real = window.fetch; window.fetch = async (where, what) => {
                if (!where.startsWith("frame")) return real(where, what);
                return new Response(JSON.stringify({size: [320, 240], ms: {}, faces: window.found}));
            }}""")
            page.js(f"window.found = {json.dumps(answer)}")
        page.press("c")
        yield page


def told_face(track):
    return {"track": track, "box": [10 + 40 * track, 50, 30, 30], "label": "happy", "shown": "happy", "seen": True,
            "uncertain": False, "probabilities": [0, 0, 0, 1, 0, 0, 0], "side": 2, "crop": "AAAAAA=="}


@pytest.mark.browser
@browser
def test_the_page_says_when_the_camera_has_stopped(tmp_path):
    """However many answers were on their way; and no box stays as if it were of now."""
    with page_of(tmp_path) as page:
        page.wait("document.querySelectorAll('.box').length == 1")
        page.js("{const [track] = document.querySelector('#video').srcObject.getVideoTracks(); track.stop(); "
                "track.dispatchEvent(new Event('ended'))}")
        time.sleep(1)
        assert "The camera has stopped" in page.js("document.querySelector('#message').textContent")
        assert page.js("document.querySelectorAll('.box').length") == 0
        assert page.js("document.querySelector('#stage').classList.contains('empty')")
        page.press("c")  # another one is not stopped by the first one's end
        page.wait("document.querySelectorAll('.box').length == 1")
        assert page.js("document.querySelector('#message').hidden")


@pytest.mark.browser
@browser
def test_a_card_keeps_the_keyboard_when_others_go_and_a_chosen_face_is_not_waited_for_for_ever(tmp_path):
    with page_of(tmp_path, [told_face(track) for track in (1, 2, 3)]) as page:
        page.wait("document.querySelectorAll('.card').length == 3")
        page.js("document.querySelector('.card:nth-child(3)').focus()")
        page.js(f"window.found = {json.dumps([told_face(track) for track in (2, 3, 4)])}")
        page.wait("document.querySelector('.card').dataset.track == 2")
        assert page.js("document.activeElement.dataset.track") == "3"
        assert page.js("[...document.querySelectorAll('.card')].map(card => card.dataset.track)") == ["2", "3", "4"]
        page.press("Enter", 13)
        page.wait("document.querySelector('#whose').textContent == 'of face #3'")
        page.js(f"window.found = {json.dumps([told_face(2)])}")
        time.sleep(1)
        assert page.js("document.querySelector('#whose').textContent") == "of face #3"  # it may come back
        page.wait("document.querySelector('#whose').textContent == 'of the largest face'", 30)


@pytest.mark.browser
@browser
@pytest.mark.parametrize("side", [200, 400])
def test_what_is_transparent_is_sent_as_white(tmp_path, side):
    Image.fromarray(np.zeros((side, side, 4), np.uint8)).save(tmp_path / "clear.png")
    with program("--model", "toy") as (_, _, address), chromium.Chromium(tmp_path) as page:
        page.open(address)
        page.js("window.fetch = async (where, what) => (window.sent = what.body, new Response(null, {status: 204}))")
        page.choose_file("#file", tmp_path / "clear.png")
        page.wait("window.sent !== undefined")
        darkest = """createImageBitmap(window.sent).then((image) => {
            const pen = new OffscreenCanvas(image.width, image.height).getContext("2d");
            pen.drawImage(image, 0, 0);
            return pen.getImageData(0, 0, image.width, image.height).data.reduce((a, b) => Math.min(a, b));
        })"""
        assert page.js(darkest) >= 250


@pytest.mark.browser
@browser
def test_the_page_says_when_the_program_has_ended(tmp_path):
    path = chromium.write_film(tmp_path / "film.mjpeg", demo.film(np.arange(10) / demo.FPS, 240, 320))
    with program("--model", "toy") as (run, _, address), chromium.Chromium(tmp_path, path) as page:
        page.open(address)
        page.js("document.querySelector('#camera').click()")
        page.wait("document.querySelectorAll('.box').length == 1")
        run.send_signal(signal.SIGINT)
        page.wait("document.querySelector('#message').textContent.includes('Start it again')")
