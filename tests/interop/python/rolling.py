"""The official Python client calls all the time, until its input ends, while nodes are drained and restarted.

Every call is answered, and its progress arrives without a gap, each step once. The test repeats nothing: it relies on
what the client itself does when a stream breaks.
"""

import argparse
import os
import sys
import traceback

import anyio
import anyio.to_thread
from common import Peer, Wire, check, connected, equal, fail, text
from mcp import Client

# With this many workers, some calls run at every node when it drains. Ten steps take a second. Most
# calls last longer than a node keeps connections open, and all of them end before it stops waiting
# for calls.
WORKERS = 26
STEPS = (20, 190, 190)

over = False
calls = messages = 0


async def progress(client: Client, steps: int) -> None:
    """Makes a long call that reports its progress."""
    global calls, messages
    seen = []

    async def note(value: float, _total: float | None, _message: str | None) -> None:
        seen.append(value)

    result = await client.call_tool("progress", {"steps": steps, "delay_ms": 100}, progress_callback=note)
    equal("progress", seen, list(range(1, steps + 1)))
    equal("the answer", text(result), f"{steps} steps done")
    calls, messages = calls + 1, messages + len(seen)


async def client_request(client: Client, peer: Peer) -> None:
    """Makes a call that sends a request to the client, whose answer may reach another node."""
    global calls
    asked = len(peer.asked)
    answer = text(await client.call_tool("test_elicitation", {"message": "Who are you?"}))
    check("elicitation", "ada@example.com" in answer, answer)
    equal("it was asked once", len(peer.asked), asked + 1)
    calls += 1


async def echo(client: Client) -> None:
    """Makes a call that is answered at once."""
    global calls
    message = f"number {calls}"
    equal("echo", text(await client.call_tool("echo", {"message": message})), message)
    calls += 1


async def work(client: Client, peer: Peer, worker: int) -> None:
    while not over:
        match worker:
            case 0:
                await echo(client)
                await anyio.sleep(0.01)
            case 1:
                await client_request(client, peer)
                await anyio.sleep(0.01)
            case _:
                await progress(client, STEPS[worker % len(STEPS)])


async def until_told() -> None:
    global over
    await anyio.to_thread.run_sync(sys.stdin.read)
    over = True


async def main(url: str, era: str) -> Wire:
    async with connected(url, mode="auto" if era == "modern" else "legacy") as (client, peer, wire):
        equal("the revision", client.protocol_version, "2026-07-28" if era == "modern" else "2025-11-25")
        async with anyio.create_task_group() as tasks:
            for worker in range(WORKERS):
                tasks.start_soon(work, client, peer, worker)
            tasks.start_soon(until_told)
        equal("rejections", [status for *_, status, _ in wire.seen if status >= 400], [])
    return wire


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--era", choices=("legacy", "modern"), default="legacy", help="a session revision, or 2026-07-28")
    options = parser.parse_args()
    try:
        wire = anyio.run(main, options.url, options.era)
    except BaseException as error:
        while nested := getattr(error, "exceptions", None):  # the error is that of a task group
            error = nested[0]
        traceback.print_exception(error)
        fail(repr(error))
    print(f"python: {calls} calls, {messages} messages, {len(wire.resumed)} resumed")
