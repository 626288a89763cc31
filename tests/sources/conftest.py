import pytest

from stages.sources import archives


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(archives, "FIRST_WAIT", 0.01)
