from __future__ import annotations

import pytest


@pytest.fixture(params=["local", "sync"])
def where(request):
    """Both ways to run must give the same."""
    return request.param
