"""All readers that are fuzzed, by name."""

from __future__ import annotations

from tests.fuzz.exported_readers import EXPORTED_READERS
from tests.fuzz.graph_readers import GRAPH_READERS
from tests.fuzz.kaldi_readers import KALDI_READERS
from tests.fuzz.model_readers import MODEL_READERS
from tests.fuzz.script_readers import SCRIPT_READERS
from tests.fuzz.sound_readers import SOUND_READERS
from tests.fuzz.text_readers import TEXT_READERS

_ALL = (
    *TEXT_READERS,
    *SCRIPT_READERS,
    *SOUND_READERS,
    *MODEL_READERS,
    *EXPORTED_READERS,
    *KALDI_READERS,
    *GRAPH_READERS,
)
READERS = {reader.name: reader for reader in _ALL}
