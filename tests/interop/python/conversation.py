"""A whole conversation between the official Python client and a running server.

The client resumes a cut call by itself. What it keeps to itself (status codes, the session id, replaying from an
earlier event) is watched by hooks on its HTTP client, by the proxy that cuts the connection, or asked for raw.
"""

import argparse
import json
import os
import re
import traceback
import uuid
import warnings
from contextlib import asynccontextmanager
from typing import NoReturn

import anyio
import httpx2
from mcp import Client, MCPDeprecationWarning, MCPError, types
from mcp.client.streamable_http import streamable_http_client

warnings.simplefilter("ignore", MCPDeprecationWarning)  # logging and sampling are what is tested here

PATIENCE = 60  # seconds for the whole conversation
SOON = 5  # seconds for something that happens behind the client's back
PROGRESS = b"notifications/progress"
HEADERS = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}

checks = 0
verbose = False


def fail(why: str) -> NoReturn:
    """Ends at once: unwinding the client's task groups would bury the reason."""
    print(f"python: FAILED after {checks} checks: {why}", flush=True)
    os._exit(1)


def check(what: str, holds: bool, saw: object = "") -> None:
    """Counts one check; the first that does not hold ends the conversation."""
    global checks
    if not holds:
        fail(f"{what}; saw {saw!r}")
    checks += 1
    if verbose:
        print(f"  ok {what}")


def equal(what: str, saw: object, wanted: object) -> None:
    check(f"{what} = {wanted!r}", saw == wanted, saw)


async def refused(what: str, call, code: int) -> None:
    try:
        result = await call
    except MCPError as error:
        equal(f"{what}: error code", error.code, code)
    else:
        check(f"{what} is refused", False, result)


async def soon(what: str, ask, wanted: str) -> None:
    """Asks until the answer is the wanted one."""
    saw = None
    with anyio.move_on_after(SOON):
        while saw != wanted:
            saw = await ask()
            await anyio.sleep(0.02)
    equal(what, saw, wanted)


class Wire:
    """What the client's HTTP client sent and got: (method, request headers, status, response headers)."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict, int, dict]] = []

    async def note(self, response) -> None:
        request = response.request
        self.seen.append((request.method, dict(request.headers), response.status_code, dict(response.headers)))

    def statuses(self, method: str) -> list[int]:
        """Of the exchanges with this method that did not resume a stream."""
        return [status for seen, sent, status, _ in self.seen if seen == method and "last-event-id" not in sent]

    @property
    def session(self) -> str | None:
        return next((got["mcp-session-id"] for _, _, _, got in self.seen if "mcp-session-id" in got), None)

    @property
    def resumed(self) -> list[str]:
        return [sent["last-event-id"] for method, sent, _, _ in self.seen if method == "GET" and "last-event-id" in sent]


class Peer:
    """The person and the model behind the client."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.logged: list[tuple[str, object]] = []

    async def elicit(self, _context, params: types.ElicitRequestParams) -> types.ElicitResult:
        self.asked.append(params.message)
        fields = set(params.requested_schema["properties"])
        equal("elicitation asks for", fields, {"username", "email"})
        return types.ElicitResult(action="accept", content={"username": "ada", "email": "ada@example.com"})

    async def sample(self, _context, params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
        self.asked.append(params.messages[0].content.text)
        answer = types.TextContent(type="text", text="forty-two")
        return types.CreateMessageResult(role="assistant", content=answer, model="test")

    async def log(self, params: types.LoggingMessageNotificationParams) -> None:
        self.logged.append((params.level, params.data))


@asynccontextmanager
async def connected(url: str, mode: str = "legacy"):
    """A connected client, the peer behind it and the wire under it."""
    wire, peer = Wire(), Peer()
    hooks = {"response": [wire.note]}
    async with httpx2.AsyncClient(event_hooks=hooks, timeout=httpx2.Timeout(30, read=PATIENCE)) as http:
        transport = streamable_http_client(url, http_client=http)
        client = Client(
            transport,
            mode=mode,
            elicitation_callback=peer.elicit,
            sampling_callback=peer.sample,
            logging_callback=peer.log,
            read_timeout_seconds=30,
        )
        async with client:
            yield client, peer, wire


class CuttingProxy:
    """Relays TCP to the server and, once armed, cuts the connection on which the n-th progress event passes."""

    def __init__(self, url: str) -> None:
        self.host, self.port = re.fullmatch(r"http://([^/:]+):(\d+)/.*", url).groups()
        self.path = url.split("/", 3)[3]
        self.cuts = 0
        self._at: int | None = None
        self._inside = False

    def arm(self, at: int, inside: bool) -> None:
        """Cut once: after the `at`-th progress event, or inside it, so that the client gets half an event."""
        self._at, self._inside = at, inside

    @asynccontextmanager
    async def running(self):
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, self._relay)
            port = listener.extra(anyio.abc.SocketAttribute.local_port)
            yield f"http://127.0.0.1:{port}/{self.path}"
            tasks.cancel_scope.cancel()

    async def _relay(self, client) -> None:
        async with client, await anyio.connect_tcp(self.host, int(self.port)) as server:
            passed = b""  # of the answer to the last request
            async with anyio.create_task_group() as both:

                async def upstream() -> None:
                    nonlocal passed
                    async for data in client:
                        passed = b""
                        await server.send(data)
                    both.cancel_scope.cancel()

                async def downstream() -> None:
                    nonlocal passed
                    async for data in server:
                        keep = len(passed)
                        passed += data
                        if (cut := self._cut(passed)) is not None:
                            await client.send(passed[keep : max(cut, keep)])
                            self._at = None
                            self.cuts += 1
                            break
                        await client.send(data)
                    both.cancel_scope.cancel()

                async def guarded(pump) -> None:
                    try:
                        await pump()
                    except (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream):
                        both.cancel_scope.cancel()

                both.start_soon(guarded, upstream)
                both.start_soon(guarded, downstream)

    def _cut(self, passed: bytes) -> int | None:
        """Where to cut what the server has sent on one connection, if here."""
        if self._at is None:
            return None
        marks = [mark.end() for mark in re.finditer(PROGRESS, passed)]
        if len(marks) < self._at:
            return None
        mark = marks[self._at - 1]
        if self._inside:
            return mark
        end = re.compile(rb"\r?\n\r?\n").search(passed, mark)
        return end.end() if end else None


