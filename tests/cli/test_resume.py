#!/usr/bin/env python3
"""Nothing lost: stopped, killed or extended, a run comes to the same bits and the same lines."""
import glob, json, os, random, re, shutil, signal, struct, subprocess, time
from helper import *

# Slow enough to be met in the middle: many updates, a micro-batch of 1.
LONG = MIDDLE.replace("num_train_epochs: 6", "num_train_epochs: 40")
WATCHED = ("loss", "eval_loss", "grad_norm", "lr", "samples", "weight", "epoch")


def lines_of(folder):
    """What does not depend on the clock and the machine."""
    return [(l["step"], *(l.get(k) for k in WATCHED)) for l in read_metrics(folder)]


def same(a, b):
    x, y = lines_of(a), lines_of(b)
    assert x == y, f"{len(x)} and {len(y)} lines; first difference: {next((p for p in zip(x, y) if p[0] != p[1]), None)}"
    assert len(open(f"{a}/metrics.csv").readlines()) == len(open(f"{b}/metrics.csv").readlines()) == len(x) + 1


def start(recipe, folder, *args):
    return subprocess.Popen([ACCRUE, "train", recipe, "--json", "--output_dir", folder, *map(str, args)], env=environment(),
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL))  # nohup's heirs ignore it


def when_trained(process, folder, lines):
    """Waits until the run has written so many lines; False if it has ended."""
    path = f"{folder}/metrics.jsonl"
    while process.poll() is None:
        if os.path.exists(path) and len(open(path).readlines()) >= lines:
            return True
        time.sleep(0.002)
    return False


def test_stopped_by_signals(d):
    recipe = write(f"{d}/r.yaml", LONG)
    whole = ok(train(recipe, f"{d}/whole")).json
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 75), (signal.SIGHUP, 75)):
        run = f"{d}/{number}"
        p = start(recipe, run, "--micro_batch_size", 1)
        met = when_trained(p, run, 20)
        p.send_signal(number)
        out, err = p.communicate()
        assert met and p.returncode == code, f"exit {p.returncode}, not {code}: {err[-300:]}"
        assert "resume_from_checkpoint" in err and glob.glob(f"{run}/checkpoints/step-*.safetensors"), err
        assert not os.path.exists(f"{run}/model.safetensors")
        a = ok(train(recipe, run, "--resume_from_checkpoint", "auto", "--micro_batch_size", 33, "--threads", 1))
        assert a.json["weights_hash"] == whole["weights_hash"]
        same(run, f"{d}/whole")


def test_stopped_without_checkpoints(d):
    """Lines that wait to be written are there nevertheless."""
    recipe = write(f"{d}/r.yaml", LONG)
    p = start(recipe, f"{d}/run", "--micro_batch_size", 1, "--save_steps", 0)
    met = when_trained(p, f"{d}/run", 5)
    p.send_signal(signal.SIGTERM)
    out, err = p.communicate()
    assert met and p.returncode == 75, f"exit {p.returncode}: {err[-300:]}"
    told = int(re.search(r"stopped after update (\d+)", err).group(1))
    assert [l["step"] for l in read_metrics(f"{d}/run") if "loss" in l] == list(range(1, told + 1))


def test_second_signal_stops_at_once(d):
    recipe = write(f"{d}/r.yaml", LONG.replace("effective_batch_size: 120", "effective_batch_size: 500"))
    p = start(recipe, f"{d}/run", "--micro_batch_size", 1)
    assert when_trained(p, f"{d}/run", 3)
    p.send_signal(signal.SIGSTOP)  # both arrive before it can act on the first
    p.send_signal(signal.SIGINT)
    p.send_signal(signal.SIGTERM)
    p.send_signal(signal.SIGCONT)
    p.communicate()
    assert p.returncode in (-signal.SIGTERM, 75, 130, -signal.SIGINT), p.returncode


