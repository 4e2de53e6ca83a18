import gc

from proofgym.agents.rare_collections import ALLOCATIONS, rare_collections


def test_the_collectors_threshold_comes_back_when_the_last_run_ends() -> None:
    before = gc.get_threshold()
    first, second = rare_collections(), rare_collections()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert gc.get_threshold() == (ALLOCATIONS, *before[1:]), "the second still runs"
    second.__exit__(None, None, None)
    assert gc.get_threshold() == before


def test_a_collector_that_is_turned_off_stays_off() -> None:
    before = gc.get_threshold()
    gc.set_threshold(0)
    try:
        with rare_collections():
            assert gc.get_threshold()[0] == 0
    finally:
        gc.set_threshold(*before)
