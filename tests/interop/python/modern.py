"""A whole conversation between the official Python client in its modern mode (2026-07-28) and a running server. A client of
the session revisions talks to the server at the same time.
"""

import argparse

import anyio
from common import SOON, Peer, Wire, basics, cancelled, check, connected, equal, hold, progress, soon, text
from mcp import Client, MCPError, types
from mcp.client.subscriptions import ResourceUpdated, ToolsListChanged

MODERN = "2026-07-28"
WATCHED = "test://watched-resource"
STEM = "test_input_required_result_"


async def discovered(client: Client, wire: Wire) -> None:
    """Discovery: what the client learns before its first request."""
    equal("the revision", client.protocol_version, MODERN)
    found = types.DiscoverResult.model_validate(await client.session.send_discover(MODERN))
    equal("revisions served", found.supported_versions, ["2025-03-26", "2025-06-18", "2025-11-25", MODERN])
    can = client.server_capabilities
    check("capabilities", bool(can.tools.list_changed and can.prompts and can.resources), can)
    check("instructions", "try clients" in client.instructions, client.instructions)
    equal("how long that may be kept", (found.ttl_ms, found.cache_scope), (60_000, "private"))
    check("the server was asked", len(wire.asked("server/discover")) > 0)


def stateless(wire: Wire) -> None:
    """There is no session and no standalone stream, and every request names its revision."""
    equal("no session was issued", wire.session, None)
    equal("only POST", {method for method, _, _, _ in wire.seen}, {"POST"})
    equal("the revision in each header", {sent["mcp-protocol-version"] for _, sent, _, _ in wire.seen}, {MODERN})


async def lists(client: Client, wire: Wire) -> None:
    """Lists have several pages, and the client caches them for as long as the server allows."""
    names, cursor, pages = [], None, 0
    while pages == 0 or cursor:
        page = await client.list_tools(cursor=cursor)
        names += [tool.name for tool in page.tools]
        cursor, pages = page.next_cursor, pages + 1
    check("a list of several pages", pages > 3, pages)
    equal("each tool once", len(set(names)), len(names))
    before = len(wire.asked("tools/list"))
    equal("the first page again", [tool.name for tool in (await client.list_tools()).tools], names[:7])
    equal("a page that was kept is not asked for", len(wire.asked("tools/list")), before)

    def reads(uri: str) -> int:
        return sum(sent["mcp-name"] == uri for _, sent, _, _ in wire.asked("resources/read"))

    for uri, wanted in (("test://static-text", 0), (WATCHED, 2)):
        before = reads(uri)
        await client.read_resource(uri)
        await client.read_resource(uri)
        equal(f"how often {uri} is asked for, which was or was not kept", reads(uri) - before, wanted)


async def logs(url: str) -> None:
    """Each request asks for its own log messages."""
    lines = ["Tool execution started", "Tool processing data", "Tool execution completed"]
    for level, wanted in ((None, []), ("info", [("info", line) for line in lines]), ("error", [])):
        async with connected(url, MODERN, log_level=level) as (client, peer, _):
            await client.call_tool("test_tool_with_logging")
            equal(f"log messages at {level}", peer.logged, wanted)


async def mirrored(url: str) -> None:
    """The client mirrors arguments in headers, as the tool's schema requires."""
    async with connected(url, MODERN) as (client, _, wire):

        async def call(arguments: dict) -> str:
            return text(await client.call_tool("test_x_mcp_header", arguments))

        def sent(name: str) -> str:
            return wire.asked("tools/call")[-1][1].get(f"mcp-param-{name}", "")

        equal("a call before the tool was listed", await call({"region": "eu"}), "region=eu, priority=0, dry_run=false")
        equal("was rejected first", [status for _, _, status, _ in wire.asked("tools/call")], [400, 200])
        equal("and then had its header", sent("region"), "eu")
        said = await call({"region": " Zürich ", "priority": -3, "dry_run": True})
        equal("arguments of each type", said, "region= Zürich , priority=-3, dry_run=true")
        check("a text that no header can hold is coded", sent("region").startswith("=?base64?"), sent("region"))
        equal("numbers and booleans", [sent("priority"), sent("dry-run")], ["-3", "true"])


async def incapable(url: str) -> None:
    """A client without capabilities, and one with a single capability."""
    async with connected(url, MODERN, abilities="") as (client, _, wire):
        try:
            result = await client.call_tool("test_missing_capability")
        except MCPError as error:
            wanted = (-32021, {"requiredCapabilities": {"sampling": {}}})
            equal("what is missing", (error.code, error.error.data), wanted)
        else:
            check("a missing capability is rejected", False, result)
        equal("the status of it", wire.asked("tools/call")[-1][2], 400)
    async with connected(url, MODERN, abilities="sampling") as (client, _, _):
        said = text(await client.call_tool("test_missing_capability"))
        equal("a client that can", said, "The model said: forty-two")
        said = text(await client.call_tool(f"{STEM}capabilities"))
        equal("only what it can is asked", said, "The model said: forty-two.")


