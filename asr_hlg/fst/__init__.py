"""Automata as arrays of arcs, and symbol tables."""
