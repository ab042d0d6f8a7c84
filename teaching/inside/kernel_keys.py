"""A filter of system calls that takes the kernel's keys away from a submission and its children.

Keys (`man 7 keyrings`) belong to a login, not to a file system or a network: through them two
submissions of one batch could talk, and read what the grader's user keeps there. So the three calls
that reach them fail, for good. The filter is a program for the kernel's own small machine, as
`man 2 seccomp` describes it.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
import sys
from dataclasses import dataclass

# Instructions of that machine, and what a program may answer.
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW = 0x7FFF0000
_REFUSE = 0x00050000 | errno.EPERM
# Where the kernel puts the number of a call, and for which processor the call is meant.
_NUMBER_AT, _PROCESSOR_AT = 0, 4
_NO_NEW_PRIVILEGES = 38  # an option of prctl, without which only root may set a filter
_SET_FILTER, _IN_ALL_THREADS = 1, 1


@dataclass(frozen=True)
class Calls:
    """Numbers of system calls on one kind of processor."""

    processor: int
    seccomp: int
    keys: tuple[int, int, int]  # add_key, request_key, keyctl
    most: int = 2**32 - 1  # beyond it begins another numbering of the same calls


_CALLS = {
    "x86_64": Calls(0xC000003E, 317, (248, 249, 250), most=0x3FFFFFFF),
    "aarch64": Calls(0xC00000B7, 277, (217, 218, 219)),
}


def take_kernel_keys_away() -> bool:
    """Set the filter for this process, its threads and children; say whether the system has it."""
    calls = _CALLS.get(platform.machine())
    if sys.platform != "linux" or calls is None:
        return False
    instructions = _program(calls)
    program = ctypes.create_string_buffer(instructions, len(instructions))
    count = len(instructions) // 8
    described = struct.pack("@HP", count, ctypes.addressof(program))
    libc = ctypes.CDLL(None)
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    return bool(libc.syscall(calls.seccomp, _SET_FILTER, _IN_ALL_THREADS, described) == 0)


def _program(calls: Calls) -> bytes:
    """Return the program: refuse a call for another processor, and each of the three; allow all."""
    refused = [(_IF_EQUAL, number) for number in calls.keys]
    if calls.most < 2**32 - 1:
        refused.append((_IF_AT_LEAST, calls.most + 1))
    lines = [
        (_LOAD, 0, 0, _PROCESSOR_AT),
        (_IF_EQUAL, 0, len(refused) + 2, calls.processor),
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
    for place, (test, number) in enumerate(refused):
        lines.append((test, len(refused) - place, 0, number))
    lines += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _REFUSE)]
    return b"".join(struct.pack("=HBBI", *line) for line in lines)
