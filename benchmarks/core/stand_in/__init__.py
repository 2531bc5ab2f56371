"""On PYTHONPATH of `pip download --no-build-isolation`: lets it name a source package that is never built here."""
