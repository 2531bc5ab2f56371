"""Connections that are kept open between requests."""

# As many as the server accepts from one client.
POOL_SIZE = 10


class Pool:
    """At most POOL_SIZE connections; who asks for one more waits."""

    def __init__(self, size: int = POOL_SIZE) -> None:
        self.free = list(range(size))

    def borrow(self) -> int:
        """A connection that nobody else has. Fails with IndexError where all are lent."""
        return self.free.pop()

    def give_back(self, connection: int) -> None:
        """Put a borrowed connection back into the pool."""
        self.free.append(connection)
