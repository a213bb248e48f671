"""A person at a terminal: starts a program on a terminal of its own, answers its questions, and tells what the
terminal showed and how its modes were before, at each question, and after.

Arguments: a JSON list of steps, then the program. A step is ["wait", TEXT], ["type", TEXT], ["key", LETTER] for
Ctrl-LETTER, or ["kill", SIGNAL]. Prints a JSON object."""

import json
import os
import select
import signal
import sys
import termios
import time

DEADLINE_S = 60


def modes(tty):
    """Whether it echoes, reads whole lines and sends signals, and the character that suspends."""
    attributes = termios.tcgetattr(tty)
    local, characters = attributes[3], attributes[6]
    flags = [bool(local & flag) for flag in (termios.ECHO, termios.ICANON, termios.ISIG)]
    return flags + [characters[termios.VSUSP][0]]


def start(name, program):
    child = os.fork()
    if child:
        return child
    # The first terminal that the leader of a new session opens is its own.
    os.setsid()
    tty = os.open(name, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(tty, number)
    os.execv(program[0], program)


def main():
    steps, program = json.loads(sys.argv[1]), sys.argv[2:]
    terminal, tty = os.openpty()
    told = {"before": modes(tty), "questions": [], "shown": ""}
    child = start(os.ttyname(tty), program)
    end = time.monotonic() + DEADLINE_S

    def until(ready, what):
        while not ready():
            if time.monotonic() > end:
                os.kill(child, signal.SIGKILL)
                sys.exit(f"waited in vain for {what}: {told}")
            if select.select([terminal], [], [], 0.02)[0]:
                told["shown"] += os.read(terminal, 4096).decode()

    seen = 0
    for kind, what in steps:
        if kind == "wait":
            until(lambda: what in told["shown"][seen:], what)
            seen = told["shown"].index(what, seen) + len(what)
            told["questions"].append(modes(tty))
        elif kind == "type":
            os.write(terminal, what.encode())
        elif kind == "key":
            os.write(terminal, bytes([ord(what) - 64]))
        elif kind == "kill":
            os.kill(child, getattr(signal, what))
    status = None

    def ended():
        nonlocal status
        pid, raw = os.waitpid(child, os.WNOHANG)
        status = raw if pid else None
        return pid != 0

    until(ended, "the end")
    while select.select([terminal], [], [], 0.05)[0]:
        told["shown"] += os.read(terminal, 4096).decode()
    told["code"] = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
    told["signal"] = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
    told["after"] = modes(tty)
    print(json.dumps(told))


main()
