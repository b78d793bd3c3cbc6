#!/usr/bin/env python3
"""What accrue costs, in one Markdown page; `make bench` runs it.

    bench.py [--build build] [--rounds 5] [--peer PYTHON] [--out FILE] [SECTION...]

Every number stands beside a limit that does not depend on accrue: the processor's
FMA peak, a plain write of the same bytes, a plan made before the run. Limits are
measured next to each run, and runs that are compared take turns, so that a
machine that slows down slows both sides. Medians; in brackets the lowest and the
highest. Only the standard library is used, and no rights beyond a user's."""
import argparse, datetime, json, os, shutil, statistics, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
FASHION = os.path.join(HERE, "../recipes/fashion-mnist.yaml")
SEED = os.path.join(HERE, "../recipes/seed.yaml")
GPT2 = os.path.join(HERE, "../recipes/gpt2-124m-kjv.yaml")
MIB, KIB = 1 << 20, 1 << 10

# 784-512-512-10. Forward and weight gradient of all three layers, backward of the last two.
WEIGHTS = 784 * 512 + 512 * 512 + 512 * 10
BACKWARD = 512 * 512 + 512 * 10
FLOP_SAMPLE = 2 * (2 * WEIGHTS + BACKWARD)
BYTES_SAMPLE = 4 * (WEIGHTS + BACKWARD)  # weights that one sample alone has to read
STATE = 4 * (WEIGHTS + 512 + 512 + 10)   # bytes of the parameters


def flop_token(places):
    """GPT-2 124M: three products with each weight, and causal attention over so many places."""
    return 6 * (12 * 12 * 768 * 768 + 50257 * 768) + 6 * 12 * places * 768



class Bench:
    """The programs, a folder that goes away, and how often."""

    def __init__(self, build, rounds, peer, folder):
        self.peer = peer
        self.accrue, self.programs = os.path.join(build, "accrue"), os.path.join(build, "bench")
        self.rounds, self.folder, self.count = rounds, folder, 0
        self.doctor = json.loads(self.output([self.accrue, "doctor", "--json"]))
        self.isa, self.threads = self.doctor["isa_chosen"], self.doctor["threads"]

    @staticmethod
    def output(command):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"bench: {' '.join(command)}: exit {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def limits(self, kib=1024, threads=None):
        """GFLOP/s and GB/s of all threads, now."""
        program = os.path.join(self.programs, "limits")
        return [float(x) for x in self.output([program, self.isa, str(threads or self.threads), str(kib)]).split()]

    def train(self, recipe, **flags):
        """The last line of `train --json`, with wall seconds and the time to the first update added."""
        self.count += 1
        out = os.path.join(self.folder, f"run{self.count}")
        command = [self.accrue, "train", recipe, "--json", "--output_dir", out]
        for key, value in flags.items():
            command += [f"--{key}", str(value)]
        wall, start = time.time(), time.perf_counter()
        result = json.loads(self.output(command).splitlines()[-1])
        result["wall"] = time.perf_counter() - start
        with open(os.path.join(out, "metrics.jsonl")) as f:
            result["first"] = json.loads(f.readline())["timestamp"] - wall
        shutil.rmtree(out)
        return result


def spread(values, form="{:.0f}"):
    """Median [lowest to highest]."""
    low, middle, high = (form.format(x) for x in (min(values), statistics.median(values), max(values)))
    return f"{middle} [{low} to {high}]"


def table(head, rows):
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)] + ["| " + " | ".join(r) + " |" for r in rows]


# ---- the sections: each a function from Bench to lines of Markdown ---------------------

def machine(b):
    kernel = os.uname()
    commit = subprocess.run(["git", "-C", HERE, "describe", "--always", "--dirty"], capture_output=True, text=True)
    return [f"{b.doctor['processor']}, {b.threads} threads, {kernel.sysname} {kernel.machine}; path {b.isa} of "
            f"{', '.join(b.doctor['isa'])}; accrue {b.doctor['version']} ({commit.stdout.strip() or 'no git'}); "
            f"{datetime.date.today().isoformat()}. Medians of {b.rounds} rounds unless a table says otherwise; "
            "in brackets the lowest and the highest."]


