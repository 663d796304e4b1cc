#!/usr/bin/env python3
"""A stdio server for the tests. The name of a tool says what it does, and most tools misbehave.

Switches: `version=X` negotiates this revision; `exit_at_start` exits at once; `no_answers` answers nothing;
`ignore_sigterm` exits neither at the end of its input nor at SIGTERM; `start_once=FILE` exits at once, except the
first time.
"""

import json
import os
import signal
import subprocess
import sys
import time

SWITCHES = dict(each.partition("=")[::2] for each in sys.argv[1:])
out = sys.stdout.buffer
received = []  # each message of the client, except tool calls
held = {}  # calls that are answered later, by the name the client gave them
waiting = {}  # calls that wait for the client, by the id of the request to the client


def write(text):
    out.write(text.encode() + b"\n")
    out.flush()


def send(**message):
    write(json.dumps({"jsonrpc": "2.0", **message}))


def result(ident, value):
    send(id=ident, result={"content": [{"type": "text", "text": value if isinstance(value, str) else json.dumps(value)}]})


def initialize(ident, params):
    received.append(["initialize", params])
    if "no_answers" in SWITCHES:
        return
    version = json.dumps(SWITCHES.get("version", params["protocolVersion"]))
    capabilities = '{"tools" : {"listChanged":true},"logging":{},"resources":{"subscribe":true},"experimental":{"a":1.50}}'
    info = '{"name":"test-server","version":"1","icons":[]}'
    write(
        f'{{"jsonrpc":"2.0","id":{ident},"result":{{ "protocolVersion":{version}, "capabilities":{capabilities},'
        f'"serverInfo":{info},"instructions":"Use with care." }}}}'
    )


def call(ident, name, args, meta):
    match name:
        case "echo":
            result(ident, args.get("text", args))
        case "pid":
            result(ident, os.getpid())
        case "received":
            result(ident, received)
        case "exact":  # a result with unusual spaces and numbers
            write(f'{{"result":{{ "content" : [ ] ,"n":1.50,"big":12345678901234567890}}, "id":{ident},"jsonrpc":"2.0"}}')
        case "fail":
            write(f'{{"jsonrpc":"2.0","id":{ident},"error":{{"code":-7,"message":"no","data":{{ "x" : 1.0 }}}}}}')
        case "empty_response":
            send(id=ident)
        case "hold":
            held[args["as"]] = (ident, meta.get("progressToken"))
        case "held_calls":
            result(ident, list(held))
        case "release":
            for each in args["these"]:
                send(id=held.pop(each)[0], result={"content": [], "was": each})
            result(ident, "released")
        case "progress":
            for each, figure in args["of"]:
                send(method="notifications/progress", params={"progressToken": held[each][1], "progress": figure})
            result(ident, "sent")
        case "flood":
            for figure in range(args["lines"]):
                params = {"progressToken": meta["progressToken"], "progress": figure, "message": "m" * 1000}
                line = json.dumps({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
                out.write(line.encode() + b"\n")
            result(ident, "done")
        case "list_changed":
            send(method="notifications/tools/list_changed")
            send(method="notifications/resources/updated", params={"uri": "x://1"})
            result(ident, "sent")
        case "log":
            send(method="notifications/message", params={"level": "info", "data": "a line"})
            result(ident, "logged")
        case "request_client":
            waiting[args["id"]] = ident
            send(id=args["id"], method=args["method"], params={"message": args["id"]})
        case "invalid_lines":
            out.write(b'debug: starting\n\n{"jsonrpc":"2.0","id":\n\xff\xfe\n[]\n[1,{}]\n{}\n"text"\n')
            result(ident, "after the invalid lines")
        case "split_line":
            line = json.dumps({"jsonrpc": "2.0", "id": ident, "result": {"content": []}}).encode()
            out.write(line[:20])
            out.flush()
            time.sleep(0.3)
            out.write(line[20:] + b"\n")
            out.flush()
        case "long_line":
            for _ in range(args["mebibytes"]):
                out.write(b"x" * (1 << 20))
            out.write(b"\n")
            out.flush()
        case "answer_twice":
            result(4711, "an unknown id")
            send(id="4711", result={})
            result(ident, "first")
            result(ident, "second")
        case "stop_reading":
            result(ident, "reading stops")
            time.sleep(3600)
        case "crash":
            out.write(b'{"jsonrpc":"2.0","id":%d,"resu' % ident)
            out.flush()
            os._exit(3)
        case "exit_with_descendant":  # the descendant holds the pipes open
            left = subprocess.Popen(["sleep", "3600"])
            result(ident, left.pid)
            out.flush()
            os._exit(0)
        case "spawn_descendant":
            result(ident, subprocess.Popen(["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]).pid)
        case "write_stderr":
            print("a warning", file=sys.stderr)
            print("y" * 100_000, file=sys.stderr)
            print("\x1b[31mred\x1b[0m", file=sys.stderr, flush=True)
            result(ident, "done")
        case "flood_stderr":
            for n in range(args["lines"]):
                print("flood", n, file=sys.stderr)
            sys.stderr.flush()
            result(ident, "done")
        case "log_among_garbage":  # the flood before it fills the client's queue
            for _ in range(args["flood"]):
                send(method="notifications/message", params={"level": "info", "data": "m" * 100_000})
            for n in range(args["times"]):
                out.write(b"x" * args["garbage"] + b"\n")
                out.flush()
                send(method="notifications/message", params={"level": "info", "data": n})
            print("garbage written", file=sys.stderr, flush=True)
            result(ident, "finished")
        case _:
            send(id=ident, error={"code": -32602, "message": f"Unknown tool: {name}"})


def handle(message):
    match message:
        case {"method": "initialize", "id": ident}:
            initialize(ident, message["params"])
        case {"method": "tools/call", "id": ident, "params": params}:
            call(ident, params["name"], params.get("arguments", {}), params.get("_meta", {}))
        case {"method": method, "id": ident}:
            received.append([method, message.get("params")])
            send(id=ident, result={"did": method})
        case {"method": "notifications/send_request", "params": params}:  # while no call runs
            send(id=params["id"], method=params["method"])
        case {"method": "notifications/cancel_request", "params": {"id": request}}:
            send(method="notifications/cancelled", params={"requestId": request})
            result(waiting.pop(request), "cancelled")
        case {"method": "notifications/send_requests", "params": params}:
            for n in range(params["times"]):
                send(id=n, method="roots/list")
        case {"method": method}:
            received.append([method, message.get("params")])
        case {"id": ident}:
            received.append(["answer", message])
            print("answered", ident, message.get("result", message.get("error", {}).get("code")), file=sys.stderr, flush=True)
            if (call_id := waiting.pop(ident, None)) is not None:
                result(call_id, message.get("result", message.get("error")))


def crash_with_trace(*_):
    """Writes a long trace whose last line is the reason, and exits."""
    os.write(2, b"".join(b"  in a function of the server, line %d\n" % n for n in range(900)))
    os.write(2, b"last line of %d\n" % os.getpid())
    os._exit(3)


def main():
    signal.signal(signal.SIGUSR1, crash_with_trace)
    if "exit_at_start" in SWITCHES:
        sys.exit(4)
    if path := SWITCHES.get("start_once"):
        if os.path.exists(path):
            sys.exit(5)
        open(path, "w").close()
    if "ignore_sigterm" in SWITCHES:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for line in sys.stdin.buffer:
        handle(json.loads(line))
    while "ignore_sigterm" in SWITCHES:
        time.sleep(3600)


main()