def text(result: types.CallToolResult) -> str:
    return result.content[0].text


async def basics(client: Client) -> None:
    """What every mode serves."""
    equal("protocol version", client.protocol_version, "2025-11-25")
    check("the server says its name", bool(client.server_info.name), client.server_info)

    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    check("echo is listed with its schema", "message" in tools["echo"].input_schema["properties"], tools.get("echo"))
    equal("echo", text(await client.call_tool("echo", {"message": "grüße \u2028 🦀"})), "grüße \u2028 🦀")

    answers = {}

    async def say(n: int) -> None:
        answers[n] = text(await client.call_tool("echo", {"message": f"number {n}"}))

    async with anyio.create_task_group() as tasks:
        for n in range(16):
            tasks.start_soon(say, n)
    equal("16 calls at once, each with its own answer", answers, {n: f"number {n}" for n in range(16)})

    mixed = await client.call_tool("test_multiple_content_types")
    equal("mixed content", [item.type for item in mixed.content], ["text", "image", "resource"])
    failing = await client.call_tool("test_error_handling")
    check("a failing tool is a result with isError", failing.is_error is True, failing)
    await refused("an unknown tool", client.call_tool("no_such_tool"), types.INVALID_PARAMS)

    uris = [str(resource.uri) for resource in (await client.list_resources()).resources]
    check("resources are listed", {"test://static-text", "test://static-binary"} <= set(uris), uris)
    read = (await client.read_resource("test://static-text")).contents[0]
    equal("a text resource", read.text, "This is the content of the static text resource.")
    read = (await client.read_resource("test://static-binary")).contents[0]
    check("a binary resource", read.mime_type == "image/png" and len(read.blob) > 0, read)
    templates = [template.uri_template for template in (await client.list_resource_templates()).resource_templates]
    check("templates are listed", "test://template/{id}/data" in templates, templates)
    read = (await client.read_resource("test://template/7/data")).contents[0]
    equal("a resource from a template", json.loads(read.text)["id"], "7")

    prompts = [prompt.name for prompt in (await client.list_prompts()).prompts]
    check("prompts are listed", "test_prompt_with_arguments" in prompts, prompts)
    prompt = await client.get_prompt("test_prompt_with_arguments", {"arg1": "one", "arg2": "two"})
    equal("a prompt", prompt.messages[0].content.text, "Prompt with arguments: arg1='one', arg2='two'")

    reference = types.PromptReference(type="ref/prompt", name="test_prompt_with_arguments")
    completion = await client.complete(reference, {"name": "arg1", "value": "test"})
    check("completion", isinstance(completion.completion.values, list), completion)


