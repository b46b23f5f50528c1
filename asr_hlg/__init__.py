"""WFST-based speech decoding with neural acoustic models."""
