#!/usr/bin/env python3
"""The documentation says what is there: commands, exit codes, options, variables, files, numbers."""
import csv, glob, json, os, re, shutil, subprocess
from helper import *

MAN = os.path.join(ROOT, "docs/accrue.1.scd")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)


def read(path):
    with open(os.path.join(ROOT, path)) as f:
        return f.read()


def pages():
    found = {os.path.relpath(p, ROOT): read(p) for p in glob.glob(f"{ROOT}/*.md") + glob.glob(f"{ROOT}/docs/*.md")}
    return dict(found, **{"docs/accrue.1.scd": read(MAN)})


def section(name):
    return re.search(rf"^# {name}\n(.*?)(?=^# |\Z)", read(MAN), re.M | re.S)[1]


def commands():
    return dict(re.findall(r"^  accrue ([a-z]+) +(.*)$", ok(accrue("--help")).out, re.M))


def flags_of(command):
    """Options and switches."""
    text = ok(accrue(command, "--help")).out
    return set(re.findall(r"^  --([\w.]+)", text, re.M)) | {"set"}


def equal(a, b):
    assert a == b, f"only here {sorted(set(a) - set(b))}, only there {sorted(set(b) - set(a))}"


def test_man_page_has_every_command(d):
    entries = re.findall(r"^\*(\w+)\*(.*)\n\t(.*)", section("COMMANDS"), re.M)
    equal([e[0] for e in entries], list(commands()))
    for name, arguments, text in entries:
        assert text.startswith(commands()[name].split(";")[0]), (text, commands()[name])
        usage = ok(accrue(name, "--help")).out.splitlines()[0]
        assert usage.rstrip() == f"usage: accrue {name}{arguments.replace('_', '')}", (usage, arguments)


def test_exit_codes(d):
    told = {int(n) for n in re.findall(r"(?:codes:|,)\s+(\d+) ", ok(accrue("--help")).out)}
    real = {int(n) for n in re.findall(r"X\(ACR_\w+, \d+, (\d+), ", read("include/accrue/accrue.h"))} | {75}
    equal({int(n) for n in re.findall(r"^\*(\d+)\*", section("EXIT CODES"), re.M)}, real)
    equal(told, real)


def test_environment(d):
    real = set()
    for p in glob.glob(f"{ROOT}/src/*/*.c"):
        real |= set(re.findall(r'getenv\("(\w+)"\)', read(p)))
    real -= {"ACCRUE_TEST_FAIL_IO"}  # of the fault tests
    told = set(re.findall(r"\*([A-Z_]+)\*", section("ENVIRONMENT").replace("\\", ""))) - {"ACCRUE_KEY"}
    equal(told, real)


def test_options_are_real(d):
    lines = [l for l in read("docs/options.md").splitlines() if l.startswith("| `")]
    rows = [[c.strip() for c in l.split("|")[1:-1]] for l in lines]
    switches = {"json", "quiet", "verbose", "help", "set"}
    equal({r[0].strip("`") for r in rows}, flags_of("train") - switches)
    for name in [n for r in rows for n in [r[0].strip("`")] + re.findall(r"`(\S+?)`", r[5])]:
        a = accrue("plan", SEED, "-q", f"--{name}=")
        assert "unknown" not in a.err and (a.code == 0 or f"--{name}" in a.err), (name, a.code, a.err)
    refused(accrue("plan", SEED, "--no_such_option=1"), 2, "unknown")


def test_commands_shown_exist(d):
    flags = {c: flags_of(c) for c in commands()}
    shown = 0
    for page, text in pages().items():
        code = "\n".join(body for _, body in FENCE.findall(text))
        for name, words in re.findall(r"^(?:\$ )?(?:build/)?accrue (\S+)(.*)$", code, re.M):
            assert name in flags, f"{page}: accrue {name}"
            for flag in re.findall(r"--([\w.-]+)", words):
                assert flag.replace("-", "_") in flags[name], f"{page}: accrue {name}{words}: {flag}"
            shown += 1
    assert shown > 12, shown
    known = set().union(*flags.values()) | {"version"}
    told = set(re.findall(r"--([a-z][\w.]+)", read(MAN)))
    assert told <= known, told - known


def test_links(d):
    for page, text in pages().items():
        for link in re.findall(r"\]\(([^)#:]+)\)", FENCE.sub("", text)):
            there = os.path.join(ROOT, os.path.dirname(page), link)
            assert os.path.exists(there), f"{page}: there is no {link}"


def test_man_page_renders(d):
    if not shutil.which("scdoc"):
        return "scdoc is not installed"
    p = subprocess.run(["scdoc"], input=read(MAN), capture_output=True, text=True)
    assert p.returncode == 0 and ".TH" in p.stdout, p.stderr


def test_formats(d):
    text = read("docs/formats.md")
    a = ok(train(SEED, f"{d}/run", "--optimizer", "adam", "--data.eval.format", "normal", "--data.eval.samples", 9))
    for f in os.listdir(f"{d}/run"):
        assert re.sub(r"tfevents.*", "tfevents.*", f) in text, f"{f} is not described"
    with open(f"{d}/run/metrics.csv") as f:
        equal(re.findall(r"^\| `(\w+)` \|", text.split("## Metrics")[1].split("## Model")[0], re.M),
              next(csv.reader(f)))
    for key in list(a.json) + list(json.loads(read(f"{d}/run/accrue.json"))):
        assert f"`{key}`" in text or f'"{key}"' in text, f"{key} is not described"
    inspected = ok(accrue("inspect", f"{d}/run/checkpoints/step-00000100.safetensors", "--json")).json
    for key in inspected["metadata"]:
        assert f"`{re.sub('^run[.].*', 'run.*', key)}`" in text, f"{key} is not described"
    for tensor in inspected["tensors"]:
        assert "`" + re.sub(r"\d\.\w+$", "NAME", tensor["name"]) + "`" in text, f"{tensor['name']} is not described"


def test_worked_numbers(d):
    """The four samples of accumulation.md, in all reductions and splits it tells."""
    text = read("docs/accumulation.md")
    blocks = {kind: body for kind, body in FENCE.findall(text) if kind}
    subprocess.run(["python3", "-c", blocks["python"]], cwd=d, check=True)
    write(f"{d}/points.yaml", blocks["yaml"])
    rows = re.findall(r"^\| `(\w+)` \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|", text, re.M)
    assert len(rows) == 4, rows
    for reduction, *norms in rows:
        for micro, norm in zip((1, 2, 4), norms):
            run = f"{d}/{reduction}{micro}"
            ok(train(f"{d}/points.yaml", run, "--loss_reduction", reduction, "--micro_batch_size", micro))
            seen = read_metrics(run)[0]["grad_norm"]
            assert abs(seen - float(norm)) < 1e-6, (reduction, micro, norm, seen)


def test_library_page_quotes_the_examples(d):
    blocks = FENCE.findall(read("docs/library.md"))
    for kind, example in (("c", "examples/seed.c"), ("python", "examples/seed.py")):
        lines = [l for k, body in blocks if k == kind for l in body.splitlines()]
        missing = [l for l in lines if l.strip() and l not in read(example).splitlines()]
        assert lines and not missing, f"not in {example}: {missing}"


if __name__ == "__main__":
    run_tests(globals())
