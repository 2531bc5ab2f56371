"""What every test of the house may use."""

import signal

pytest_plugins = ["tests.support.coverage_by_service"]

# Started in the background of a script, this process has SIGINT ignored, and whatever it starts inherits that: tests of
# Ctrl-C would wait for ever. A handler is not inherited, so that children begin as from a terminal.
signal.signal(signal.SIGINT, signal.default_int_handler)
