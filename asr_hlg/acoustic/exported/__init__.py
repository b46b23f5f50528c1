"""CTC models that other toolkits exported, opened as they are; docs/models.md lists the kinds."""

from asr_hlg.acoustic.exported.loading import find, load, tokens_of

__all__ = ["find", "load", "tokens_of"]
