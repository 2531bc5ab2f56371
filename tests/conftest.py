"""What every test of the house may use."""

pytest_plugins = ["tests.support.coverage_by_service"]
