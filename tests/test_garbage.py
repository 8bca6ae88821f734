"""The collector is out of the way until all is imported, and works from then on."""

import gc
import subprocess
import sys
import textwrap

from psilon_bench.machine import garbage


def test_held_until_released() -> None:
    """Cycles stay while it is held; what was there is never looked at again, what is made later is collected."""
    script = """
        import gc, weakref
        from psilon_bench.machine import garbage

        class Node:
            pass

        def cycle():
            node = Node()
            node.itself = node
            return weakref.ref(node)

        garbage.pause()
        early = cycle()
        assert not gc.isenabled()
        garbage.resume()
        assert gc.isenabled() and gc.get_freeze_count() > 1000
        late = cycle()
        gc.collect()
        assert early() is not None and late() is None
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True)


def test_releasing_what_was_not_held_does_nothing() -> None:
    """As where another program calls us."""
    before = gc.get_freeze_count()
    garbage.resume()
    assert gc.isenabled()
    assert gc.get_freeze_count() == before
