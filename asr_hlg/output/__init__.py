"""Transcripts, their readers and writers, and error rates.

================  =================================================================================
``transcript``    the dataclass `Transcript`, its words and alternatives
``writers``       files and folders of transcripts, in every text format
``formats``       the text formats: trn, CTM, JSON, SRT, TextGrid and others
``parquet``       transcripts as a table
``subtitles``     words as subtitle cues; ``subtitle_rules``: limits of broadcasters, and a report
``written``       words as they are written; ``itn`` and ``itn_*``: numbers, dates and the like
``text``          readers of transcripts, and text normalisation
``scoring``       word and character error rates
``english``       written and spoken English in one form; ``numbers``, ``spelling``: parts of it
================  =================================================================================
"""
