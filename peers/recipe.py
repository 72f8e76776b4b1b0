"""Tornado, stopped by the recipe that many services copy: SIGTERM stops the listener, and a check
once a second stops the loop when no task is left or the deadline has passed."""

import asyncio
import os
import signal
import time

from tornado import web
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.netutil import bind_sockets

GRACE = int(os.environ.get("GRACE_MS", "15000")) / 1000
IDLE = os.environ.get("IDLE_MS")
PIECE = b"x" * 65536


class Hello(web.RequestHandler):
    def get(self):
        self.write(b"hello\n")


class Stream(web.RequestHandler):
    async def get(self, chunks, pause):
        for _ in range(int(chunks)):
            await asyncio.sleep(int(pause) / 1000)
            self.write(b"chunk\n")
            await self.flush()


class Bytes(web.RequestHandler):
    async def get(self, length):
        self.set_header("content-length", length)
        for begin in range(0, int(length), len(PIECE)):
            self.write(PIECE[: int(length) - begin])
            await self.flush()


class Full(web.RequestHandler):
    def get(self, length):
        self.write(b"x" * int(length))


class Echo(web.RequestHandler):
    def post(self):
        self.write(self.request.body)


async def main():
    app = web.Application(
        [
            ("/", Hello),
            (r"/stream/(\d+)/(\d+)", Stream),
            (r"/bytes/(\d+)", Bytes),
            (r"/full/(\d+)", Full),
            ("/echo", Echo),
        ],
        log_function=lambda handler: None,
    )
    server = HTTPServer(app, idle_connection_timeout=int(IDLE) / 1000 if IDLE else None)
    sockets = bind_sockets(0, "127.0.0.1", backlog=4096)
    server.add_sockets(sockets)
    loop, stopped = IOLoop.current(), asyncio.Event()
    this = asyncio.current_task()

    def shutdown():
        server.stop()
        deadline = time.time() + GRACE

        def check():
            busy = any(task is not this for task in asyncio.all_tasks())
            if busy and time.time() < deadline:
                loop.call_later(1, check)
            else:
                stopped.set()

        check()

    signal.signal(signal.SIGTERM, lambda *_: loop.add_callback_from_signal(shutdown))
    print(f"listening on 127.0.0.1:{sockets[0].getsockname()[1]}", flush=True)
    await stopped.wait()


asyncio.run(main())
