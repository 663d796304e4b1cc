#!/usr/bin/env python3
"""A stdio server that does what a tool's name says, most of it what no server should do.

Switches: `version=X` agrees to this revision; `stillborn` ends at once; `mute` answers nothing; `stubborn` ends neither
at the end of its input nor at SIGTERM; `once=FILE` is stillborn, but for the first time.
"""

import json
import os
import signal
import subprocess
import sys
import time

SWITCHES = dict(each.partition("=")[::2] for each in sys.argv[1:])
out = sys.stdout.buffer
heard = []  # each message of the client, but for calls of tools
held = {}  # calls that are answered later, by the client's word for them
asking = {}  # calls that wait for the client, by the id of the question


def write(text):
    out.write(text.encode() + b"\n")
    out.flush()


def send(**message):
    write(json.dumps({"jsonrpc": "2.0", **message}))


def result(ident, value):
    send(id=ident, result={"content": [{"type": "text", "text": value if isinstance(value, str) else json.dumps(value)}]})


def initialize(ident, params):
    heard.append(["initialize", params])
    if "mute" in SWITCHES:
        return
    version = json.dumps(SWITCHES.get("version", params["protocolVersion"]))
    capabilities = '{"tools" : {"listChanged":true},"logging":{},"resources":{"subscribe":true},"experimental":{"a":1.50}}'
    info = '{"name":"child","version":"1","icons":[]}'
    write(
        f'{{"jsonrpc":"2.0","id":{ident},"result":{{ "protocolVersion":{version}, "capabilities":{capabilities},'
        f'"serverInfo":{info},"instructions":"Mind the child." }}}}'
    )


def call(ident, name, args, meta):
    match name:
        case "echo":
            result(ident, args.get("text", args))
        case "pid":
            result(ident, os.getpid())
        case "heard":
            result(ident, heard)
        case "exact":  # a result with spaces and figures of its own
            write(f'{{"result":{{ "content" : [ ] ,"n":1.50,"big":12345678901234567890}}, "id":{ident},"jsonrpc":"2.0"}}')
        case "fail":
            write(f'{{"jsonrpc":"2.0","id":{ident},"error":{{"code":-7,"message":"no","data":{{ "x" : 1.0 }}}}}}')
        case "hollow":
            send(id=ident)
        case "hold":
            held[args["as"]] = (ident, meta.get("progressToken"))
        case "held":
            result(ident, list(held))
        case "release":
            for each in args["these"]:
                send(id=held.pop(each)[0], result={"content": [], "was": each})
            result(ident, "released")
        case "progress":
            for each, figure in args["of"]:
                send(method="notifications/progress", params={"progressToken": held[each][1], "progress": figure})
            result(ident, "told")
        case "flood":
            for figure in range(args["lines"]):
                note = {"progressToken": meta["progressToken"], "progress": figure, "message": "m" * 1000}
                out.write(json.dumps({"jsonrpc": "2.0", "method": "notifications/progress", "params": note}).encode() + b"\n")
            result(ident, "done")
        case "news":
            send(method="notifications/tools/list_changed")
            send(method="notifications/resources/updated", params={"uri": "x://1"})
            result(ident, "told")
        case "log":
            send(method="notifications/message", params={"level": "info", "data": "a word"})
            result(ident, "logged")
        case "ask":
            asking[args["id"]] = ident
            send(id=args["id"], method=args["method"], params={"message": args["id"]})
        case "garbage":
            out.write(b'debug: starting\n\n{"jsonrpc":"2.0","id":\n\xff\xfe\n[]\n[1,{}]\n{}\n"text"\n')
            result(ident, "after the garbage")
        case "half":
            line = json.dumps({"jsonrpc": "2.0", "id": ident, "result": {"content": []}}).encode()
            out.write(line[:20])
            out.flush()
            time.sleep(0.3)
            out.write(line[20:] + b"\n")
            out.flush()
        case "endless":
            for _ in range(args["mebibytes"]):
                out.write(b"x" * (1 << 20))
            out.write(b"\n")
            out.flush()
        case "twice":
            result(4711, "for nobody")
            send(id="4711", result={})
            result(ident, "first")
            result(ident, "second")
        case "deaf":
            result(ident, "from now on")
            time.sleep(3600)
        case "die":
            out.write(b'{"jsonrpc":"2.0","id":%d,"resu' % ident)
            out.flush()
            os._exit(3)
        case "leave":  # and leave somebody who holds the pipes
            left = subprocess.Popen(["sleep", "3600"])
            result(ident, left.pid)
            out.flush()
            os._exit(0)
        case "offspring":
            result(ident, subprocess.Popen(["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]).pid)
        case "complain":
            print("a word", file=sys.stderr)
            print("y" * 100_000, file=sys.stderr)
            print("\x1b[31mred\x1b[0m", file=sys.stderr, flush=True)
            result(ident, "complained")
        case "rant":
            for n in range(args["lines"]):
                print("rant", n, file=sys.stderr)
            sys.stderr.flush()
            result(ident, "ranted")
        case "mutter":  # and much before that, so that its client is behind
            for _ in range(args["flood"]):
                send(method="notifications/message", params={"level": "info", "data": "m" * 100_000})
            for n in range(args["times"]):
                out.write(b"x" * args["garbage"] + b"\n")
                out.flush()
                send(method="notifications/message", params={"level": "info", "data": n})
            print("muttered", file=sys.stderr, flush=True)
            result(ident, "muttered")
        case _:
            send(id=ident, error={"code": -32602, "message": f"Unknown tool: {name}"})


def take(message):
    match message:
        case {"method": "initialize", "id": ident}:
            initialize(ident, message["params"])
        case {"method": "tools/call", "id": ident, "params": params}:
            call(ident, params["name"], params.get("arguments", {}), params.get("_meta", {}))
        case {"method": method, "id": ident}:
            heard.append([method, message.get("params")])
            send(id=ident, result={"did": method})
        case {"method": "notifications/ask", "params": params}:  # while no call runs
            send(id=params["id"], method=params["method"])
        case {"method": "notifications/regret", "params": {"id": question}}:
            send(method="notifications/cancelled", params={"requestId": question})
            result(asking.pop(question), "never mind")
        case {"method": "notifications/nag", "params": params}:
            for n in range(params["times"]):
                send(id=n, method="roots/list")
        case {"method": method}:
            heard.append([method, message.get("params")])
        case {"id": ident}:
            heard.append(["answer", message])
            print("answered", ident, message.get("result", message.get("error", {}).get("code")), file=sys.stderr, flush=True)
            if (waiting := asking.pop(ident, None)) is not None:
                result(waiting, message.get("result", message.get("error")))


def last_words(*_):
    """A long trace, and its last line is the reason."""
    os.write(2, b"".join(b"  in a function of the child, and so on: %d\n" % n for n in range(900)))
    os.write(2, b"last words of %d\n" % os.getpid())
    os._exit(3)


def main():
    signal.signal(signal.SIGUSR1, last_words)
    if "stillborn" in SWITCHES:
        sys.exit(4)
    if path := SWITCHES.get("once"):
        if os.path.exists(path):
            sys.exit(5)
        open(path, "w").close()
    if "stubborn" in SWITCHES:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for line in sys.stdin.buffer:
        take(json.loads(line))
    while "stubborn" in SWITCHES:
        time.sleep(3600)


main()
