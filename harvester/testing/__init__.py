"""Tools for tests of programs that use harvester: a simulated WeChat, fakes and virtual time.

Rule: everything here is used through the public protocols; nothing uses the inside of the engine.

`account_with_figures` gives a fake account with a month of figures.  `Simulator` is WeChat as a
function from a request to a reply: `serve` offers it on a real socket, and `FakeTransport` calls it
without a socket.  `MemorySink` keeps records in memory.  `VirtualTimeLoop` jumps to the next timer
instead of waiting.  `check_sink` tests the guarantees of a sink.

Modules of the simulator: `catalogue` (every interface as a table), `answers` (accepted dates and
answers), `data` (the figures), `tokens`, `component` and `callers` (who is allowed to call),
`quotas` and `management` (how often), `replies` and `error_messages` (the format of replies),
`faults` (what goes wrong).  Modules of `check_sink`: `checks` (one check per guarantee) and
`sink_bench` (their tools).
"""

from harvester.sinks.memory import MemorySink
from harvester.testing.contract import SINK_CHECKS, check_sink
from harvester.testing.data import articles
from harvester.testing.error_messages import TEXTS
from harvester.testing.fakes import FakeAccount, FakeTransport, account_with_figures
from harvester.testing.server import SimulatorServer, serve
from harvester.testing.simulator import Faults, Reply, Simulator
from harvester.testing.sink_bench import BrokenPromiseError
from harvester.testing.virtual_time import VirtualTimeLoop, run_virtual

__all__ = [
    "SINK_CHECKS",
    "TEXTS",
    "BrokenPromiseError",
    "FakeAccount",
    "FakeTransport",
    "Faults",
    "MemorySink",
    "Reply",
    "Simulator",
    "SimulatorServer",
    "VirtualTimeLoop",
    "account_with_figures",
    "articles",
    "check_sink",
    "run_virtual",
    "serve",
]
