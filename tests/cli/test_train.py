#!/usr/bin/env python3
"""accrue train, eval and plan as a user sees them: what they print, write and leave."""
import csv, fcntl, json, os, pty, re, struct, subprocess, termios
from helper import *


def test_one_hash_for_every_split(d):
    recipe = write(f"{d}/r.yaml", MIDDLE)
    seen = {}
    for micro in (1, 7, 50, 120, "auto"):
        for threads in (1, 3):
            a = ok(train(recipe, f"{d}/{micro}-{threads}", "--micro_batch_size", micro, "--threads", threads))
            seen[micro, threads] = a.json["weights_hash"]
    assert len(set(seen.values())) == 1, seen
    other = ok(train(recipe, f"{d}/other", "--seed", 1)).json["weights_hash"]
    assert other not in seen.values()


def test_record(d):
    r = ok(train(SEED, f"{d}/run")).json
    assert (r["updates"], r["windows"], r["skipped"], r["samples"]) == (100, 100, 0, 10000)
    assert len(r["weights_hash"]) == 32 and r["loss"] > 0 and r["samples_per_second"] > 0
    assert 0 < r["peak_rss_bytes"] <= r["planned_bytes"]


def test_what_a_run_leaves(d):
    recipe = write(f"{d}/r.yaml", MIDDLE)
    r = ok(train(recipe, f"{d}/run")).json
    files = os.listdir(f"{d}/run")
    for f in ("metrics.jsonl", "metrics.csv", "resolved.yaml", "model.safetensors", "accrue.json", "receipt.json", "report.html"):
        assert f in files, f"{f} is not in {files}"
    assert sum(f.startswith("events.out.tfevents.") for f in files) == 1
    assert not any(".tmp." in f for f in files), files
    lines = read_metrics(f"{d}/run")
    updates = [l for l in lines if "loss" in l]
    evals = [l for l in lines if "eval_loss" in l]
    assert [l["step"] for l in updates] == list(range(1, 31))
    assert [l["step"] for l in evals] == [5, 10, 15, 20, 25, 30]
    assert sum(l["samples"] for l in updates) == 3000 == r["samples"]
    assert updates[4]["samples"] == 20, "the ragged tail of an epoch of 500"
    assert updates[-1]["loss"] == r["loss"] and evals[-1]["eval_loss"] == r["eval_loss"]
    rows = list(csv.DictReader(open(f"{d}/run/metrics.csv")))
    assert len(rows) == len(lines)
    assert [float(x["loss"]) for x in rows if x["loss"]] == [l["loss"] for l in updates]
    model = json.load(open(f"{d}/run/accrue.json"))
    assert model["model"]["layers"] == [32, 96, 96, 4] and model["numerics"] == 1
    assert model["weights_hash"] == r["weights_hash"]


def test_receipt(d):
    """What would give the weights again: the recipe, the data, the machine."""
    text = MIDDLE.replace("format: normal, samples: 500", "format: npy, input: x.npy, target: y.npy").replace("32, 96, 96", "3, 5, 5")
    recipe = write(f"{d}/r.yaml", text)

    def npy(name, rows, cols, value):
        head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {cols}), }}"
        head += " " * (118 - len(head) - 1) + "\n"
        with open(f"{d}/{name}", "wb") as f:
            f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + head.encode() + floats(value(i) for i in range(rows * cols)))

    def receipt(run):
        r = ok(train(recipe, f"{d}/{run}")).json
        x = json.load(open(f"{d}/{run}/receipt.json"))
        assert x["record"] == r and x["weights_hash"] == r["weights_hash"] and x["recipe_hash"] == r["recipe_hash"]
        assert x["numerics"] == 1 and x["machine"]["isa"] == r["isa"] and x["machine"]["processor"]
        assert sum(x["memory"].values()) == r["planned_bytes"], x["memory"]
        return x

    npy("x.npy", 240, 3, lambda i: i % 7 / 7)
    npy("y.npy", 240, 4, lambda i: i % 5 / 5)
    a, b = receipt("a"), receipt("b")
    assert [(c["set"], c["column"], c["bytes"]) for c in a["data"]] == [
        ("train", "input", 2880), ("train", "target", 3840), ("eval", "input", 840), ("eval", "target", 1120)]
    assert a["data"] == b["data"] and a["config"] == b["config"]
    npy("x.npy", 240, 3, lambda i: (i + (i == 719)) % 7 / 7)
    c = receipt("c")
    assert [p != q for p, q in zip(a["data"], c["data"])] == [True, False, False, False], c["data"]


