"""The start of a hybrid model without alignments, and how to improve them in turns.

A network that knows nothing cannot align, and without alignments there is nothing to train on by
cross-entropy. So the first alignment divides every recording evenly among the states of its
transcript (Young et al., "The HTK Book", section 8.4); then training and Viterbi alignment take
turns, each better than the one before::

    columns = topology.column_names(topology.hmm(num_phones), symbols.names(lexicon.tokens))
    transitions = np.tile(topology.left_to_right(3), (num_phones, 1, 1))
    labels = {cut.id: flat_start(lexicon, text(cut), num_frames(cut)) for cut in cuts}
    for _ in range(4):
        ...                                        # train with losses.CrossEntropy on labels
        priors = likelihoods.count_priors(labels.values(), len(columns))
        H = topology.hmm(num_phones, transitions=transitions)
        labels, before = realign(Aligner(H, lexicon), posteriors_with(priors)), labels
        if share_changed(before, labels) < 0.01:
            break

The other way to start is `asr_hlg.losses.HmmFullSum`, which needs no alignment at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch

from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.align.forced import Aligner
from asr_hlg.errors import AsrHlgError, DataError
from asr_hlg.lexicon import Lexicon


def flat_start(lexicon: Lexicon, text: str, num_frames: int, num_states: int = 3) -> torch.Tensor:
    """Divide an utterance evenly among the HMM states of its transcript.

    Every word takes its first pronunciation. Silence, if the lexicon has one, stands at both ends,
    as long as a phone, where there are frames enough. All states last equally long, up to a frame.

    Parameters
    ----------
    lexicon : Lexicon
    text : str
        The words, separated by blanks.
    num_frames : int
        How many frames the network gives for the utterance.
    num_states : int
        States of a phone, as for `topology.hmm`, whose numbers of pdfs these are.

    Returns
    -------
    torch.Tensor
        int64 ``(num_frames,)``: the pdf of every frame, which is its posterior column.

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
    """Align every utterance with what the network now hears.

    Parameters
    ----------
    aligner : Aligner
    utterances : iterable
        ``(id, posteriors, text)``: the posteriors of one utterance, with the model's priors.
    on_error : callable, optional
        Called with the id of an utterance that cannot be aligned and the reason; it is left out.
        Without it the error is raised.

    Returns
    -------
    dict
        From ids to int64 ``(num_frames,)``, as `Aligner.labels` gives them.
    """
    labels = {}
    for id, posteriors, text in utterances:
        try:
            labels[id] = aligner.labels(posteriors, text)
        except AsrHlgError as error:
            if on_error is None:
                raise
            on_error(id, error)
    return labels


def share_changed(before: Mapping[str, torch.Tensor], after: Mapping[str, torch.Tensor]) -> float:
    """The share of frames whose label another alignment changed, over utterances in both.

    Turns of training and alignment have converged when it is close to 0.
    """
    both = [(before[id], after[id]) for id in before.keys() & after.keys()]
    frames = sum(len(old) for old, _ in both)
    changed = sum(int((old != new).sum()) for old, new in both)
    return changed / frames if frames else 0.0
