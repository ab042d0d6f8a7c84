"""The wall between the tests and a submission: a submission's process, and what may cross.

Tests run in the grader's process and a submission runs in its own, so a submission can neither
read a hidden test nor change numpy, `assert` or a result under the tests' hands. The two talk
over one socket in JSON. Plain values cross as copies (numbers, texts, arrays, tensors, containers,
random generators, the records of ntp_lite); a function stays where it is and is called from afar.
The file runs as a script inside the sandbox and is imported by `grade.py` outside it.
"""

import ast
import base64
import builtins
import contextlib
import dataclasses
import importlib
import json
import os
import sys
import types
from collections import namedtuple
from multiprocessing.connection import Connection

import numpy as np

MESSAGE_BYTES = 64 * 2**20  # the longest message either side accepts
TEXT = 2000  # the longest error message that is passed on
GENERATORS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")


class Stopped(BaseException):
    """The submission's process is of no more use; not an Exception, so that no test swallows it."""


class SubmissionError(Exception):
    """An error in a submission whose type the grader does not know."""


class Remote:
    """Something that stays on the other side; the tests can call it and read its attributes.

    It defines no comparison or arithmetic: standing in for a number, it fails the test.
    """

    def __init__(self, peer: "Peer", number: int):
        self._peer, self._number = peer, number

    def __call__(self, *args, **kwargs):
        """Call it where it is."""
        return self._peer.ask("call", self._number, list(args), kwargs)

    def __getattr__(self, name):
        if name.startswith("_"):  # also keeps numpy's protocols away
            raise AttributeError(name)
        return self._peer.ask("attr", self._number, name)


def records() -> dict[str, type]:
    """Return the dataclasses and named tuples of ntp_lite that are loaded, by their names."""
    found = {}
    for module in [m for name, m in sys.modules.items() if name.split(".")[0] == "ntp_lite"]:
        for kind in vars(module).values():
            if isinstance(kind, type) and kind.__module__.split(".")[0] == "ntp_lite":
                named = issubclass(kind, tuple) and hasattr(kind, "_fields")
                if named or dataclasses.is_dataclass(kind):
                    found[f"{kind.__module__}.{kind.__qualname__}"] = kind
    return found


def fields(kind: type) -> tuple[str, ...]:
    """Return the names of a record's fields."""
    return getattr(kind, "_fields", None) or tuple(f.name for f in dataclasses.fields(kind))


def importable(x) -> list[str] | None:
    """Return the module and name of a library's function or type, which both sides can import."""
    module, name = getattr(x, "__module__", None), getattr(x, "__name__", None)
    roots = ("builtins", "math", "numpy", "scipy", "torch", "ntp_lite")
    if isinstance(module, str) and isinstance(name, str) and module.split(".")[0] in roots:
        return [module, name] if getattr(sys.modules.get(module), name, None) is x else None
    return None


