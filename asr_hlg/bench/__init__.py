"""Benchmarks of search, recognition and compilation against other decoders: ``asr-hlg bench``.

Engines and systems do the same work on the same machine with the same number of threads. Engines
take turns, so that other load on the machine slows all of them equally. Compare ratios; absolute
times depend on the machine.

=============  ===========================================================================
``run``        all parts, with one or more graphs
``search``     search engines on the same posteriors in the same graph, over beams
``systems``    whole recognisers, from recordings to words: asr-hlg, pocketsphinx, Whisper
``graphs``     compilation and loading, and OpenFst's composition and determinization
``measure``    time and memory of a command
``report``     tables in Markdown, JSON, and a picture of word errors against speed
=============  ===========================================================================
"""
