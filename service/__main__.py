"""``python -m service``: arguments to settings, then serve.

Imports nothing heavy: thread counts and the folder of the metrics have to be in the environment
before a worker imports NumPy, Faiss or prometheus_client, and workers import this module first.
"""

import argparse
import os
import sys
from pathlib import Path

from model.command import add_json_option, fail
from model.errors import OpalError


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit status: 0 stopped as asked, 1 failed, 2 wrong usage."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.registry is None and not os.environ.get("OPAL_REGISTRY"):
        parser.error("--registry (or OPAL_REGISTRY) is needed: the folder of the bundle registry")
    try:
        from service.processes.server import serve
        from service.settings import read_settings

        settings = read_settings(
            registry=options.registry,
            host=options.host,
            port=options.port,
            workers=options.workers,
            wait_for_bundle=options.wait_for_bundle,
        )
        return serve(settings, as_json=options.json)
    except OpalError as error:
        return fail(str(error))
    except OSError as error:
        return fail(f"{error.strerror or error}: {error.filename or options.registry}")
    except KeyboardInterrupt:
        return fail("interrupted before all workers served")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m service",
        description="Serve candidates over HTTP from the bundle that is CURRENT in a registry. "
        "More settings: environment variables OPAL_…, see the README.",
    )
    parser.add_argument("--registry", type=Path, help="folder of the bundle registry")
    parser.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on, 0 for a free one (8000)")
    parser.add_argument("--workers", type=int, help="worker processes (1)")
    parser.add_argument(
        "--wait-for-bundle",
        action="store_true",
        default=None,
        help="start without a live bundle and answer 503 until one is published",
    )
    add_json_option(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
