#!/usr/bin/env python3
"""A stdio server with every fixture of the conformance suite: each process starts its own examples/everything.

Lines of stdin become its requests, and its messages become lines of stdout. The suite can then run against the bridge, which
serves this process over HTTP again.
"""

import http.client
import json
import subprocess
import sys
import threading

HEADERS = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
writing = threading.Lock()
session = {}  # its headers, once it is open
address = ""


def say(line):
    with writing:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def exchange(method, body=None, extra=()):
    """Sends a request. Returns the response."""
    connection = http.client.HTTPConnection(address)
    connection.request(method, "/mcp", body, {**HEADERS, **session, **dict(extra)})
    return connection.getresponse()


def events(response):
    """Yields the id and the data of each event of a stream."""
    ident = data = ""
    for line in response:
        line = line.decode().rstrip("\r\n")
        if line.startswith("id: "):
            ident = line[4:]
        elif line.startswith("data: "):
            data = line[6:]
        elif not line:
            yield ident, data
            data = ""


def ask(line, ident):
    """Sends a call and passes on all messages up to its answer, even if its stream is closed before."""
    response = exchange("POST", line)
    if not session:
        answer = response.read().decode()
        version = json.loads(answer).get("result", {}).get("protocolVersion", "")
        session.update({"Mcp-Session-Id": response.headers["mcp-session-id"], "MCP-Protocol-Version": version})
        return say(answer)
    if "event-stream" not in response.headers.get("content-type", ""):
        return say(response.read().decode())
    last = ""
    while response.status == 200:
        for event, data in events(response):
            last = event or last
            if data:
                say(data)
                message = json.loads(data)
                if message.get("id") == ident and "method" not in message:
                    return
        response = exchange("GET", extra={"Last-Event-ID": last}.items())


def listen():
    for _, data in events(exchange("GET")):
        if data:
            say(data)


def main():
    global address
    server = subprocess.Popen([*sys.argv[1:], "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    address = server.stdout.readline().split("//")[1].split("/")[0]
    for line in sys.stdin:
        message = json.loads(line)
        if "method" in message and "id" in message:
            call = threading.Thread(target=ask, args=(line, message["id"]), daemon=True)
            call.start()
            if message["method"] == "initialize":
                call.join()
            continue
        exchange("POST", line).read()
        if message.get("method") == "notifications/initialized":
            threading.Thread(target=listen, daemon=True).start()
    server.terminate()
    server.wait()


main()
