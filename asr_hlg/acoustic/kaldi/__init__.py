"""Kaldi's acoustic models: transition models, nnet3 networks, features and i-vectors."""

from __future__ import annotations

from asr_hlg.acoustic.kaldi.transition_model import TransitionModel, read_transition_model

__all__ = ["TransitionModel", "read_transition_model"]
