"""What a handle figure shows and says of its first state, for readers without script and on paper.

The same as `HANDLES` in ntp_interactive.js shows and says while the reader drags.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..style import CONTEXT, OFF_SUPPORT, PALETTE, SUPPORT
from ._numbers import number

EXCESS = PALETTE["plus"][0]


@dataclass(frozen=True)
class Quantity:
    """A bar of one or more parts, with a line above it.

    parts : (value, colour), side by side.  full : what a bar from end to end stands for.
    """

    label: str
    parts: Sequence[tuple[float, str]]
    full: float


def amount(value: float) -> str:
    """A number in three digits, in two where it is a power of ten."""
    return number(value, 3 if abs(value) >= 1e-3 else 2)


def nats(value: float) -> str:
    """A number with its unit."""
    return f"{amount(value)} nats"


def percent(value: float) -> str:
    """A probability; one that per cent would round away is a power of ten."""
    return amount(value) if 0 < value < 1e-3 else f"{100 * value:.1f}%"


def of_each(names: Sequence[str], Q: Sequence[float]) -> str:
    """The words with their probabilities."""
    return ", ".join(f"{name} {percent(q)}" for name, q in zip(names, Q, strict=True))


def quantities_of_loss(values: Mapping[str, Any]) -> list[Quantity]:
    floor, excess = values["floor"], values["excess"]
    both = [(floor, OFF_SUPPORT), (excess, EXCESS)]
    return [
        Quantity(f"loss {nats(values['loss'])} = floor + excess", both, 2.5),
        Quantity(f"floor {nats(floor)}", both[:1], 2.5),
        Quantity(f"excess {nats(excess)}", both[1:], 2.5),
    ]


def quantities_of_simplex(values: Mapping[str, Any]) -> list[Quantity]:
    excess, largest = values["excess"], values["largest"]
    return [
        Quantity(f"excess loss {nats(excess)}", [(excess, EXCESS)], 0.8),
        Quantity(f"largest logit, max|L| = {amount(largest)}", [(largest, CONTEXT)], 14),
    ]


def quantities_of_column(values: Mapping[str, Any]) -> list[Quantity]:
    shares, height = values["shares"], values["height"]
    both = [(shares, SUPPORT), (height, OFF_SUPPORT)]
    return [
        Quantity(f"excess {nats(shares + height)}", both, 1.5),
        Quantity(f"how often: {nats(shares)}", both[:1], 1.5),
        Quantity(f"which: {nats(height)}", both[1:], 1.5),
    ]


def say_loss(names: Sequence[str], values: Mapping[str, Any]) -> str:
    return (
        f"Prediction: {of_each(names, values['Q'])}. Loss {nats(values['loss'])}, of which "
        f"{nats(values['floor'])} are the floor and {nats(values['excess'])} excess."
    )


def say_simplex(names: Sequence[str], values: Mapping[str, Any]) -> str:
    return (
        f"P lies on the edge between {names[0]} and {names[1]}. Q gives {names[2]} "
        f"{percent(values['Q'][2])}; excess loss {nats(values['excess'])}, largest logit "
        f"{amount(values['largest'])}."
    )


def say_column(names: Sequence[str], values: Mapping[str, Any]) -> str:
    shares, height = values["shares"], values["height"]
    return (
        f"Excess {nats(shares + height)}: {nats(shares)} for wrong shares of {names[0]} and "
        f"{names[1]}, {nats(height)} for the probability {percent(values['leak'])} of words that "
        "never follow."
    )


def say_certificate(names: Sequence[str], values: Mapping[str, Any]) -> str:
    return (
        f"The optimum predicts {of_each(names, values['Q'])}. Its value lies between "
        f"{nats(values['dual'])} and {nats(values['primal'])} above the floor; the gap of the "
        f"guess is {nats(max(0.0, values['gap']))}."
    )


# Of the computations that end in bars; the certificate draws its two bounds.
QUANTITIES: dict[str, Callable[[Mapping[str, Any]], list[Quantity]]] = {
    "loss": quantities_of_loss,
    "simplex": quantities_of_simplex,
    "column": quantities_of_column,
}
SENTENCES: dict[str, Callable[[Sequence[str], Mapping[str, Any]], str]] = {
    "loss": say_loss,
    "simplex": say_simplex,
    "column": say_column,
    "certificate": say_certificate,
}