def test_killed_at_random_instants(d):
    recipe = write(f"{d}/r.yaml", LONG)
    kills = 0
    random.seed(1)
    for logging in (1, 3):  # checkpoints also fall between two lines, whose means go on
        run, often = f"{d}/run{logging}", ("--save_steps", 2, "--logging_steps", logging)
        whole = ok(train(recipe, f"{d}/whole{logging}", *often)).json
        for _ in range(60):
            p = start(recipe, run, "--resume_from_checkpoint", "auto", *often, "--micro_batch_size",
                      random.choice((3, 17, 120)), "--threads", random.choice((1, 2)))
            try:
                out, err = p.communicate(timeout=random.uniform(0.005, 0.25 * (1 + kills / 20)))
                assert p.returncode == 0, f"exit {p.returncode}: {err[-300:]}"
                break
            except subprocess.TimeoutExpired:
                p.kill()
                p.communicate()
                kills += 1
        else:
            raise AssertionError("not finished after 60 kills")
        r = json.loads(out.splitlines()[-1])
        assert r["weights_hash"] == whole["weights_hash"], f"other weights after {kills} kills"
        same(run, f"{d}/whole{logging}")
        assert len(glob.glob(f"{run}/events.out.tfevents.*")) == 1
        assert not glob.glob(f"{run}/**/*.tmp.*", recursive=True)
    assert kills >= 3, f"only {kills} kills: the test saw too little"


def test_killed_before_every_system_call(d):
    """The run kills itself before its n-th call to the file system, for every n there is."""
    whole = ok(train(SEED, f"{d}/whole", "--save_steps", 30)).json
    killed = n = 0
    while killed == n:
        n += 1
        run = f"{d}/{n}"
        args = ("--save_steps", 30, "--resume_from_checkpoint", "auto")
        a = train(SEED, run, *args, ACCRUE_TEST_FAIL_IO=f"{n}:kill")
        killed += a.code == -signal.SIGKILL
        b = ok(train(SEED, run, *args))
        assert b.json["weights_hash"] == whole["weights_hash"], f"n = {n}"
        same(run, f"{d}/whole")
        left = glob.glob(f"{run}/**/*.tmp.*", recursive=True)
        assert not left and "Result" in open(f"{run}/report.html").read(), f"n = {n}: {left}"
    assert killed > 100, f"only {killed} runs died"


def test_failed_write_leaves_the_older_checkpoint(d):
    whole = ok(train(SEED, f"{d}/whole", "--save_steps", 30)).json
    failures = 0
    for n in range(30, 210, 11):
        run = f"{d}/{n}"
        a = train(SEED, run, "--save_steps", 30, ACCRUE_TEST_FAIL_IO=f"{n}:full")
        if a.code != 0:
            failures += 1
            assert a.code == 1 and "accrue:" in a.err, f"n = {n}: exit {a.code}: {a.err[-200:]}"
        b = ok(train(SEED, run, "--save_steps", 30, "--resume_from_checkpoint", "auto"))
        assert b.json["weights_hash"] == whole["weights_hash"], f"n = {n}"
        same(run, f"{d}/whole")
    assert failures > 5, f"only {failures} runs failed"


def test_finished_run_prints_its_record(d):
    a = ok(train(SEED, f"{d}/run")).json
    before = {f: os.stat(f"{d}/run/{f}").st_mtime_ns for f in os.listdir(f"{d}/run")}
    b = ok(train(SEED, f"{d}/run", "--resume_from_checkpoint", "auto"))
    assert b.json == a and "finished" in b.err
    assert before == {f: os.stat(f"{d}/run/{f}").st_mtime_ns for f in os.listdir(f"{d}/run")}


def test_extended(d):
    ok(train(SEED, f"{d}/run", "--num_train_epochs", 40))
    a = ok(train(SEED, f"{d}/run", "--resume_from_checkpoint", "auto", "--num_train_epochs", 70))
    b = ok(train(SEED, f"{d}/whole", "--num_train_epochs", 70))
    assert a.json["weights_hash"] == b.json["weights_hash"] and "num_train_epochs" in a.err
    same(f"{d}/run", f"{d}/whole")
    assert "gives the same weights" in open(f"{d}/run/resolved.yaml").read()


