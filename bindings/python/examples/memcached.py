"""A memcached server on asyncio:  python memcached.py [--port N] [--sndbuf BYTES]"""

import argparse
import asyncio
import os
import signal
import time

import drywire
from drywire import aio


async def main(port: int, send_buffer: int | None) -> None:
    loop = asyncio.get_running_loop()
    start = int(time.time()) - int(loop.time())
    server = drywire.Server(seed=int.from_bytes(os.urandom(8), "little"), unix_start=start)
    listener = await aio.serve(server, port=port, send_buffer=send_buffer)
    print(f"listening on {listener.sockets[0].getsockname()[1]}", flush=True)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
    listener.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A memcached server on asyncio.")
    parser.add_argument("--port", type=int, default=11211)
    parser.add_argument("--sndbuf", type=int, help="SO_SNDBUF of each connection")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.port, arguments.sndbuf))