def gemm(b):
    """Limit: the FMA peak of the same path, in slices of a few milliseconds in turn with the product."""
    runs = [(isa, 1) for isa in b.doctor["isa"]] + ([(b.isa, b.threads)] if b.threads > 1 else [])
    cells, peaks = {}, {}
    for isa, threads in runs:
        program = os.path.join(b.programs, "bench_gemm")
        for line in b.output([program, isa, str(threads), "0.15"]).splitlines()[1:]:
            path, _, use, rows, out, inputs, rate, peak, share, best, _ = line.split()
            peaks.setdefault((isa, threads), []).append(float(peak))
            cells.setdefault((use, rows, out, inputs), {})[isa, threads] = f"{float(rate):.1f} ({share}, {best})"
    head = ["product", "rows", "out", "in"] + [f"{i}, {t} thread{'s' * (t > 1)}" for i, t in runs]
    lines = ["GFLOP/s, with the median and the best share of the peak. `lies`: the weights as they lie, not packed. "
             "Peaks: " + "; ".join(f"{i}, {t}: {spread(p)} GFLOP/s" for (i, t), p in peaks.items()) + ".", ""]
    return lines + table(head, [[*shape] + [c.get(r, "") for r in runs] for shape, c in cells.items()])


def fashion(b):
    """Limit: FMA peak / FLOP a sample, by `limits` before and after each run; at micro-batch 1 also the
    reading of the weights from the cache."""
    updates = {512: 40, 64: 40, 8: 24, 1: 8, "auto": 40}
    rates, shares, reads, last = ({m: [] for m in updates} for _ in range(4))
    peaks = []
    b.train(FASHION, max_steps=1, save_steps=0, eval_steps=0)  # the data are converted once
    kib = BYTES_SAMPLE // KIB // b.threads
    for _ in range(b.rounds):
        for m, n in updates.items():
            before = b.limits(kib)
            r = b.train(FASHION, micro_batch_size=m, max_steps=n, save_steps=0, eval_steps=0)
            peak, read = (max(x) for x in zip(before, b.limits(kib)))
            rate = r["samples_per_second"]
            peaks.append(peak), rates[m].append(rate), shares[m].append(100 * rate * FLOP_SAMPLE * 1e-9 / peak)
            reads[m].append(100 * rate * BYTES_SAMPLE / m * 1e-9 / read if m != "auto" else 0)
            last[m] = r
    rows = []
    for m in updates:
        name = f"auto ({last[m]['micro_batch_size']})" if m == "auto" else str(m)
        rows.append([name, spread(rates[m]), spread(shares[m], "{:.1f}%"),
                     f"{statistics.median(reads[m]):.0f}%" if m in (1, 8) else "",
                     f"{last[m]['peak_rss_bytes'] / MIB:.1f}", f"{last[m]['planned_bytes'] / MIB:.1f}"])
    same = len({last[m]["loss"] for m in (512, 64, "auto")}) == 1
    return [f"784-512-512-10, AdamW, effective batch 4096, {FLOP_SAMPLE / 1e6:.3f} MFLOP a sample. FMA peak of "
            f"{b.threads} threads {spread(peaks)} GFLOP/s, which is "
            f"{statistics.median(peaks) * 1e9 / FLOP_SAMPLE:.0f} samples/s if nothing else took time. The loss after "
            f"40 updates is {'the same to the last bit' if same else 'NOT THE SAME'} for 512, 64 and auto. "
            "`weights read`: bytes of weights a sample over what the cache gives "
            f"({kib} KiB a thread, read and nothing else).", ""] + table(
        ["micro-batch", "samples/s", "of FMA peak", "weights read", "peak MiB", "planned MiB"], rows)


def seed(b):
    """Limit: 20 us an epoch of 20 micro-batches. What is left is calls, not arithmetic."""
    sizes, rows = (1, 5, 20, 100), []
    times = {m: [] for m in sizes}
    for _ in range(b.rounds):
        for m in sizes:
            r = b.train(SEED, micro_batch_size=m, num_train_epochs=20000, save_steps=0, logging_steps=20000)
            times[m].append(1e8 / r["samples_per_second"])
    for m in sizes:
        rows.append([str(m), spread(times[m], "{:.1f}"), f"{statistics.median(times[m]) * 1e3 * m / 100:.0f}"])
    return ["10-5-2 on 100 points, an update an epoch, 20,000 epochs a run.", ""] + table(
        ["micro-batch", "us an epoch", "ns a micro-batch"], rows)