class Peer:
    """One end of the socket. `doors` are the requests that it answers."""

    def __init__(self, connection: Connection, doors: dict, namespace: dict | None = None):
        self.connection, self.doors, self.namespace = connection, doors, namespace
        self.trusted = namespace is None  # the tests' end takes only values, never names
        self.shared: dict[str, object] = {}  # the tests' end: what both sides define alike
        self.lent: list = []
        self.asked = 0

    # ---- values -------------------------------------------------------------------------------

    def pack(self, x):
        """Return `x` as JSON; a list stays a list, everything that is not plain gets a tag `t`."""
        torch = sys.modules.get("torch")
        if type(x) in (type(None), bool, int, float, str):
            return x
        if torch and isinstance(x, torch.Tensor):
            return {"t": "tensor", "v": self.pack(x.detach().cpu().numpy()), "g": x.requires_grad}
        if isinstance(x, np.ndarray | np.generic) and np.asarray(x).dtype.kind in "biufcSU":
            x, scalar = np.asarray(x), isinstance(x, np.generic)
            data = base64.b64encode(x.tobytes()).decode()
            return {"t": "array", "d": x.dtype.str, "s": x.shape, "v": data, "scalar": scalar}
        sparse = sys.modules.get("scipy.sparse")
        if sparse and sparse.issparse(x):
            csc = x.tocsc()
            parts = self.pack([csc.data, csc.indices, csc.indptr])
            return {"t": "sparse", "v": parts, "s": x.shape, "f": x.format}
        if type(x) is list:
            return [self.pack(item) for item in x]
        for plain in (bool, int, float, str, list):
            if isinstance(x, plain):  # a subclass crosses as its base, without its methods
                return self.pack(plain(x))
        name = f"{type(x).__module__}.{type(x).__qualname__}"
        if name in records():
            values = [getattr(x, field) for field in fields(type(x))]
            return {"t": "record", "n": name, "v": self.pack(values)}
        if isinstance(x, tuple) and hasattr(x, "_fields"):
            return {"t": "named", "n": list(x._fields), "v": self.pack(list(x))}
        if isinstance(x, tuple | set | frozenset | range):
            kind = next(k for k in (tuple, set, frozenset, range) if isinstance(x, k))
            parts = [x.start, x.stop, x.step] if kind is range else list(x)
            return {"t": kind.__name__, "v": self.pack(parts)}
        if isinstance(x, dict):
            return {"t": "dict", "v": [[self.pack(k), self.pack(v)] for k, v in x.items()]}
        if isinstance(x, complex):
            return {"t": "complex", "v": [x.real, x.imag]}
        if isinstance(x, bytes):
            return {"t": "bytes", "v": base64.b64encode(x).decode()}
        if isinstance(x, types.GeneratorType | map | filter | zip):
            return [self.pack(item) for item in x]
        if isinstance(x, np.random.Generator):
            return {"t": "rng", "v": self.pack(x.bit_generator.state)}
        if torch and isinstance(x, torch.Generator):
            return {"t": "torch_rng", "v": self.pack(x.get_state())}
        if torch and isinstance(x, torch.dtype):
            return {"t": "dtype", "v": str(x).removeprefix("torch.")}
        if isinstance(x, np.dtype) and x.kind in "biufcSU":
            return {"t": "npdtype", "v": x.str}
        if isinstance(x, Remote):
            return {"t": "yours", "v": x._number}
        if self.trusted and (place := importable(x)):
            return {"t": "import", "v": place}
        for name, value in self.shared.items():
            if value is x:
                return {"t": "name", "v": name}
        if self.trusted and not callable(x):
            raise TypeError(f"a test cannot hand a {type(x).__name__} to a submission")
        self.lent.append(x)
        return {"t": "mine", "v": len(self.lent) - 1}

    def unpack(self, x):
        """Return the value that `pack` described, built of plain types only."""
        if isinstance(x, list):
            return [self.unpack(item) for item in x]
        if not isinstance(x, dict):
            return x
        tag, v = x["t"], x["v"]
        if tag == "array":
            dtype = np.dtype(str(x["d"]))
            if dtype.kind not in "biufcSU":
                raise ValueError("arrays of objects do not cross")
            array = np.frombuffer(base64.b64decode(v), dtype).reshape(x["s"]).copy()
            return array[()] if x["scalar"] else array
        if tag == "tensor":
            import torch

            return torch.from_numpy(self.unpack(v)).requires_grad_(bool(x["g"]))
        if tag == "sparse":
            from scipy import sparse

            matrix = sparse.csc_array(tuple(self.unpack(v)), shape=x["s"])
            matrix.check_format(full_check=True)  # scipy's C code trusts the indices
            return matrix.asformat(str(x["f"]))
        if tag == "record":
            kind, values = records()[x["n"]], self.unpack(v)
            if issubclass(kind, tuple):
                return kind(*values)
            made = object.__new__(kind)  # no __init__: only data cross
            for name, value in zip(fields(kind), values, strict=True):
                object.__setattr__(made, name, value)
            return made
        if tag == "named":
            return namedtuple("Answer", x["n"])(*self.unpack(v))
        if tag in ("tuple", "set", "frozenset"):
            return getattr(builtins, tag)(self.unpack(v))
        if tag in ("range", "complex"):
            return getattr(builtins, tag)(*self.unpack(v))
        if tag == "dict":
            return {self.unpack(key): self.unpack(value) for key, value in v}
        if tag == "bytes":
            return base64.b64decode(v)
        if tag == "rng":
            state = self.unpack(v)
            if state["bit_generator"] not in GENERATORS:
                raise ValueError("unknown random generator")
            bits = getattr(np.random, state["bit_generator"])()
            bits.state = state
            return np.random.Generator(bits)
        if tag == "torch_rng":
            import torch

            return torch.Generator().set_state(self.unpack(v))
        if tag == "dtype":
            import torch

            return {str(d): d for d in vars(torch).values() if type(d) is torch.dtype}[f"torch.{v}"]
        if tag == "npdtype":
            return np.dtype(str(v))
        if tag == "mine":
            return Remote(self, int(v))
        if tag == "yours":
            return self.lent[v]
        if tag == "name" and not self.trusted:
            return self.namespace[v]
        if tag == "import" and not self.trusted:
            return getattr(importlib.import_module(v[0]), v[1])
        raise ValueError(f"unknown tag {tag!r}")

    # ---- messages -----------------------------------------------------------------------------

    def send(self, message: dict) -> None:
        """Send one message; ValueError where it is too long."""
        data = json.dumps(message).encode()
        if len(data) > MESSAGE_BYTES:
            raise ValueError(f"larger than {MESSAGE_BYTES // 2**20} MiB")
        self.connection.send_bytes(data)

    def receive(self) -> dict:
        """Wait for one message."""
        return json.loads(self.connection.recv_bytes(MESSAGE_BYTES))

    def ask(self, door: str, *args):
        """Ask the other side, answer what it asks meanwhile, and return its answer."""
        self.asked += 1
        number = self.asked
        request = {"ask": door, "n": number, "args": self.pack(list(args))}
        try:
            self.send(request)
            message = self.receive()
            while "ask" in message:  # the submission calls a function that a test gave it
                self.answer(message)
                message = self.receive()
            if message["n"] != number:
                raise Stopped("answered out of turn")
            if "error" not in message:
                return self.unpack(message["value"])
            error = revive(message["error"])
        except (EOFError, OSError):
            raise Stopped("its process ended (os._exit, or ended by the system)") from None
        except Exception:  # whatever a hostile process may send
            raise Stopped("sent an answer that cannot be read") from None
        raise error

    def answer(self, message: dict) -> None:
        """Do what the other side asks and reply with the value or the error."""
        reply = {"n": message["n"]}
        try:
            value = self.doors[message["ask"]](*self.unpack(message["args"]))
            self.send(reply | {"value": self.pack(value)})
        except (EOFError, OSError, Stopped):
            raise
        except BaseException as error:
            self.send(reply | {"error": describe(error)})

    def call(self, number: int, args: list, kwargs: dict):
        """Call something lent; the one door that the tests' end opens."""
        return self.lent[number](*args, **kwargs)


