"""The official Python SDK with its defaults: sessions, and a stream for every answer."""

import asyncio
import socket
import sys

import uvicorn
from mcp.server.mcpserver import Context, MCPServer

BACKLOG = 4096

mcp = MCPServer("peers", log_level="ERROR")


@mcp.tool(structured_output=False)
def echo(text: str) -> str:
    return text


@mcp.tool(structured_output=False)
async def burst(ctx: Context) -> str:
    for step in range(1, 51):
        await ctx.report_progress(step, 50)
    return "done"


@mcp.tool(structured_output=False)
async def slow(steps: int, millis: int, ctx: Context) -> str:
    for step in range(1, steps + 1):
        await asyncio.sleep(millis / 1000)
        await ctx.report_progress(step, steps)
    return "done"


async def main() -> None:
    if sys.argv[1:] != ["default"]:
        sys.exit(f"no such variant: {sys.argv[1:]}")
    # The benchmark opens more sessions than the default allows.
    app = mcp.streamable_http_app(max_sessions=None)
    # asyncio disables Nagle's algorithm only on sockets whose protocol is given as TCP.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(BACKLOG)
    config = uvicorn.Config(app, log_level="error", access_log=False, backlog=BACKLOG)
    print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}/mcp", flush=True)
    await uvicorn.Server(config).serve(sockets=[listener])


asyncio.run(main())
