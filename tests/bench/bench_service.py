"""The service over HTTP, beside our core, a plain and a bare endpoint, and other serving stacks.

    python tests/bench/bench_service.py [--only SECTION …] [--dataset DATASET] [--rounds N]
        [--peers [NAME …]] [--peer-cores CORE …] [--peers-venv FOLDER] [--out docs]
        [--quick] [--json]

Every server answers the same requests from the same bundle in two processes; the load comes from
one more process on the same machine, whose share of a core is told. What is compared is loaded by
turns in several rounds, so that a busy moment of the machine meets all, and a ratio is the median
over the rounds of ratios within a round.

Peers are installed into a virtual environment of their own (``--peers-venv``); one that cannot be
installed or does not start is named with its reason, and the others are measured.
"""

import argparse
import shlex
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.docs_section import to_section, write_section
from tests.bench.findings import Findings
from tests.bench.measuring import Table, describe_machine, make_parser, show, use_one_thread
from tests.bench.peers.catalogue import NAMES
from tests.bench.prepared_log import prepare_log
from tests.bench.processes import end_on_sigterm
from tests.bench.scenarios.scale import FULL, QUICK, Scale
from tests.bench.service_work import Work, prepare_work

if TYPE_CHECKING:
    from tests.bench.scenarios.stacks import Stack

SECTIONS = ("generator", "cores", "stacks", "workers", "open-loop", "catalogs")
THREADS = "one thread in every process, load from one more process"
DOCS_FILE, PLOT_FILE, MARK = "benchmarks.md", "service.svg", "service"


def main() -> None:
    """Measure what was asked for, and print or write it."""
    options = parse_arguments()
    use_one_thread()
    end_on_sigterm()
    scale = QUICK if options.quick else FULL
    scale = scale._replace(rounds=options.rounds or scale.rounds)
    with tempfile.TemporaryDirectory(prefix="bench") as name:
        folder = Path(name)
        dataset = options.dataset or prepare_log(folder / "log", planted=options.quick)
        work = prepare_work(
            folder / "work",
            dataset,
            n_items=scale.n_items,
            n_bodies=scale.n_bodies,
            n_hits=scale.n_hits,
        )
        findings = measure(work, scale, options)
    tables = findings.tables
    # What met nothing but failures has no ratio to anything; its failures stand in the tables.
    ratios = [promise.to_row() for promise in findings.promises if promise.values]
    if ratios:
        title = "Ratios in this run: the median of the rounds, the least and the largest"
        tables.append(Table(title, ratios))
    if options.out is not None:
        write_docs(options.out, findings, tables)
    show("Service", tables, threads=THREADS, options=options)
    for note in findings.notes:
        print(note, file=sys.stderr)


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = make_parser("Measure the service beside plain and bare endpoints and other stacks.")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS, metavar="SECTION")
    parser.add_argument("--dataset", type=Path, help="what `python -m model prepare` wrote")
    parser.add_argument("--rounds", type=int, help="turns of every contestant")
    parser.add_argument(
        "--peers",
        nargs="*",
        choices=NAMES,
        metavar="NAME",
        help=f"other stacks to load: {', '.join(NAMES)} (default: all, with --quick none)",
    )
    parser.add_argument(
        "--peer-cores",
        nargs="+",
        choices=("plain", "ours"),
        default=["plain"],
        metavar="CORE",
        help="what peers compute with: plain, ours (default: plain)",
    )
    parser.add_argument("--peers-venv", type=Path, help="virtual environment of the peers")
    parser.add_argument("--out", type=Path, metavar="docs", help="write tables and plot there")
    options = parser.parse_args()
    if options.peers is None:
        options.peers = () if options.quick else NAMES
    return options


def measure(work: Work, scale: Scale, options: argparse.Namespace) -> Findings:
    """Run the sections that were asked for, in their order."""
    # Late: they import NumPy and Faiss, whose threads are set by then.
    from tests.bench.scenarios.catalogs import compare_catalogs
    from tests.bench.scenarios.comparison import compare_stacks
    from tests.bench.scenarios.cores import measure_cores
    from tests.bench.scenarios.generator import measure_generator
    from tests.bench.scenarios.open_loop import measure_open_loop
    from tests.bench.scenarios.stacks import own_stacks
    from tests.bench.scenarios.workers import compare_workers

    findings = Findings()

    def stacks(work: Work, scale: Scale) -> Findings:
        peers = installed_peers(work, options, findings.notes) if options.peers else []
        return compare_stacks(work, scale, own_stacks(work) + peers)

    sections: dict[str, Callable[[Work, Scale], Findings]] = {
        "generator": measure_generator,
        "cores": measure_cores,
        "stacks": stacks,
        "workers": compare_workers,
        "open-loop": measure_open_loop,
        "catalogs": compare_catalogs,
    }
    for name in SECTIONS:
        if name in options.only:
            findings.add(sections[name](work, scale))
    return findings


def installed_peers(work: Work, options: argparse.Namespace, notes: list[str]) -> list["Stack"]:
    """Install what is missing; return the peers that can be run, and note the others."""
    from tests.bench.peers.environment import DEFAULT_FOLDER, CannotInstallError, prepare
    from tests.bench.scenarios.peer_stacks import peer_stacks

    venv = (options.peers_venv or DEFAULT_FOLDER).expanduser().absolute()
    try:
        problems = prepare(venv)
    except CannotInstallError as error:
        notes.append(f"no peers: {error}")
        return []
    notes += [f"{pin} cannot be installed: {problem}" for pin, problem in problems.items()]
    return peer_stacks(work, venv, options.peers, cores=options.peer_cores, without=set(problems))


def write_docs(folder: Path, findings: Findings, tables: list[Table]) -> None:
    """Write tables and plot into the documentation."""
    from tests.bench.service_plot import draw

    if findings.curves:
        (folder / PLOT_FILE).write_text(draw(findings.curves))
    text = to_section(
        tables,
        findings.notes,
        machine=f"{describe_machine()}; {THREADS}",
        command=shlex.join(["python", "tests/bench/bench_service.py", *sys.argv[1:]]),
        plot=PLOT_FILE if findings.curves else "",
    )
    write_section(folder / DOCS_FILE, MARK, text)


if __name__ == "__main__":
    main()
