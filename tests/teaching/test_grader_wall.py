"""What crosses between the tests and a submission."""

from __future__ import annotations

import json
import threading
from collections import namedtuple
from multiprocessing import Pipe
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse

from teaching.grader.plan import names_in
from teaching.inside.channel import AnswersEnd, RemoteObject, TestsEnd
from teaching.inside.errors import StoppedError, submission_report


@pytest.fixture
def ends():
    """The tests' end, and the namespace of a submission's end that a thread serves."""
    ours, theirs = Pipe()
    namespace: dict = {"given": double_of, "echo": lambda *a: a[0] if len(a) == 1 else a}
    answers = AnswersEnd(theirs, {"get": namespace.__getitem__}, namespace)

    def serve():
        try:
            while True:
                answers.answer(answers.receive())
        except (EOFError, OSError):
            return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield TestsEnd(ours), namespace
    ours.close()
    thread.join(5)


def double_of(v):
    return 2 * v


def same(a, b) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(map(same, a.values(), b.values()))
    return a == b


PLAIN = [
    None,
    True,
    10**30,
    -0.5,
    "é\ud800",
    b"\x00\xff",
    1 + 2j,
    range(2, 9, 3),
    {1, 2},
    frozenset("a"),
    (1, [2, (3,)]),
    {(1, 2): [np.float64(0.1)], None: {}},
    np.int64(4),
    np.bool_(True),
    np.arange(6).reshape(2, 3).T,
    np.array(["a", "bc"]),
    np.zeros((0, 3)),
    np.array(1.5, dtype="<f4"),
    [float("inf")],
]


@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_values_come_back_as_they_were(ends, value):
    here, _ = ends
    assert same(here.ask("get", "echo")(value), value)


def test_what_has_no_form_of_its_own_crosses_as_the_plain_thing_that_it_is(ends):
    here, namespace = ends
    pair = namedtuple("pair", "first second")

    class Number(float):
        def __eq__(self, other):
            return True

        __hash__ = float.__hash__

    class Frame:  # as pandas has it
        __module__ = "pandas.core.frame"

        def to_numpy(self):
            return np.eye(2)

    namespace["values"] = [
        pair(1, np.arange(2)),
        (n for n in range(3)),
        Number(2),
        torch.ones(2, dtype=torch.bfloat16),
        torch.arange(4.0, requires_grad=True),
        Frame(),
    ]
    two, counted, number, half, tensor, frame = here.ask("get", "values")
    assert same(two, (1, np.arange(2))) and counted == [0, 1, 2]
    assert type(number) is float and number != 3
    assert same(half, np.ones(2, dtype=np.float32))
    assert same(tensor, np.arange(4, dtype=np.float32))
    assert same(frame, np.eye(2))


@pytest.mark.parametrize("form", ["csc", "csr", "coo"])
def test_sparse_matrices_cross(ends, form):
    here, _ = ends
    matrix = sparse.random_array((5, 7), density=0.3, rng=1).asformat(form)
    back = here.ask("get", "echo")(matrix)
    assert back.format == form and same(back.toarray(), matrix.toarray())


def test_a_test_hands_out_no_objects(ends):
    here, _ = ends
    with pytest.raises(TypeError, match="a test cannot hand a Generator to a submission"):
        here.ask("get", "echo")(np.random.default_rng(3))


def test_functions_are_called_where_they_are(ends):
    here, namespace = ends
    namespace["twice"] = lambda f, v: f(f(v))
    seen: list[int] = []
    assert here.ask("get", "twice")(lambda v: seen.append(v) or v + 1, 3) == 5
    assert seen == [3, 4]
    here.shared = {"given": double_of}  # known on both sides: it crosses by its name
    namespace["is_given"] = lambda f: f is double_of
    assert here.ask("get", "is_given")(double_of) is True
    namespace["sums"] = lambda f: f([1, 2])
    assert here.ask("get", "sums")(np.sum) == 3


