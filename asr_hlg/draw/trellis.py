"""Pictures of posteriors over frames and tokens, drawn by matplotlib."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from asr_hlg.draw.formats import FORMATS, checked
from asr_hlg.errors import OptionError
from asr_hlg.versions import optional

if TYPE_CHECKING:
    import torch


def trellis(
    log_probs: torch.Tensor | npt.NDArray[np.floating[Any]],
    path: str | Path,
    *,
    tokens: Sequence[str],
    alignment: Sequence[int] | None = None,
    words: Sequence[tuple[str, float, float]] = (),
    frame_shift: float | None = None,
    title: str = "",
    colour: str = "p(token | frame)",
) -> None:
    """Draw probabilities of tokens over frames as an image, with a path and its words on top.

    Parameters
    ----------
    log_probs : torch.Tensor or np.ndarray
        Natural-log probabilities, shape ``(num_frames, num_tokens)``.
    path : str or Path
        ``.svg``, ``.png`` or ``.pdf``.
    tokens : sequence of str
        The name of every column.
    alignment : sequence of int, optional
        The column of every frame: the Viterbi path.
    words : sequence of (str, float, float)
        Words with their frames [start, end).
    frame_shift : float, optional
        Seconds per frame; if given, the time axis is in seconds.
    title, colour : str
        Line above the picture; label of the colour bar.
    """
    path = checked(path, FORMATS)
    image = np.exp(np.asarray(log_probs, dtype=np.float64)).T
    if image.shape[0] != len(tokens):
        raise OptionError(f"{image.shape[0]} columns, but {len(tokens)} names of tokens")
    num_tokens, num_frames = image.shape
    size = (float(np.clip(0.35 * num_frames, 6, 30)), max(2.5, 0.28 * num_tokens + 1.2))
    with _figure(path, size) as axes:
        image_artist = axes.imshow(
            image, aspect="auto", origin="lower", cmap="Blues", vmin=0, interpolation="nearest"
        )
        axes.figure.colorbar(image_artist, ax=axes, label=colour, pad=0.02)
        axes.set_yticks(range(num_tokens), tokens)
        _time_axis(axes, num_frames, frame_shift)
        if alignment is not None:
            axes.plot(range(num_frames), alignment, color="tab:red", marker="o", markersize=4)
        for text, start, end in words:
            for edge in (start, end):
                axes.axvline(edge - 0.5, color="black", linestyle="--", linewidth=0.8)
            text_style = {"ha": "center", "va": "bottom", "fontsize": 11}
            axes.text((start + end - 1) / 2, num_tokens - 0.4, text, **text_style)
        axes.set_title(title, pad=20 if words else 6)


@contextmanager
def _figure(path: Path, size: tuple[float, float]) -> Iterator[Any]:
    """Axes to draw on, saved at the end; the same picture gives the same bytes."""
    matplotlib = optional(
        "matplotlib", "matplotlib.figure", purpose="drawing trellises", extra="draw"
    )
    # The object interface does not change the caller's pyplot and its backend.
    with matplotlib.rc_context({"svg.hashsalt": "asr_hlg", "font.size": 11}):
        figure = matplotlib.figure.Figure(figsize=size, layout="constrained")
        yield figure.subplots()
        metadata = {"Date": None} if path.suffix == ".svg" else None
        figure.savefig(path, dpi=120, metadata=metadata)


def _time_axis(axes: Any, num_frames: int, frame_shift: float | None) -> None:
    """Label the horizontal axis with frames or seconds."""
    if frame_shift is None:
        axes.set_xlabel("frame")
        if num_frames <= 30:
            axes.set_xticks(range(num_frames))
    else:
        axes.set_xlabel("seconds")
        axes.xaxis.set_major_formatter(lambda frame, _: f"{frame * frame_shift:.2f}")
