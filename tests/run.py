#!/usr/bin/env python3
"""Runs the tests and counts them. Python's standard library only.

    tests/run.py [--build DIR] [--jobs N] [WORD ...]

A WORD is a kind (unit property golden fault cli fuzz examples checks) or a part of
a program's name, and picks what runs; without one everything does. A program is one
file of tests/KIND; it prints TAP (cmocka's, or lines 'ok NAME', 'not ok NAME: why',
'skip NAME: why'). Output is shown in full for what fails, and the reason for what is
skipped. The last line is 'N passed, N failed, N skipped'; any failure exits with 1.

A program that prints no result, stops before its plan's end, or exits with an error
although every line said ok, counts as a failure: silence is not success.
"""
import argparse, collections, concurrent.futures, glob, os, re, shutil, signal, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RESULT = re.compile(r"^(ok|not ok|skip)\b[ :]*(.*)$")
Program = collections.namedtuple("Program", "kind name command")
Outcome = collections.namedtuple("Outcome", "program passed failed skipped output seconds")
Result = collections.namedtuple("Result", "mark name why")


def stem(path):
    return os.path.splitext(os.path.basename(path))[0]


def sources(pattern):
    return sorted(glob.glob(os.path.join(ROOT, pattern)))


def corpus_of(name):
    """The files of tests/fuzz/corpus/NAME for the target fuzz_NAME."""
    folder = os.path.join(ROOT, "tests/fuzz/corpus", name[len("fuzz_"):])
    return sorted(os.path.join(folder, f) for f in os.listdir(folder)) if os.path.isdir(folder) else []


def programs(build):
    """Every program there is, the slow kinds first so that the last one does not run alone."""
    python = sys.executable
    for f in sources("tests/cli/*.py") + sources("tests/cli/*.sh"):
        if os.access(f, os.X_OK):
            yield Program("cli", stem(f), [f])
    for kind in ("property", "fault", "golden", "unit"):
        for f in sources(f"tests/{kind}/test_*.c"):
            yield Program(kind, stem(f), [f"{build}/tests/{kind}/{stem(f)}"])
    yield Program("golden", "one_hash", [python, f"{ROOT}/tests/one_hash.py", f"{build}/one_hash"])
    for f in sources("tests/fuzz/fuzz_*.c"):
        yield Program("fuzz", stem(f), [f"{build}/tests/fuzz/{stem(f)}"] + corpus_of(stem(f)))
    for f in sources("examples/*.c"):
        yield Program("examples", stem(f), [f"{build}/examples/{stem(f)}"])
    for f in sources("examples/*.py"):
        yield Program("examples", stem(f) + ".py", [python, f])
    for f in sources("tests/check_*.py"):
        yield Program("checks", stem(f), [python, f, build])


def environment(build, scratch):
    return dict(os.environ, ACCRUE=f"{build}/accrue", ACCRUE_LIBRARY=f"{build}/libaccrue.so", ACCRUE_BUILD=build,
                ACCRUE_SOURCE=ROOT, LD_LIBRARY_PATH=build, XDG_CACHE_HOME=f"{scratch}/cache", TMPDIR=scratch,
                CMOCKA_MESSAGE_OUTPUT="TAP", UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1",
                ASAN_OPTIONS="allocator_may_return_null=1", TSAN_OPTIONS="halt_on_error=1")


def run(program, build, scratch, limit):
    """Runs one program; its exit code (or a sentence), what it printed, and the seconds it took."""
    if not os.path.exists(program.command[0]):
        return f"{os.path.relpath(program.command[0], ROOT)} is not built", "", 0.0
    where = ROOT
    if program.kind == "examples":
        where = tempfile.mkdtemp(prefix=program.name + "-", dir=scratch)
    start = time.time()
    child = subprocess.Popen(program.command, cwd=where, env=environment(build, scratch), stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        out, _ = child.communicate(timeout=limit)
        code = child.returncode
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        out, _ = child.communicate()
        code = f"no end after {limit} s"
    return code, out.decode("utf-8", "replace"), time.time() - start


def parse(text):
    """The results in a program's output, and how many its plan promised (None without a plan)."""
    results, promised, before = [], None, ""
    for line in text.splitlines():
        plan = re.match(r"^1\.\.(\d+)$", line)
        found = RESULT.match(line)
        if plan:
            promised = (promised or 0) + int(plan.group(1))
        elif found:
            mark, rest = found.groups()
            rest = re.sub(r"^\d+\s*(- )?", "", rest)
            if "# SKIP" in rest:  # cmocka gives no reason; tests print it just before
                mark, rest = "skip", f"{rest.replace('# SKIP', '').strip()}: {before or 'no reason given'}"
            name, _, why = rest.partition(": ")
            results.append(Result(mark, name, why))
        elif line.strip() and not line.startswith("# "):
            before = line.strip()
    return results, promised


def judge(program, code, text, seconds):
    results, promised = parse(text)
    failed = [f"{r.name}: {r.why}" if r.why else r.name for r in results if r.mark == "not ok"]
    passed = sum(r.mark == "ok" for r in results)
    skipped = [f"{r.name}: {r.why}" for r in results if r.mark == "skip"]
    if isinstance(code, str):
        failed.append(code)
    elif program.kind in ("examples", "fuzz") and not results:  # these speak by their exit code
        if code != 0:
            failed.append(f"exit {code}")
        elif program.kind == "fuzz" and len(program.command) == 1:
            failed.append("no corpus")
        else:
            passed = 1
    elif promised is not None and len(results) < promised:
        failed.append(f"stopped after {len(results)} of {promised} (exit {code})")
    elif not results:
        failed.append(f"no result (exit {code})")
    elif code != 0 and not failed:
        failed.append(f"exit {code} though nothing failed")
    return Outcome(program, passed, failed, skipped, text, seconds)


def show(o):
    text = f"{o.passed} passed"
    if o.failed:
        text += f", {len(o.failed)} failed"
    if o.skipped:
        text += f", {len(o.skipped)} skipped"
    print(f"{o.program.kind}/{o.program.name}: {text} ({o.seconds:.1f} s)", flush=True)
    if o.failed:
        print("".join(f"    | {line}\n" for line in o.output.splitlines()), end="")
        for why in o.failed:
            print(f"    FAILED {why}", flush=True)


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--build", default="build")
    ap.add_argument("--jobs", type=int, default=2)
    ap.add_argument("--limit", type=int, default=600, help="seconds one program may take")
    ap.add_argument("words", nargs="*")
    a = ap.parse_args()
    build = os.path.abspath(a.build)
    chosen = [p for p in programs(build) if not a.words or any(w == p.kind or w in p.name for w in a.words)]
    scratch = tempfile.mkdtemp(prefix="accrue-tests-")
    outcomes = []
    try:
        with concurrent.futures.ThreadPoolExecutor(a.jobs) as pool:
            jobs = {pool.submit(run, p, build, scratch, a.limit): p for p in chosen}
            for done in concurrent.futures.as_completed(jobs):
                o = judge(jobs[done], *done.result())
                show(o)
                outcomes.append(o)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    for mark in ("skipped", "failed"):
        for o in outcomes:
            for why in getattr(o, mark):
                print(f"{mark}: {o.program.kind}/{o.program.name}: {why}")
    passed = sum(o.passed for o in outcomes)
    failed = sum(len(o.failed) for o in outcomes)
    print(f"{passed} passed, {failed} failed, {sum(len(o.skipped) for o in outcomes)} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
