"""Defaults of a transcription, which the command line's help shows without importing the rest."""

TIMEOUT = 120.0
"""Seconds that a minute of sound may take."""

MAX_MEMORY = 4.0
"""Memory in GB that a worker may use on top of graph and model."""

MAX_DURATION = 12 * 3600.0
"""Length in seconds of the longest recording that is accepted."""

GPU_BATCH = 600.0
"""Seconds of sound, padding included, in a batch where the device is a GPU."""