def test_weights_have_pytorchs_names(d):
    ok(train(SEED, f"{d}/run"))
    shapes = {k: shape for k, (shape, _) in read_tensors(f"{d}/run/model.safetensors").items()}
    assert shapes == {"0.weight": [5, 10], "0.bias": [5], "2.weight": [2, 5], "2.bias": [2]}, shapes


def test_resolved_recipe_reproduces_the_run(d):
    a = ok(train(write(f"{d}/r.yaml", MIDDLE), f"{d}/run", "--seed", 5, "--set", "model.dropout=0.3")).json
    b = ok(train(f"{d}/run/resolved.yaml", f"{d}/again")).json
    assert a["weights_hash"] == b["weights_hash"] and a["recipe_hash"] == b["recipe_hash"]


def test_means_over_logging_steps(d):
    recipe = write(f"{d}/r.yaml", MIDDLE)
    ok(train(recipe, f"{d}/each"))
    ok(train(recipe, f"{d}/four", "--logging_steps", 4))
    each = [l for l in read_metrics(f"{d}/each") if "loss" in l]
    four = [l for l in read_metrics(f"{d}/four") if "loss" in l]
    assert [l["step"] for l in four] == [4, 8, 12, 16, 20, 24, 28, 30]
    first = each[4:8]  # holds the ragged window, whose weight is smaller
    mean = sum(l["loss"] * l["weight"] for l in first) / sum(l["weight"] for l in first)
    assert abs(four[1]["loss"] - mean) < 1e-12 * mean, (four[1]["loss"], mean)


def test_watching_changes_no_bit(d):
    recipe = write(f"{d}/r.yaml", MIDDLE)
    a = ok(train(recipe, f"{d}/a")).json
    b = ok(train(recipe, f"{d}/b", "--eval_steps", 1, "--logging_steps", 7, "--save_steps", 3, "-v")).json
    c = ok(train(recipe, f"{d}/c", "--eval_steps", 0, "--save_steps", 0, "-q")).json
    assert a["weights_hash"] == b["weights_hash"] == c["weights_hash"]
    assert not os.listdir(f"{d}/c/checkpoints")


def test_effective_batch_beyond_the_data(d):
    a = ok(train(SEED, f"{d}/run", "--effective_batch_size", 1000, "--num_train_epochs", 3))
    assert a.json["updates"] == 3 and a.json["samples"] == 300
    assert "warning" in a.err and "whole epoch" in a.err, a.err
    b = ok(train(SEED, f"{d}/drop", "--effective_batch_size", 1000, "--num_train_epochs", 3, "--last_window", "drop"))
    assert b.json["weights_hash"] == a.json["weights_hash"], "the whole epoch is no partial window"


def test_last_window_dropped(d):
    a = ok(train(write(f"{d}/r.yaml", MIDDLE), f"{d}/run", "--last_window", "drop"))
    assert a.json["updates"] == 24 and a.json["samples"] == 24 * 120


def test_only_the_first_samples(d):
    recipe = write(f"{d}/r.yaml", MIDDLE)
    a = ok(train(recipe, f"{d}/run", "--data.train.samples", 240))
    assert a.json["samples"] == 6 * 240 and a.json["updates"] == 12


