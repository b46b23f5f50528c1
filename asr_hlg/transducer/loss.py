"""Transducer losses: −log of the summed probability of all alignments of a transcript.

An alignment is a path from (0, 0) to (T, U) through the lattice of nodes (t, u), where t frames
have been consumed and u tokens emitted:

    regular    token: (t, u) → (t, u + 1)        ∅: (t, u) → (t + 1, u)
    modified   token: (t, u) → (t + 1, u + 1)    ∅: (t, u) → (t + 1, u)

In the regular lattice (Graves, "Sequence Transduction with Recurrent Neural Networks", 2012) a
frame emits any number of tokens and ends with ∅. In the modified lattice it emits one token or ∅;
the searches assume this one.

The table of logits is T × (U + 1) × V, too large for memory. The pruned loss computes a few of the
U + 1 columns of every frame, in two passes (Kuang et al., "Pruned RNN-T for fast, memory-efficient
ASR training", 2022): :func:`prune_ranges` sums over the whole lattice with logits that are a plain
sum of encoder and prediction network, which needs no table; :func:`pruned` evaluates the joiner
only in the columns to which the first pass gave most occupancy.

A transcript without an alignment has probability 0, hence an infinite loss and no gradient: tokens
but no frames, and, in the modified lattice, more tokens than frames. Without frames and tokens the
loss is 0.
"""

from __future__ import annotations

from collections.abc import Callable

import k2
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from asr_hlg.errors import ModelError
from asr_hlg.transducer.targets import BLANK, Targets, check_shape

_CHUNK = 1 << 20
"""Most logits in memory at once; beyond that they are recomputed for the gradient."""


def full(logits: Tensor, targets: Targets) -> Tensor:
    """Loss from the whole table of logits, by ``k2.rnnt_loss``.

    Parameters
    ----------
    logits : Tensor
        float32 or float64 ``(B, T, U + 1, V)``, unnormalised.
    targets : Targets

    Returns
    -------
    Tensor
        ``(B,)`` nats, one loss for each utterance.
    """
    batch, max_tokens = targets.shape
    if logits.ndim != 4:
        raise ModelError(f"logits have shape {tuple(logits.shape)}, expected (B, T, U + 1, V)")
    check_shape("logits", logits, (batch, logits.shape[1], max_tokens + 1, logits.shape[3]))
    targets.check(logits.shape[1], logits.shape[3])
    # Older k2, such as 1.23.4, needs at least one token and as many frames as tokens in a batch.
    tokens = max(1, max_tokens)
    padding = (0, 0, 0, tokens - max_tokens, 0, max(0, tokens - logits.shape[1]))
    losses = k2.rnnt_loss(
        F.pad(logits, padding) if any(padding) else logits,
        F.pad(targets.tokens, (0, tokens - max_tokens)),
        BLANK,
        targets.boundary(),
        rnnt_type=targets.lattice,
        reduction="none",
    )
    return _mask_unalignable(losses, targets)


def pruned(
    am: Tensor,
    lm: Tensor,
    ranges: Tensor,
    logits: Callable[[Tensor], Tensor],
    targets: Targets,
) -> Tensor:
    """Loss with the full joiner, evaluated only in the columns that ``ranges`` selects.

    Parameters
    ----------
    am, lm : Tensor
        ``(B, T, dim)`` and ``(B, U + 1, dim)``: the summands of the joiner.
    ranges : Tensor
        int64 ``(B, T, R)``, from :func:`prune_ranges`.
    logits : callable
        The rest of the joiner: sums ``(…, dim)`` to logits ``(…, V)``.
    targets : Targets

    Returns
    -------
    Tensor
        ``(B,)`` nats. Alignments outside of ``ranges`` are missing from the sum, so the pruned
        loss is never below the full one. As ``k2.rnnt_loss_pruned``, but neither the pruned table
        nor its gradient has to be in memory as a whole.
    """
    batch, max_tokens = targets.shape
    frames = am.shape[1]
    check_shape("ranges", ranges, (batch, frames, ranges.shape[-1]))
    check_shape("am", am, (batch, frames, am.shape[-1]))
    check_shape("lm", lm, (batch, max_tokens + 1, am.shape[-1]))
    tokens = F.pad(targets.tokens, (0, 1), value=BLANK)
    rows = torch.arange(batch, device=am.device)[:, None, None]

    def log_probs(am: Tensor, ranges: Tensor) -> tuple[Tensor, Tensor]:
        scores = logits(am[:, :, None] + lm[rows, ranges])
        scores = scores if scores.dtype == torch.float64 else scores.float()
        norm = scores.logsumexp(-1)
        token = scores.gather(3, tokens[rows, ranges][..., None]).squeeze(3) - norm
        return token, scores[..., BLANK] - norm

    width = batch * ranges.shape[2] * _num_classes(logits, am)
    token, blank = _in_chunks(log_probs, width, am, ranges)
    table = torch.full(
        (batch, max_tokens + 1, frames), -torch.inf, dtype=token.dtype, device=am.device
    )
    columns = ranges.transpose(1, 2)
    px = table.scatter(1, columns, token.transpose(1, 2))[:, :max_tokens]
    py = table.scatter(1, columns, blank.transpose(1, 2))
    return _total(px, py, targets)[0]


