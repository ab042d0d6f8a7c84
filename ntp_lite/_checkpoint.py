"""The state of a training run in one file, and back (Book: your_text_and_scale).

A safetensors file: tensors by name, and in its metadata a JSON text and the hash of both. Nothing
in it is executed when it is read, and any safetensors reader can open it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn, optim

from .config import TrainConfig
from .status import Status

FORMAT = "ntp_lite checkpoint 3"
TEXT = "ntp_lite"  # names in the file's metadata
HASH = "sha256"
Named = dict[str, nn.Parameter]
Gather = Callable[[str, Tensor], Tensor]  # of a parameter's name and a tensor that belongs to it


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file says; made by `load`.

    step : how many steps are done. status : why the run ended, None if it was still going on.
    config : how it trains. history : as in `FitResult`. model : a description of the model.
    parameters, buffers : name -> array, with the names of `model.named_parameters()` and
    `model.named_buffers()`; of a UFM "W" (V, d) and "H" (d, m). fill(model) puts them into a model.
    """

    path: str
    step: int
    status: Status | None
    config: TrainConfig = field(repr=False)
    history: dict[str, list[float]] = field(repr=False)
    model: str
    parameters: dict[str, NDArray] = field(repr=False)
    buffers: dict[str, NDArray] = field(repr=False)
    record: dict[str, Any] = field(repr=False)  # the JSON text, for `resume`
    tensors: dict[str, Tensor] = field(repr=False)  # all of them, the optimiser's too

    @torch.no_grad()
    def fill(self, model: nn.Module) -> None:
        """Overwrite the parameters and buffers of `model`; ValueError for one of other sizes."""
        for kind, own in named_tensors(model).items():
            saved = {name: array.shape for name, array in getattr(self, kind).items()}
            found = {name: tuple(tensor.shape) for name, tensor in own.items()}
            if saved != found:
                raise ValueError(f"{self.path!r} is for other {kind}: {saved}, not {found}.")
            for name, tensor in own.items():
                tensor.copy_(torch.from_numpy(getattr(self, kind)[name]))