async def rounds(client: Client, peer: Peer, wire: Wire) -> None:
    """A call ends with requests to the client, which repeats it with the answers by itself."""
    name = "What is your name?"
    everything = "Hello, ada! The model said: forty-two. Open: file:///home/ada/trains."
    steps = ["Step 1: what is your name?", "Step 2: which colour does ada like best?"]
    for tool, said, times, asked in (
        ("elicitation", "Hello, ada!", 2, [name]),
        ("sampling", "The model said: forty-two", 2, ["What is the capital of France?"]),
        ("list_roots", "Open: file:///home/ada/trains.", 2, ["roots"]),
        ("multiple_inputs", everything, 2, ["Say hello.", name, "roots"]),
        ("request_state", "confirmed, state-ok", 2, ["Shall it go on?"]),
        ("multi_round", "ada likes blue.", 3, steps),
    ):
        before, client_requests = len(wire.asked("tools/call")), len(peer.asked)
        equal(tool, text(await client.call_tool(f"{STEM}{tool}")), said)
        equal(f"{tool}: rounds", len(wire.asked("tools/call")) - before, times)
        equal(f"{tool}: each client request once", sorted(peer.asked[client_requests:]), asked)
    prompt = await client.get_prompt(f"{STEM}prompt")
    equal("a prompt that asks", prompt.messages[0].content.text, "Write about trains.")
    answer = text(await client.call_tool("test_elicitation", {"message": "Who are you?"}))
    check("a tool that was written for sessions", "ada@example.com" in answer, answer)


async def listened(client: Client, wire: Wire) -> None:
    """A subscription delivers changes, and the client drops its cached lists."""
    async with client.listen(tools_list_changed=True, resource_subscriptions=[WATCHED]) as changes:
        honored = changes.honored.model_dump(exclude_none=True)
        equal("what is listened to", honored, {"tools_list_changed": True, "resource_subscriptions": [WATCHED]})
        await client.list_tools()
        kept = len(wire.asked("tools/list"))
        await client.call_tool("test_trigger_prompt_change")
        await client.call_tool("test_trigger_resource_update", {"uri": "test://static-text"})
        await client.call_tool("test_trigger_tool_change")
        with anyio.fail_after(SOON):
            equal("a change, and no other", await anext(changes), ToolsListChanged())
        await client.call_tool("test_trigger_resource_update")
        with anyio.fail_after(SOON):
            equal("a resource that changed", await anext(changes), ResourceUpdated(uri=WATCHED))
        await client.list_tools()
        equal("a list that changed is asked for again", len(wire.asked("tools/list")), kept + 1)


async def side_by_side(url: str, streams: bool) -> None:
    """A client with a session and one without use the same server."""
    delivered = anyio.Event()

    async def heard(message) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            delivered.set()

    async with (
        connected(url, message_handler=heard) as (old, _, old_wire),
        connected(url, "auto") as (modern, _, wire),
        modern.listen(tools_list_changed=True) as changes,
    ):
        equal("revisions", [old.protocol_version, modern.protocol_version], ["2025-11-25", MODERN])
        check("one has a session", bool(old_wire.session) and not wire.session, (old_wire.session, wire.session))

        async def standalone() -> str:
            return str(old_wire.statuses("GET"))

        await soon("the standalone stream", standalone, "[200]")
        for by in (old, modern):
            delivered = anyio.Event()
            await by.call_tool("test_trigger_tool_change")
            with anyio.fail_after(SOON):
                await delivered.wait()
                equal("both were delivered", await anext(changes), ToolsListChanged())

        answers = {}

        async def say(n: int) -> None:
            answers[n] = text(await (old, modern)[n % 2].call_tool("echo", {"message": f"number {n}"}))

        async with anyio.create_task_group() as tasks:
            for n in range(16):
                tasks.start_soon(say, n)
        equal("16 calls at once of both eras", answers, {n: f"number {n}" for n in range(16)})
        if streams:
            said = [text(await client.call_tool(f"{STEM}elicitation")) for client in (old, modern)]
            equal("one handler asks both", said, ["Hello, ada!", "Hello, ada!"])


async def conversation(options: argparse.Namespace) -> None:
    url, streams = options.url, options.mode != "json"
    async with connected(url, "auto") as (client, peer, wire):
        await discovered(client, wire)
        await basics(client)
        await lists(client, wire)
        if streams:
            await progress(client)
        await rounds(client, peer, wire)
        await listened(client, wire)
        await cancelled(client)
        stateless(wire)
    if streams:
        await logs(url)
    await mirrored(url)
    await incapable(url)
    await side_by_side(url, streams)


if __name__ == "__main__":
    hold(conversation, __doc__)
