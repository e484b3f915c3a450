"""A plugin of pytest for a run against a mutant: a property that fails need not be shrunk."""

from hypothesis import Phase, settings


def pytest_configure() -> None:
    """Comes after the tests' own profile, which it narrows."""
    settings.register_profile("quick", settings(phases=[Phase.explicit, Phase.generate]))
    settings.load_profile("quick")
