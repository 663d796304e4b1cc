"""What the tests that run the crate's servers as processes share: the reference servers, and the tests' own tools."""

import contextlib
import functools
import json
import os
import random
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
ROOT = TESTS.parent
ENV = TESTS / ".env"
NODE = ENV / "node/bin/node"
PYTHON = ENV / "python/bin/python"
# The reference servers, one written against this crate and one against rmcp, and the bridge for
# stdio servers.
NATIVE, RMCP, BRIDGE = "everything", "everything_rmcp", "mcp-http-bridge"
READY_WITHIN = 30  # seconds from the start of the server to its `listening on` line
STOP_WITHIN = 10  # seconds from SIGTERM to its end


class Failed(Exception):
    """A check of a run failed."""


def install(*parts: str) -> None:
    """Installs the named parts of tests/install, unless they are installed already."""
    subprocess.run([TESTS / "install", *parts], check=True)


@functools.cache
def build(example: str) -> list[str]:
    """Builds an example, or the bridge, with all features, as other legs do. Returns the command that starts it."""
    target = ["--workspace", "--bin", BRIDGE] if example == BRIDGE else ["--example", example]
    command = ["cargo", "build", "--locked", "--all-features", *target, "--message-format", "json-render-diagnostics"]
    built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if built.returncode != 0:
        raise Failed(f"{example} does not build")
    for line in built.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == example:
            return [message["executable"]]
    raise Failed(f"cargo named no binary for {example}")


STORES = ("memory", "file", "redis")


def server_options(parser) -> None:
    """Adds the options that all runs with a server have."""
    parser.add_argument("--server", metavar="COMMAND", help="serve with this command instead of examples/everything")
    parser.add_argument("--store", choices=STORES, default="memory", help="where examples/everything keeps sessions")


def is_plain(options) -> bool:
    """Returns True for a complete run, without a server of the user and without another store."""
    return not options.server and options.store == "memory"


def command_of(options, example: str) -> list[str]:
    """Returns the server's command: the one on the command line, or that of an example, built now."""
    return shlex.split(options.server) if options.server else build(example)


@contextlib.contextmanager
def storing(options):
    """Yields the store options of the reference server. The store exists until the context ends."""
    with contextlib.ExitStack() as kept:
        if options.server or options.store == "memory":
            yield []
        elif options.store == "file":
            yield ["--store", "file:" + kept.enter_context(tempfile.TemporaryDirectory())]
        else:
            install("redis")
            yield ["--store", kept.enter_context(redis())]


@contextlib.contextmanager
def serving(command: list[str], *flags: str, address: tuple[str, str] = ("--port", "0")):
    """Runs the server on a free port and yields its URL. It must start, run to the end without a panic, and stop on SIGTERM."""
    with tempfile.TemporaryFile("w+") as errors:
        server = subprocess.Popen([*command, *address, *flags], stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            yield ready(server)
            if server.poll() is not None:
                raise Failed(f"the server ended by itself with {server.returncode}")
        except BaseException:
            print(tail(errors), file=sys.stderr)
            raise
        finally:
            stopped = stop(server)
        if not stopped:
            raise Failed(f"the server did not stop within {STOP_WITHIN} s of SIGTERM")
        if "panicked at" in tail(errors):
            print(tail(errors), file=sys.stderr)
            raise Failed("the server panicked")


def in_memory() -> str | None:
    """Returns a folder in memory if there is enough, so that a busy disk delays no answer, or None for the usual place."""
    try:
        return "/dev/shm" if shutil.disk_usage("/dev/shm").free > 2 << 30 else None
    except OSError:
        return None


def free_port() -> int:
    """Returns a free port below 32768: the system assigns the ports from there on to connections."""
    ports = list(range(14_000, 20_000))
    random.shuffle(ports)
    for port in ports:
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise Failed("no port is free")


@contextlib.contextmanager
def redis():
    """Runs a Redis server with the settings that the guide advises, and yields its URL."""
    port = free_port()
    with tempfile.TemporaryDirectory(dir=in_memory()) as folder:
        settings = ["--save", "", "--appendonly", "yes", "--maxmemory-policy", "noeviction"]
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--dir", folder, *settings]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            wait_for(port)
            if server.poll() is not None:
                raise Failed(f"redis-server ended with {server.returncode}")
            yield f"redis://127.0.0.1:{port}/"
        finally:
            server.kill()
            server.wait()


def wait_for(port: int) -> None:
    """Waits until a process listens."""
    deadline = time.monotonic() + READY_WITHIN
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise Failed(f"no server listens on port {port}") from None
            time.sleep(0.02)


def ready(server: subprocess.Popen) -> str:
    """Waits for the line that names the URL. Keeps reading afterwards, so that the server never blocks on a full pipe."""
    timer = threading.Timer(READY_WITHIN, server.kill)
    timer.start()
    try:
        for line in server.stdout:
            if line.startswith("listening on "):
                threading.Thread(target=lambda: [None for _ in server.stdout], daemon=True).start()
                return line.removeprefix("listening on ").strip()
        code = server.wait()
    finally:
        timer.cancel()
    if code == -signal.SIGKILL:
        raise Failed(f"the server did not say where it listens within {READY_WITHIN} s")
    raise Failed(f"the server ended with {code} before it said where it listens")


def stop(server: subprocess.Popen) -> bool:
    """Ends the server. Returns False if it had to be killed."""
    server.send_signal(signal.SIGTERM)
    try:
        server.wait(STOP_WITHIN)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
        return False
    return True


def tail(log, size: int = 8000) -> str:
    """Returns the last part of the server's stderr."""
    log.seek(0, os.SEEK_END)
    log.seek(max(0, log.tell() - size))
    return log.read()
