"""What a search found for one utterance, and what second passes made of it."""

from __future__ import annotations

from dataclasses import dataclass

from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.audio.resampling import Samples
from asr_hlg.lattice import Lattice, Path
from asr_hlg.output.transcript import Word


@dataclass(frozen=True)
class Hypotheses:
    """Hypotheses for one utterance: a lattice and, once whole sentences are ranked, a list.

    Attributes
    ----------
    lattice : Lattice
        Of one utterance.
    samples : np.ndarray
        Its sound at the rate of the acoustic model, float32 ``(num_samples,)``; empty where
        posteriors are looked up.
    posteriors : Posteriors
        Of the acoustic model, before they are scaled for the search.
    ranked : tuple of Path
        Best first; empty as long as only the lattice ranks them.
    words : tuple of Word, optional
        The words of the first of ``ranked``, with times from the start of the utterance and
        confidences; None where the lattice has them.
    written : str
        Whisper's own transcript, with capitals and punctuation; empty if Whisper did not run.
    """

    lattice: Lattice
    samples: Samples
    posteriors: Posteriors
    ranked: tuple[Path, ...] = ()
    words: tuple[Word, ...] | None = None
    written: str = ""
