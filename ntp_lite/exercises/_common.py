"""What all checkers share: run the reader's function, compare, and name the likely mistake."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse


class NoAnswerError(Exception):
    """The reader's function could not be used; its text has been chosen for the reader."""


class Verdict(int):
    """True or False, which a notebook does not show again below the printed message."""

    def __repr__(self) -> str:
        return str(bool(self))

    def _ipython_display_(self) -> None:
        """Show nothing."""


def say(right: bool, message: str) -> bool:
    """Print the verdict and return it."""
    print(("Right: " if right else "Not yet: ") + message)
    return Verdict(right)  # type: ignore[return-value] # bool cannot be subclassed


def value_of(answer: Any, *arguments: Any) -> Any:
    """The answer itself, or what it returns for `arguments` if it is a function, as numpy.

    Raises NoAnswerError for the untouched stub, a function that raises, and None.
    """
    if callable(answer):
        try:
            answer = answer(*arguments)
        except Exception as error:
            raise NoAnswerError(
                f"your function stopped with {type(error).__name__}: {error}"
            ) from error
    if answer is ...:
        raise NoAnswerError("replace the ... by your own code, then run the cell again.")
    if answer is None:
        raise NoAnswerError("your function returned None; does it end with a return statement?")
    if isinstance(answer, torch.Tensor):
        return answer.detach().cpu().numpy()
    return answer.toarray() if sparse.issparse(answer) else answer


def compare(
    answer: Any,
    expected: Any,
    success: str,
    mistakes: Mapping[str, Any] | None = None,
    arguments: tuple[Any, ...] = (),
    rtol: float = 1e-6,
    atol: float = 1e-9,
) -> bool:
    """Check a value, or a function called with `arguments`, against `expected`.

    `mistakes` maps a hint to the value that the mistake it explains would give; the first
    one that matches is printed.
    """
    try:
        value = value_of(answer, *arguments)
        got = np.asarray(value, dtype=np.float64)
    except NoAnswerError as reason:
        return say(False, str(reason))
    except (TypeError, ValueError):
        return say(False, f"expected numbers, your answer is {type(value).__name__}.")
    wanted = np.asarray(expected, dtype=np.float64)

    def equal(target: Any) -> bool:
        target = np.asarray(target, dtype=np.float64)
        return got.shape == target.shape and np.allclose(got, target, rtol, atol, equal_nan=True)

    if equal(wanted):
        return say(True, success)
    for hint, wrong in (mistakes or {}).items():
        if equal(wrong):
            return say(False, hint)
    return say(False, _what_is_wrong(got, wanted, rtol, atol))


def _what_is_wrong(got: NDArray, wanted: NDArray, rtol: float, atol: float) -> str:
    """What can be said of a wrong answer that no known mistake explains."""
    if got.shape != wanted.shape:
        if got.shape == wanted.shape[::-1]:
            return f"the shape {got.shape} is transposed; columns are contexts."
        return f"the shape is {got.shape}, expected {wanted.shape}."
    if not np.isfinite(got[np.isfinite(wanted)]).all():
        what = "your value" if wanted.ndim == 0 else "an entry of your answer"
        return f"{what} is nan or infinite; is there a division by 0, or a ln 0?"
    if wanted.ndim == 0:
        return f"your value is {float(got):.6g}, and it should be another one."
    wrong_entries = ~np.isclose(got, wanted, rtol, atol, equal_nan=True)
    where = tuple(int(i) for i in np.argwhere(wrong_entries)[0])
    count = int(wrong_entries.sum())
    return f"{count} of {got.size} entries are wrong, the first at {where}."
