"""Frame labels for training a hybrid model: flat start and realignment.

Cross-entropy training needs a label for every frame, and a network can only align once it has been
trained. So the first labels divide every recording evenly among the states of its transcript
(flat start; Young et al., "The HTK Book", section 8.4). Then training and Viterbi alignment
alternate, as :mod:`asr_hlg.train.hybrid` does for ``asr-hlg train``::

    aligner = Aligner(H, lexicon)                  # H of the graph's recipe, in all rounds
    labels = {cut.id: flat_start(lexicon, text(cut), num_frames(cut)) for cut in cuts}
    for _ in range(num_rounds):
        network = ...                              # trained with losses.CrossEntropy on labels
        labels, before = realign(aligner, posteriors_of(network, cuts)), labels
        print(share_changed(before, labels))       # towards 0 as the rounds converge

The posteriors carry the priors that were counted from the labels of the round. The alternative to
a flat start is `asr_hlg.losses.HmmFullSum`, which needs no labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch

from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.align.aligner import Aligner
from asr_hlg.errors import AsrHlgError, DataError
from asr_hlg.lexicon import Lexicon
from asr_hlg.losses.frame_graph import FramePath


def flat_start(lexicon: Lexicon, text: str, num_frames: int, num_states: int = 3) -> torch.Tensor:
    """Divide an utterance evenly among the HMM states of its transcript.

    Every word has its first pronunciation. If the lexicon has a silence and there are enough
    frames, silence of the length of a phone is added at both ends. The durations of all states
    differ by at most one frame.

    Parameters
    ----------
    lexicon : Lexicon
    text : str
        The words, separated by blanks.
    num_frames : int
        Output frames of the network for the utterance.
    num_states : int
        States of a phone, as for `topology.hmm`, which also numbers the pdfs.

    Returns
    -------
    torch.Tensor
        int64 ``(num_frames,)``: the pdf, that is, the posterior column, of every frame.

    Raises
    ------
    LexiconError
        For a word without a pronunciation.
    DataError
        If there are fewer frames than states.
    """
    spoken = [token for word in text.split() for token in lexicon.spellings(word)[0]]
    silence = [] if lexicon.silence is None else [lexicon.silence]
    tokens = [*silence, *spoken, *silence] if spoken else silence
    if num_frames < len(tokens) * num_states:
        tokens = spoken
    if num_frames < len(tokens) * num_states or (num_frames and not tokens):
        raise DataError(
            f"{num_frames} frames cannot be divided among the {len(tokens) * num_states} states of "
            f"{text!r}",
            remedy="leave the utterance out, or use a network with a shorter frame shift",
        )
    first_pdf = 1 + (torch.tensor([lexicon.tokens[token] for token in tokens]) - 1) * num_states
    states = (first_pdf[:, None] + torch.arange(num_states)).flatten()
    return states[torch.arange(num_frames) * len(states) // max(1, num_frames)]


def realign(
    aligner: Aligner,
    utterances: Iterable[tuple[str, Posteriors, str]],
    on_error: Callable[[str, AsrHlgError], None] | None = None,
) -> dict[str, torch.Tensor]:
    """Align every utterance by the posteriors of the current network.

    Parameters
    ----------
    aligner : Aligner
    utterances : iterable
        ``(id, posteriors, text)``: the posteriors of one utterance, with the model's priors.
    on_error : callable, optional
        Called with the id of an utterance that cannot be aligned and the reason; the utterance is
        left out. By default the error is raised.

    Returns
    -------
    dict
        Labels by id, int64 ``(num_frames,)``; see `Aligner.labels`.
    """
    paths = frame_paths(aligner, utterances, on_error)
    return {id: torch.from_numpy(path.labels) for id, path in paths.items()}


def frame_paths(
    aligner: Aligner,
    utterances: Iterable[tuple[str, Posteriors, str]],
    on_error: Callable[[str, AsrHlgError], None] | None = lambda id, error: None,
) -> dict[str, FramePath]:
    """Align utterances as `realign` does, and return the whole paths by id."""
    paths = {}
    for id, posteriors, text in utterances:
        try:
            paths[id] = aligner.frame_path(posteriors, text)
        except AsrHlgError as error:
            if on_error is None:
                raise
            on_error(id, error)
    return paths


def share_changed(before: Mapping[str, torch.Tensor], after: Mapping[str, torch.Tensor]) -> float:
    """Share of frames whose labels differ between two alignments, over utterances in both.

    Close to 0 when alternating training and alignment has converged.
    """
    pairs = [(before[id], after[id]) for id in before.keys() & after.keys()]
    num_frames = sum(len(old) for old, _ in pairs)
    num_changed = sum(int(old.ne(new).sum()) for old, new in pairs)
    return num_changed / num_frames if num_frames else 0.0
