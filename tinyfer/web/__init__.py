"""The browser page and its small local server.

engine.py   the one thread that reads faces, and the queue before it: of each client the newest frame counts
server.py   HTTP on 127.0.0.1: who may ask, for what, and how much
page.html, page.css, page.js     what the browser shows"""

from tinyfer.web.engine import Engine
from tinyfer.web.server import PORT, Server

__all__ = ["PORT", "Engine", "Server"]
