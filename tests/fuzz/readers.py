"""All readers that are fuzzed, by name."""

from __future__ import annotations

from tests.fuzz.graph_readers import GRAPH_READERS
from tests.fuzz.kaldi_readers import KALDI_READERS
from tests.fuzz.model_readers import MODEL_READERS
from tests.fuzz.sound_readers import SOUND_READERS
from tests.fuzz.text_readers import TEXT_READERS

_ALL = (*TEXT_READERS, *SOUND_READERS, *MODEL_READERS, *KALDI_READERS, *GRAPH_READERS)
READERS = {reader.name: reader for reader in _ALL}
