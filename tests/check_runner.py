#!/usr/bin/env python3
"""Shows the runner what a broken test program prints, and sees that it counts a failure."""
import os, sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import run as runner

CASES = [  # kind, exit code, output, (passed, failed, skipped)
    ("unit", 0, "1..2\nok 1 - a\nok 2 - b\n", (2, 0, 0)),
    ("unit", 1, "1..2\nok 1 - a\nnot ok 2 - b\n# 1 != 2\n# not ok - program\n", (1, 1, 0)),
    ("unit", 0, "1..2\nok 1 - a\nno avx512 here\nnot ok 2 # SKIP b\n", (1, 0, 1)),
    ("unit", -11, "1..2\nok 1 - a\n", (1, 1, 0)),
    ("unit", 0, "1..2\nok 1 - a\n", (1, 1, 0)),
    ("unit", 1, "1..1\nok 1 - a\nLeakSanitizer: 1 byte\n", (1, 1, 0)),
    ("unit", "no end after 5 s", "1..1\n", (0, 1, 0)),
    ("cli", 0, "", (0, 1, 0)),
    ("cli", 1, "Traceback\n", (0, 1, 0)),
    ("cli", 0, "ok a\nskip b: no disk\n", (1, 0, 1)),
    ("cli", 1, "ok a\nnot ok b: exit 3, 4 expected\n", (1, 1, 0)),
    ("examples", 0, "trained\n", (1, 0, 0)),
    ("examples", 1, "trained\n", (0, 1, 0)),
    ("fuzz", 0, "", (0, 1, 0)),
]


def main():
    bad = 0
    for kind, code, text, want in CASES:
        o = runner.judge(runner.Program(kind, "it", ["program"]), code, text, 0.0)
        got = (o.passed, len(o.failed), len(o.skipped))
        if got != want:
            print(f"{kind}, exit {code}, {text!r}: counted {got}, {want} expected")
            bad += 1
    print(f"not ok runner: {bad} of {len(CASES)}" if bad else "ok runner")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
