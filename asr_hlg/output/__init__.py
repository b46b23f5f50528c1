"""Transcripts, their readers and writers, and error rates.

================  =====================================================
``transcript``    the dataclass `Transcript`, its words and alternatives
``writers``       files and folders of transcripts, in every text format
``formats``       the text formats: trn, CTM, JSON, SRT, TextGrid and others
``parquet``       transcripts as a table
``subtitles``     words as subtitle cues
``text``          readers of transcripts, and text normalisation
``scoring``       word and character error rates
================  =====================================================
"""
