#!/usr/bin/env bash
# uvicorn on asyncio, given a socket that is bound already, leaves Nagle's algorithm on.
#
# Guess: asyncio sets TCP_NODELAY on every TCP connection, so it makes no difference whether uvicorn binds its address
# itself, or is given a listening socket (`Server.serve(sockets=[...])`, and so with `--workers`).
# Behaviour (uvicorn 0.54.0, Linux): asyncio sets it only on sockets that name TCP as their protocol. A connection takes
# that name from its listener: what getaddrinfo resolves has it, what `socket.create_server` or `Config.bind_socket`
# makes has 0. Then the second small piece of an answer, such as a streamed token or what a compressor flushes, waits
# for the acknowledgement of the first: 40 ms on Linux, even on the loopback. uvloop sets it always.
# Output seen: own address: nodelay 1; create_server: nodelay 0; bind_socket: nodelay 0
# Source: asyncio/base_events.py, _set_nodelay(); uvicorn's issue 3149; and running this.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check uvicorn==0.54.0
"$place/venv/bin/python" - <<'PYTHON'
import asyncio
import socket

import uvicorn


async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


async def nodelay(listener):
    """Whether a connection that uvicorn accepted has TCP_NODELAY."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, loop="asyncio", lifespan="off", log_level="critical"))
    task = asyncio.create_task(server.serve(sockets=[listener] if listener else None))
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await reader.readline()
    (connection,) = server.server_state.connections
    found = connection.transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    writer.close()
    server.should_exit = True
    await task
    return found


async def main():
    bound = uvicorn.Config(app, port=0, log_level="critical").bind_socket()
    return {
        "own address": await nodelay(None),
        "create_server": await nodelay(socket.create_server(("127.0.0.1", 0))),
        "bind_socket": await nodelay(bound),
    }


found = asyncio.run(main())
print("; ".join(f"{name}: nodelay {value}" for name, value in found.items()))
assert found == {"own address": 1, "create_server": 0, "bind_socket": 0}, found
PYTHON
