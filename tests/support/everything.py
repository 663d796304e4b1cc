"""What the tests that talk to the crate from outside share: the reference server, and the tests' own tools."""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
ROOT = TESTS.parent
ENV = TESTS / ".env"
NODE = ENV / "node/bin/node"
PYTHON = ENV / "python/bin/python"
READY_WITHIN = 30  # seconds from the start of the server to its `listening on` line
STOP_WITHIN = 10  # seconds from SIGTERM to its end


class Failed(Exception):
    """Something that a run promised did not hold."""


def install(*parts: str) -> None:
    """Installs the named parts of tests/install, if they are not there yet."""
    subprocess.run([TESTS / "install", *parts], check=True)


def build(example: str = "everything") -> list[str]:
    """Builds an example and returns the command that starts it."""
    command = ["cargo", "build", "--locked", "--example", example, "--message-format", "json-render-diagnostics"]
    built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if built.returncode != 0:
        raise Failed(f"examples/{example} does not build")
    for line in built.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == example:
            return [message["executable"]]
    raise Failed(f"cargo named no binary for examples/{example}")


def command_of(text: str | None) -> list[str]:
    """The server's command: the one given on a command line, or the reference server, built now."""
    return shlex.split(text) if text else build()


@contextlib.contextmanager
def serving(command: list[str], *flags: str, address: tuple[str, str] = ("--port", "0")):
    """Runs the server on a free port and yields its URL. It must come up, live to the end, not panic and stop on SIGTERM."""
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


def ready(server: subprocess.Popen) -> str:
    """Waits for the line that names the URL, and keeps reading afterwards so that the server never blocks on a full pipe."""
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
    """Ends the server; false if it had to be killed."""
    server.send_signal(signal.SIGTERM)
    try:
        server.wait(STOP_WITHIN)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
        return False
    return True


def tail(log, size: int = 8000) -> str:
    """The last part of what the server wrote to stderr."""
    log.seek(0, os.SEEK_END)
    log.seek(max(0, log.tell() - size))
    return log.read()