def windows(b):
    """Limit of an update: 7 passes of 4 bytes over the parameters (reads p, g, m, v; writes p, m, v)."""
    effective, samples = (64, 256, 1024, 4096, 16384), 49152
    times = {e: [] for e in effective}
    for _ in range(b.rounds):
        for e in effective:
            r = b.train(FASHION, micro_batch_size=64, effective_batch_size=e, max_steps=samples // e, save_steps=0,
                        eval_steps=0, logging_steps=100000, **{"data.train.samples": samples})
            times[e].append(1e6 / r["samples_per_second"])
    base = [statistics.median(times[e]) for e in effective]
    cost = (base[0] - base[-1]) / (1 / effective[0] - 1 / effective[-1])
    rows = [[str(e), str(e // 64), spread(times[e], "{:.2f}"), f"{100 * (t / base[-1] - 1):+.1f}%"]
            for e, t in zip(effective, base)]
    return table(["effective batch", "micro-batches of 64", "us a sample", "against the longest"], rows) + [
        "", f"Opening and closing a window costs {cost:.0f} us, AdamW on {STATE / MIB:.1f} MiB of parameters and the "
        f"packing of the new weights included ({7 * STATE / cost / 1e3:.0f} GB/s for the optimizer's seven passes "
        "alone); adding another micro-batch to an open window costs what the micro-batch computes."]


def checkpoints(b):
    """Limit: writing as many bytes to a file of the same folder and fsync."""
    plain, costs, bytes_saved = [], [], 3 * STATE
    for _ in range(b.rounds):
        path = os.path.join(b.folder, "plain")
        start = time.perf_counter()
        with open(path, "wb") as f:
            f.write(bytes(bytes_saved))
            f.flush()
            os.fsync(f.fileno())
        plain.append(1e3 * (time.perf_counter() - start))
        os.unlink(path)
        extra = []
        for save in (1000, 1):
            r = b.train(FASHION, micro_batch_size=64, effective_batch_size=64, max_steps=21, save_steps=save,
                        eval_steps=0)
            extra.append(r["wall"] - r["seconds"])  # what is not training: start-up, saving, the end
        costs.append(1e3 * (extra[1] - extra[0]) / 20)
    return [f"A checkpoint of {bytes_saved / MIB:.1f} MiB (parameters and AdamW's two moments): "
            f"{spread(costs, '{:.1f}')} ms, all its files, checksums, fsyncs and renames included. A plain write and "
            f"fsync of as many bytes, in turn with it: {spread(plain, '{:.1f}')} ms. At the default of one in ten "
            f"minutes that is {100 * statistics.median(costs) / 600e3:.4f}% of the time."]


def memory(b):
    """Limit: planned_bytes, said before anything is allocated; and --memory_limit where one is given."""
    cases = [(m, 4096, None) for m in (1, 8, 64, 512, 4096)] + [(64, e, None) for e in (64, 1024, 16384, 60000)]
    cases += [("auto", 4096, f"{limit}MiB") for limit in (20, 24, 32, 64)]
    rows, above = [], 0
    for micro, effective, limit in cases:
        flags = {"memory_limit": limit} if limit else {}
        r = b.train(FASHION, micro_batch_size=micro, effective_batch_size=effective, max_steps=2, save_steps=0,
                    eval_steps=1, **flags)
        peak, planned = r["peak_rss_bytes"], r["planned_bytes"]
        above += peak > planned or bool(limit) and peak > int(limit[:-3]) * MIB
        rows.append([f"{micro} ({r['micro_batch_size']})" if limit else str(micro), str(effective), limit or "none",
                     f"{planned / MIB:.1f}", f"{peak / MIB:.1f}", f"{100 * peak / planned:.0f}%"])
    return [f"Two updates and an evaluation, one run each; peak is VmHWM of the process. Runs above their plan or "
            f"limit: {above}.", ""] + table(
        ["micro-batch", "effective batch", "memory_limit", "planned MiB", "peak MiB", "peak / planned"], rows)


def logging(b):
    """Limit: 1% of the training time. `seconds` leaves the log out, so wall - seconds holds it."""
    def line(recipe, updates, **flags):
        extra = []
        for every in (100000, 1):
            r = b.train(recipe, max_steps=updates, num_train_epochs=updates, save_steps=0, logging_steps=every, **flags)
            extra.append(r["wall"] - r["seconds"])
        return 1e6 * (extra[1] - extra[0]) / updates, 1e3 * r["seconds"] / updates

    small, large, updates = [], [], []
    for _ in range(b.rounds):
        small.append(line(SEED, 20000)[0])
        cost, update = line(FASHION, 1500, micro_batch_size=64, effective_batch_size=64, eval_steps=0)
        large.append(cost), updates.append(update)
    share = statistics.median(large) / 10
    return ["A line for every update into metrics.jsonl, metrics.csv and the TensorBoard events, and its part of "
            f"report.html: {spread(small, '{:.1f}')} us where lines follow each other (the seed network, 20,000 "
            f"lines), {spread(large, '{:.1f}')} us between updates of {spread(updates, '{:.2f}')} ms (Fashion-MNIST, "
            f"effective batch 64, 1,500 lines): {share / statistics.median(updates):.2f}% of the training time. At "
            f"1 ms an update it would be {share:.2f}%."]


def startup(b):
    """Limit: 20 ms from the start of the process to the first line of metrics.jsonl."""
    first, whole = [], []
    for _ in range(4 * b.rounds):
        r = b.train(SEED, max_steps=1)
        first.append(1e3 * r["first"]), whole.append(1e3 * r["wall"])
    return [f"From starting the process to the first update of the seed network: {spread(first, '{:.1f}')} ms. The "
            f"whole run of one update, with its checkpoint, model and report written and synced: "
            f"{spread(whole, '{:.1f}')} ms. {4 * b.rounds} runs."]


def language(b):
    """Limit: FMA peak in fp32 / FLOP a token. bf16 has a limit of its own only where instructions multiply it."""
    runs = [(d, m, t) for d in ("float32", "bfloat16") for m, t in ((4, 256), (1, 256), (1, 1024))]
    rates, shares, last = ({r: [] for r in runs} for _ in range(3))
    peaks = []
    for _ in range(min(b.rounds, 3)):
        for dtype, micro, places in runs:
            before = b.limits()[0]
            r = b.train(GPT2, dtype=dtype, micro_batch_size=micro, effective_batch_size=4, max_steps=3, save_steps=0,
                        eval_steps=0, set=f"data.sequence_length={places}")
            peaks.append(max(before, b.limits()[0]))
            key, rate = (dtype, micro, places), r["tokens_per_second"]
            rates[key].append(rate), shares[key].append(100 * rate * flop_token(places) * 1e-9 / peaks[-1])
            last[key] = r
    rows = [[d, str(m), str(t), spread(rates[d, m, t]), spread(shares[d, m, t], "{:.1f}%"),
             f"{last[d, m, t]['peak_rss_bytes'] / MIB:.0f}", f"{last[d, m, t]['planned_bytes'] / MIB:.0f}"]
            for d, m, t in runs]
    return [f"GPT-2 124M on the King James Bible, random weights, AdamW, clipping, three updates of 4 sequences; "
            f"{flop_token(256) / 1e9:.3f} GFLOP a token at 256 places. FMA peak of {b.threads} threads {spread(peaks)} "
            f"GFLOP/s in fp32, which is {statistics.median(peaks) * 1e9 / flop_token(256):.0f} tokens/s. "
            f"{min(b.rounds, 3)} rounds.", ""] + table(
        ["dtype", "micro-batch", "places", "tokens/s", "of fp32's FMA peak", "peak MiB", "planned MiB"], rows)


def peer(b):
    """Both sides of peer_jax.py's work, in turn; the ratio is that of each pair."""
    if not b.peer:
        return ['Left out: needs `--peer PYTHON`, a Python with jax[cpu] and optax.']
    runs = {("mlp", m, "float32"): dict(max_steps=40 if m > 8 else 8) for m in (512, 64, 8, 1)}
    dtypes = ["float32"] + ["bfloat16"] * ("avx512_bf16" in b.doctor["isa"])  # elsewhere JAX takes minutes for a window
    runs |= {("gpt2", m, d): dict(max_steps=3, effective_batch_size=4) for d in dtypes for m in (4, 1)}
    rows = []
    for (work, m, dtype), flags in runs.items():
        ours, theirs, last = [], [], None
        for _ in range(b.rounds if work == "mlp" else min(b.rounds, 3)):
            last = b.train(GPT2 if work == "gpt2" else FASHION, micro_batch_size=m, dtype=dtype, save_steps=0, eval_steps=0, **flags)
            ours.append(last["tokens_per_second" if work == "gpt2" else "samples_per_second"])
            command = [b.peer, os.path.join(HERE, "peer_jax.py"), work, str(m)] + ([dtype] if work == "gpt2" else [])
            other = json.loads(b.output(command))
            theirs.append(other["rate"])
        rows.append([work, dtype, str(m), spread(ours), spread(theirs),
                     spread([x / y for x, y in zip(ours, theirs)], "{:.2f}"),
                     f"{last['peak_rss_bytes'] / MIB:.0f}", f"{other['peak_rss_bytes'] / MIB:.0f}"])
    versions = b.output([b.peer, "-c", "import jax, optax; print('JAX', jax.__version__, 'with optax', optax.__version__)"])
    return [f"mlp: 784-512-512-10, effective batch 4096, samples/s. gpt2: GPT-2 124M, 4 sequences of 256 places an update, "
            f"tokens/s. {versions.strip()} (bench/peer_jax.py), in turn with accrue; the ratio is that of each pair.", ""] + table(
        ["work", "dtype", "micro-batch", "accrue", "JAX", "accrue / JAX", "accrue, peak MiB", "JAX, peak MiB"], rows)


# Title, function, what it needs: a program, or data that doctor looks for.
SECTIONS = {
    "gemm": ("Products by shape and path", gemm, None),
    "fashion": ("Fashion-MNIST by micro-batch", fashion, "dataset-fashion-mnist"),
    "seed": ("The smallest network", seed, None), "windows": ("What a window costs", windows, "dataset-fashion-mnist"),
    "checkpoints": ("Checkpoints", checkpoints, "dataset-fashion-mnist"),
    "memory": ("Memory", memory, "dataset-fashion-mnist"), "logging": ("Logging", logging, "dataset-fashion-mnist"),
    "startup": ("Start-up", startup, None), "language": ("Language models", language, "bible-kjv"),
    "peer": ("Against a peer", peer, "bible-kjv"),
}
ASKED = {"language", "peer"}  # minutes: only where it is named


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    p.add_argument("--build", default=os.path.join(HERE, "../build"))
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--peer", metavar="PYTHON", help="a Python with jax[cpu] and optax, for the section peer")
    p.add_argument("--out", help="file for the page; standard output if none")
    args = p.parse_args()
    unknown = [s for s in args.sections if s not in SECTIONS]
    if unknown or args.rounds < 1:
        p.error(f"no section {unknown[0]}; there are {', '.join(SECTIONS)}" if unknown else "--rounds: at least 1")
    with tempfile.TemporaryDirectory(prefix="accrue-bench-") as folder:
        b = Bench(args.build, args.rounds, args.peer, folder)
        page = ["# accrue, measured", ""] + machine(b)
        there = {None: True, "dataset-fashion-mnist": b.doctor["fashion_mnist"], "bible-kjv": shutil.which("bible")}
        for name, (title, section, needs) in SECTIONS.items():
            if name not in args.sections if args.sections else name in ASKED:
                continue
            page += ["", f"## {title}", ""]
            if not there[needs]:
                page += [f"Left out: needs the package {needs}."]
                continue
            print(f"bench: {name}", file=sys.stderr)
            start = time.perf_counter()
            page += section(b)
            print(f"bench: {name} took {time.perf_counter() - start:.0f} s", file=sys.stderr)
    text = "\n".join(page) + "\n"
    if args.out:
        with open(args.out, "w") as f:
            f.write(text)
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
