#!/usr/bin/env python3
"""The same long training twice: once left alone, once killed again and again.

    tests/long.py [--minutes 60] [--recipe recipes/gpt2-small-kjv.yaml] [--accrue build/accrue] [--seed N] [OPTION ...]

Both runs go side by side on a share of the processors each. The second is killed
(SIGKILL) at random moments, some ten times, and resumes each time with another
micro-batch, number of threads and instruction set. In the end the model's bytes
and every number of the log that does not tell of time or of micro-batches must be
equal. OPTIONs go to both runs. Ends with 'N passed, N failed'; needs twice the
recipe's memory and is no part of `make test`.
"""
import argparse, hashlib, json, os, random, shutil, subprocess, sys, tempfile, time

KILLS = 10


def command(args, out, *more):
    return [args.accrue, "train", args.recipe, "--output_dir", out, "--json", *args.option, *more]


def last_json(text):
    return json.loads([line for line in text.splitlines() if line.startswith("{")][-1])


def updates_in(args, seconds, threads, folder):
    """How many updates take that long beside another run, from two probes at once."""
    probes = [subprocess.Popen(command(args, f"{folder}/probe{i}", "--max_steps", "6", "--threads", str(threads),
                                       "--eval_steps", "0", "--save_steps", "0"),
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) for i in range(2)]
    records = [last_json(p.communicate()[0]) for p in probes]
    per_update = max(r["samples"] / r["updates"] / r["samples_per_second"] for r in records)
    return max(int(seconds / per_update), 20)


def settings(rng, isas):
    return {"micro_batch_size": rng.choice([1, 2, 3, 4, 7, 8, 16]), "threads": rng.choice([1, 2]), "isa": rng.choice(isas)}


def killed_run(args, rng, out, updates, mean_seconds):
    """Trains to the end, with kills between; returns how many there were."""
    isas = [i for i in json.loads(subprocess.check_output([args.accrue, "doctor", "--json"]))["isa"] if i != "scalar"]
    kills = 0
    while True:
        s = settings(rng, isas or ["scalar"])
        flags = ["--max_steps", str(updates), "--save_steps", str(max(updates // 50, 1)), "--resume_from_checkpoint",
                 "auto", "--micro_batch_size", str(s["micro_batch_size"]), "--threads", str(s["threads"])]
        p = subprocess.Popen(command(args, out, *flags), env=dict(os.environ, ACCRUE_ISA=s["isa"]),
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        patience = rng.expovariate(1 / mean_seconds) if kills < 3 * KILLS else None
        started = time.time()
        try:
            error = p.communicate(timeout=patience)[1]
        except subprocess.TimeoutExpired:
            p.kill()
            p.communicate()
            kills += 1
            print(f"killed after {time.time() - started:.0f} s: {s}", flush=True)
            continue
        if p.returncode != 0:
            sys.exit(f"exit {p.returncode} with {s}: {error[-500:]}\n0 passed, 1 failed")
        return kills


def numbers(folder):
    """The log without what tells of time, memory and how a window was cut."""
    lines = [json.loads(line) for line in open(f"{folder}/metrics.jsonl")]
    told = ("timestamp", "seconds", "per_second", "bytes", "micro_batches")
    return [{k: v for k, v in line.items() if not any(t in k for t in told)} for line in lines]


def digest(path):
    return hashlib.sha256(open(path, "rb").read()).hexdigest()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--recipe", default="recipes/gpt2-small-kjv.yaml")
    parser.add_argument("--accrue", default="build/accrue")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    args, args.option = parser.parse_known_args()
    rng = random.Random(args.seed)
    folder = tempfile.mkdtemp(prefix="accrue-long-")
    threads = max((os.cpu_count() or 1) // 2, 1)
    updates = updates_in(args, args.minutes * 60, threads, folder)
    print(f"{updates} updates twice, seed {args.seed}, in {folder}", flush=True)
    alone = subprocess.Popen(command(args, f"{folder}/alone", "--max_steps", str(updates), "--threads", str(threads)),
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    kills = killed_run(args, rng, f"{folder}/killed", updates, args.minutes * 60 / KILLS)
    record = last_json(alone.communicate()[0])
    checks = {
        "model.safetensors": digest(f"{folder}/alone/model.safetensors") == digest(f"{folder}/killed/model.safetensors"),
        "metrics.jsonl": numbers(f"{folder}/alone") == numbers(f"{folder}/killed"),
    }
    print(f"{record['updates']} updates, loss {record['loss']}, {record['weights_hash']}; killed {kills} times")
    for name, same in checks.items():
        print(f"{'ok' if same else 'not ok'} {name}")
    passed = sum(checks.values())
    print(f"{passed} passed, {len(checks) - passed} failed")
    if passed == len(checks):
        shutil.rmtree(folder)
    return passed != len(checks)


if __name__ == "__main__":
    sys.exit(main())
