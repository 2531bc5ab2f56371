"""Who answers Qdrant's API in tests: vector_db always, and a real server where QDRANT_URL names one."""

import os

QDRANT_URL = os.environ.get("QDRANT_URL", "")

# The parameters of a suite that every implementation must pass.
SERVERS = ["vector_db", "server"] if QDRANT_URL else ["vector_db"]
