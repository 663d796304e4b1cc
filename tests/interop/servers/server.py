"""A stdio server with the official Python SDK, which runs behind the bridge."""

import anyio
from mcp.server.mcpserver import Context, MCPServer
from pydantic import BaseModel

server = MCPServer("python-behind-the-bridge", instructions="Say what you want.")


class Person(BaseModel):
    name: str


@server.tool()
async def echo(message: str) -> str:
    return message


@server.tool()
async def steps(count: int, ctx: Context) -> str:
    for step in range(1, count + 1):
        await ctx.report_progress(step, count)
    return f"{count} steps"


@server.tool()
async def whoami(ctx: Context) -> str:
    asked = await ctx.elicit("Who are you?", Person)
    return asked.data.name if asked.action == "accept" else asked.action


@server.tool()
async def chat(ctx: Context) -> str:
    await ctx.info("a word")
    return "said"


sleeping: list[str] = []
cancelled: list[str] = []


@server.tool()
async def sleep(name: str) -> str:
    sleeping.append(name)
    try:
        await anyio.sleep(60)
    except anyio.get_cancelled_exc_class():
        cancelled.append(name)
        raise
    return "awake"


@server.tool()
async def slept() -> list[str]:
    return sleeping


@server.tool()
async def woken() -> list[str]:
    return cancelled


@server.resource("note://one")
def note() -> str:
    return "a note"


@server.prompt()
def greet(name: str) -> str:
    return f"Greet {name}."


if __name__ == "__main__":
    server.run()
