"""The memory that bodies of requests under way may take together: each is bounded, and so is their sum."""

from service.errors import QueueFull


class BodyBudget:
    """Bytes that are held by bodies, over all connections of this process."""

    def __init__(self, most: int) -> None:
        self._most, self.held = most, 0

    def take(self, size: int) -> None:
        """Hold so many more. Raises QueueFull, and holds none of them, if that would be too much."""
        if self.held + size > self._most:
            raise QueueFull(f"requests under way hold {self.held:,} bytes of bodies already; try again shortly")
        self.held += size

    def give_back(self, size: int) -> None:
        """Hold so many less."""
        self.held -= size
