#!/usr/bin/env python3
"""Compares what a build of tests/one_hash.c prints with tests/golden/one_hash.txt.

    tests/one_hash.py COMMAND [ARG ...]        for example: qemu-aarch64 build-aarch64/one_hash
"""
import os, subprocess, sys

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(HERE, "golden/one_hash.txt")


def main():
    want = open(GOLDEN).read().split("\n")
    p = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE)
    got = p.stdout.decode().split("\n")
    if p.returncode == 0 and got == want:
        print("ok one_hash")
        return 0
    for g, w in zip(got, want):
        if g != w:
            print(f"printed  {g}\nexpected {w}")
    print(f"not ok one_hash: exit {p.returncode}, other lines than {GOLDEN}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
