"""The transducer's loss: −log of the summed probability of all alignments of a transcript.

An alignment is a path through the lattice of (t, u), t frames heard and u tokens said:

    regular    token: (t, u) → (t, u + 1)        ∅: (t, u) → (t + 1, u)
    modified   token: (t, u) → (t + 1, u + 1)    ∅: (t, u) → (t + 1, u)

from (0, 0) to (T, U). In the regular lattice (Graves 2012) a frame ends with ∅ and says any number
of tokens before; in the modified one it says one token or ∅, which is what searches assume.

The table of logits is T × (U + 1) × V, which outgrows memory. :func:`pruned` computes a few of the
U + 1 columns of every frame: first the whole lattice with scores that are a plain sum of encoder
and prediction, which needs no table; then the real scores, where that sum found probability
(Kuang et al., "Pruned RNN-T for fast, memory-efficient ASR training", 2022).

What cannot be aligned has probability 0, so an infinite loss, and no gradient: tokens without a
frame, and, in the modified lattice, more tokens than frames. No frames and no tokens: loss 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import k2
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from asr_hlg.errors import ModelError

LATTICES = ("modified", "regular")

BLANK = 0

_CHUNK = 1 << 20
"""Scores of all types that exist at a time; more are computed again for the gradient."""


@dataclass(frozen=True)
class Targets:
    """Transcripts, and how much of a padded batch belongs to each utterance.

    Attributes
    ----------
    tokens : Tensor
        int64 ``(B, U)``, padded with anything that is a token's id.
    num_tokens, num_frames : Tensor
        int64 ``(B,)``.
    lattice : str
        ``modified`` or ``regular``.
    """

    tokens: Tensor
    num_tokens: Tensor
    num_frames: Tensor
    lattice: str = "modified"

    def __post_init__(self):
        if self.lattice not in LATTICES:
            raise ModelError(f"lattice is one of {LATTICES}, not {self.lattice!r}")
        if self.tokens.ndim != 2:
            raise ModelError(f"tokens have shape {tuple(self.tokens.shape)}, expected (B, U)")
        batch, most = self.tokens.shape
        for name in ("tokens", "num_tokens", "num_frames"):
            if getattr(self, name).dtype != torch.int64:
                raise ModelError(f"{name} are {getattr(self, name).dtype}, expected torch.int64")
        for name in ("num_tokens", "num_frames"):
            _expect(name, getattr(self, name), (batch,))
        if bool(((self.num_tokens < 0) | (self.num_tokens > most)).any()):
            raise ModelError(f"num_tokens are {self.num_tokens.tolist()}, not from 0 to U = {most}")

    @property
    def shape(self) -> tuple[int, int]:
        """(B, U)."""
        return tuple(self.tokens.shape)  # type: ignore[return-value]

    def alignable(self) -> Tensor:
        """Bool ``(B,)``: which utterances have an alignment."""
        if self.lattice == "modified":
            return self.num_tokens <= self.num_frames
        return (self.num_frames > 0) | (self.num_tokens == 0)

    def boundary(self) -> Tensor:
        """int64 ``(B, 4)``, as k2 wants it; all zeros where there is nothing to align."""
        nothing = torch.zeros_like(self.num_tokens)
        limits = torch.stack([nothing, nothing, self.num_tokens, self.num_frames], 1)
        return limits * self.alignable()[:, None]

    def check(self, frames: int, num_classes: int) -> None:
        """Refuse what does not fit scores of that many frames and classes."""
        if self.num_frames.numel() and not int(self.num_frames.min()) >= 0:
            raise ModelError(f"num_frames are {self.num_frames.tolist()}, some below 0")
        if self.num_frames.numel() and int(self.num_frames.max()) > frames:
            raise ModelError(
                f"num_frames are {self.num_frames.tolist()}, but there are {frames} frames"
            )
        inside = torch.arange(self.shape[1], device=self.tokens.device) < self.num_tokens[:, None]
        wrong = inside & ((self.tokens <= BLANK) | (self.tokens >= num_classes))
        if bool(wrong.any()):
            token = int(self.tokens[wrong][0])
            raise ModelError(f"token {token} is not from 1 to {num_classes - 1} (0 is ∅)")


def full(logits: Tensor, targets: Targets) -> Tensor:
    """The loss from the whole table, by ``k2.rnnt_loss``.

    Parameters
    ----------
    logits : Tensor
        float32 or float64 ``(B, T, U + 1, V)``, unnormalised.
    targets : Targets

    Returns
    -------
    Tensor
        ``(B,)`` nats an utterance.
    """
    batch, most = targets.shape
    if logits.ndim != 4:
        raise ModelError(f"logits have shape {tuple(logits.shape)}, expected (B, T, U + 1, V)")
    _expect("logits", logits, (batch, logits.shape[1], most + 1, logits.shape[3]))
    targets.check(logits.shape[1], logits.shape[3])
    # older k2, such as 1.23.4, wants at least a token, and no fewer frames than tokens, in a batch.
    tokens = max(1, most)
    grow = (0, 0, 0, tokens - most, 0, max(0, tokens - logits.shape[1]))
    losses = k2.rnnt_loss(
        F.pad(logits, grow) if any(grow) else logits,
        F.pad(targets.tokens, (0, tokens - most)),
        BLANK,
        targets.boundary(),
        rnnt_type=targets.lattice,
        reduction="none",
    )
    return _without_alignment(losses, targets)


def simple(
    am: Tensor, lm: Tensor, targets: Targets, am_scale: float = 0.0, lm_scale: float = 0.0
) -> Tensor:
    """The loss whose logits are a sum: ``am[t] + lm[u]``.

    Parameters
    ----------
    am : Tensor
        float32 or float64 ``(B, T, V)``, the encoder's scores.
    lm : Tensor
        ``(B, U + 1, V)``, the prediction network's.
    targets : Targets
    am_scale, lm_scale : float
        Above 0, the loss is *smoothed*: so much of a step's log-probability comes from the encoder
        alone (with the mean prediction in place of the prediction), and from the prediction alone.

    Returns
    -------
    Tensor
        ``(B,)`` nats an utterance; as ``k2.rnnt_loss_simple`` and ``k2.rnnt_loss_smoothed`` give,
        but that the mean prediction leaves out what pads a batch.
    """
    return _sum(*_simple_steps(am, lm, targets, am_scale, lm_scale), targets)[0]


def pruned(
    am: Tensor,
    lm: Tensor,
    ranges: Tensor,
    logits: Callable[[Tensor], Tensor],
    targets: Targets,
) -> Tensor:
    """The loss from the real joiner, in the columns of the table that ``ranges`` names.

    Parameters
    ----------
    am, lm : Tensor
        ``(B, T, dim)`` and ``(B, U + 1, dim)``: what the joiner adds up.
    ranges : Tensor
        int64 ``(B, T, R)``, from :func:`bounds`.
    logits : callable
        The rest of the joiner: sums ``(…, dim)`` to logits ``(…, V)``.
    targets : Targets

    Returns
    -------
    Tensor
        ``(B,)`` nats an utterance. All alignments outside of ``ranges`` are missing from the sum,
        so that it is never below the full loss. As ``k2.rnnt_loss_pruned``, but that the pruned
        table need not exist as a whole, nor its gradient.
    """
    batch, most = targets.shape
    frames = am.shape[1]
    _expect("ranges", ranges, (batch, frames, ranges.shape[-1]))
    _expect("am", am, (batch, frames, am.shape[-1]))
    _expect("lm", lm, (batch, most + 1, am.shape[-1]))
    tokens = F.pad(targets.tokens, (0, 1), value=BLANK)
    rows = torch.arange(batch, device=am.device)[:, None, None]

    def steps(am: Tensor, ranges: Tensor) -> tuple[Tensor, Tensor]:
        scores = logits(am[:, :, None] + lm[rows, ranges])
        scores = scores if scores.dtype == torch.float64 else scores.float()
        norm = scores.logsumexp(-1)
        said = scores.gather(3, tokens[rows, ranges][..., None]).squeeze(3) - norm
        return said, scores[..., BLANK] - norm

    width = batch * ranges.shape[2] * _num_classes(logits, am)
    said, silent = _in_pieces(steps, width, am, ranges)
    table = torch.full((batch, most + 1, frames), -torch.inf, dtype=said.dtype, device=am.device)
    columns = ranges.transpose(1, 2)
    px = table.scatter(1, columns, said.transpose(1, 2))[:, :most]
    py = table.scatter(1, columns, silent.transpose(1, 2))
    return _sum(px, py, targets)[0]


def bounds(
    am: Tensor,
    lm: Tensor,
    targets: Targets,
    prune_range: int,
    am_scale: float = 0.0,
    lm_scale: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """The first pass: the simple loss, and where in the table its probability lies.

    Parameters
    ----------
    am, lm, targets, am_scale, lm_scale
        As for :func:`simple`.
    prune_range : int
        Columns of the table to keep in every frame, at least 2. More are kept where a transcript
        has so many more tokens than frames that none of its alignments would survive.

    Returns
    -------
    losses : Tensor
        ``(B,)``, as :func:`simple`.
    ranges : Tensor
        int64 ``(B, T, R)``: ascending without gaps, from column 0 in the first frame to column U
        in the last, R the smaller of ``prune_range`` and U + 1.
    """
    if prune_range < 2:
        raise ModelError(f"prune_range is at least 2, or no token could be said, not {prune_range}")
    px, py = _simple_steps(am, lm, targets, am_scale, lm_scale)
    losses, (px_grad, py_grad) = _sum(px, py, targets)
    batch, most = targets.shape
    frames = am.shape[1]
    boundary = targets.boundary()
    if most == 0 or frames == 0:
        return losses, torch.zeros(batch, frames, 1, dtype=torch.int64, device=am.device)
    steepest = torch.div(boundary[:, 2] - 1, boundary[:, 3].clamp(min=1), rounding_mode="floor")
    width = min(most + 1, max(prune_range, int(steepest.max()) + 2))
    # older k2, such as 1.23.4, wants no fewer frames than tokens.
    grow = (0, max(0, most - frames))
    ranges = k2.get_rnnt_prune_ranges(
        F.pad(px_grad, grow).contiguous(), F.pad(py_grad, grow).contiguous(), boundary, width
    )
    return losses, ranges[:, :frames].contiguous()


def _simple_steps(
    am: Tensor, lm: Tensor, targets: Targets, am_scale: float, lm_scale: float
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of saying the next token ``(B, U, T)``, and of ∅ ``(B, U + 1, T)``.

    k2 1.23.4 has the same, but makes for its gradient the T × U × V table that all this is to
    avoid.
    """
    with torch.autocast(am.device.type, enabled=False):  # sums of exponentials need the digits
        return _added_up(am, lm, targets, am_scale, lm_scale)


