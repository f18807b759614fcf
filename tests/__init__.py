"""Tests of promises. No test may fail for being slow, so hypothesis is told not to watch the clock."""

from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