def prune_ranges(
    am: Tensor,
    lm: Tensor,
    targets: Targets,
    prune_range: int,
    am_scale: float = 0.0,
    lm_scale: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """First pass: the simple loss, and the columns of every frame with the most occupancy.

    The simple loss is that of the additive joiner, whose logits are ``am[t] + lm[u]``.

    Parameters
    ----------
    am : Tensor
        float32 or float64 ``(B, T, V)``, logits of the encoder.
    lm : Tensor
        ``(B, U + 1, V)``, logits of the prediction network.
    targets : Targets
    prune_range : int
        Number of columns to keep in every frame, at least 2. More are kept if a transcript has so
        many more tokens than frames that no alignment would remain otherwise.
    am_scale, lm_scale : float
        Above 0, the loss is *smoothed*: these shares of a log-probability come from the encoder
        alone (with the batch's mean prediction) and from the prediction network alone.

    Returns
    -------
    losses : Tensor
        ``(B,)`` nats, as from ``k2.rnnt_loss_simple`` and ``k2.rnnt_loss_smoothed``, except that
        padding does not enter the mean prediction.
    ranges : Tensor
        int64 ``(B, T, R)``: R consecutive columns of every frame, from column 0 in the first frame
        to column U in the last; R is the smaller of ``prune_range`` and U + 1.
    """
    if prune_range < 2:
        raise ModelError(f"prune_range must be at least 2, not {prune_range}")
    px, py = _simple_log_probs(am, lm, targets, am_scale, lm_scale)
    losses, (px_occupancy, py_occupancy) = _total(px, py, targets)
    batch, max_tokens = targets.shape
    frames = am.shape[1]
    boundary = targets.boundary()
    if max_tokens == 0 or frames == 0:
        return losses, torch.zeros(batch, frames, 1, dtype=torch.int64, device=am.device)
    max_slope = torch.div(boundary[:, 2] - 1, boundary[:, 3].clamp(min=1), rounding_mode="floor")
    width = min(max_tokens + 1, max(prune_range, int(max_slope.max()) + 2))
    # Older k2, such as 1.23.4, needs as many frames as tokens.
    padding = (0, max(0, max_tokens - frames))
    ranges = k2.get_rnnt_prune_ranges(
        F.pad(px_occupancy, padding).contiguous(),
        F.pad(py_occupancy, padding).contiguous(),
        boundary,
        width,
    )
    return losses, ranges[:, :frames].contiguous()


def _simple_log_probs(
    am: Tensor, lm: Tensor, targets: Targets, am_scale: float, lm_scale: float
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of the next token, ``(B, U, T)``, and of ∅, ``(B, U + 1, T)``.

    For the additive joiner the normaliser of all nodes is one matrix product: log Σ_k
    exp(am[t, k] + lm[u, k]). ``k2.get_rnnt_logprobs_smoothed`` computes the same, but in k2 1.23.4
    its gradient needs the T × U × V table.
    """
    with torch.autocast(am.device.type, enabled=False):  # sums of exponentials need float32
        return _simple_log_probs_float32(am, lm, targets, am_scale, lm_scale)


def _simple_log_probs_float32(
    am: Tensor, lm: Tensor, targets: Targets, am_scale: float, lm_scale: float
) -> tuple[Tensor, Tensor]:
    batch, max_tokens = targets.shape
    if am.ndim != 3:
        raise ModelError(f"am has shape {tuple(am.shape)}, expected (B, T, V)")
    frames, num_classes = am.shape[1:]
    check_shape("am", am, (batch, frames, num_classes))
    check_shape("lm", lm, (batch, max_tokens + 1, num_classes))
    targets.check(frames, num_classes)
    if not (am_scale >= 0 and lm_scale >= 0 and am_scale + lm_scale <= 1):
        raise ModelError(
            f"am_scale {am_scale} and lm_scale {lm_scale} must be at least 0, "
            "and their sum at most 1"
        )
    am, lm = (part if part.dtype == torch.float64 else part.float() for part in (am, lm))
    # The next token and ∅ in one index, so that a frame's scores are gathered once.
    tokens = F.pad(targets.tokens, (0, 1), value=BLANK)
    lm_blank = lm[:, None, :, BLANK]
    lm_token = lm.gather(2, tokens[:, :, None]).transpose(1, 2)[..., :max_tokens]
    lm_top = lm.detach().amax(2, keepdim=True)
    lm_exp = (lm - lm_top).exp()
    tiny = torch.finfo(am.dtype).tiny
    lm_sum = lm_exp.sum(2, keepdim=True)
    position = torch.arange(max_tokens + 1, device=lm.device)
    inside = (position <= targets.num_tokens[:, None])[..., None].to(lm)
    mean = (lm_exp / lm_sum * inside).sum((0, 1)) / inside.sum().clamp(min=1) + tiny
    mean_log_prob = mean.log()[tokens][:, None]
    lm_norm = (lm_sum.log() + lm_top).transpose(1, 2)
    joint_scale = 1 - am_scale - lm_scale

    def log_probs(am: Tensor) -> tuple[Tensor, Tensor]:
        top = am.detach().amax(2, keepdim=True)
        exp = (am - top).exp()
        scores = am.gather(2, tokens[:, None].expand(-1, am.shape[1], -1))
        am_token, am_blank = scores[..., :max_tokens], scores[..., max_tokens:]
        norm = (exp @ lm_exp.transpose(1, 2) + tiny).log() + top + lm_top.transpose(1, 2)
        px, py = am_token + lm_token - norm[..., :max_tokens], am_blank + lm_blank - norm
        if not am_scale and not lm_scale:
            return px, py
        px = joint_scale * px + lm_scale * (lm_token - lm_norm[..., :max_tokens])
        py = joint_scale * py + lm_scale * (lm_blank - lm_norm)
        if am_scale:
            norm = (exp @ mean).log()[..., None] + top
            px = px + am_scale * (am_token + mean_log_prob[..., :max_tokens] - norm)
            py = py + am_scale * (am_blank + mean_log_prob[..., max_tokens:] - norm)
        return px, py

    px, py = _in_chunks(log_probs, batch * num_classes, am)
    return px.transpose(1, 2), py.transpose(1, 2)


def _in_chunks(
    log_probs: Callable[..., tuple[Tensor, Tensor]], width: int, *tensors: Tensor
) -> tuple[Tensor, Tensor]:
    """Apply a function to chunks of frames and concatenate its results along time.

    ``width`` is the number of logits of one frame. With more than one chunk, the logits of each
    are recomputed in the backward pass (activation checkpointing).
    """
    size = max(1, _CHUNK // max(1, width))
    chunks = list(zip(*(torch.split(tensor, size, 1) for tensor in tensors), strict=True))
    if len(chunks) > 1 and torch.is_grad_enabled():
        results = [
            checkpoint(log_probs, *chunk, use_reentrant=False, preserve_rng_state=False)
            for chunk in chunks
        ]
    else:
        results = [log_probs(*chunk) for chunk in chunks]
    token, blank = zip(*results, strict=True)
    return torch.cat(token, 1), torch.cat(blank, 1)


def _total(px: Tensor, py: Tensor, targets: Targets) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Losses ``(B,)`` by k2's recursion over (t, u), and the occupancies of its arcs.

    Parameters
    ----------
    px, py : Tensor
        Log-probabilities of the next token ``(B, U, T)`` and of ∅ ``(B, U + 1, T)``.
    """
    boundary = targets.boundary()
    batch, max_tokens, frames = px.shape
    # k2 needs at least one token and one frame; the padding is outside the boundary.
    if max_tokens == 0:
        px, py = px.new_full((batch, 1, frames), -torch.inf), torch.cat([py, py], 1)
    if frames == 0:
        px, py = (torch.cat([part, part.new_zeros(*part.shape[:2], 1)], 2) for part in (px, py))
    if targets.lattice == "regular":
        # No token is emitted after the last frame.
        px = torch.cat([px, px.new_full((*px.shape[:2], 1), -torch.inf)], 2)
        last = boundary[:, 3].reshape(batch, 1, 1).expand(batch, px.shape[1], 1)
        px = px.scatter(2, last, -torch.inf)
    scores, occupancies = k2.mutual_information_recursion(px, py, boundary, return_grad=True)
    return _mask_unalignable(-scores, targets), occupancies


def _mask_unalignable(losses: Tensor, targets: Targets) -> Tensor:
    masked: Tensor = losses.masked_fill(~targets.alignable(), torch.inf)
    return masked


def _num_classes(logits: Callable[[Tensor], Tensor], am: Tensor) -> int:
    """Number of logits that the joiner gives for one sum."""
    with torch.no_grad():
        return int(logits(am.new_zeros(1, am.shape[-1])).shape[-1])