def test_objects_stay_remote_and_errors_keep_their_type(ends):
    here, namespace = ends

    class Model:
        width = 3

        def __call__(self, v):
            raise KeyError(v)

    class OwnError(Exception):
        pass

    def fail():
        raise OwnError("mine")

    def no_inverse():
        return np.linalg.inv(np.zeros((2, 2)))

    def no_file():
        Path("/no/such/file").read_text()

    namespace |= {"model": Model(), "fail": fail, "no_inverse": no_inverse, "no_file": no_file}
    model = here.ask("get", "model")
    assert isinstance(model, RemoteObject)
    with pytest.raises(KeyError):
        model("k")
    with pytest.raises(Exception, match="mine") as own:
        here.ask("get", "fail")()
    assert submission_report(own.value).kind == "Exception"  # no name of the submission's making
    with pytest.raises(np.linalg.LinAlgError):
        here.ask("get", "no_inverse")()
    with pytest.raises(FileNotFoundError):  # an error, and not the end of the process
        here.ask("get", "no_file")()
    for attribute in ("width", "__globals__"):
        with pytest.raises(AttributeError):
            getattr(model, attribute)
    with pytest.raises(TypeError):
        np.allclose(model, 1.0)


def reply(value: str) -> bytes:
    return b'{"number": 1, "value": ' + value.encode() + b"}"


ARRAY = '{"kind": "array", "dtype": "%s", "shape": [%d], "data": "%s", "is_scalar": false}'
SPARSE = '{"kind": "sparse", "format": "csc", "shape": [1, 1], "parts": [[1.0], [7], [0, 1]]}'
FORGED = [
    b"no JSON",
    b"[]",
    b"1",
    b'{"number": 1}',
    b'{"number": 99, "value": 1}',
    b'{"value": 1}',
    reply('{"kind": "given", "name": "x"}'),
    reply('{"kind": "import", "place": ["os", "system"]}'),
    reply('{"kind": "record", "name": "os.stat_result", "items": []}'),
    reply('{"kind": "object of the receiver", "number": 0}'),
    reply(ARRAY % ("O", 1, "AAAAAAAAAAA=")),
    reply(ARRAY % ("<f8", 9, "")),
    reply(SPARSE),
    b'{"number": 1, "error": 5}',
    b'{"number": 1, "error": {"kind": "E", "message": "", "cell": "", "line": "x"}}',
    reply("[" * 10**5 + "]" * 10**5),
    reply("[" + "[[]]," * 800_000 + "1]"),  # 4 MB, and 40 times as much in memory
]


@pytest.mark.parametrize("data", FORGED, ids=lambda data: data[:60].decode())
def test_a_forged_reply_only_ends_the_submission(data):
    ours, theirs = Pipe()
    here = TestsEnd(ours)
    # A long one fills the pipe: it is sent while the other end reads.
    sender = threading.Thread(target=theirs.send_bytes, args=[data])
    sender.start()
    with pytest.raises(StoppedError):
        here.ask("get", "x")
    sender.join()


def test_the_tests_end_opens_nothing_but_what_was_handed_out():
    ours, theirs = Pipe()
    here = TestsEnd(ours)
    nothing = {"kind": "dict", "items": []}
    for request, arguments in (("get", ["x"]), ("run", ["a", "1"]), ("call", [0, [], nothing])):
        here.answer({"request": request, "number": 1, "arguments": arguments})
        assert "error" in json.loads(theirs.recv_bytes())


def test_names_of_an_answer_cell():
    source = """
import os
a, (b, *c) = 1, (2, 3)
table["k"].field = 4
for i in range(3):
    with open(p) as file: d = [inner for inner in a]
def f(x): local = 1
class K: attribute = 2
e: int = 3
a += 1
"""
    names = "a b c table i file d f K e"
    assert names_in(source).bound == names.split() and names_in(source).imported == ["os"]


def test_the_names_that_a_cell_uses_are_the_notebooks_and_not_a_functions_own():
    source = """
import os.path as p
def f(x, y=default):
    local = helper(x) + local_of_nobody
    return [item for item in local if item > limit]
total = f(data)
"""
    assert names_in(source).used - {"f"} == {
        "default",
        "helper",
        "local_of_nobody",
        "limit",
        "data",
    }
    assert names_in("r = await task()").used == {"task"}
