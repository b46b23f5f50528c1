"""Fuzzing: every reader reads files with a few faults, and may raise only errors of this library.

A case is a valid file with a few random changes. Its number and the seed say which, so that
``scripts/fuzz.py READER --case NUMBER`` shows it again.

:mod:`fuzz.mutation` makes the changes, :mod:`fuzz.readers` lists the readers, and
:mod:`fuzz.running` runs cases where a crash, a hang or a flood of memory ends one process only.
"""
