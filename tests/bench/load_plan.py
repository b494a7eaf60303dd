"""What a load sends, and when."""

import random
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Plan:
    """What to send, and how fast.

    Attributes:
        host: Of the server.
        port: Of the server.
        bodies: Sent in turn, whoever sends them.
        seconds: For how long.
        connections: Open from the start.
        path: What to post to.
        headers: More of them.
        requests: How many at most, None for as many as there is time for. Closed loop only.
        rate: Requests in a second of an open loop; None: a closed one.
        arrivals: "even", or "poisson": as independent callers come.
        most_connections: Of an open loop.
        seed: Of the arrivals.
    """

    host: str
    port: int
    bodies: list[str]
    seconds: float
    connections: int
    path: str = "/match"
    headers: dict[str, str] = field(default_factory=dict)
    requests: int | None = None
    rate: float | None = None
    arrivals: str = "poisson"
    most_connections: int = 4096
    seed: int = 0

    def to_bytes(self) -> list[bytes]:
        """Return the requests as they are sent."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        head = f"POST {self.path} HTTP/1.1\r\nHost: {self.host}\r\n{lines}"
        head += "Content-Type: application/json\r\nContent-Length: "
        bodies = [body.encode() for body in self.bodies]
        return [f"{head}{len(body)}\r\n\r\n".encode() + body for body in bodies]

    def due(self) -> list[float]:
        """Return when an open loop's requests are due, in seconds from the start."""
        assert self.rate is not None
        if self.arrivals == "even":
            return [number / self.rate for number in range(round(self.seconds * self.rate))]
        draw, due, at = random.Random(self.seed), [], 0.0
        while (at := at + draw.expovariate(self.rate)) < self.seconds:
            due.append(at)
        return due
