"""A conversation of a released version of the official Python client, chosen by the virtual environment."""

import argparse
import json
import sys
import traceback
from contextlib import asynccontextmanager

import anyio
import httpx
from mcp import ClientSession, types
from mcp.client.streamable_http import streamablehttp_client
from pydantic import AnyUrl

PATIENCE = 60  # seconds for a whole conversation
# Text with characters that some readers take for line ends, and with non-ASCII characters.
AWKWARD = "a\u2028b\u2029c\x85d grüße 世界 🦀"
HUGE = "x" * (6 << 20)  # bytes; the server takes 4 MiB
HEADERS = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}

checks = 0
verbose = False


def check(what: str, holds: bool, saw: object = None) -> None:
    global checks
    if not holds:
        raise AssertionError(f"{what}; saw {saw!r}"[:2000])
    checks += 1
    if verbose:
        print(f"  ok {what}", flush=True)


def equal(what: str, saw: object, wanted: object) -> None:
    check(f"{what} should be {wanted!r}"[:300], saw == wanted, saw)


@asynccontextmanager
async def connected(url: str):
    """Yields a client in its session, and a function that returns the session's id."""

    async def elicit(_context, _params) -> types.ElicitResult:
        return types.ElicitResult(action="accept", content={"username": "ada", "email": "ada@example.com"})

    async with streamablehttp_client(url) as (read, write, session_id):
        async with ClientSession(read, write, elicitation_callback=elicit) as session:
            opened = await session.initialize()
            equal("the server says its name", opened.serverInfo.name, "everything")
            yield session, session_id


def text(result: types.CallToolResult) -> str:
    return result.content[0].text


async def ask(http: httpx.AsyncClient, url: str, method: str, params: dict, headers: dict) -> tuple[dict, httpx.Response]:
    """Returns the message that answers a raw request."""
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    answer = await http.post(url, json=body, headers={**HEADERS, **headers})
    events = [line[6:] for line in answer.text.split("\n") if line.startswith("data: {")]
    return json.loads(events[-1] if events else answer.text), answer


async def served(url: str) -> list[str]:
    """Returns the names of the served tools, requested without a client."""
    async with httpx.AsyncClient() as http:
        params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}
        _, opened = await ask(http, url, "initialize", params, {})
        session = {"Mcp-Session-Id": opened.headers["mcp-session-id"], "MCP-Protocol-Version": "2025-11-25"}
        names, page = [], {}
        while True:
            answer, _ = await ask(http, url, "tools/list", page, session)
            names += [tool["name"] for tool in answer["result"]["tools"]]
            if "nextCursor" not in answer["result"]:
                return sorted(names)
            page = {"cursor": answer["result"]["nextCursor"]}


async def tools(session: ClientSession, url: str) -> None:
    listed, cursor = [], None
    while True:
        page = await session.list_tools(cursor)
        listed += [tool.name for tool in page.tools]
        cursor = page.nextCursor
        if not cursor:
            break
    equal("every tool is listed", sorted(listed), await served(url))
    check("one of them takes any value", "test_any_value" in listed, listed)
    for value in (7, "text", None, [1, {"a": []}], {"deep": {"er": [True]}}):
        equal("a value of any shape", json.loads(text(await session.call_tool("test_any_value", {"value": value}))), value)
    equal("awkward text", text(await session.call_tool("echo", {"message": AWKWARD})), AWKWARD)


async def streams(session: ClientSession) -> None:
    seen: list = []

    async def note(value: float, total: float | None, message: str | None) -> None:
        seen.append((value, total) if message is None else json.loads(message))

    answer = await session.call_tool("test_any_value", {"value": AWKWARD}, progress_callback=note)
    equal("awkward text at the end of a stream", json.loads(text(answer)), AWKWARD)
    equal("awkward text in a stream", seen, [AWKWARD])
    seen.clear()
    await session.call_tool("test_tool_with_progress", {}, progress_callback=note)
    equal("progress", seen, [(0, 100), (50, 100), (100, 100)])
    answer = text(await session.call_tool("test_elicitation", {"message": "Who are you?"}))
    check("elicitation", "ada@example.com" in answer, answer)


async def resources(session: ClientSession) -> None:
    listed = next(each for each in (await session.list_resources()).resources if each.name == "awkward-uri")
    for what, uri in (("as it is listed", listed.uri), ("as its text is read again", AnyUrl(str(listed.uri)))):
        equal(f"a resource {what}", (await session.read_resource(uri)).contents[0].text, "Its name is not ASCII.")
    filled = (await session.read_resource(AnyUrl("test://template/größe/data"))).contents[0]
    equal("a template", json.loads(filled.text)["id"], "größe")


async def resumed(url: str) -> None:
    """The relay cuts the connection of a call with seven steps inside the third one."""
    seen = []

    async def note(value: float, _total: float | None, _message: str | None) -> None:
        seen.append(value)

    async with connected(url) as (session, _):
        result = await session.call_tool("progress", {"steps": 7, "delay_ms": 50}, progress_callback=note)
        equal("a call whose connection broke: progress without gap or duplicate", seen, [1, 2, 3, 4, 5, 6, 7])
        equal("a call whose connection broke: its answer", text(result), "7 steps done")
        check("a stream that the server closes", bool(text(await session.call_tool("test_reconnection", {}))))


async def rejections(url: str) -> None:
    """Rejections that are sent before a large body was read, as the client's HTTP library receives them."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"huge": HUGE}})
    async with httpx.AsyncClient(timeout=30) as http:
        for status, headers in ((413, {}), (403, {"Origin": "http://evil.example"}), (415, {"Content-Type": "text/plain"})):
            for _ in range(10):
                answer = await http.post(url, content=body, headers={**HEADERS, **headers})
                equal("a rejection is readable", (answer.status_code, "message" in answer.json()["error"]), (status, True))


async def conversation(options) -> None:
    async with connected(options.url) as (session, session_id):
        await tools(session, options.url)
        await streams(session)
        await resources(session)
        ended = session_id()
    async with httpx.AsyncClient() as http:
        _, answer = await ask(http, options.url, "ping", {}, {"Mcp-Session-Id": ended})
        equal("the session has ended", answer.status_code, 404)
    if options.cut:
        await resumed(options.cut)
    await rejections(options.url)


def main() -> int:
    global verbose
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--name", required=True, help="the name of the conversation, for its last line")
    parser.add_argument("--cut", help="the URL of the relay that cuts one call's connection")
    parser.add_argument("--verbose", action="store_true", help="print each check")
    options = parser.parse_args()
    verbose = options.verbose

    async def held() -> bool:
        try:
            with anyio.fail_after(PATIENCE):
                await conversation(options)
        except BaseException as error:
            while nested := getattr(error, "exceptions", None):  # the error is that of a task group
                error = nested[0]
            traceback.print_exception(error)
            print(f"{options.name}: FAILED after {checks} checks: {error!r}"[:2000])
            return False
        return True

    if not anyio.run(held):
        return 1
    print(f"{options.name}: {checks} checks")
    return 0


if __name__ == "__main__":
    sys.exit(main())
