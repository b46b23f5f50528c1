"""Names of the formats of transcripts, which the command line's help shows."""

NAMES = (
    "text",
    "trn",
    "ctm",
    "json",
    "srt",
    "vtt",
    "textgrid",
    "lhotse",
    "parquet",
)
"""Keys of ``asr_hlg.output.formats.FORMATS``, and Parquet."""
