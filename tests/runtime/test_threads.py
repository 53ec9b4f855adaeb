"""A Session may be shared by threads, forked and dropped, and gives the same bits throughout."""

import gc
import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from edgeinfer.runtime import planner
from edgeinfer.runtime.session import Session
from tests.runtime.runtime_graphs import chain, layer, small_cnn
from tests.strategies import random_inputs

TASKS = Path("/proc/self/task")


@pytest.fixture(autouse=True)
def divide_small_steps(monkeypatch):
    monkeypatch.setattr(planner, "GRAIN", 1)


@pytest.mark.parametrize("num_threads", [1, 2, 3])
def test_concurrent_callers_do_not_disturb_each_other(num_threads):
    graph = small_cnn()
    session, alone = Session(graph, num_threads=num_threads), Session(graph)
    inputs = [random_inputs(graph, seed)["x"] for seed in range(40)]
    expected = [alone.run(x) for x in inputs]
    with ThreadPoolExecutor(8) as callers:
        for _ in range(5):
            for found, y in zip(callers.map(session.run, inputs), expected, strict=True):
                np.testing.assert_array_equal(found, y)


@pytest.mark.parametrize("num_threads", [2, 5, 16])
def test_more_threads_than_work_change_nothing(num_threads):
    graph = chain((1, 3, 2, 3), layer(5, 3, 3, 3, pads=(1, 1, 1, 1)), layer(1, 1, 2, 5))
    x = random_inputs(graph, 0)["x"]
    np.testing.assert_array_equal(
        Session(graph, num_threads=num_threads).run(x), Session(graph).run(x)
    )


@pytest.mark.skipif(not TASKS.exists(), reason="counts threads in /proc")
def test_the_threads_end_with_the_session():
    before = len(list(TASKS.iterdir()))
    session = Session(small_cnn(), num_threads=4)
    assert len(list(TASKS.iterdir())) == before + 3
    del session
    gc.collect()
    assert len(list(TASKS.iterdir())) == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_runs_with_threads_of_its_own():
    # in a process of its own: forking the test runner would fork what it holds
    program = """
        import os, sys, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads
        from edgeinfer.runtime import planner, session as sessions
        from edgeinfer.runtime.session import Session
        from tests.runtime.runtime_graphs import small_cnn
        from tests.strategies import random_inputs

        planner.GRAIN, sessions.MAX_THREADS = 1, 16
        session = Session(small_cnn(), num_threads=3)
        x = random_inputs(small_cnn(), 0)["x"]
        expected = session.run(x)
        out = expected.copy()
        bound = session.bind(x, out)
        children = []
        for i in range(3):
            child = os.fork()
            if child == 0:
                out[...] = 0
                if i < 2:  # who runs first starts the child's threads
                    bound.run()
                same = all((session.run(x) == expected).all() for _ in range(20))
                bound.run()
                same = same and (out == expected).all()
                del session, bound  # must not wait for threads that are not here
                os._exit(0 if same else 1)
            children.append(child)
        assert (session.run(x) == expected).all()
        for child in children:
            assert os.waitpid(child, 0)[1] == 0
    """
    folders = [Path(__file__).parent, Path(__file__).parents[1], Path(__file__).parents[2]]
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))},
        check=True,
        timeout=60,
    )