def test_weights_in_one_of_two_sets(d):
    n = 40
    write_tensors(f"{d}/t.safetensors", {
        "x": ("F32", [n, 3], floats((i * 37 % 11 - 5) / 5 for i in range(3 * n))),
        "y": ("I64", [n], struct.pack(f"<{n}q", *(i % 2 for i in range(n)))),
        "w": ("F32", [n], floats(i % 3 for i in range(n))),
        "one": ("F32", [n], floats([1] * n))})
    text = """
model: {type: mlp, layers: [3, 8, 2], activation: silu}
data:
  train: {format: safetensors, path: t.safetensors, input: x, target: y, weight: %s}
  eval: {format: safetensors, path: t.safetensors, input: x, target: y%s}
loss: cross_entropy
optimizer: sgd
learning_rate: 0.5
effective_batch_size: 16
num_train_epochs: 3
"""
    seen = {}
    for name, train_weight, eval_weight in (("none", "w", ""), ("ones", "w", ", weight: one"), ("w", "w", ", weight: w"),
                                            ("plain", "one", ", weight: w")):
        seen[name] = ok(train(write(f"{d}/r.yaml", text % (train_weight, eval_weight)), f"{d}/{name}")).json
    same = lambda a, b, key: seen[a][key] == seen[b][key]
    assert same("none", "ones", "eval_loss") and not same("w", "ones", "eval_loss"), "no weights are weights of 1"
    assert same("none", "w", "weights_hash") and not same("plain", "w", "weights_hash")
    unweighted = ok(train(write(f"{d}/r.yaml", (text % ("one", ", weight: w")).replace(", weight: one", "")), f"{d}/no"))
    assert unweighted.json["weights_hash"] == seen["plain"]["weights_hash"], "nor in data.train"


def test_default_folder_counts_up(d):
    for n in (1, 2):
        ok(accrue("train", SEED, cwd=d))
        assert os.path.exists(f"{d}/runs/seed-00{n}/model.safetensors")


def test_empty_folder_is_taken(d):
    os.mkdir(f"{d}/run")
    ok(train(SEED, f"{d}/run"))


def test_best_model_is_written(d):
    recipe = write(f"{d}/r.yaml", MIDDLE.replace("learning_rate: 1e-3", "learning_rate: 3e-2"))
    a = ok(train(recipe, f"{d}/run", "--load_best_model_at_end", "true", "--eval_steps", 1, "--save_total_limit", 1))
    evals = {l["step"]: l["eval_loss"] for l in read_metrics(f"{d}/run") if "eval_loss" in l}
    best = min(evals, key=evals.get)
    assert a.json["best_step"] == best and best != 30, (best, evals)
    e = ok(accrue("eval", f"{d}/run", "--json")).json
    assert e["loss"] == evals[best], (e, evals[best])
    last = ok(train(recipe, f"{d}/last")).json
    assert last["weights_hash"] != a.json["weights_hash"]


def test_eval_repeats_the_last_evaluation(d):
    r = ok(train(write(f"{d}/r.yaml", MIDDLE), f"{d}/run")).json
    for micro in (1, 33):
        e = ok(accrue("eval", f"{d}/run", "--json", "--micro_batch_size", micro)).json
        assert e["loss"] == r["eval_loss"] and e["samples"] == 70


def test_frozen_parameters_stay(d):
    recipe = write(f"{d}/r.yaml", MIDDLE + "trainable: ['0.*']\n")
    ok(train(recipe, f"{d}/run"))
    ok(train(recipe, f"{d}/still", "--learning_rate", 0))
    now, then = (read_tensors(f"{d}/{f}/model.safetensors") for f in ("run", "still"))
    changed = {n for n in now if now[n] != then[n]}
    assert changed == {"0.weight", "0.bias"}, changed
    p = ok(accrue("plan", recipe, "--json")).json
    names = {t["name"] for t in p["tensors"] if t["kind"] in ("optimizer state", "gradient") and "weight" in t["name"]}
    assert any(n.startswith("0.") for n in names) and not any(n.startswith("6.") for n in names), names


def test_plan_lists_every_byte(d):
    recipe = write(f"{d}/r.yaml", MIDDLE)
    p = ok(accrue("plan", recipe, "--json", "--micro_batch_size", 40)).json
    assert p["updates"] == 30 and p["micro_batch_size"] == 40 and p["update_seconds"] > 0
    assert max(t["offset"] + t["bytes"] for t in p["tensors"]) <= p["arena_bytes"] < p["planned_bytes"]
    assert sum(k for n, k in p["kinds"].items()) == p["planned_bytes"], p["kinds"]
    assert all(s["alive_bytes"] <= p["arena_bytes"] for s in p["steps"])
    params = sum(t["bytes"] for t in p["tensors"] if t["kind"] == "parameters")
    assert params >= 4 * p["parameters"]
    assert not os.path.exists(f"{d}/runs")
    fit = ok(accrue("plan", recipe, "--json", "--fit", "64MiB")).json["fit"]
    assert fit and all(f["planned_bytes"] <= f["memory_limit"] <= 64 << 20 for f in fit)
    fit = ok(accrue("plan", recipe, "--json", "--fit", "64MiB", "--micro_batch_size", 40)).json["fit"]
    assert fit and all(f["micro_batch_size"] == 40 for f in fit)
    assert "MiB" in ok(accrue("plan", recipe, "--fit", "64 MiB")).out  # a size as memory_limit takes it
    for size in ("0x4000000", "0", "-1MiB", "64MB", "1e300TiB"):
        refused(accrue("plan", recipe, "--fit", size), 2, f"--fit: '{size}' is no size")


