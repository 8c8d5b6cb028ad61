"""Compare many random templates with Go: ``python -m fuzz.expressions --cases 100000 --seed 1``."""

from __future__ import annotations

import argparse
import sys
import time

from fuzz.expressions import campaign, oracle


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz.expressions", description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", type=int, default=0, help="number of the first case")
    parser.add_argument("--stop-after", type=int, default=10, help="disagreements")
    arguments = parser.parse_args()
    started = time.process_time()
    with oracle.running() as go:
        report = campaign.run(
            go, arguments.seed, arguments.cases, start=arguments.start, stop_after=arguments.stop_after
        )
    for disagreement in report.disagreements:
        print(f"\n{disagreement}")
    print(f"\n{report.cases} cases of seed {arguments.seed} in {time.process_time() - started:.0f} s of CPU")
    print(f"Go's answers: {dict(report.kinds.most_common())}")
    print(f"deliberate differences: {dict(report.excused.most_common())}")
    print(f"in templates with a value, constructs: {dict(report.coverage.constructs.most_common())}")
    print(f"in templates with a value, functions: {dict(report.coverage.functions.most_common())}")
    print(f"in none of them: {', '.join(report.coverage.missing()) or 'nothing'}")
    print("\n".join(report.broken_laws[: arguments.stop_after]))
    print(f"disagreements: {len(report.disagreements)}; broken laws: {len(report.broken_laws)}")
    return 1 if report.disagreements or report.broken_laws else 0


if __name__ == "__main__":
    sys.exit(main())
