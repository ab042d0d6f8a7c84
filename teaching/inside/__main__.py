"""Run a student's cells inside the sandbox, and hand their values to the grader.

python -m teaching.inside SOCKET MEBIBYTES CPU_SECONDS PROCESSES
"""

from __future__ import annotations

import sys
from multiprocessing.connection import Connection
from typing import Any

from teaching.inside.channel import AnswersEnd
from teaching.inside.limits import confine
from teaching.inside.shell import execute, new_shell


def main(socket: int, mebibytes: int, cpu_seconds: int, processes: int) -> None:
    """Serve the grader until it hangs up."""
    shell = new_shell()  # errors up to here reach the grader through stderr
    confine(mebibytes, cpu_seconds, processes)

    def run(name: str, source: str) -> None:
        execute(shell, name, source)

    def get(name: str) -> Any:
        if name not in shell.user_ns:
            raise NameError(f"name {name!r} is not defined")
        return shell.user_ns[name]

    channel = AnswersEnd(Connection(socket), {"run": run, "get": get}, shell.user_ns)
    channel.send({"ready": True})
    while True:
        channel.answer(channel.receive())


if __name__ == "__main__":
    try:
        main(*(int(argument) for argument in sys.argv[1:]))
    except (EOFError, OSError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
