"""Requests without pause on a running service, and what became of them."""

import threading
import time
from collections import Counter
from typing import Any

import httpx

from tests.bundles import item_id

BODY: dict[str, Any] = {"interactions": [item_id(row) for row in (1, 5, 9)], "top_k": 10}


class Load:
    """Asks without pause from several threads, on kept and on new connections by turns."""

    def __init__(self, url: str, *, threads: int = 3) -> None:
        self._url = url
        self._stop = threading.Event()
        self.versions: Counter[str] = Counter()
        self.failures: list[str] = []
        self._threads = [threading.Thread(target=self._ask, args=(n,)) for n in range(threads)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, number: int) -> None:
        with httpx.Client() as client:
            while not self._stop.is_set():
                number += 10
                body = BODY | {"interactions": [item_id(number % 300)]}
                try:
                    headers = {"Connection": "close"} if number % 20 >= 10 else {}
                    answer = client.post(f"{self._url}/match", json=body, headers=headers)
                    answer.raise_for_status()
                    self.versions[answer.json()["bundle_version"]] += 1
                except (httpx.HTTPError, ValueError) as error:
                    self.failures.append(repr(error))
                time.sleep(0.002)
