"""A whole conversation between the official Python client and a running server.

The client resumes a cut call by itself. Hooks on its HTTP client, the proxy that cuts the connection, and raw requests
show what the client does not expose (status codes, the session id, a replay from an earlier event).
"""

import argparse
import json
import re
from contextlib import asynccontextmanager

import anyio
import httpx2
from common import SOON, Peer, Wire, basics, cancelled, check, connected, equal, hold, progress, text
from mcp import Client

PROGRESS = b"notifications/progress"
HEADERS = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}


class CuttingProxy:
    """Relays TCP to the server and, once armed, cuts the connection on which the n-th progress event passes."""

    def __init__(self, url: str) -> None:
        self.host, self.port = re.fullmatch(r"http://([^/:]+):(\d+)/.*", url).groups()
        self.path = url.split("/", 3)[3]
        self.cuts = 0
        self._at: int | None = None
        self._inside = False

    def arm(self, at: int, inside: bool) -> None:
        """Arms one cut: after the `at`-th progress event, or inside it, so that the client receives half an event."""
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
            passed = b""  # the bytes of the answer to the last request
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
        """Returns the position at which to cut the server's output on one connection, if the cut is here."""
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


async def logging(client: Client, peer: Peer) -> None:
    await client.set_logging_level("debug")
    await client.call_tool("test_tool_with_logging")
    wanted = ["Tool execution started", "Tool processing data", "Tool execution completed"]
    equal("log messages", peer.logged, [("info", line) for line in wanted])
    await client.set_logging_level("error")
    await client.call_tool("test_tool_with_logging")
    equal("no log messages below the level", len(peer.logged), len(wanted))


async def client_requests(client: Client, peer: Peer) -> None:
    answer = text(await client.call_tool("test_elicitation", {"message": "Who are you?"}))
    check("elicitation", "ada@example.com" in answer, answer)
    equal("elicitation asks for", peer.forms, [{"username", "email"}])
    answer = text(await client.call_tool("test_sampling", {"prompt": "What is six times seven?"}))
    equal("sampling", answer, "LLM response: forty-two")
    equal("each client request came once", peer.asked, ["Who are you?", "What is six times seven?"])


async def cut_and_resumed(client: Client, wire: Wire, proxy: CuttingProxy, steps: int, at: int, inside: bool) -> None:
    """A client whose connection breaks in a call resumes with Last-Event-ID and misses nothing."""
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


Event = tuple[str, dict | None]  # its id and its message; no message in a priming event


def events(body: str) -> list[Event]:
    """Returns the events of an SSE body, without comments."""
    seen = []
    for block in re.split(r"\r?\n\r?\n", body):
        fields = [line.partition(":") for line in block.splitlines() if line and not line.startswith(":")]
        data = "\n".join(value.strip() for name, _, value in fields if name == "data")
        event_id = next((value.strip() for name, _, value in fields if name == "id"), "")
        if fields:
            seen.append((event_id, json.loads(data) if data else None))
    return seen


async def until_answer(response) -> list[Event]:
    """Returns the events of a raw stream up to the answer, even if the server leaves the stream open."""
    body = ""
    with anyio.move_on_after(SOON):
        async for part in response.aiter_text():
            body += part
            if re.search(r'"result".*\n\r?\n', body):
                break
    return events(body)


async def replayed(url: str, session: str) -> None:
    """Raw: a finished call can be replayed from each of its events, always with the same rest and nothing else."""
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
    """Raw: an ended session no longer exists."""
    headers = HEADERS | {"Mcp-Session-Id": session, "MCP-Protocol-Version": "2025-11-25"}
    async with httpx2.AsyncClient(timeout=15) as http:
        answer = await http.post(url, json={"jsonrpc": "2.0", "id": 1, "method": "ping"}, headers=headers)
        equal("POST on the ended session", answer.status_code, 404)
        answer = await http.request("DELETE", url, headers=headers)
        equal("DELETE on the ended session", answer.status_code, 404)


async def no_session(url: str) -> None:
    """Raw: without sessions, GET and DELETE are rejected."""
    async with httpx2.AsyncClient(timeout=15) as http:
        for method, accept in (("GET", "text/event-stream"), ("DELETE", "*/*")):
            async with http.stream(method, url, headers={"Accept": accept}) as answer:
                equal(f"{method} without sessions", answer.status_code, 405)
                check(f"{method} without sessions names what is allowed", "POST" in answer.headers.get("allow", ""))


async def conversation(options: argparse.Namespace) -> None:
    url, stateless, streams = options.url, options.stateless, options.mode != "json"
    proxy = CuttingProxy(url)
    async with proxy.running() as through:
        async with connected(through) as (client, peer, wire):
            equal("protocol version", client.protocol_version, "2025-11-25")
            await basics(client)
            if streams:
                await progress(client)
            if not stateless:
                await client.send_ping()
                await cancelled(client)
            if streams and not stateless:
                await logging(client, peer)
                await client_requests(client, peer)
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
        equal("and finds it", client.protocol_version, "2026-07-28")


if __name__ == "__main__":
    hold(conversation, __doc__)
