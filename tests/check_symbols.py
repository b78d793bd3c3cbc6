#!/usr/bin/env python3
"""What the built libraries take and give: nm over libaccrue's objects and the shared libraries.

    tests/check_symbols.py BUILD

 - libaccrue takes from libm only what IEEE defines to the last bit (fma, sqrt, floor): the rest differs between systems.
   The kernels over double are an oracle, bound to no bits, and are left out.
 - libaccrue neither prints, exits nor aborts, and draws no random numbers
 - the shared libraries export acr_ names only, and none of the internal acr__ ones
"""
import glob, os, re, subprocess, sys

PROPER = "base kernel graph plan comm optim accum train".split()
LIBM = set("""acos acosh asin asinh atan atan2 atanh cbrt cos cosh erf erfc exp exp2 expm1 fmod hypot lgamma log log10
log1p log2 pow remainder sin sinh sincos tan tanh tgamma powi""".split())
LIBM |= {f + "f" for f in LIBM}
VOICE = set("""printf puts putchar fputs fputc fwrite fprintf vprintf vfprintf perror __printf_chk __fprintf_chk exit
_exit _Exit quick_exit abort rand random srand drand48""".split())


def nm(*args):
    return subprocess.run(["nm", *args], check=True, capture_output=True, text=True).stdout.splitlines()


def undefined(build):
    """Names that the library's objects take, each with the objects that take it."""
    taken = {}
    for part in sorted(glob.glob(f"{build}/CMakeFiles/accrue_*.dir/src/")):
        objects = [os.path.relpath(o, part) for o in glob.glob(f"{part}/**/*.o", recursive=True)]
        for o in sorted(objects):
            if o.split("/")[0] in PROPER and "/accrue_ref64.dir/" not in part:
                for line in nm("-u", part + o):
                    taken.setdefault(line.split()[-1], []).append(o[:-2])
    return taken


def main():
    build = sys.argv[1]
    bad = 0

    def say(name, complaints):
        nonlocal bad
        for c in complaints:
            print(c)
        bad += len(complaints)
        print(f"not ok {name}: {len(complaints)} complaints" if complaints else f"ok {name}")

    taken = undefined(build)
    say("objects", [] if len(taken) > 10 else [f"{build} holds no objects of the library"])
    say("libm", [f"{', '.join(taken[s])}: {s} differs between systems; base/ has its own" for s in sorted(taken) if s in LIBM])
    say("voice", [f"{', '.join(taken[s])}: calls {s}" for s in sorted(taken) if s in VOICE])
    for name in ("libaccrue.so", "libaccrue_io.so"):
        path = f"{build}/{name}"
        if not os.path.exists(path):
            say(name, [f"{path} is not built"])
            continue
        given = [line.split()[-1] for line in nm("-D", "--defined-only", path)]
        say(name, [f"{name} exports {s}" for s in given if not re.match(r"^acr_[a-z]", s)])
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
