"""gunicorn with threads, stopped as its documentation says: SIGTERM within `graceful_timeout`."""

import os
import time

from gunicorn.app.base import BaseApplication

GRACE = int(os.environ.get("GRACE_MS", "15000")) / 1000
PIECE = b"x" * 65536


def app(environ, start_response):
    def answer(pieces, length=None):
        start_response("200 OK", [] if length is None else [("content-length", str(length))])
        return pieces

    def stream(chunks, pause):
        for _ in range(chunks):
            time.sleep(pause / 1000)
            yield b"chunk\n"

    def pieces(length):
        for begin in range(0, length, len(PIECE)):
            yield PIECE[: length - begin]

    match environ["PATH_INFO"].split("/")[1:]:
        case ["stream", chunks, pause]:
            return answer(stream(int(chunks), int(pause)))
        case ["bytes", length]:
            return answer(pieces(int(length)), length)
        case ["full", length]:
            return answer([b"x" * int(length)], length)
        case ["echo"]:
            data = environ["wsgi.input"].read()
            return answer([data], len(data))
        case _:
            return answer([b"hello\n"], 6)


def announce(worker):
    port = worker.sockets[0].getsockname()[1]
    print(f"listening on 127.0.0.1:{port}", flush=True)


class Gunicorn(BaseApplication):
    def load_config(self):
        settings = {
            "bind": "127.0.0.1:0",
            "loglevel": "error",
            "worker_class": "gthread",
            "threads": 64,
            "worker_connections": 2048,
            "backlog": 4096,
            "graceful_timeout": int(GRACE),
            "post_worker_init": announce,
        }
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self):
        return app


Gunicorn().run()
