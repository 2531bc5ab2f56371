"""What every test of the house may use."""

import inspect
import os
import re
import signal
from pathlib import Path

import httpx
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.support.coverage_by_service"]

# A test begins with no setting of its surroundings: a shell that has some, or the container of a service, whose
# settings are variables. What a test needs it sets itself.
_settings = (Path(__file__).parents[1] / ".env.example").read_text("utf-8")
for _name in re.findall(r"^#?([A-Z][A-Z0-9_]+)=", _settings, re.MULTILINE):
    os.environ.pop(_name, None)

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
