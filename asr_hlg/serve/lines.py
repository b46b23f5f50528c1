"""Details of one line of the page: alternatives of its words, its phones, its lattice.

The page keeps the sound of a line and sends it back, so that the server keeps no speech.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from asr_hlg.align import Aligner, TimeModel
from asr_hlg.audio import Recording
from asr_hlg.audio.resampling import Samples
from asr_hlg.errors import AsrHlgError
from asr_hlg.lattice import Lattice
from asr_hlg.lattice.mbr import confusion_network
from asr_hlg.output.transcript import Word
from asr_hlg.serve.limits import Refused
from asr_hlg.serve.openai import error_body, phrases_of
from asr_hlg.serve.service import Service
from asr_hlg.serve.uploads import received
from asr_hlg.transcribe import Transcriber

MAX_SECONDS = 60.0
_MAX_ALTERNATIVES = 8
_MIN_POSTERIOR = 0.005


async def lines(request: Request) -> Response:
    """``POST /lines``: a form with the sound of a line (``file``), its words (``text``), ``model``.

    The answer has ``words`` (word, start, end, and ``alternatives`` with their posteriors, ``""``
    for no word), ``phones``, and ``lattice``, a picture as SVG, or ``lattice_error``.
    """
    service: Service = request.app.state.service
    async with received(request, service) as upload:
        name = service.graphs.name(upload.text("model") or None)
        words = upload.text("text").split()
        hotwords = phrases_of(upload.text("hotwords"))

        transcriber = await service.prepare(lambda: service.graphs.live(name, hotwords))
        folder, recording = service.graphs.folder(name), upload.recording
        found = await service.recording(lambda: details(transcriber, folder, recording, words))
        return JSONResponse(found)


def details(
    transcriber: Transcriber, folder: Path, recording: Recording, words: list[str]
) -> dict[str, Any]:
    """Alternatives, alignment and picture of a line.

    Parameters
    ----------
    transcriber : Transcriber
    folder : Path
        Of its graph.
    recording : Recording
        The sound of the line, at most `MAX_SECONDS`.
    words : list of str
        The words that are shown: alternatives compete with these, and these are aligned.
    """
    rate = transcriber.model.sample_rate
    parts = list(recording.blocks(rate, max_seconds=MAX_SECONDS))
    samples = np.concatenate(parts)
    posteriors = transcriber.model.posteriors([samples], rate)
    lattice = transcriber.decoder.decode(posteriors)
    if lattice.is_empty(0) or not words:
        raise Refused("there is no lattice of this sound", code="no_lattice")
    aligner, _ = Aligner.from_graph(folder, words)
    alignment = aligner.align("line", posteriors, " ".join(words))
    timed, phones = _refined(aligner, samples, rate, alignment.words, alignment.phones)
    competing = alternatives(lattice, words)
    return {
        "words": [
            {**_timed(word), "alternatives": slot}
            for word, slot in zip(timed, competing, strict=True)
        ],
        "phones": [_timed(phone) for phone in phones],
        **_picture(lattice),
    }


def _refined(
    aligner: Aligner, samples: Samples, rate: int, words: list[Word], phones: list[Word]
) -> tuple[list[Word], list[Word]]:
    """Times by frames of 10 ms, where the model for that fits."""
    model = TimeModel.shipped()
    if rate != model.network.sample_rate:
        return words, phones
    timed, of_words = model.refine(samples, words, aligner.lexicon.spellings)
    return (timed, [p for of in of_words for p in of]) if all(of_words) else (words, phones)


def alternatives(lattice: Lattice, words: list[str]) -> list[list[dict[str, Any]]]:
    """Words that compete with each word of a line, most probable first.

    They are the slots of the confusion network around the words, of which each slot has a posterior
    for every word and for no word.
    """
    arcs, graph = lattice.utterances[0], lattice.graph
    assert arcs is not None
    names = list(graph.word_names)
    unknown = dict.fromkeys(word for word in words if word not in graph.words)
    ids = {word: len(names) + number for number, word in enumerate(unknown)}
    names += unknown
    reference = np.array([ids[w] if w in ids else graph.words[w] for w in words], dtype=np.int32)
    network = confusion_network(arcs.word_lattice, reference)
    slots = []
    for slot, word in zip(network.slots, network.reference, strict=True):
        if word:
            probable = {id: p for id, p in slot.items() if p >= _MIN_POSTERIOR}
            ranked = sorted(probable.items(), key=lambda item: -item[1])[:_MAX_ALTERNATIVES]
            if word not in dict(ranked):
                ranked.append((word, slot.get(word, 0.0)))
            slots.append(
                [
                    {"word": names[id] if id else "", "posterior": round(posterior, 4)}
                    for id, posterior in ranked
                ]
            )
    return slots


def _picture(lattice: Lattice) -> dict[str, str]:
    """The lattice as SVG, or why it cannot be drawn."""
    try:
        from asr_hlg import draw  # needs graphviz

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "lattice.svg"
            draw.lattice(lattice, path)
            return {"lattice": path.read_text(encoding="utf-8")}
    except ModuleNotFoundError as error:
        return {"lattice_error": f"drawing lattices needs the package {error.name}"}
    except AsrHlgError as error:
        return {"lattice_error": error_body(error)["error"]["message"]}


def _timed(word: Word) -> dict[str, Any]:
    return {"word": word.text, "start": round(word.start, 3), "end": round(word.end, 3)}
