"""uvicorn and Hypercorn, each stopped as its documentation says: it handles SIGTERM itself, within
the time limit that it is given.

Run with: python asgi.py uvicorn, or: python asgi.py hypercorn
"""

import asyncio
import os
import socket
import sys

GRACE = int(os.environ.get("GRACE_MS", "15000")) / 1000
IDLE = os.environ.get("IDLE_MS")
PIECE = b"x" * 65536

listener = socket.create_server(("127.0.0.1", 0), backlog=4096)


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        # Signals are handled by now, and the kernel queues what connects.
        print(f"listening on 127.0.0.1:{listener.getsockname()[1]}", flush=True)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return

    async def start(status=200, length=None):
        headers = [] if length is None else [(b"content-length", str(length).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})

    async def body(data=b"", more=False):
        await send({"type": "http.response.body", "body": data, "more_body": more})

    match scope["path"].split("/")[1:]:
        case ["stream", chunks, pause]:
            await start()
            for _ in range(int(chunks)):
                await asyncio.sleep(int(pause) / 1000)
                await body(b"chunk\n", more=True)
            await body()
        case ["bytes", length]:
            await start(length=int(length))
            left = int(length)
            while left > 0:
                await body(PIECE[:left], more=True)
                left -= len(PIECE)
            await body()
        case ["full", length]:
            await start(length=int(length))
            await body(b"x" * int(length))
        case ["echo"]:
            # Read first: not every server passes an answer on before its request has ended.
            data, more = bytearray(), True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return
                data += message.get("body", b"")
                more = message.get("more_body", False)
            await start(length=len(data))
            await body(bytes(data))
        case _:
            await start(length=6)
            await body(b"hello\n")


def uvicorn():
    from uvicorn import Config, Server

    config = Config(app, log_level="error", access_log=False, timeout_graceful_shutdown=int(GRACE))
    if IDLE:
        config.timeout_keep_alive = int(IDLE) / 1000
    Server(config).run(sockets=[listener])


def hypercorn():
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.backlog = 4096
    config.graceful_timeout = GRACE
    if IDLE:
        config.keep_alive_timeout = int(IDLE) / 1000
    asyncio.run(serve(app, config))


{"uvicorn": uvicorn, "hypercorn": hypercorn}[sys.argv[1]]()
