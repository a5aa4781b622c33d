"""Properties are searched the same way on every machine and in every run."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "sleuth",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("sleuth")
