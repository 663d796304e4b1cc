"""The conversation of the official Python client with a protected server and a certified authorization server, without a
browser: 401, metadata, registration, PKCE, a call, a step-up, the expiry of a token in the middle of a stream, rotated keys,
and an authorization server that is away.
"""

import argparse
import asyncio
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx2
from mcp import ClientSession
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider, TokenStorage
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientMetadata

REDIRECT = "http://127.0.0.1:1/callback"
TTL = 6  # seconds, as in authorization_server.mjs

parser = argparse.ArgumentParser()
parser.add_argument("--node")
parser.add_argument("--url")
parser.add_argument("--port")
parser.add_argument("--verbose", action="store_true")
options = parser.parse_args()
checks = 0


def equal(what, saw, wanted):
    global checks
    assert saw == wanted, f"{what} should be {wanted!r}; saw {saw!r}"
    checks += 1
    if options.verbose:
        print(f"  ok {what}", flush=True)


class AuthorizationServer:
    def __init__(self):
        script = Path(__file__).resolve().parent / "node/serve.mjs"
        self.process = subprocess.Popen([options.node, script, options.port], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("done"):
                return line.removeprefix("done").strip()
        raise RuntimeError("the authorization server ended")


class Memory(TokenStorage):
    tokens = client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client_info):
        self.client = client_info


class Browser:
    """Follows redirects with its cookies, up to the client's own address."""

    def __init__(self):
        self.scopes = []
        self.answer = None

    async def visit(self, url):
        asked = parse_qs(urlsplit(url).query)
        self.scopes.append(asked.get("scope", [""])[0].split())
        equal("the resource is named", asked["resource"], [options.url])
        equal("PKCE", asked["code_challenge_method"], ["S256"])
        async with httpx2.AsyncClient() as browser:
            for _ in range(10):
                location = (await browser.get(url)).headers["location"]
                url = urljoin(url, location)
                if url.startswith(REDIRECT):
                    self.answer = parse_qs(urlsplit(url).query)
                    return
        raise RuntimeError("too many redirects")

    async def callback(self):
        first = {name: values[0] for name, values in self.answer.items()}
        return AuthorizationCodeResult(code=first["code"], state=first.get("state"), iss=first.get("iss"))


def text(result):
    return result.content[0].text


async def conversation(server):
    server("start")
    browser = Browser()
    metadata = OAuthClientMetadata(client_name="dance", redirect_uris=[REDIRECT], application_type="native", token_endpoint_auth_method="none")
    auth = OAuthClientProvider(options.url, metadata, Memory(), redirect_handler=browser.visit, callback_handler=browser.callback)
    async with (
        httpx2.AsyncClient(auth=auth, timeout=httpx2.Timeout(30, read=120)) as http,
        streamable_http_client(options.url, http_client=http) as streams,
        ClientSession(streams[0], streams[1]) as session,
    ):
        await session.initialize()
        equal("registered once", server("count /reg"), "1")
        equal("the challenged scope was requested", "mcp" in browser.scopes[0] and "files:write" not in browser.scopes[0], True)
        equal("a call", bool(text(await session.call_tool("test_simple_text", {}))), True)
        equal("the call after a step-up", text(await session.call_tool("echo", {"message": "hi"})), "hi")
        equal("the second scope was requested", "files:write" in browser.scopes[-1], True)

        steps = []

        async def on_progress(progress, total, message):
            steps.append(progress)

        count = TTL + 6
        answer = await session.call_tool("progress", {"steps": count, "delay_ms": 1_000}, progress_callback=on_progress)
        equal("the answer of a long call", bool(text(answer)), True)
        equal("each step once", steps, list(range(1, count + 1)))

        server("rotate")
        await asyncio.sleep(TTL + 1)
        equal("a token of a new key", text(await session.call_tool("echo", {"message": "again"})), "again")
        server("stop")
        equal("a call without the authorization server", text(await session.call_tool("echo", {"message": "alone"})), "alone")
        server("start")
        await asyncio.sleep(TTL + 1)
        equal("a call after it came back", text(await session.call_tool("echo", {"message": "back"})), "back")
    print(f"{checks} checks")


async def main():
    server = AuthorizationServer()
    try:
        await asyncio.wait_for(conversation(server), 120)
    finally:
        server.process.kill()


try:
    asyncio.run(main())
except BaseException:
    import traceback

    traceback.print_exc()
    sys.exit(1)
