"""Tied states: which pdf a state of a phone reads, by the phones before and after it.

The table is a text file. A line gives a phone, a state (from 0), the phones that may be on its left
and on its right, and the name of a pdf. The first line that fits decides, and lines with the same
name share a pdf::

    set vowel = ae iy uw
    set stop = p t k
    # phone state left right pdf
    SIL 0 *         *         SIL_0
    t   0 vowel     *         t_0.1
    t   0 SIL,<eps> stop&k    t_0.2
    t   0 *         *         t_0.3

Phones and sets are joined: ``a,b`` is a or b, and ``a,b&c`` what is in both ``a,b`` and ``c``.
``*`` is any phone, and ``<eps>`` is the beginning or the end of the recording. Every phone needs
lines for each of its states that fit all contexts. Phones that the lexicon lacks are skipped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from asr_hlg.errors import GraphError
from asr_hlg.files import text_lines
from asr_hlg.fst import symbols

ANY = "*"
_MAX_ENTRIES = 200_000_000  # 800 MB: 400 phones of three states in triphones


Mask = npt.NDArray[np.bool_]
"""bool ``(num_phones + 1,)``: a set of phones."""


@dataclass(frozen=True)
class TiedStates:
    """Pdfs of HMM states in context.

    Attributes
    ----------
    pdfs : tuple of str
        Names of the posterior columns: ``<eps>``, which is never read, and every pdf in the order
        of its first line.
    table : np.ndarray
        int32 ``(num_phones + 1, num_states, left, right)``: the column that a state of a phone
        reads between two phones. Phones are counted from 1; 0 on the left and right is the edge of
        the recording. ``left`` and ``right`` are ``num_phones + 1``, or 1 where the context does
        not matter.
    """

    pdfs: tuple[str, ...]
    table: npt.NDArray[np.int32]

    @classmethod
    def read(cls, path: Path, phones: Sequence[str], num_states: int, context: int) -> TiedStates:
        """Read a table.

        Parameters
        ----------
        path : Path
        phones : sequence of str
            The tokens of the lexicon, ``<eps>`` first.
        num_states : int
            States of a phone.
        context : int
            2: the right context must be ``*`` in all lines; 3: left and right.

        Raises
        ------
        GraphError
            Naming the line that is malformed or can never decide, or a context without a line.
        """
        lines = [
            (number, line.split())
            for number, line in text_lines(path, GraphError)
            if not line.lstrip().startswith("#")
        ]
        # Phones that only the table knows, for instance of words that this lexicon lacks.
        known = dict.fromkeys([*phones, *(f[0] for _, f in lines if not _is_set(f))])
        ids = {name: index for index, name in enumerate(known)}
        size = len(ids)
        shape = size, num_states, size, size if context == 3 else 1
        if np.prod(shape, dtype=np.float64) > _MAX_ENTRIES:
            raise GraphError(
                f"{size - 1} phones have too many contexts", path=path, remedy="use context = 2"
            )
        sets: dict[str, Mask] = {}
        columns = {symbols.EPS: 0}
        table = np.full(shape, -1, np.int32)
        for number, fields in lines:
            try:
                if _is_set(fields):
                    _check_new(fields[1], ids, sets)
                    sets[fields[1]] = _any_of(fields[3:], ids, sets)
                    continue
                phone, state, left, right = _where(fields, ids, sets, shape)
                free = table[phone, state] < 0
                fits = left[:, None] & right[None, : shape[3]] & free
                if not fits.any():
                    raise ValueError("never decides, since earlier lines fit wherever it does")
                table[phone, state][fits] = columns.setdefault(fields[4], len(columns))
            except ValueError as error:
                raise GraphError(str(error), path=path, line=number, remedy=_REMEDY) from None
        _check_complete(table, list(ids), path)
        size = len(phones)
        return cls(tuple(columns), table[:size, :, :size, :size].copy())

    @classmethod
    def independent(cls, num_phones: int, num_states: int) -> TiedStates:
        """Pdfs that do not depend on the context: ``1 + (phone - 1) * num_states + state``."""
        pdfs = np.arange(num_phones * num_states).reshape(num_phones, num_states) + 1
        table = np.concatenate([np.zeros((1, num_states)), pdfs]).astype(np.int32)
        names = (f"pdf{pdf}" for pdf in pdfs.ravel())
        return cls((symbols.EPS, *names), table[:, :, None, None])

    @property
    def num_phones(self) -> int:
        """Number of phones."""
        return self.table.shape[0] - 1

    @property
    def num_states(self) -> int:
        """Number of states of a phone."""
        return self.table.shape[1]


_REMEDY = "asr_hlg.graph.tied_states describes the format"


def _is_set(fields: Sequence[str]) -> bool:
    return fields[0] == "set" and fields[2:3] == ["="]


def _where(
    fields: Sequence[str],
    ids: Mapping[str, int],
    sets: Mapping[str, Mask],
    shape: tuple[int, ...],
) -> tuple[int, int, Mask, Mask]:
    """Phone, state and contexts of a line; raises a ValueError if it is malformed."""
    if len(fields) != 5:
        raise ValueError(f"has {len(fields)} fields, not: phone state left right pdf")
    phone, state = fields[:2]
    if phone not in ids or phone == symbols.EPS:
        raise ValueError(f"{phone!r} is not a phone")
    if not state.isdecimal() or int(state) >= shape[1]:
        raise ValueError(f"state {state!r} is not from 0 to {shape[1] - 1}")
    if shape[3] == 1 and fields[3] != ANY:
        raise ValueError("has a right context, which needs [topology] context = 3")
    if fields[4] == symbols.EPS:
        raise ValueError(f"{symbols.EPS} cannot be the name of a pdf")
    left, right = (_context(text, ids, sets) for text in fields[2:4])
    return ids[phone], int(state), left, right


def _context(text: str, ids: Mapping[str, int], sets: Mapping[str, Mask]) -> Mask:
    """Mask of the phones that a context names."""
    if text == ANY:
        return np.ones(len(ids), bool)
    mask = np.ones(len(ids), bool)
    for part in text.split("&"):
        mask &= _any_of(part.split(","), ids, sets)
    return mask


def _any_of(names: Sequence[str], ids: Mapping[str, int], sets: Mapping[str, Mask]) -> Mask:
    mask = np.zeros(len(ids), bool)
    for name in names:
        if name in sets:
            mask |= sets[name]
        elif name in ids:
            mask[ids[name]] = True
        else:
            raise ValueError(f"{name!r} is neither a phone nor a set defined above")
    return mask


def _check_new(name: str, ids: Mapping[str, int], sets: Mapping[str, Mask]) -> None:
    if name in ids or name in sets or name == ANY or set(name) & set(",&"):
        raise ValueError(f"a set cannot be named {name!r}")


def _check_complete(table: npt.NDArray[np.int32], phones: Sequence[str], path: Path) -> None:
    """Raise a GraphError that names a context without a line."""
    missing = np.argwhere(table[1:] < 0)
    if len(missing):
        phone, state, left, right = missing[0].tolist()
        after = f" before {phones[right]}" if table.shape[3] > 1 else ""
        raise GraphError(
            f"has no line for state {state} of {phones[phone + 1]} after {phones[left]}{after}",
            path=path,
            remedy="end the lines of a state with one for any context: phone state * * pdf",
        )