def describe(error: BaseException) -> dict:
    """Return an error's type, message and the innermost place in a cell of the notebook."""
    try:
        message = str(error)[:TEXT]
    except Exception:
        message = ""
    place, trace = ["", 0], error.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename.startswith("<cell "):
            place = [trace.tb_frame.f_code.co_filename[6:-1], trace.tb_lineno]
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and (error.filename or "").startswith("<cell "):
        place, message = [error.filename[6:-1], error.lineno or 0], str(error.msg)
    return {"type": type(error).__name__, "message": message, "place": place}


def revive(error: dict) -> Exception:
    """Return the exception to raise here for an error there."""
    kind = getattr(builtins, str(error["type"]), None)
    name, message = str(error["type"])[:100], str(error["message"])[:TEXT]
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            raised = kind(message)
        except TypeError:  # the few that want more arguments
            raised = SubmissionError(f"{name}: {message}")
    else:
        raised = SubmissionError(f"{name}: {message}")
    cell, line = error["place"]
    raised.submission = {"type": name, "message": message, "place": [str(cell)[:100], int(line)]}
    return raised


def new_shell():
    """Return an IPython shell that keeps no history: cells may use magics."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    shell.user_ns["__name__"] = "__main__"
    return shell


def execute(shell, name: str, source: str) -> None:
    """Run one cell under a file name that error messages can point to."""
    tree = ast.parse(shell.transform_cell(source), f"<cell {name}>")
    exec(compile(tree, f"<cell {name}>", "exec"), shell.user_ns)


def limit(name: str, value: int) -> None:
    """Lower one of the system's limits on this process and its children, where there is one."""
    import resource

    which = getattr(resource, f"RLIMIT_{name}", None)
    if which is None:
        return
    hard = resource.getrlimit(which)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    with contextlib.suppress(ValueError, OSError):  # macOS refuses some
        resource.setrlimit(which, (value, value))


def confine(megabytes: int, cpu_seconds: int, processes: int) -> None:
    """Give up output and resources before the first line of a submission runs."""
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # what a submission prints is not kept: it can fill nothing
        os.dup2(null, stream)
    # The address space is larger than the memory: libraries map more than they use, and
    # the grader watches the memory in use of all processes together.
    limit("AS", (megabytes + 2048) * 2**20)
    limit("CPU", cpu_seconds)
    limit("FSIZE", 256 * 2**20)
    limit("NOFILE", 256)
    limit("CORE", 0)
    limit("NPROC", processes)


def main(fd: str, megabytes: str, cpu_seconds: str, processes: str, uid: str) -> None:
    """Serve the grader until it hangs up."""
    if int(uid):  # root knows no limit on processes; an identity that nobody uses does
        os.setgroups([])
        os.setgid(int(uid))
        os.setuid(int(uid))
    shell = new_shell()  # errors up to here reach the grader through stderr
    confine(int(megabytes), int(cpu_seconds), int(processes))

    def get(name: str):
        if name not in shell.user_ns:
            raise NameError(f"name {name!r} is not defined")
        return shell.user_ns[name]

    doors = {"get": get, "run": lambda name, source: execute(shell, name, source)}
    doors["attr"] = lambda number, name: getattr(peer.lent[number], name)
    doors["call"] = lambda *args: peer.call(*args)
    peer = Peer(Connection(int(fd)), doors, shell.user_ns)
    peer.send({"ready": True})
    while True:
        peer.answer(peer.receive())


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (EOFError, OSError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
