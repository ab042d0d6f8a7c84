"""The wall between the tests and a submission: one end of the socket that joins the two processes.

Tests run in the grader's process and a submission runs in its own, so a submission can neither
read a hidden test nor change numpy, `assert` or a result under the tests' hands. The two ends talk
in JSON. Values cross as copies (see codecs.py). A function, or any other object, stays where it is:
its number crosses, and the other end calls it from afar.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from teaching.inside import codecs
from teaching.inside.errors import StoppedError, describe, raise_again

LONGEST_MESSAGE_BYTES = 64 * 2**20
# Lists, and entries of lists: a byte of JSON becomes a hundred in memory. Arrays have no entries.
MOST_ITEMS = 2 * 2**20


class RemoteObject:
    """Something that stays at the other end; the tests can call it.

    It defines no comparison or arithmetic: standing in for a number, it fails the test.
    """

    def __init__(self, channel: Channel, number: int) -> None:
        self._channel = channel
        self._number = number

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Call it where it is."""
        return self._channel.ask("call", self._number, list(arguments), options)


class Channel:
    """One end of the socket. `requests` are the requests of the other end that it answers."""

    def __init__(
        self, connection: Connection, requests: dict[str, Callable[..., Any]] | None = None
    ) -> None:
        self.connection = connection
        self.requests = {"call": self.call} | (requests or {})
        self.handed_out: list[Any] = []  # the objects whose numbers the other end knows
        self.questions_asked = 0

    # --- Objects that stay where they are ---

    def encode_object(self, value: Any) -> codecs.Json:
        """Return what crosses for an object that is no plain value."""
        if isinstance(value, RemoteObject):
            return {"kind": "object of the receiver", "number": value._number}
        self.handed_out.append(value)
        return {"kind": "object of the sender", "number": len(self.handed_out) - 1}

    def decode_object(self, message: dict[str, codecs.Json]) -> Any:
        """Return what stands here for an object at the other end, or the own object named."""
        if message["kind"] == "object of the sender":
            return RemoteObject(self, int(message["number"]))
        if message["kind"] == "object of the receiver":
            return self.handed_out[message["number"]]
        raise ValueError(f"unknown kind {message['kind']!r}")

    def call(self, number: int, arguments: list[Any], options: dict[str, Any]) -> Any:
        """Call an object that was handed out."""
        return self.handed_out[number](*arguments, **options)

    # --- Messages ---

    def send(self, message: dict[str, codecs.Json]) -> None:
        """Send one message; ValueError where it is too long."""
        data = json.dumps(message).encode()
        if len(data) > LONGEST_MESSAGE_BYTES:
            raise ValueError(f"larger than {LONGEST_MESSAGE_BYTES // 2**20} MiB")
        _count_items(data)
        self.connection.send_bytes(data)

    def receive(self) -> dict[str, codecs.Json]:
        """Wait for one message."""
        data = self.connection.recv_bytes(LONGEST_MESSAGE_BYTES)
        _count_items(data)
        message: dict[str, codecs.Json] = json.loads(data)
        return message

    def ask(self, request: str, *arguments: Any) -> Any:
        """Ask the other end, answer what it asks meanwhile, and return its answer."""
        self.questions_asked += 1
        number = self.questions_asked
        encoded = codecs.encode(list(arguments), self.encode_object)
        try:
            self.send({"request": request, "number": number, "arguments": encoded})
            message = self.receive()
            while "request" in message:  # the submission calls a function that a test gave it
                self.answer(message)
                message = self.receive()
            if message["number"] != number:
                raise StoppedError("answered out of turn")
            if "error" not in message:
                return codecs.decode(message["value"], self.decode_object)
            error = raise_again(message["error"])
        except (EOFError, OSError):
            raise StoppedError("its process ended (os._exit, or ended by the system)") from None
        except Exception:  # whatever a hostile process may send
            raise StoppedError("sent an answer that cannot be read") from None
        raise error

    def answer(self, message: dict[str, codecs.Json]) -> None:
        """Do what the other end asks, and reply with the value or the error."""
        reply = {"number": message["number"]}
        try:
            arguments = codecs.decode(message["arguments"], self.decode_object)
            value = self.requests[message["request"]](*arguments)
            self.send(reply | {"value": codecs.encode(value, self.encode_object)})
        except StoppedError:
            raise
        except BaseException as error:  # also an OSError: the submission's own
            self.send(reply | {"error": describe(error)})


def _count_items(data: bytes) -> None:
    """Raise ValueError where JSON holds too many items to be built; commas in texts count, too."""
    if data.count(b",") + data.count(b"[") > MOST_ITEMS:
        raise ValueError(f"has more than {MOST_ITEMS:,} items; numbers cross as arrays")


class TestsEnd(Channel):
    """The end at which the tests run; it opens nothing to the other but what it handed out.

    `shared` holds what both ends define alike, by its name: given functions cross by name, so that
    a submission calls its own copy.
    """

    __test__ = False  # pytest: this is no test

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self.shared: dict[str, Any] = {}

    def encode_object(self, value: Any) -> codecs.Json:
        """Hand out functions only; a given one crosses by its name."""
        for name, shared in self.shared.items():
            if shared is value:
                return {"kind": "given", "name": name}
        if not isinstance(value, RemoteObject) and not callable(value):
            raise TypeError(f"a test cannot hand a {type(value).__name__} to a submission")
        return super().encode_object(value)


class AnswersEnd(Channel):
    """The end at which a submission runs."""

    def __init__(
        self,
        connection: Connection,
        requests: dict[str, Callable[..., Any]],
        namespace: dict[str, Any],
    ) -> None:
        super().__init__(connection, requests)
        self.namespace = namespace

    def decode_object(self, message: dict[str, codecs.Json]) -> Any:
        """Look up a given function by its name."""
        if message["kind"] == "given":
            return self.namespace[message["name"]]
        return super().decode_object(message)