def load(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint that `fit` wrote; see `Checkpoint` for what is in it.

    To go on training use `resume`. Raises FileNotFoundError if there is no such file, ValueError if
    it is truncated, damaged (its hash tells), not a checkpoint, or written by another version.
    """
    place = Path(path).expanduser()
    name = repr(str(place))
    if not place.is_file():
        raise FileNotFoundError(f"No checkpoint at {name}.")
    metadata, tensors = _read(place)
    text = metadata.get(TEXT, "")
    with _malformed_becomes_value_error(name):
        record = json.loads(text or "{}")
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            raise ValueError(f"{name} is a safetensors file, but no {FORMAT!r}.")
        if metadata.get(HASH) != _digest(text, tensors):
            raise ValueError(f"{name} is damaged: its hash is not that of its content.")
        for key, tensor in tensors.items():
            if tensor.is_floating_point() and not tensor.isfinite().all():
                raise ValueError(
                    f"{name} has NaN or infinity in {key!r}: the run that wrote it went wrong. "
                    "Use an earlier one."
                )
        return _checkpoint(str(place), record, tensors)


def require_same(checkpoint: Checkpoint, identity: dict[str, Any]) -> None:
    """ValueError, naming what differs, unless the checkpoint is of such a run."""
    saved = checkpoint.record["identity"]
    for what, now in identity.items():
        then = saved.get(what)
        if then != now:
            raise ValueError(f"{checkpoint.path!r} is for other {what}: {then}, not {now}.")


def _read(place: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    try:
        with safe_open(place, "pt") as file:  # no pickle is involved
            metadata = file.metadata() or {}
            # Copies begin where torch's own memory does: inner products of tensors at another
            # address may be added up in another order, and a resumed run would not be bit-equal.
            tensors = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, RuntimeError, MemoryError, OverflowError) as error:
        name = repr(str(place))
        raise ValueError(f"{name} is truncated or not a checkpoint: {error}.") from None
    return metadata, tensors


def _checkpoint(path: str, record: dict[str, Any], tensors: dict[str, Tensor]) -> Checkpoint:
    """The public view of a record; whatever is missing or of another type raises."""
    config = TrainConfig(**record["config"] | {"checkpoint": path})
    step = record["step"]
    if type(step) is not int or not 0 <= step <= config.steps:
        raise ValueError(f"step is {step!r} of {config.steps}")
    for name in ("seconds", "loss", "checked"):
        if type(record[name]) not in (int, float):
            raise ValueError(f"{name} is {record[name]!r}")
    if type(record["stalled"]) is not int:
        raise ValueError(f"stalled is {record['stalled']!r}")
    history = _history(record["history"], step)
    status = None if record["status"] is None else Status[record["status"]]
    parts = {
        kind: {
            key.removeprefix(f"{kind}."): tensor.numpy()
            for key, tensor in tensors.items()
            if key.startswith(f"{kind}.")
        }
        for kind in ("parameter", "buffer")
    }
    return Checkpoint(
        path=path,
        step=step,
        status=status,
        config=config,
        history=history,
        model=str(record["identity"]["model"]),
        parameters=parts["parameter"],
        buffers=parts["buffer"],
        record=record,
        tensors=tensors,
    )


def _history(history: Any, step: int) -> dict[str, list[float]]:
    lengths = {len(column) for column in history.values()}
    numbers = all(type(x) in (int, float) for column in history.values() for x in column)
    steps = history["step"]
    if len(lengths) != 1 or not numbers or sorted(steps) != steps or max(steps) > step:
        raise ValueError("its history is not equal columns of numbers up to its step")
    return history


@contextmanager
def _malformed_becomes_value_error(name: str) -> Iterator[None]:
    """One kind of error, with the file's name, for JSON that is not ours."""
    try:
        yield
    except (LookupError, TypeError, AttributeError, RecursionError, OverflowError,
            RuntimeError) as error:  # fmt: skip
        why = f"{type(error).__name__}: {error}"
        raise ValueError(f"{name} is not a checkpoint that can be used: {why}.") from None
    except ValueError as error:
        if name in str(error):
            raise
        raise ValueError(f"{name} is not a checkpoint that can be used: {error}") from None


# ---------------------------------------------------------------- writing


def prepare(path: str, overwrite: bool) -> None:
    """Try the place of a checkpoint before the work begins; nothing stays behind.

    Raises FileExistsError for a file that must not be overwritten, FileNotFoundError for a folder
    that is not there, and OSError where nothing can be written.
    """
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"The checkpoint {path!r} is a folder; add the name of a file.")
    if target.exists() and not overwrite:
        raise FileExistsError(
            f"{path!r} exists; go on from it with resume, name another checkpoint, or give "
            "overwrite=True."
        )
    with _replacing(target) as temporary:
        temporary.unlink()


