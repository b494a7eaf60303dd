"""Serve the demo's registry and show one request: history and candidates by their titles.

Started by ``make demo`` once a bundle is live. The service runs until this program is stopped.
"""

import argparse
import json
import shlex
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np

from index.bundles.catalog import Catalog
from index.registry.registry import Registry
from model.errors import OpalError, RegistryError

# One viewer with several interests; what a catalog lacks is left out.
HISTORY_TITLES = [
    "Aladdin",
    "Lion King, The",
    "Toy Story",
    "Star Wars",
    "Empire Strikes Back, The",
    "Raiders of the Lost Ark",
    "Alien",
    "Terminator, The",
    "Fargo",
    "Sense and Sensibility",
    "Emma",
    "English Patient, The",
]
TOP_K = 10


def main() -> int:
    """Start the service, show a request, wait; return the service's exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--registry", type=Path, required=True)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    try:
        history = find_history(arguments.registry)
    except OpalError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    command = [sys.executable, "-m", "service", "--json", "--registry", str(arguments.registry)]
    command += ["--port", str(arguments.port), "--workers", str(arguments.workers)]
    service = subprocess.Popen(command, stdout=subprocess.PIPE)
    signal.signal(signal.SIGTERM, lambda *_: service.terminate())
    try:
        # The service writes one line once all its workers serve, or ends without one.
        announcement = service.stdout.readline() if service.stdout else b""
        if announcement:
            show(json.loads(announcement)["url"], history)
        return service.wait()
    except KeyboardInterrupt:
        # Ctrl-C reaches the service as well; it finishes what it is doing.
        return service.wait()


def find_history(registry_path: Path) -> list[tuple[str, str]]:
    """Pick item ids with their titles from the live catalog.

    Raises:
        RegistryError: No bundle is live.
    """
    registry = Registry(registry_path)
    version = registry.current()
    if version is None:
        raise RegistryError(f"{registry_path}: no bundle is live")
    catalog = Catalog(registry.bundle_path(version))
    rows = np.arange(catalog.n_items)
    by_name: dict[str, tuple[str, str]] = {}
    for item_id, title in zip(catalog.ids_of(rows), catalog.titles_of(rows), strict=True):
        if title is not None:
            by_name.setdefault(title.rpartition(" (")[0] or title, (item_id, title))
    found = [by_name[name] for name in HISTORY_TITLES if name in by_name]
    return found or list(by_name.values())[: len(HISTORY_TITLES)]


def show(address: str, history: list[tuple[str, str]]) -> None:
    """Print the history, a curl command and the titles of what it answers."""
    body = json.dumps({"user_id": "demo", "interactions": [i for i, _ in history], "top_k": TOP_K})
    request = urllib.request.Request(
        f"{address}/match", data=body.encode(), headers={"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        answer: dict[str, Any] = json.load(response)
    lines = ["", "A viewer watched, oldest first:", *(f"  {title}" for _, title in history)]
    lines += ["", "Try:", f"  curl -s {address}/match -H 'content-type: application/json' \\"]
    lines += [f"    -d {shlex.quote(body)}", "", f"Candidates (bundle {answer['bundle_version']}):"]
    lines += [
        f"  {candidate['rank']:>2}  {candidate['score']:.3f}  interest {candidate['interest']}  "
        f"{candidate.get('title') or candidate['item_id']}"
        for candidate in answer["candidates"]
    ]
    lines += ["", f"API: {address}/docs    metrics: {address}/metrics    stop: Ctrl-C", ""]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
