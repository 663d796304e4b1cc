"""What all conversations of the official Python client share: counted checks, a client that records what it sends and which
requests it receives, and the requests that a server of any revision answers.
"""

import argparse
import json
import os
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

PATIENCE = 120  # seconds for the whole conversation
SOON = 30  # seconds for something that happens behind the client's back

checks = 0
verbose = False


def fail(why: str) -> NoReturn:
    """Ends the process at once: unwinding the client's task groups would hide the reason."""
    print(f"python: FAILED after {checks} checks: {why}", flush=True)
    os._exit(1)


def check(what: str, holds: bool, saw: object = "") -> None:
    """Counts one check. The first that fails ends the conversation."""
    global checks
    if not holds:
        fail(f"{what}; saw {saw!r}")
    checks += 1
    if verbose:
        print(f"  ok {what}")


def equal(what: str, saw: object, wanted: object) -> None:
    check(f"{what} = {wanted!r}", saw == wanted, saw)


async def rejected(what: str, call, code: int) -> None:
    try:
        result = await call
    except MCPError as error:
        equal(f"{what}: error code", error.code, code)
    else:
        check(f"{what} is rejected", False, result)


async def soon(what: str, ask, wanted: str) -> None:
    """Polls until the answer is the wanted one."""
    saw = None
    with anyio.move_on_after(SOON):
        while saw != wanted:
            saw = await ask()
            await anyio.sleep(0.02)
    equal(what, saw, wanted)


class Wire:
    """The exchanges of the client's HTTP client: (method, request headers, status, response headers)."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict, int, dict]] = []

    async def note(self, response) -> None:
        request = response.request
        self.seen.append((request.method, dict(request.headers), response.status_code, dict(response.headers)))

    def statuses(self, method: str) -> list[int]:
        """Returns the statuses of the exchanges with this method that did not resume a stream."""
        return [status for seen, sent, status, _ in self.seen if seen == method and "last-event-id" not in sent]

    def asked(self, method: str) -> list[tuple[str, dict, int, dict]]:
        """Returns the requests with this MCP method, which headers name since 2026-07-28."""
        return [exchange for exchange in self.seen if exchange[1].get("mcp-method") == method]

    @property
    def session(self) -> str | None:
        return next((got["mcp-session-id"] for _, _, _, got in self.seen if "mcp-session-id" in got), None)

    @property
    def resumed(self) -> list[str]:
        return [sent["last-event-id"] for method, sent, _, _ in self.seen if method == "GET" and "last-event-id" in sent]


# The user's answers, by the field that a form asks for.
ANSWERS = {
    "username": "ada",
    "email": "ada@example.com",
    "name": "ada",
    "ok": True,
    "color": "blue",
    "context": "trains",
}


class Peer:
    """The user and the model behind the client."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.forms: list[set[str]] = []
        self.logged: list[tuple[str, object]] = []

    async def elicit(self, _context, params: types.ElicitRequestParams) -> types.ElicitResult:
        self.asked.append(params.message)
        fields = set(params.requested_schema["properties"])
        self.forms.append(fields)
        return types.ElicitResult(action="accept", content={field: ANSWERS[field] for field in fields if field in ANSWERS})

    async def sample(self, _context, params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
        self.asked.append(params.messages[0].content.text)
        answer = types.TextContent(type="text", text="forty-two")
        return types.CreateMessageResult(role="assistant", content=answer, model="test")

    async def roots(self, _context) -> types.ListRootsResult:
        self.asked.append("roots")
        return types.ListRootsResult(roots=[types.Root(uri="file:///home/ada/trains")])

    async def log(self, params: types.LoggingMessageNotificationParams) -> None:
        self.logged.append((params.level, params.data))


@asynccontextmanager
async def connected(url: str, mode: str = "legacy", abilities: str = "elicitation sampling roots", **how):
    """Yields a connected client, the peer behind it and the recorded exchanges."""
    wire, peer = Wire(), Peer()
    hooks = {"response": [wire.note]}
    async with httpx2.AsyncClient(event_hooks=hooks, timeout=httpx2.Timeout(30, read=PATIENCE)) as http:
        transport = streamable_http_client(url, http_client=http)
        client = Client(
            transport,
            mode=mode,
            elicitation_callback=peer.elicit if "elicitation" in abilities else None,
            sampling_callback=peer.sample if "sampling" in abilities else None,
            list_roots_callback=peer.roots if "roots" in abilities else None,
            logging_callback=peer.log,
            read_timeout_seconds=30,
            **how,
        )
        async with client:
            yield client, peer, wire


def text(result: types.CallToolResult) -> str:
    return result.content[0].text


async def every(page, member: str) -> list:
    """Returns the items of all pages of a list."""
    answer = await page()
    items = list(getattr(answer, member))
    while answer.next_cursor:
        answer = await page(cursor=answer.next_cursor)
        items += getattr(answer, member)
    return items


async def basics(client: Client) -> None:
    """Checks what every mode serves."""
    check("the server says its name", bool(client.server_info.name), client.server_info)

    tools = {tool.name: tool for tool in await every(client.list_tools, "tools")}
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
    await rejected("an unknown tool", client.call_tool("no_such_tool"), types.INVALID_PARAMS)

    uris = [str(resource.uri) for resource in await every(client.list_resources, "resources")]
    check("resources are listed", {"test://static-text", "test://static-binary"} <= set(uris), uris)
    read = (await client.read_resource("test://static-text")).contents[0]
    equal("a text resource", read.text, "This is the content of the static text resource.")
    read = (await client.read_resource("test://static-binary")).contents[0]
    check("a binary resource", read.mime_type == "image/png" and len(read.blob) > 0, read)
    listed = await every(client.list_resource_templates, "resource_templates")
    templates = [template.uri_template for template in listed]
    check("templates are listed", "test://template/{id}/data" in templates, templates)
    read = (await client.read_resource("test://template/7/data")).contents[0]
    equal("a resource from a template", json.loads(read.text)["id"], "7")

    prompts = [prompt.name for prompt in await every(client.list_prompts, "prompts")]
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


def hold(conversation, about: str) -> None:
    """Holds a conversation with the server named on the command line, and prints the number of checks."""
    global verbose
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--mode", choices=("auto", "sse", "json"), default="auto", help="the server's response mode")
    parser.add_argument("--stateless", action="store_true", help="the server keeps no sessions")
    parser.add_argument("--behind", choices=("everything", "python"), help="the stdio server behind the bridge")
    parser.add_argument("--verbose", action="store_true", help="print each check")
    options = parser.parse_args()
    verbose = options.verbose

    async def main() -> None:
        try:
            with anyio.fail_after(PATIENCE):
                await conversation(options)
        except BaseException as error:
            while nested := getattr(error, "exceptions", None):  # the error is that of a task group
                error = nested[0]
            traceback.print_exception(error)
            fail(repr(error))

    anyio.run(main)
    print(f"python: {checks} checks")