def write(path: str, record: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Replace `path` in one stroke: whoever reads it sees the old state or the new one."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps({"format": FORMAT, **record})
    with _replacing(Path(path)) as temporary:
        mode = temporary.stat().st_mode
        save_file(plain, temporary, {TEXT: text, HASH: _digest(text, plain)})
        temporary.chmod(mode)  # safetensors shuts everybody else out, whatever the umask says
        with temporary.open("rb") as file:
            os.fsync(file.fileno())


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """An empty file beside `path` that takes its place at the end; OSError with a sentence.

    Its name has the number of this process in it: two runs with one checkpoint do not meet. If
    `path` is a symbolic link, the file that it points to is replaced and the link stays.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    if not target.parent.is_dir():
        folder = str(target.parent)
        raise FileNotFoundError(f"There is no folder {folder!r} for the checkpoint; make it first.")
    try:
        temporary.open("wb").close()
        yield temporary
        if temporary.exists():
            os.replace(temporary, target)
    except (OSError, SafetensorError) as error:
        raise OSError(f"The checkpoint {str(path)!r} cannot be written: {error}.") from None
    finally:
        temporary.unlink(missing_ok=True)


def _digest(text: str, tensors: dict[str, Tensor]) -> str:
    """A hash over the JSON text and, tensor by tensor, name, type, shape and bytes."""
    total = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


# ---------------------------------------------------------------- models and optimisers


def named_tensors(model: nn.Module) -> dict[str, dict[str, Tensor]]:
    """The "parameters" and the "buffers" of a model, by name."""
    return {
        "parameters": dict(model.named_parameters()),
        "buffers": dict(model.named_buffers()),
    }


def pack_optimizers(
    optimizers: list[optim.Optimizer], parameters: Named, whole: Gather
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What the optimisers remember of each parameter, as JSON with the names of tensors in it.

    parameters : what is trained, by name. whole : makes all of a tensor from one process's part.
    """
    tensors: dict[str, Tensor] = {}

    def pack(value: Any, key: str, parameter: str) -> Any:
        if isinstance(value, Tensor):
            name = f"optimizer.{key}.{parameter}"
            tensors[name] = whole(parameter, value.detach())
            return {"tensor": name}
        if isinstance(value, list):
            return [pack(item, f"{key}.{i}", parameter) for i, item in enumerate(value)]
        return value

    packed = {}
    for optimizer in optimizers:
        order = _names_in_order(optimizer, parameters)
        for i, memory in optimizer.state_dict()["state"].items():
            values = {key: pack(value, key, order[i]) for key, value in memory.items()}
            packed[order[i]] = values
    return packed, tensors


def unpack_optimizers(
    optimizers: list[optim.Optimizer], parameters: Named, checkpoint: Checkpoint, part: Gather
) -> None:
    """Undo `pack_optimizers`; part : cuts one process's part out of a whole tensor."""

    def unpack(value: Any, parameter: str) -> Any:
        if isinstance(value, dict):
            return part(parameter, checkpoint.tensors[value["tensor"]])
        if isinstance(value, list):
            return [unpack(item, parameter) for item in value]
        return value

    with _malformed_becomes_value_error(repr(checkpoint.path)):
        packed = checkpoint.record["optimizer"]
        if not packed.keys() <= parameters.keys():
            raise ValueError("its optimiser knows parameters that the model does not train")
        for optimizer in optimizers:
            state = optimizer.state_dict()
            order = _names_in_order(optimizer, parameters)
            state["state"] = {
                i: {key: unpack(value, name) for key, value in packed[name].items()}
                for i, name in enumerate(order)
                if name in packed
            }
            _check_sizes(state["state"], optimizer)
            optimizer.load_state_dict(state)


def _names_in_order(optimizer: optim.Optimizer, parameters: Named) -> list[str]:
    names = {id(p): name for name, p in parameters.items()}
    return [names[id(p)] for group in optimizer.param_groups for p in group["params"]]


def _check_sizes(state: dict[int, dict[str, Any]], optimizer: optim.Optimizer) -> None:
    """A tensor of an optimiser is a number, like its parameter, or like all of them in a row."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    everything = (sum(p.numel() for p in parameters),)
    for i, memory in state.items():
        allowed = {(), tuple(parameters[i].shape), everything}
        for key, value in memory.items():
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, Tensor) and tuple(item.shape) not in allowed:
                    raise ValueError(f"{key} has the shape {tuple(item.shape)}")


def digest_of(array: NDArray | None) -> str | None:
    """A short hash of an array's shape and entries; integers of all widths are the same."""
    if array is None:
        return None
    plain = array.astype(np.int64) if array.dtype.kind in "iu" else np.ascontiguousarray(array)
    content = plain.tobytes() if plain.dtype != object else repr(plain.tolist()).encode()
    header = f"{plain.dtype.kind} {plain.shape}".encode()
    return hashlib.sha256(header + content).hexdigest()[:16]