def _added_up(
    am: Tensor, lm: Tensor, targets: Targets, am_scale: float, lm_scale: float
) -> tuple[Tensor, Tensor]:
    batch, most = targets.shape
    if am.ndim != 3:
        raise ModelError(f"am has shape {tuple(am.shape)}, expected (B, T, V)")
    frames, num_classes = am.shape[1:]
    _expect("am", am, (batch, frames, num_classes))
    _expect("lm", lm, (batch, most + 1, num_classes))
    targets.check(frames, num_classes)
    if not (am_scale >= 0 and lm_scale >= 0 and am_scale + lm_scale <= 1):
        raise ModelError(f"am_scale {am_scale} and lm_scale {lm_scale} are shares of 1")
    am, lm = (part if part.dtype == torch.float64 else part.float() for part in (am, lm))
    # Next token and ∅ in one, so that a frame's scores are gathered once.
    tokens = F.pad(targets.tokens, (0, 1), value=BLANK)
    lm_silent = lm[:, None, :, BLANK]
    lm_said = lm.gather(2, tokens[:, :, None]).transpose(1, 2)[..., :most]
    lm_top = lm.detach().amax(2, keepdim=True)
    lm_exp = (lm - lm_top).exp()
    tiny = torch.finfo(am.dtype).tiny
    lm_sum = lm_exp.sum(2, keepdim=True)
    position = torch.arange(most + 1, device=lm.device)
    real = (position <= targets.num_tokens[:, None])[..., None].to(lm)
    mean = (lm_exp / lm_sum * real).sum((0, 1)) / real.sum().clamp(min=1) + tiny
    mean_of = mean.log()[tokens][:, None]
    lm_norm = (lm_sum.log() + lm_top).transpose(1, 2)
    both = 1 - am_scale - lm_scale

    def steps(am: Tensor) -> tuple[Tensor, Tensor]:
        top = am.detach().amax(2, keepdim=True)
        exp = (am - top).exp()
        scores = am.gather(2, tokens[:, None].expand(-1, am.shape[1], -1))
        said, silent = scores[..., :most], scores[..., most:]
        norm = (exp @ lm_exp.transpose(1, 2) + tiny).log() + top + lm_top.transpose(1, 2)
        px, py = said + lm_said - norm[..., :most], silent + lm_silent - norm
        if not am_scale and not lm_scale:
            return px, py
        px = both * px + lm_scale * (lm_said - lm_norm[..., :most])
        py = both * py + lm_scale * (lm_silent - lm_norm)
        if am_scale:
            norm = (exp @ mean).log()[..., None] + top
            px = px + am_scale * (said + mean_of[..., :most] - norm)
            py = py + am_scale * (silent + mean_of[..., most:] - norm)
        return px, py

    px, py = _in_pieces(steps, batch * num_classes, am)
    return px.transpose(1, 2), py.transpose(1, 2)


