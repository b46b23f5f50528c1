"""The pronunciation lexicon, and its compilation into L."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from asr_hlg.errors import LexiconError, OptionError
from asr_hlg.fst import symbols
from asr_hlg.fst.arcs import Arcs
from asr_hlg.lexicon.entries import Entry, Pronunciation, check, disambiguate, parse

if TYPE_CHECKING:
    import k2


class Lexicon:
    """Pronunciation lexicon: words, their pronunciations, and the tables of tokens and words.

    Parameters
    ----------
    entries : iterable of Pronunciation or of tuples
        ``(word, phones)`` or ``(word, phones, probability)``.
    tokens : sequence of str, optional
        The tokens of the acoustic model in its order, blank first, without ``#0 #1 …``. A phone
        that is not among them is a `LexiconError`. By default: ``<blk>``, silence, the phones in
        alphabetical order.
    silence : str, optional
        The token of an optional silence before the first word and after every word.
    silence_prob : float
        The probability of each of these silences, between 0 and 1.
    position_dependent : bool
        Mark phones with their position in the word, as Kaldi does: ``_B`` begin, ``_I`` internal,
        ``_E`` end, ``_S`` singleton. Silence has no mark.

    Attributes
    ----------
    entries : tuple of Pronunciation
    tokens, words : SymbolTable
        Id 0 is ``<blk>`` (or the first of ``tokens``) and ``<eps>``; disambiguation symbols come
        last.
    num_tokens : int
        Number of columns of the posteriors: the tokens without the disambiguation symbols.
    """

    def __init__(
        self,
        entries: Iterable[Entry],
        *,
        tokens: Sequence[str] | None = None,
        silence: str | None = None,
        silence_prob: float = 0.5,
        position_dependent: bool = False,
    ):
        if silence is not None and not 0 < silence_prob < 1:
            raise OptionError(f"silence_prob must be between 0 and 1, got {silence_prob}")
        self.entries = tuple(
            entry if isinstance(entry, Pronunciation) else Pronunciation(*entry)
            for entry in entries
        )
        self.silence = silence
        self.silence_prob = silence_prob
        self.position_dependent = position_dependent
        check(self.entries)

        self._sequences = [self._as_tokens(entry.phones) for entry in self.entries]
        self._disambig = disambiguate(self._sequences)
        self._given_tokens = None if tokens is None else tuple(tokens)
        plain = self._default_tokens() if self._given_tokens is None else self._given_tokens
        # The optional silence needs one more disambiguation symbol than the words.
        last = max(self._disambig, default=0) + (silence is not None)
        self.tokens = symbols.table([*plain, *(f"#{number}" for number in range(last + 1))])
        self.num_tokens = len(plain)
        self._id_of_token = {name: index for index, name in enumerate(symbols.names(self.tokens))}
        self._check_tokens()

        self._by_word: dict[str, list[Pronunciation]] = defaultdict(list)
        for entry in self.entries:
            self._by_word[entry.word].append(entry)
        self.words = symbols.table([symbols.EPS, *sorted(self._by_word), "#0"])

    @classmethod
    def read(
        cls, path: str | Path, *, probabilities: bool | None = None, **options: Any
    ) -> Lexicon:
        """Read Kaldi's ``lexicon.txt`` (``word phone phone …``) or ``lexiconp.txt``.

        Parameters
        ----------
        path : str or Path
            UTF-8. Blank lines are skipped; any other line that is not a pronunciation is a
            `LexiconError` with its number.
        probabilities : bool, optional
            Whether a probability in (0, 1] follows the word. By default: if the name of the file
            begins with ``lexiconp``.
        **options
            As for `Lexicon`.
        """
        if probabilities is None:
            probabilities = Path(path).name.startswith("lexiconp")
        return cls(parse(Path(path), probabilities), **options)

    def write(self, path: str | Path, *, probabilities: bool | None = None) -> None:
        """Write the format that `read` reads, with the same default for ``probabilities``."""
        if probabilities is None:
            probabilities = Path(path).name.startswith("lexiconp")
        if not probabilities and any(entry.probability != 1 for entry in self.entries):
            raise LexiconError(
                "this format would lose the pronunciation probabilities",
                path=path,
                remedy="name the file lexiconp.txt",
            )
        with open(path, "w", encoding="utf-8") as file:
            for entry in self.entries:
                middle = f" {entry.probability:.9g} " if probabilities else " "
                file.write(f"{entry.word}{middle}{' '.join(entry.phones)}\n")

    @classmethod
    def from_characters(
        cls, words: Iterable[str], *, boundary: str | None = None, **options: Any
    ) -> Lexicon:
        """Lexicon whose tokens are characters, for acoustic models of letters.

        ``boundary`` is a token that ends every word, such as wav2vec 2.0's ``|``.
        """
        end = () if boundary is None else (boundary,)
        return cls(((word, (*word, *end)) for word in dict.fromkeys(words)), **options)

    def __len__(self) -> int:
        return len(self.entries)

    def __contains__(self, word: str) -> bool:
        return word in self._by_word

    def pronunciations(self, word: str) -> list[tuple[str, ...]]:
        """All pronunciations of a word, in the order of the lexicon."""
        if word not in self._by_word:
            raise LexiconError(f"word {word!r} is not in the lexicon")
        return [entry.phones for entry in self._by_word[word]]

    def spellings(self, word: str) -> list[tuple[str, ...]]:
        """Pronunciations of a word as tokens: phones with their position marks, if any."""
        return [self._as_tokens(phones) for phones in self.pronunciations(word)]

    def missing_tokens(self, phones: tuple[str, ...]) -> list[str]:
        """Tokens of a pronunciation that are not among the given ``tokens``, if any were given."""
        if self._given_tokens is None:
            return []
        return [token for token in self._as_tokens(phones) if token not in self._id_of_token]

    def restrict(self, words: Iterable[str]) -> Lexicon:
        """Lexicon of these words with all their pronunciations; unknown words are left out."""
        kept = set(words)
        return self._with([entry for entry in self.entries if entry.word in kept])

    def extend(self, entries: Iterable[Entry]) -> Lexicon:
        """Lexicon with more pronunciations; those that it has already are left out."""
        known = {(entry.word, entry.phones) for entry in self.entries}
        more = [Pronunciation(*entry) for entry in entries]
        return self._with([*self.entries, *(e for e in more if (e.word, e.phones) not in known)])

    def with_tokens(self, tokens: Sequence[str]) -> Lexicon:
        """Lexicon with the same pronunciations and the token table of an acoustic model."""
        return self._with(self.entries, tokens)

    def arcs(self, disambig: bool = False) -> Arcs:
        """Compile L into arrays of arcs.

        The first arc of a pronunciation has the word as its output label, and the log of the
        probability as its score. Without silence, state 0 is the start state, the final state
        and the loop state. With silence, as in Kaldi, state 0 is the start state, 1 the loop
        state, where words begin, and 2 the state before a silence.

        Parameters
        ----------
        disambig : bool
            End homophones, and pronunciations that are a prefix of another one, with
            ``#1 #2 …``, so that no token sequence is ambiguous; and add a ``#0`` loop for the
            back-off arcs of G.
        """
        ilabel, lengths = self.token_ids(disambig)
        ends = np.cumsum(lengths)
        is_last = np.zeros(len(ilabel), dtype=bool)
        is_last[ends - 1] = True
        is_first = np.roll(is_last, 1)
        loop, num_states = (0, 1) if self.silence is None else (1, 3 + disambig)
        # A pronunciation of n tokens has n - 1 states between its arcs.
        inner = num_states + np.cumsum(~is_last) - 1
        dst = np.where(is_last, loop, inner)
        src = np.where(is_first, loop, np.roll(inner, 1))
        olabel = np.zeros_like(ilabel)
        olabel[is_first] = [self.words[entry.word] for entry in self.entries]
        score = np.zeros(len(ilabel), dtype=np.float32)
        score[is_first] = [math.log(entry.probability) for entry in self.entries]
        columns = np.stack([src, dst, ilabel, olabel]).astype(np.int32)
        num_states += len(ilabel) - len(ends)

        if self.silence is not None:
            token = self._id_of_token[self.silence]
            columns, score = self._add_silence(token, columns, score, is_last, disambig)
        if disambig:
            backoff = [[loop], [loop], [self.tokens["#0"]], [self.words["#0"]]]
            columns = np.concatenate([columns, np.array(backoff, dtype=np.int32)], axis=1)
            score = np.append(score, np.float32(0))
        final = np.full(num_states, -np.inf, dtype=np.float32)
        final[loop] = 0
        src, dst, ilabel, olabel = columns
        return Arcs(src, dst, ilabel, olabel, score, final).sorted()

    def token_ids(
        self, disambig: bool = False
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Token ids of all pronunciations, one after the other, and the length of each."""
        ids = self._id_of_token
        flat = np.array([ids[token] for s in self._sequences for token in s], dtype=np.int32)
        lengths = np.array([len(s) for s in self._sequences], dtype=np.int64)
        if disambig:
            number = np.array(self._disambig, dtype=np.int32)
            marked = np.flatnonzero(number)
            flat = np.insert(flat, np.cumsum(lengths)[marked], ids["#0"] + number[marked])
            lengths[marked] += 1
        return flat, lengths

    def to_fsa(self, disambig: bool = False) -> k2.Fsa:
        """L of `arcs` as a k2.Fsa with symbol tables, and with this object as ``lexicon``."""
        fsa = self.arcs(disambig).to_k2()
        fsa.labels_sym = self.tokens
        fsa.aux_labels_sym = self.words
        fsa.lexicon = self  # compile_hlg reads it
        return fsa

    def _with(self, entries: Iterable[Entry], tokens: Sequence[str] | None = None) -> Lexicon:
        """Lexicon with other entries and, if given, other tokens."""
        return Lexicon(
            entries,
            tokens=self._given_tokens if tokens is None else tokens,
            silence=self.silence,
            silence_prob=self.silence_prob,
            position_dependent=self.position_dependent,
        )

    def _as_tokens(self, phones: tuple[str, ...]) -> tuple[str, ...]:
        if not self.position_dependent:
            return phones
        positions = "S" if len(phones) == 1 else "B" + "I" * (len(phones) - 2) + "E"
        return tuple(
            phone if phone == self.silence else f"{phone}_{position}"
            for phone, position in zip(phones, positions, strict=True)
        )

    def _default_tokens(self) -> list[str]:
        phones = {phone for sequence in self._sequences for phone in sequence}
        silence = [] if self.silence is None else [self.silence]
        return [symbols.BLANK, *silence, *sorted(phones.difference(silence))]

    def _check_tokens(self) -> None:
        if self.silence is not None and self.silence not in self._id_of_token:
            raise LexiconError(f"silence {self.silence!r} is not among the tokens")
        for entry, sequence in zip(self.entries, self._sequences, strict=True):
            for phone in sequence:
                if phone not in self._id_of_token:
                    raise LexiconError(
                        f"phone {phone!r} of word {entry.word!r} is not among the tokens",
                        path=entry.path,
                        line=entry.line,
                        remedy="the lexicon must use the token names of the acoustic model",
                    )

    def _add_silence(
        self,
        token: int,
        columns: npt.NDArray[np.int32],
        score: npt.NDArray[np.float32],
        is_last: npt.NDArray[np.bool_],
        disambig: bool,
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Add the arcs of optional silences at the start and after every word.

        ``columns`` are source, destination, input and output labels of all arcs, ``is_last`` the
        last arcs of pronunciations.
        """
        loop, before, after = 1, 2, 3
        skip, take = np.log1p(-self.silence_prob), np.log(self.silence_prob)
        to_silence = columns[:, is_last].copy()
        to_silence[1] = before
        silence_score = score[is_last] + np.float32(take)
        score = score + np.where(is_last, np.float32(skip), np.float32(0))
        silence_arcs = [(0, loop, 0, 0, skip), (0, before, 0, 0, take)]
        if disambig:
            end_symbol = len(self._id_of_token) - 1
            silence_arcs += [(before, after, token, 0, 0.0), (after, loop, end_symbol, 0, 0.0)]
        else:
            silence_arcs += [(before, loop, token, 0, 0.0)]
        silence_columns = np.array([arc[:4] for arc in silence_arcs], dtype=np.int32).T
        silence_scores = np.array([arc[4] for arc in silence_arcs], dtype=np.float32)
        return (
            np.concatenate([columns, to_silence, silence_columns], axis=1),
            np.concatenate([score, silence_score, silence_scores]),
        )
