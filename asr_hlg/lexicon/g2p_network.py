"""Grapheme-to-phoneme network of the package ``hama``, in numpy, for many words at a time.

>>> G2PNetwork.load().transcribe(["cat", "thing"])
[['k', 'æ', 't'], ['θ', 'ɪ', 'ŋ']]

An encoder-decoder with attention: two bidirectional GRU layers read the letters; two GRU layers
write IPA symbols, one a step, with location-sensitive attention (Chorowski et al. 2015, eq. 8),
whose energies are lower the farther a letter is from the mean of the attention of the step before.
A GRU is as in cuDNN and torch: the reset gate is applied after the matrix product.

The symbols are those of hama's engine, but for near ties, which about one word in a thousand has.

Words of the same length are computed together, so that no padding is needed: less than
a millisecond a word where one word at a time takes 30 ms.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from asr_hlg.lexicon import hama_weights

MAX_SYMBOLS = 32
"""Symbols, the end symbol included, after which a transcription is cut off."""

_BATCH = 256
_POSITION_WEIGHT = np.float32(0.1)
_EPSILON = np.float32(1e-5)

Array = npt.NDArray[np.float32]


class G2PNetwork:
    """The network with its weights.

    Parameters
    ----------
    encoder, decoder : mapping
        Tensors by the names in hama's weight files.
    letters, symbols : sequence of str
        What the rows of the encoder's and decoder's embeddings stand for.
    """

    def __init__(
        self,
        encoder: Mapping[str, Array],
        decoder: Mapping[str, Array],
        letters: Sequence[str],
        symbols: Sequence[str],
    ):
        self._encoder = _Encoder(encoder)
        self._decoder = _Decoder(decoder)
        self._id_of_letter = {letter: index for index, letter in enumerate(letters)}
        self._symbols = symbols
        self._start, self._end = symbols.index("<sos>"), symbols.index("<eos>")
        self._skipped = {symbols.index("<pad>"), self._start}

    @classmethod
    def load(cls) -> G2PNetwork:
        """Load the network from the files of the package."""
        tensors = [
            hama_weights.read_tensors(hama_weights.asset(name))
            for name in hama_weights.G2P_FILES[:2]
        ]
        return cls(tensors[0], tensors[1], *hama_weights.vocabulary())

    def transcribe(
        self, words: Sequence[str], on_progress: Callable[[int], None] = lambda _: None
    ) -> list[list[str]]:
        """IPA symbols of words, by the most probable symbol in every step.

        Parameters
        ----------
        words : sequence of str
            Of at least one letter each, all of which the network has.
        on_progress : callable
            Called with the number of words that have been done since its last call.

        Returns
        -------
        list of list of str
            At most ``MAX_SYMBOLS`` symbols each.
        """
        by_length: dict[int, list[int]] = defaultdict(list)
        for index, word in enumerate(words):
            by_length[len(word)].append(index)
        results: list[list[str]] = [[] for _ in words]
        for indices in by_length.values():
            for first in range(0, len(indices), _BATCH):
                batch = indices[first : first + _BATCH]
                ids = np.array([[self._id_of_letter[c] for c in words[i]] for i in batch])
                for index, symbols in zip(batch, self._decode(ids), strict=True):
                    results[index] = symbols
                on_progress(len(batch))
        return results

    def _decode(self, letters: npt.NDArray[np.int64]) -> list[list[str]]:
        """IPA symbols of words of the same length, given as ids ``(num_words, num_letters)``."""
        results: list[list[str]] = [[] for _ in letters]
        state = self._encoder.encode(letters)
        rows = np.arange(len(letters))
        ids = np.full(len(letters), self._start)
        for _ in range(MAX_SYMBOLS):
            ids, state = self._decoder.step(ids, state)
            goes_on = ids != self._end
            rows, ids, state = rows[goes_on], ids[goes_on], state.take(goes_on)
            if not len(rows):
                break
            for row, id in zip(rows.tolist(), ids.tolist(), strict=True):
                if id not in self._skipped:
                    results[row].append(self._symbols[id])
        return results


@dataclass(frozen=True)
class _State:
    """Decoder's state of some words.

    ``context`` are the encoder's outputs ``(num_words, num_letters, 192)`` and ``keys`` their
    projections for the attention, ``(num_words, num_letters, 96)``; ``hidden`` are the states of
    the two GRU layers ``(2, num_words, 96)``, ``attention`` its weights ``(num_words,
    num_letters)``.
    """

    context: Array
    keys: Array
    hidden: Array
    attention: Array

    def take(self, rows: npt.NDArray[np.bool_]) -> _State:
        """State of the words that are selected."""
        if rows.all():
            return self
        hidden = self.hidden[:, rows]
        return _State(self.context[rows], self.keys[rows], hidden, self.attention[rows])


class _Encoder:
    """Letters to vectors: a convolution and two bidirectional GRU layers, each normalised."""

    def __init__(self, tensors: Mapping[str, Array]):
        numbered = _numbered(tensors)
        self._embedding = tensors["model.encoder_embedding.weight"]
        self._depthwise = tensors["model.frontend.depthwise.weight"][:, 0]  # (80, 5)
        self._pointwise = tensors["model.frontend.pointwise.weight"][..., 0].T
        self._norm = _LayerNorm(tensors, "model.frontend.norm")
        biases1, inputs1, states1, biases2, inputs2, states2, self._skip, self._keys = numbered
        self._layers = [
            [_Gru(inputs[k], states[k], biases[k]) for k in (0, 1)]
            for inputs, states, biases in (
                (inputs1, states1, biases1),
                (inputs2, states2, biases2),
            )
        ]
        self._out_norm = _LayerNorm(tensors, "model.encoder_out_norm")
        self._bridge = tensors["model.bridge.weight"].T, tensors["model.bridge.bias"]

    def encode(self, letters: npt.NDArray[np.int64]) -> _State:
        """State of the decoder before its first step."""
        embedded = self._embedding[letters]
        inputs = self._norm(embedded + _convolved(embedded, self._depthwise) @ self._pointwise)
        outputs, hidden = inputs, []
        for forward, backward in self._layers:
            ahead, back = forward.run(outputs), backward.run(outputs[:, ::-1])[:, ::-1]
            last = np.concatenate([ahead[:, -1], back[:, 0]], axis=-1)
            hidden.append(np.tanh(last @ self._bridge[0] + self._bridge[1]))
            outputs = np.concatenate([ahead, back], axis=-1)
        # Rounded as by hama's engine, lest a near tie of two symbols be decided otherwise.
        context = _half(self._out_norm(outputs + inputs @ self._skip))
        uniform = np.full(letters.shape, 1 / letters.shape[1], dtype=np.float32)
        return _State(context, _half(context @ self._keys), _half(np.stack(hidden)), uniform)


class _Decoder:
    """One step of writing symbols: two GRU layers, attention and a layer of the output."""

    def __init__(self, tensors: Mapping[str, Array]):
        (
            inputs1,
            states1,
            biases1,
            inputs2,
            states2,
            biases2,
            self._skip,
            self._query,
            self._location,
            self._energy,
            self._output,
        ) = _numbered(tensors)
        self._embedding = tensors["model.decoder_embedding.weight"]
        self._layers = [
            _Gru(inputs1[0], states1[0], biases1[0]),
            _Gru(inputs2[0], states2[0], biases2[0]),
        ]
        self._location_filters = tensors["model.attention.location_conv.weight"][:, 0]  # (16, 11)
        self._state_norm = _LayerNorm(tensors, "model.decoder_state_norm")
        self._context_norm = _LayerNorm(tensors, "model.context_norm")
        self._fusion_norm = _LayerNorm(tensors, "model.fusion_norm")
        self._fusion = tensors["model.context_proj.weight"].T, tensors["model.context_proj.bias"]
        self._bottleneck = (
            tensors["model.output_in_proj.weight"].T,
            tensors["model.output_in_proj.bias"],
        )

    def step(
        self, ids: npt.NDArray[np.int64], state: _State
    ) -> tuple[npt.NDArray[np.int64], _State]:
        """Next symbols after the last ones, ``(num_words,)``, and the next state."""
        embedded = self._embedding[ids]
        first = self._layers[0].step(embedded, state.hidden[0])
        second = self._layers[1].step(first, state.hidden[1])
        query = self._state_norm(second + embedded @ self._skip)
        attention = self._attend(query, state)
        context = (attention[:, None] @ state.context)[:, 0]
        both = np.concatenate([query, self._context_norm(context)], axis=-1)
        fused = self._fusion_norm(np.tanh(both @ self._fusion[0] + self._fusion[1]))
        scores = (fused @ self._bottleneck[0] + self._bottleneck[1]) @ self._output
        hidden = np.stack([first, second])
        return scores.argmax(axis=1), _State(state.context, state.keys, hidden, attention)

    def _attend(self, query: Array, state: _State) -> Array:
        """Attention weights ``(num_words, num_letters)`` of one step."""
        width = self._location_filters.shape[1]
        padded = np.pad(state.attention, ((0, 0), (width // 2, width // 2)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, width, axis=1)
        located = windows @ self._location_filters.T @ self._location
        energies = (np.tanh(query[:, None] @ self._query + state.keys + located) @ self._energy)[
            ..., 0
        ]
        positions = np.arange(state.attention.shape[1], dtype=np.float32)
        expected = state.attention @ positions
        energies -= _POSITION_WEIGHT * np.abs(positions - expected[:, None])
        weights = np.exp(energies - energies.max(axis=1, keepdims=True))
        normalised: Array = weights / weights.sum(axis=1, keepdims=True)
        return normalised


class _Gru:
    """Layer of gated recurrent units in one direction."""

    def __init__(self, inputs: Array, states: Array, biases: Array):
        self._size = states.shape[1]
        self._inputs, self._states = np.ascontiguousarray(inputs.T), np.ascontiguousarray(states.T)
        self._input_bias, self._state_bias = np.split(biases, 2)

    def run(self, inputs: Array) -> Array:
        """States after every step, for inputs ``(num_words, num_steps, size)``."""
        num_words, num_steps, size = inputs.shape
        # One product of two contiguous matrices is ten times as fast as one for every word.
        steps = np.ascontiguousarray(inputs.transpose(1, 0, 2)).reshape(-1, size)
        gates = (steps @ self._inputs + self._input_bias).reshape(num_steps, num_words, -1)
        state = np.zeros((num_words, self._size), dtype=np.float32)
        states = []
        for step in range(num_steps):
            state = self._next(gates[step], state)
            states.append(state)
        return np.stack(states, axis=1)

    def step(self, inputs: Array, state: Array) -> Array:
        """State after one step."""
        return self._next(inputs @ self._inputs + self._input_bias, state)

    def _next(self, from_input: Array, state: Array) -> Array:
        size = self._size
        from_state = state @ self._states + self._state_bias
        gates = _sigmoid(from_input[:, : 2 * size] + from_state[:, : 2 * size])
        update, reset = gates[:, :size], gates[:, size:]
        new = np.tanh(from_input[:, 2 * size :] + reset * from_state[:, 2 * size :])
        following: Array = new + update * (state - new)
        return following


class _LayerNorm:
    """Layer normalisation over the last axis."""

    def __init__(self, tensors: Mapping[str, Array], name: str):
        self._weight, self._bias = tensors[name + ".weight"], tensors[name + ".bias"]

    def __call__(self, values: Array) -> Array:
        centred = values - values.mean(axis=-1, keepdims=True)
        variance = np.square(centred).mean(axis=-1, keepdims=True)
        normalised: Array = centred / np.sqrt(variance + _EPSILON) * self._weight + self._bias
        return normalised


def _convolved(values: Array, filters: Array) -> Array:
    """Convolve every channel of ``(num_words, num_steps, channels)`` with a filter of its own."""
    half, num_steps = filters.shape[1] // 2, values.shape[1]
    padded = np.pad(values, ((0, 0), (half, half), (0, 0)))
    parts = (padded[:, k : k + num_steps] * filters[:, k] for k in range(filters.shape[1]))
    total = next(parts)
    for part in parts:
        total = total + part
    return total


def _half(values: Array) -> Array:
    """Values rounded to half precision."""
    return values.astype(np.float16).astype(np.float32)


def _sigmoid(values: Array) -> Array:
    # An overflow to infinity gives 0, as it should.
    with np.errstate(over="ignore"):
        result: Array = 1 / (1 + np.exp(-values))
    return result


def _numbered(tensors: Mapping[str, Array]) -> Iterator[Array]:
    """Tensors that the exporter numbered, since it transposed or joined them, in their order."""
    numbers = {int(name.rpartition("_")[2]): name for name in tensors if name.startswith("onnx::")}
    return (tensors[numbers[number]] for number in sorted(numbers))