def test_extended_under_a_schedule(d):
    """resolved.yaml does not promise what it can't, now or after a later resume."""
    recipe = write(f"{d}/r.yaml", MIDDLE)
    ok(train(recipe, f"{d}/run", "--num_train_epochs", 2))
    assert "gives the same weights" in open(f"{d}/run/resolved.yaml").read()
    a = ok(train(recipe, f"{d}/run", "--resume_from_checkpoint", "auto", "--num_train_epochs", 4, "--max_steps", 15,
                 "--save_steps", 12))
    os.remove(f"{d}/run/receipt.json")  # as if it had not finished
    os.remove(sorted(glob.glob(f"{d}/run/checkpoints/*.safetensors"))[-1])
    b = ok(train(recipe, f"{d}/run", "--resume_from_checkpoint", "auto", "--num_train_epochs", 4, "--max_steps", 15))
    assert a.json["weights_hash"] == b.json["weights_hash"]
    text = open(f"{d}/run/resolved.yaml").read()
    assert "same weights" not in text and "after update 10: max_steps 15 instead of auto\n" in text, text[:400]
    assert "after update 10" in json.load(open(f"{d}/run/receipt.json"))["history"]
    whole = ok(train(f"{d}/run/resolved.yaml", f"{d}/whole"))
    assert whole.json["weights_hash"] != b.json["weights_hash"], "then it need not have been said"


def test_older_receipt(d):
    """Runs that finished before receipt.json had run.json, with less in it."""
    a = ok(train(SEED, f"{d}/run")).json
    receipt = json.load(open(f"{d}/run/receipt.json"))
    with open(f"{d}/run/run.json", "w") as f:
        json.dump({"config": receipt["config"], "record": receipt["record"]}, f)
    os.remove(f"{d}/run/receipt.json")
    b = ok(train(SEED, f"{d}/run", "--resume_from_checkpoint", "auto"))
    assert b.json == a and "finished" in b.err
    ok(train(SEED, f"{d}/run", "--resume_from_checkpoint", "auto", "--num_train_epochs", 110))
    assert json.load(open(f"{d}/run/receipt.json"))["record"]["updates"] == 110
    assert ok(train(SEED, f"{d}/run", "--resume_from_checkpoint", "auto", "--num_train_epochs", 110)).json["updates"] == 110


def test_from_a_named_checkpoint(d):
    whole = ok(train(SEED, f"{d}/run", "--save_steps", 25, "--save_total_limit", 9)).json
    old = f"{d}/run/checkpoints/step-00000050.safetensors"
    a = ok(train(SEED, f"{d}/other", "--resume_from_checkpoint", old))
    assert a.json["weights_hash"] == whole["weights_hash"]
    assert [l["step"] for l in read_metrics(f"{d}/other")] == list(range(51, 101))
    os.remove(f"{d}/run/receipt.json")  # as if it had not finished
    b = ok(train(SEED, f"{d}/run", "--resume_from_checkpoint", old))
    assert b.json["weights_hash"] == whole["weights_hash"]
    assert [l["step"] for l in read_metrics(f"{d}/run")] == list(range(1, 101))
    os.remove(f"{d}/run/receipt.json")
    ok(train(SEED, f"{d}/run", "--resume_from_checkpoint", old, "--save_steps", 0))
    left = sorted(os.listdir(f"{d}/run/checkpoints"))
    assert left[-1] == os.path.basename(old), f"{left}: later ones end where the logs no longer do"


