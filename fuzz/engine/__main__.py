"""Runs the state machine for a given time: ``python -m fuzz.engine --minutes 10``; prints what it has covered.

Each worker is a process with its own seeds. Hypothesis prints a failure, its smallest form last. The failure is also
written to ``fuzz/corpus/engine/found.yaml``; the exit code is then 1.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import sys
import time
from collections import Counter
from multiprocessing.queues import Queue

from fuzz.engine.campaign import Report, work


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz.engine", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--minutes", type=float, default=5.0, help="how long (default: 5)")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one for each CPU)"
    )
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32), help="of the first worker")
    chosen = parser.parse_args()
    print(f"seed {chosen.seed}, {chosen.workers} workers, {chosen.minutes:g} minutes", flush=True)
    started = time.time()  # noqa: TID251
    reports: Queue[Report] = multiprocessing.get_context("spawn").Queue()
    workers = [
        multiprocessing.get_context("spawn").Process(
            target=work, args=(chosen.seed + number, started + chosen.minutes * 60, reports)
        )
        for number in range(chosen.workers)
    ]
    for worker in workers:
        worker.start()
    found = [reports.get() for _ in workers]
    for worker in workers:
        worker.join()
    covered: Counter[str] = sum((counts for counts, _ in found), Counter())
    seconds = time.time() - started  # noqa: TID251
    for word, times in sorted(covered.items()):
        print(f"{times:>9}  {word}")
    print(f"{covered['executions']} executions in {seconds:.0f} s")
    failures = [failure for _, failure in found if failure]
    for failure in failures:
        print(f"\n{failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
