from __future__ import annotations

import pytest
from chaos.storm import storm


@pytest.mark.slow
def test_storm_of_faults_loses_nothing_and_doubles_nothing(tmp_path):
    tally = storm(rounds=25, seed=0, folder=tmp_path)
    print(dict(sorted(tally.items())))  # with -s, or if it fails
    assert tally["rounds"] == 25
    assert tally["acknowledged"] >= tally["psets"] > 0
