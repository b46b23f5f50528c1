"""Numbers of examples of property tests, which depend on hypothesis's profile.

``make test`` tries a share of them, always the same; ``make test-examples`` tries all, and others
in every run. The profiles are in ``tests/conftest.py``.
"""

from __future__ import annotations

from hypothesis import settings


def examples(number: int) -> settings:
    """Try this number of examples, or the share of it that is the profile's share of 100."""
    return settings(max_examples=max(5, number * settings.default.max_examples // 100))
