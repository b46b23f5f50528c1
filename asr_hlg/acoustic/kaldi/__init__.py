"""Kaldi's acoustic models: transition models, nnet3 networks with i-vectors, Gaussian mixtures."""

from __future__ import annotations

from asr_hlg.acoustic.kaldi.folder import graph_properties, model_file
from asr_hlg.acoustic.kaldi.loading import load
from asr_hlg.acoustic.kaldi.transition_model import TransitionModel, read_transition_model

__all__ = ["TransitionModel", "graph_properties", "load", "model_file", "read_transition_model"]
