"""Side by side with what a user could pick instead: search, whole systems, compilation.

Everything that is compared does the same work on the same machine with the same number of threads,
and takes turns, so that whatever else the machine does disturbs all alike. Ratios are therefore
what to look at; absolute times belong to the machine in the report's head.

=============  ===================================================================
``search``     engines on the same posteriors in the same graph, over beams
``systems``    recordings in, words out: this project, pocketsphinx, Whisper
``graphs``     compiling and loading, beside OpenFst's way to the same language
``report``     Markdown, JSON, and word errors against speed as a picture
=============  ===================================================================
"""