def test_memory_limit_is_kept_or_refused(d):
    recipe = write(f"{d}/r.yaml", MIDDLE.replace("96, 96", "512, 512"))
    hashes, refusals = set(), 0
    for mib in (2, 4, 6, 7, 8, 9, 10, 12, 16):
        a = train(recipe, f"{d}/{mib}", "--memory_limit", f"{mib}MiB", "--num_train_epochs", 1, "--warmup_steps", 0)
        if a.code == 4:
            refusals += 1
            assert "MiB would do" in a.err and not os.path.exists(f"{d}/{mib}"), a.err
        else:
            ok(a)
            assert a.json["peak_rss_bytes"] <= a.json["planned_bytes"] <= mib << 20, a.json
            hashes.add(a.json["weights_hash"])
    assert refusals >= 1 and len(hashes) == 1, (refusals, hashes)
    text = train(recipe, f"{d}/no", "--memory_limit", "2MiB").err
    least = text.split("--memory_limit ")[1].split("MiB")[0]
    ok(train(recipe, f"{d}/least", "--memory_limit", f"{least}MiB"))
    for recipe, micro, less in ((recipe, 120, True), (SEED, 5, False)):  # what a smaller micro-batch saves, if it does
        a = refused(accrue("plan", recipe, "--micro_batch_size", micro, "--memory_limit", "2MiB"), 4, "MiB would do")
        limits = [int(n) for n in re.findall(r"--memory_limit (\d+)MiB", a.err)]
        assert len(limits) == 1 + less and limits == sorted(set(limits), reverse=True), a.err


def test_quiet_and_plain(d):
    a = ok(accrue("train", SEED, "-q", "--output_dir", f"{d}/q"))
    assert a.out == "" and a.err == "", (a.out, a.err)
    b = ok(accrue("train", SEED, "--output_dir", f"{d}/p"))
    assert "\r" not in b.err and "\033" not in b.err, "a pipe is not a terminal"
    assert "effective 100 = micro 5 x 20 steps" in b.err and "planned peak" in b.err


def test_line_of_a_narrow_terminal(d):
    """A line that wraps could not be written over."""
    recipe = write(f"{d}/r.yaml", MIDDLE.replace("epochs: 6", "epochs: 60"))
    for columns in (40, 80, 200):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        p = subprocess.Popen([ACCRUE, "train", recipe, "--output_dir", f"{d}/{columns}"], env=environment(),
                             stdin=subprocess.DEVNULL, stderr=theirs)
        os.close(theirs)
        told = b""
        try:
            while more := os.read(ours, 4096):
                told += more
        except OSError:
            pass  # how Linux says that the other side has closed
        os.close(ours)
        assert p.wait() == 0, told[-300:]
        lines = told.decode().replace("\033[K", "").replace("\n", "\r").split("\r")
        lines = [l for l in lines if l.startswith("step ") and "eval_loss" not in l]
        assert lines and max(map(len, lines)) < columns, lines
        assert all(("mem" in l) == (columns == 200) for l in lines), lines


def test_json_is_the_last_line(d):
    run = ok(train(SEED, f"{d}/run")).json["output_dir"]
    for args in (["doctor"], ["inspect", run], ["eval", run], ["plan", SEED], ["verify", SEED], ["recipes", "ls"]):
        a = ok(accrue(*args, "--json"))
        assert a.out.endswith("}\n") and a.out.count("\n") == 1, (args, a.out[-80:])


def test_help_and_versions(d):
    for args in (["--help"], ["train", "--help"], ["eval", "--help"], ["plan", "--help"]):
        a = ok(accrue(*args))
        assert a.out and max(len(l) for l in a.out.splitlines()) <= 80, [l for l in a.out.splitlines() if len(l) > 80]
    assert "numerics 1" in ok(accrue("--version")).out


if __name__ == "__main__":
    run_tests(globals())
