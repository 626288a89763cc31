import pytest

from pipeline.sources import archives


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(archives, "FIRST_WAIT", 0.01)
