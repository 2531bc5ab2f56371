"""The libraries that run models. Private code stays private: ONNX Runtime collects telemetry unless told not to."""

import os

# Read when the library is loaded, which only this package does; disable_telemetry_events() comes too late for it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
