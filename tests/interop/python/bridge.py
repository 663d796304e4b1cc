"""A conversation between the official Python client and a third-party stdio server, through the bridge."""

import argparse
import json

import anyio
from common import SOON, Peer, check, connected, equal, hold, rejected, soon, text
from mcp import Client


async def alike(client: Client, tool: str, argument: str, wanted: str) -> None:
    """Each of many concurrent calls gets its own answer."""
    answers = {}

    async def say(n: int) -> None:
        answers[n] = text(await client.call_tool(tool, {argument: f"number {n}"}))

    async with anyio.create_task_group() as tasks:
        for n in range(16):
            tasks.start_soon(say, n)
    equal("16 calls at once", answers, {n: wanted.format(f"number {n}") for n in range(16)})


async def progress(client: Client, tool: str, arguments: dict, steps: int) -> None:
    """Each of two concurrent calls receives its own progress."""
    seen = [[], []]

    async def work(which: int) -> None:
        async def note(value: float, total: float | None, _message: str | None) -> None:
            seen[which].append((value, total))

        await client.call_tool(tool, arguments, progress_callback=note)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work, 0)
        tasks.start_soon(work, 1)
    wanted = [(step, steps) for step in range(1, steps + 1)]
    equal("progress of two calls at once", seen, [wanted, wanted])


async def everything(client: Client, peer: Peer) -> None:
    equal("the server's own name", client.server_info.name, "mcp-servers/everything")
    equal("and its title", client.server_info.title, "Everything Reference Server")
    tools = {tool.name for tool in (await client.list_tools()).tools}
    able = {"get-roots-list", "trigger-sampling-request", "trigger-elicitation-request"}
    check("the server heard what the client can be asked for", able <= tools, tools)
    equal("echo", text(await client.call_tool("echo", {"message": "grüße \u2028 🦀"})), "Echo: grüße \u2028 🦀")
    equal("a sum", text(await client.call_tool("get-sum", {"a": 1, "b": 2})), "The sum of 1 and 2 is 3.")
    await alike(client, "echo", "message", "Echo: {}")
    await progress(client, "trigger-long-running-operation", {"duration": 0.6, "steps": 3}, 3)

    sampled = text(await client.call_tool("trigger-sampling-request", {"prompt": "six times seven"}))
    check("sampling", "forty-two" in sampled, sampled)
    asked = (await client.call_tool("trigger-elicitation-request")).content
    check("elicitation", any("- Name: ada" in item.text for item in asked), asked)
    check("elicitation showed the whole form", "titledMultipleSelectEnum" in peer.forms[0], peer.forms)
    roots = text(await client.call_tool("get-roots-list"))
    check("roots", "file:///home/ada/trains" in roots, roots)
    # The server sends its requests when the client has connected: in a call, or on the standalone
    # stream.
    equal("each client request came once", sorted(q for q in peer.asked if "prompt" not in q).count("roots"), 1)

    check("resources are listed", len((await client.list_resources()).resources) > 0)
    check("prompts are listed", "simple-prompt" in [prompt.name for prompt in (await client.list_prompts()).prompts])
    result = await client.call_tool("no such tool")
    check("an unknown tool is the server's own answer", "no such tool" in text(result), result)

    await client.set_logging_level("debug")
    before = len(peer.logged)
    await client.call_tool("toggle-simulated-logging")
    with anyio.move_on_after(SOON):
        while len(peer.logged) == before:
            await anyio.sleep(0.02)
    check("a log message", len(peer.logged) > before, peer.logged)


async def python(client: Client, peer: Peer) -> None:
    equal("the server's own name", client.server_info.name, "python-behind-the-bridge")
    equal("its instructions", client.instructions, "Say what you want.")
    await alike(client, "echo", "message", "{}")
    await progress(client, "steps", {"count": 5}, 5)
    equal("elicitation", text(await client.call_tool("whoami")), "ada")
    equal("one client request", peer.asked, ["Who are you?"])
    equal("a call that logs", text(await client.call_tool("chat")), "said")
    equal("a log message", peer.logged, [("info", "a word")])
    equal("a resource", (await client.read_resource("note://one")).contents[0].text, "a note")
    equal("a prompt", (await client.get_prompt("greet", {"name": "ada"})).messages[0].content.text, "Greet ada.")
    await rejected("an unknown prompt, with the server's own code", client.get_prompt("no_such_prompt"), 0)

    async def slept() -> str:
        return json.dumps((await client.call_tool("slept")).structured_content["result"])

    async def woken() -> str:
        return json.dumps((await client.call_tool("woken")).structured_content["result"])

    async with anyio.create_task_group() as tasks:
        scope = anyio.CancelScope()

        async def slow() -> None:
            with scope:
                await client.call_tool("sleep", {"name": "one"})

        tasks.start_soon(slow)
        await soon("the server sleeps", slept, '["one"]')
        equal("no process was woken", await woken(), "[]")
        scope.cancel()
    await soon("the server heard that a call was cancelled", woken, '["one"]')


async def conversation(options: argparse.Namespace) -> None:
    async with connected(options.url, mode="auto" if options.stateless else "legacy") as (client, peer, wire):
        if options.stateless:
            equal("the newest revision", client.protocol_version, "2026-07-28")
            equal("the server's own name", client.server_info.name, "python-behind-the-bridge")
            await alike(client, "echo", "message", "{}")
            await progress(client, "steps", {"count": 5}, 5)
            return
        equal("protocol version", client.protocol_version, "2025-11-25")
        await client.send_ping()
        await (everything if options.behind == "everything" else python)(client, peer)
    equal("the session ended by DELETE", wire.statuses("DELETE"), [200])

    async with connected(options.url, mode="auto") as (client, _, _):
        equal("a client that looks for the newest revision first finds one with sessions", client.protocol_version, "2025-11-25")


if __name__ == "__main__":
    hold(conversation, __doc__)