def test_auto_without_a_checkpoint_starts_afresh(d):
    os.makedirs(f"{d}/run/checkpoints")
    write(f"{d}/run/metrics.jsonl", '{"step": 1, "half')
    write(f"{d}/run/resolved.yaml", "half")
    a = ok(train(SEED, f"{d}/run", "--resume_from_checkpoint", "auto"))
    assert "no checkpoint" in a.err and "from the beginning" in a.err, a.err
    assert [l["step"] for l in read_metrics(f"{d}/run")] == list(range(1, 101))
    assert a.json["weights_hash"] == ok(train(SEED, f"{d}/whole")).json["weights_hash"]


def test_other_data(d):
    """A file that came back the same goes on, one that changed by a byte does not."""
    data = {"x": ("F32", [2000, 8], floats([i % 13 for i in range(16000)])),
            "y": ("F32", [2000, 1], floats([i % 7 for i in range(2000)]))}
    write_tensors(f"{d}/x.safetensors", data)
    recipe = write(f"{d}/r.yaml", f"""
model: {{type: mlp, layers: [8, 4, 1]}}
data: {{train: {{format: safetensors, path: {d}/x.safetensors, input: x, target: y}}}}
loss: mse
optimizer: adam
learning_rate: 1e-2
effective_batch_size: 100
num_train_epochs: 3
""")
    whole = ok(train(recipe, f"{d}/whole", "--save_steps", 20, "--save_total_limit", 9)).json
    resume = ["--resume_from_checkpoint", f"{d}/whole/checkpoints/step-00000040.safetensors"]
    os.remove(f"{d}/x.safetensors")
    write_tensors(f"{d}/x.safetensors", data)
    assert ok(train(recipe, f"{d}/again", *resume)).json["weights_hash"] == whole["weights_hash"]
    with open(f"{d}/x.safetensors", "r+b") as f:
        f.seek(-3, 2)
        f.write(b"\x41")
    refused(train(recipe, f"{d}/other", *resume), 3, "other data", "step-00000040")
    assert not os.path.exists(f"{d}/other/model.safetensors")


def test_torn_checkpoint_is_passed_over(d):
    whole = ok(train(SEED, f"{d}/whole", "--save_steps", 40)).json
    ok(train(SEED, f"{d}/run", "--save_steps", 40, "--num_train_epochs", 90))
    newest = sorted(glob.glob(f"{d}/run/checkpoints/*.safetensors"))[-1]
    with open(newest, "r+b") as f:
        f.seek(-3, 2)
        f.write(b"x")
    a = ok(train(SEED, f"{d}/run", "--save_steps", 40, "--resume_from_checkpoint", "auto"))
    assert "damaged" in a.err and a.json["weights_hash"] == whole["weights_hash"]
    same(f"{d}/run", f"{d}/whole")


def test_two_runs_in_one_folder(d):
    recipe = write(f"{d}/r.yaml", LONG)
    p = start(recipe, f"{d}/run", "--micro_batch_size", 1)
    assert when_trained(p, f"{d}/run", 3)
    p.send_signal(signal.SIGSTOP)
    a = train(recipe, f"{d}/run", "--resume_from_checkpoint", "auto")
    p.kill()
    p.communicate()
    refused(a, 1, str(p.pid))
    ok(train(recipe, f"{d}/run", "--resume_from_checkpoint", "auto"))

def test_best_that_is_elsewhere_or_chosen_otherwise(d):
    recipe = write(f"{d}/r.yaml", MIDDLE.replace("learning_rate: 1e-3", "learning_rate: 3e-2") +
                   "load_best_model_at_end: true\neval_steps: 1\n")
    best = ok(train(recipe, f"{d}/a")).json["best_step"]
    last = max(glob.glob(f"{d}/a/checkpoints/*"))
    assert 0 < best < 30
    more = ok(train(recipe, f"{d}/b", "--resume_from_checkpoint", last, "--num_train_epochs", 7))
    assert "is not in this folder" in more.err and more.json["best_step"] > 30, more.json
    shutil.copytree(f"{d}/a", f"{d}/c")
    more = ok(train(recipe, f"{d}/c", "--resume_from_checkpoint", "auto", "--num_train_epochs", 7, "--data.eval.seed", 10))
    assert "by another measure" in more.err and more.json["best_step"] > 30, more.json
    more = ok(train(recipe, f"{d}/a", "--resume_from_checkpoint", "auto", "--num_train_epochs", 7))
    assert "best" not in more.err.replace("load_best", "") and more.json["best_step"] <= 35, more.json


