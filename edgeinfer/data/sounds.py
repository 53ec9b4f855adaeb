"""Sounds into samples: frames of -1 to 1, with silence behind a sound that is too short."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeinfer.data.data_set import only_input
from edgeinfer.errors import InputError, MissingExtraError
from edgeinfer.graph import Graph

__all__ = ["SUFFIXES", "sound_reader"]

SUFFIXES = frozenset({".flac", ".wav"})


def sound_reader(graph: Graph, paths: Sequence[Path]) -> Callable[[Path], np.ndarray]:
    """What reads each of ``paths`` as one sample of the only input of ``graph``.

    The input's longest axis is time, and another one, if it is longer than 1, the channels.

    Raises
    ------
    InputError
        A file is no sound, they have different rates, or the input takes no sounds.
    """
    name = only_input(graph)
    shape = graph.types[name].shape[1:]
    extents = [extent for extent in shape if extent != 1]
    if not 1 <= len(extents) <= 2:
        raise InputError(f"input {name!r} of shape [1, {str(list(shape))[1:]} does not take sounds")
    frames, channels = max(extents), min(extents) if len(extents) == 2 else 1
    _check_rates(paths)

    def decode(path: Path) -> np.ndarray:
        try:
            with _soundfile().SoundFile(path) as file:
                # a header may say anything: held against the input before anything is allocated
                if file.channels != channels:
                    raise InputError(
                        f"{path} has {file.channels} channels, but the input takes {channels}"
                    )
                if file.frames > frames:
                    raise InputError(
                        f"{path} has {file.frames:,} frames, but the input takes {frames:,}; "
                        + ("give what its runs take as an .npz" if graph.states else "cut it")
                    )
                sound = np.asarray(file.read(dtype="float32", always_2d=True))
        except _soundfile().LibsndfileError as error:
            raise _unreadable(path, error) from error
        padded = np.pad(sound, ((0, frames - len(sound)), (0, 0)))
        return (padded if extents[0] == frames else padded.T).reshape(shape)

    return decode


def _check_rates(paths: Sequence[Path]) -> None:
    first = None
    for path in paths:
        try:
            rate = _soundfile().info(path).samplerate
        except _soundfile().LibsndfileError as error:
            raise _unreadable(path, error) from error
        first = first or (path, rate)
        if rate != first[1]:
            raise InputError(
                f"{path} has {rate:,} frames a second, but {first[0]} has {first[1]:,}"
            )


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(f"{path} is not a sound that can be read: {error}")


def _soundfile() -> Any:
    try:
        import soundfile
    except ImportError as error:
        raise MissingExtraError("soundfile", "audio") from error
    return soundfile