async def progress(client: Client) -> None:
    seen = []

    async def note(value: float, total: float | None, _message: str | None) -> None:
        seen.append((value, total))

    await client.call_tool("test_tool_with_progress", progress_callback=note)
    equal("progress", seen, [(0, 100), (50, 100), (100, 100)])


async def logging(client: Client, peer: Peer) -> None:
    await client.set_logging_level("debug")
    await client.call_tool("test_tool_with_logging")
    wanted = ["Tool execution started", "Tool processing data", "Tool execution completed"]
    equal("log messages", peer.logged, [("info", line) for line in wanted])
    await client.set_logging_level("error")
    await client.call_tool("test_tool_with_logging")
    equal("no log messages below the level", len(peer.logged), len(wanted))


async def questions(client: Client, peer: Peer) -> None:
    answer = text(await client.call_tool("test_elicitation", {"message": "Who are you?"}))
    check("elicitation", "ada@example.com" in answer, answer)
    answer = text(await client.call_tool("test_sampling", {"prompt": "What is six times seven?"}))
    equal("sampling", answer, "LLM response: forty-two")
    equal("each question came once", peer.asked, ["Who are you?", "What is six times seven?"])


async def cut_and_resumed(client: Client, wire: Wire, proxy: CuttingProxy, steps: int, at: int, inside: bool) -> None:
    """The connection of a call dies; the client comes back with Last-Event-ID and misses nothing."""
    what = f"cut {'inside' if inside else 'after'} event {at}"
    seen, cuts, resumed = [], proxy.cuts, len(wire.resumed)

    async def note(value: float, _total: float | None, _message: str | None) -> None:
        seen.append(value)

    proxy.arm(at, inside)
    result = await client.call_tool("progress", {"steps": steps, "delay_ms": 50}, progress_callback=note)
    equal(f"{what}: cuts", proxy.cuts - cuts, 1)
    check(f"{what}: the client resumed", len(wire.resumed) > resumed, wire.resumed)
    equal(f"{what}: progress without gap or duplicate", seen, list(range(1, steps + 1)))
    check(f"{what}: the answer arrived", not result.is_error and bool(text(result)), result)


async def closed_by_server(client: Client, wire: Wire) -> None:
    resumed = len(wire.resumed)
    result = await client.call_tool("test_reconnection")
    check("a stream that the server closes: the client resumed", len(wire.resumed) > resumed, wire.resumed)
    check("a stream that the server closes: the answer arrived", not result.is_error and bool(text(result)), result)


async def cancelled(client: Client) -> None:
    label = f"python-{uuid.uuid4()}"

    async def report() -> str:
        return text(await client.call_tool("test_slow_report", {"label": label}))

    async with anyio.create_task_group() as tasks:
        scope = anyio.CancelScope()

        async def slow() -> None:
            with scope:
                await client.call_tool("test_slow", {"ms": 30_000, "label": label})

        tasks.start_soon(slow)
        await soon("a slow call", report, "running")
        scope.cancel()
    await soon("a slow call that the client cancelled", report, "cancelled")


Event = tuple[str, dict | None]  # its id and its message; no message in a priming event


def events(body: str) -> list[Event]:
    """The events of an SSE body, without comments."""
    seen = []
    for block in re.split(r"\r?\n\r?\n", body):
        fields = [line.partition(":") for line in block.splitlines() if line and not line.startswith(":")]
        data = "\n".join(value.strip() for name, _, value in fields if name == "data")
        event_id = next((value.strip() for name, _, value in fields if name == "id"), "")
        if fields:
            seen.append((event_id, json.loads(data) if data else None))
    return seen


async def until_answer(response) -> list[Event]:
    """The events of a raw stream up to the answer, whether or not the server ends the stream then."""
    body = ""
    with anyio.move_on_after(SOON):
        async for part in response.aiter_text():
            body += part
            if re.search(r'"result".*\n\r?\n', body):
                break
    return events(body)