def _in_pieces(
    steps: Callable[..., tuple[Tensor, Tensor]], width: int, *tensors: Tensor
) -> tuple[Tensor, Tensor]:
    """Apply a function to some frames at a time, and put its results together.

    ``width`` is the number of scores that a frame makes. If there is more than one piece, each is
    computed again when its gradient is due.
    """
    size = max(1, _CHUNK // max(1, width))
    pieces = list(zip(*(tensor.split(size, 1) for tensor in tensors), strict=True))
    if len(pieces) > 1 and torch.is_grad_enabled():
        done = [
            checkpoint(steps, *piece, use_reentrant=False, preserve_rng_state=False)
            for piece in pieces
        ]
    else:
        done = [steps(*piece) for piece in pieces]
    first, second = zip(*done, strict=True)
    return torch.cat(first, 1), torch.cat(second, 1)


def _sum(px: Tensor, py: Tensor, targets: Targets) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """−log Σ over alignments, ``(B,)``, and how often each step is taken on average."""
    boundary = targets.boundary()
    batch, most, frames = px.shape
    # k2 wants at least a token and a frame; within the boundary they do not count.
    if most == 0:
        px, py = px.new_full((batch, 1, frames), -torch.inf), torch.cat([py, py], 1)
    if frames == 0:
        px, py = (torch.cat([part, part.new_zeros(*part.shape[:2], 1)], 2) for part in (px, py))
    if targets.lattice == "regular":
        # After the last frame nothing is said.
        px = torch.cat([px, px.new_full((*px.shape[:2], 1), -torch.inf)], 2)
        last = boundary[:, 3].reshape(batch, 1, 1).expand(batch, px.shape[1], 1)
        px = px.scatter(2, last, -torch.inf)
    scores, (px_grad, py_grad) = k2.mutual_information_recursion(px, py, boundary, return_grad=True)
    return _without_alignment(-scores, targets), (px_grad, py_grad)


def _without_alignment(losses: Tensor, targets: Targets) -> Tensor:
    return losses.masked_fill(~targets.alignable(), torch.inf)


def _num_classes(logits: Callable[[Tensor], Tensor], am: Tensor) -> int:
    """How many logits come of one sum."""
    with torch.no_grad():
        return logits(am.new_zeros(1, am.shape[-1])).shape[-1]


def _expect(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape:
        raise ModelError(f"{name} has shape {tuple(tensor.shape)}, expected {shape}")
