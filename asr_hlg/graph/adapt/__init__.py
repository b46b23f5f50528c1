"""Changes to a compiled graph at run time: hotwords, new words, phrases, another grammar."""