def test_going_on_forgets_the_old_model(d):
    """From its first new checkpoint on the run is not what its receipt says."""
    recipe = write(f"{d}/r.yaml", LONG)
    ok(train(recipe, f"{d}/run", "--max_steps", 5))
    p = start(recipe, f"{d}/run", "--max_steps", 2000000, "--save_steps", 20, "--resume_from_checkpoint", "auto")
    assert when_trained(p, f"{d}/run", 60)
    p.kill(), p.communicate()
    refused(accrue("eval", f"{d}/run"), 3, "not finished", "--max_steps")
    assert not os.path.exists(f"{d}/run/receipt.json")


def test_one_file_of_events(d):
    """Also where the checkpoint was written before the first line."""
    recipe = write(f"{d}/r.yaml", MIDDLE)
    ok(train(recipe, f"{d}/run", "--max_steps", 4, "--save_steps", 1, "--save_total_limit", 9, "--logging_steps", 100,
             "--eval_steps", 0))
    first = f"{d}/run/checkpoints/step-00000002.safetensors"
    ok(train(recipe, f"{d}/run", "--max_steps", 6, "--eval_steps", 0, "--resume_from_checkpoint", first))
    assert len(glob.glob(f"{d}/run/events.out.tfevents.*")) == 1


def test_a_project_is_moved(d):
    """Its data are known by their bytes: another folder is no other run, other bytes are."""
    os.mkdir(f"{d}/a")
    x, y = (struct.pack(">HBB2I", 0, 13, 2, 40, n) + struct.pack(f">{40 * n}f", *(i % 9 - 4 for i in range(40 * n))) for n in (3, 2))
    for name, idx in (("x", x), ("y", y)):
        open(f"{d}/a/{name}.idx", "wb").write(idx)
    write(f"{d}/a/r.yaml", """
model: {type: mlp, layers: [3, 2]}
data: {train: {format: idx, input: x.idx, target: y.idx}}
loss: mse
optimizer: adam
learning_rate: 0.01
effective_batch_size: 8
""")
    whole = ok(train(f"{d}/a/r.yaml", f"{d}/whole", "--max_steps", 12)).json
    ok(train(f"{d}/a/r.yaml", f"{d}/a/run", "--max_steps", 5))
    os.rename(f"{d}/a", f"{d}/b")
    shutil.copytree(f"{d}/b", f"{d}/c")
    more = ("--max_steps", 12, "--resume_from_checkpoint", "auto")
    assert ok(train(f"{d}/b/r.yaml", f"{d}/b/run", *more)).json["weights_hash"] == whole["weights_hash"]
    open(f"{d}/c/x.idx", "r+b").write(x[:-4] + struct.pack(">f", 7))
    refused(train(f"{d}/c/r.yaml", f"{d}/c/run", *more), 2, "data.train.input")


def test_numbered_runs_with_a_gap(d):
    """auto goes on with the newest, and a new run comes behind it."""
    for _ in range(3):
        ok(accrue("train", SEED, "--max_steps", 4, cwd=d))
    shutil.rmtree(f"{d}/runs/seed-001")
    ok(accrue("train", SEED, "--max_steps", 6, "--resume_from_checkpoint", "auto", cwd=d))
    assert json.load(open(f"{d}/runs/seed-003/receipt.json"))["record"]["windows"] == 6
    ok(accrue("train", SEED, "--max_steps", 4, cwd=d))
    assert sorted(os.listdir(f"{d}/runs")) == ["seed-002", "seed-003", "seed-004"]


if __name__ == "__main__":
    run_tests(globals())
