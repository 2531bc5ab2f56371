"""What every test of the house may use."""

import inspect
import signal

import httpx
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.support.coverage_by_service"]

# Started in the background of a script, this process has SIGINT ignored, and whatever it starts inherits that: tests of
# Ctrl-C would wait for ever. A handler is not inherited, so that children begin as from a terminal.
signal.signal(signal.SIGINT, signal.default_int_handler)

# httpx gives up after 5 s without a byte, where it is told nothing else. A shared machine may stand still for longer,
# which is no failure of what is tested. No part of the product uses this default: its time-outs are written out.
_default = inspect.signature(httpx.get).parameters["timeout"].default
_default.connect = _default.read = _default.write = _default.pool = 60.0

# Hypothesis fails an example that takes longer than 200 ms, and a test whose examples are long in the making.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