async def replayed(url: str, session: str) -> None:
    """Raw: a finished call is replayed from any of its events, each time the same, and nothing else with it."""
    steps = 5
    arguments = {"steps": steps, "delay_ms": 20}
    params = {"name": "progress", "arguments": arguments, "_meta": {"progressToken": "raw"}}
    call = {"jsonrpc": "2.0", "id": "raw-1", "method": "tools/call", "params": params}
    headers = HEADERS | {"Mcp-Session-Id": session, "MCP-Protocol-Version": "2025-11-25"}
    async with httpx2.AsyncClient(timeout=15) as http:
        async with http.stream("POST", url, json=call, headers=headers) as response:
            first = events((await response.aread()).decode())
        ids = [event_id for event_id, _ in first]
        check("raw: each event has an id of its own", all(ids) and len(set(ids)) == len(ids), ids)
        messages = [message for _, message in first if message is not None]
        values = [message["params"]["progress"] for message in messages[:-1]]
        equal("raw: progress", values, list(range(1, steps + 1)))
        equal("raw: the answer comes last", messages[-1].get("id"), "raw-1")
        for from_id in (first[0][0], first[len(first) // 2][0]):
            resume = {name: value for name, value in headers.items() if name != "Content-Type"}
            resume |= {"Accept": "text/event-stream", "Last-Event-ID": from_id}
            async with http.stream("GET", url, headers=resume) as response:
                equal("raw: replay", response.status_code, 200)
                again = [event for event in await until_answer(response) if event[1] is not None]
            wanted = [event for event in first[ids.index(from_id) + 1 :] if event[1] is not None]
            equal(f"raw: replay after {from_id}", again, wanted)


async def gone(url: str, session: str) -> None:
    """Raw: after the end, the session is not known any more."""
    headers = HEADERS | {"Mcp-Session-Id": session, "MCP-Protocol-Version": "2025-11-25"}
    async with httpx2.AsyncClient(timeout=15) as http:
        answer = await http.post(url, json={"jsonrpc": "2.0", "id": 1, "method": "ping"}, headers=headers)
        equal("POST on the ended session", answer.status_code, 404)
        answer = await http.request("DELETE", url, headers=headers)
        equal("DELETE on the ended session", answer.status_code, 404)


async def no_session(url: str) -> None:
    """Raw: without sessions there is nothing to get or to end."""
    async with httpx2.AsyncClient(timeout=15) as http:
        for method, accept in (("GET", "text/event-stream"), ("DELETE", "*/*")):
            async with http.stream(method, url, headers={"Accept": accept}) as answer:
                equal(f"{method} without sessions", answer.status_code, 405)
                check(f"{method} without sessions names what is allowed", "POST" in answer.headers.get("allow", ""))


async def conversation(url: str, mode: str, stateless: bool) -> None:
    streams = mode != "json"
    proxy = CuttingProxy(url)
    async with proxy.running() as through:
        async with connected(through) as (client, peer, wire):
            await basics(client)
            if streams:
                await progress(client)
            if not stateless:
                await client.send_ping()
                await cancelled(client)
            if streams and not stateless:
                await logging(client, peer)
                await questions(client, peer)
                await cut_and_resumed(client, wire, proxy, steps=8, at=1, inside=False)
                await cut_and_resumed(client, wire, proxy, steps=8, at=3, inside=True)
                await closed_by_server(client, wire)
                await replayed(url, wire.session)
                equal("the standalone stream opened once", wire.statuses("GET"), [200])
        if stateless:
            check("no session was issued", wire.session is None, wire.session)
            await no_session(url)
        else:
            check("the session ended by DELETE", wire.statuses("DELETE") in ([200], [204]), wire.statuses("DELETE"))
            await gone(url, wire.session)

    async with connected(url, mode="auto") as (client, _, _):
        answer = text(await client.call_tool("echo", {"message": "again"}))
        equal("a client that looks for the newest revision first", answer, "again")


async def main(options: argparse.Namespace) -> None:
    try:
        with anyio.fail_after(PATIENCE):
            await conversation(options.url, options.mode, options.stateless)
    except BaseException as error:
        while nested := getattr(error, "exceptions", None):  # of a task group
            error = nested[0]
        traceback.print_exception(error)
        fail(repr(error))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--mode", choices=("auto", "sse", "json"), default="auto", help="the server's response mode")
    parser.add_argument("--stateless", action="store_true", help="the server keeps no sessions")
    parser.add_argument("--verbose", action="store_true", help="print each check")
    parsed = parser.parse_args()
    verbose = parsed.verbose
    anyio.run(main, parsed)
    print(f"python: {checks} checks")
