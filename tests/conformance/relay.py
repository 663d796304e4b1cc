#!/usr/bin/env python3
"""A stdio server with every fixture of the conformance suite: examples/everything, one for each of these processes.

Lines of stdin become its requests, its messages become lines of stdout. So the suite can be run against the bridge,
which puts this behind HTTP again.
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
    """Sends a request; the response."""
    connection = http.client.HTTPConnection(address)
    connection.request(method, "/mcp", body, {**HEADERS, **session, **dict(extra)})
    return connection.getresponse()


def events(response):
    """The id and the data of each event of a stream."""
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
    """Sends a call, and passes on what comes up to its answer, however often the stream is closed before it."""
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
