"""The servers behind the gateway. The only room that calls upstream: aiohttp does not leave it."""
