#!/usr/bin/env python3
"""Every refusal: the exit code, a sentence that names the place, and nothing left behind."""
import os, struct, subprocess
from helper import *


def npy(path, shape, values):
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
    head += " " * (64 - (len(head) + 11) % 64) + "\n"
    open(path, "wb").write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() +
                           struct.pack(f"<{len(values)}f", *values))


def test_usage(d):
    refused(accrue("trian"), 2, "did you mean train")
    refused(accrue("zzzzzz"), 2, "--help")
    refused(accrue(), 2)
    refused(accrue("train"), 2, "RECIPE")
    refused(accrue("train", SEED, SEED), 2, "one argument too many")
    refused(accrue("train", SEED, "--lerning_rate", "1"), 2, "learning_rate")
    refused(accrue("train", f"{d}/none.yaml"), 2, "none.yaml")
    refused(accrue("demo", "--json"), 2, "accrue demo: --json")
    assert "--json" not in ok(accrue("demo", "--help")).out and "--json" in ok(accrue("doctor", "--help")).out


def test_bad_values_leave_no_folder(d):
    for args, words in ((("--micro_batch_size", "-1"), "micro_batch_size"), (("--seed", "x"), "seed"),
                        (("--learning_rate", "fast"), "learning_rate"), (("--threads", "0"), "threads"),
                        (("--memory_limit", "5 apples"), "memory_limit")):
        refused(train(SEED, f"{d}/run", *args), 2, words)
        assert not os.path.exists(f"{d}/run")


def test_advice_for_wsd_works(d):
    """What is named for decay_steps is a value that the run takes, however short it is."""
    wsd = ("--lr_scheduler_type", "wsd")
    for length in (("--max_steps", 3), ("--max_steps", "0.7e"), ("--num_train_epochs", 5),
                   ("--max_steps", 90, "--warmup_steps", 88), ("--max_steps", 9, "--warmup_steps", 9)):
        a = refused(accrue("plan", SEED, *wsd, *length), 2, "wsd needs decay_steps", "add decay_steps: ")
        good = a.err.split("add decay_steps: ")[1].strip()
        ok(accrue("plan", SEED, *wsd, *length, "--decay_steps", good))
    far = (*wsd, "--max_steps", 10, "--warmup_steps", 2, "--decay_steps")
    a = refused(accrue("plan", SEED, *far, 100), 2, "--decay_steps: 100 updates", "the 8 that warmup_steps leaves",
                "the run's 10", "decay_steps: 8 would do")
    assert "total_steps" not in a.err
    ok(accrue("plan", SEED, *far, 8))
    refused(accrue("plan", SEED, *far, 0), 2, "above 0")
    refused(accrue("plan", SEED, *far, "auto"), 2, "neither updates")


def test_text_that_is_not_utf8(d):
    """It could not be read back from resolved.yaml or a checkpoint."""
    refused(train(SEED, f"{d}/run", "--name", b"caf\xe9"), 2, "--name", "not UTF-8: byte 0xe9 at 4")
    refused(train(SEED, f"{d}/run", "--set", b"trainable=[a\xff]"), 2, "not UTF-8")
    folder = os.fsencode(d) + b"/d\xe9p"
    os.mkdir(folder)
    refused(train(SEED, folder + b"/run"), 2, "output", "not UTF-8")
    assert os.listdir(folder) == [] and not os.path.exists(f"{d}/run")
    ok(train(SEED, f"{d}/d\u00e9p/run", "--name", "caf\u00e9", "--max_steps", "3"))
    ok(train(SEED, f"{d}/d\u00e9p/run", "--name", "caf\u00e9", "--max_steps", "5", "--resume_from_checkpoint", "auto"))


def test_what_stands_in_the_folder(d):
    """Others' files are not replaced, and a start that was refused is no run."""
    os.mkdir(f"{d}/other")
    write(f"{d}/other/events.out.tfevents.1700000000.host.1.0", "theirs")
    refused(train(SEED, f"{d}/other"), 2, "events.out.tfevents.1700000000.host.1.0", "no run wrote")
    assert open(f"{d}/other/events.out.tfevents.1700000000.host.1.0").read() == "theirs"
    os.mkdir(f"{d}/empty")
    refused(train(SEED, f"{d}/empty", "--set", f"model.init_from={d}/none.safetensors"), 3, "none.safetensors")
    ok(train(SEED, f"{d}/empty"))


def test_nothing_learned(d):
    """Windows that made no update are told; a run without any is a failure."""
    npy(f"{d}/x.npy", "(8, 2)", range(16)), npy(f"{d}/y.npy", "(8, 1)", range(8))
    npy(f"{d}/zero.npy", "(8, 1)", [0] * 8), npy(f"{d}/half.npy", "(8, 1)", [0] * 4 + [1] * 4)
    recipe = write(f"{d}/r.yaml", """
model: {type: mlp, layers: [2, 1]}
data: {train: {format: npy, input: x.npy, target: y.npy, weight: half.npy}, shuffle: false}
loss: mse
optimizer: sgd
learning_rate: 0.01
effective_batch_size: 4
num_train_epochs: 2
""")
    a = ok(train(recipe, f"{d}/half"))
    assert "2 of 4 windows were skipped: the weight" in a.err and a.json["updates"] == 2, a.err
    refused(train(recipe, f"{d}/none", "--data.train.weight", f"{d}/zero.npy"), 5, "nothing was learned: all 4 windows")
    assert not os.path.exists(f"{d}/none/model.safetensors")
    plain = write(f"{d}/plain.yaml", open(recipe).read().replace(", weight: half.npy", ""))
    wild = ok(train(plain, f"{d}/wild", "--learning_rate", "1e30"))
    assert "windows were skipped: their gradient" in wild.err, wild.err


def test_patterns_that_match_nothing(d):
    for option in ("--trainable", "--weight_decay_exclude"):
        refused(train(SEED, f"{d}/run", option, "*.bais"), 2, option[2:], "'*.bais' matches no parameter", "0.bias")


def test_verify_keeps_no_limit(d):
    """It says so."""
    assert "--memory_limit: bounds training, not verify" in ok(accrue("verify", SEED, "--memory_limit", "1MiB")).err


def test_damaged_model(d):
    ok(train(SEED, f"{d}/run", "--max_steps", 3))
    ok(accrue("eval", f"{d}/run"))
    with open(f"{d}/run/model.safetensors", "r+b") as f:
        f.seek(-1, os.SEEK_END)
        f.write(b"\x40")
    refused(accrue("eval", f"{d}/run"), 3, "model.safetensors", "weights_hash", "damaged")


def test_shapes_that_do_not_fit(d):
    npy(f"{d}/x.npy", "(4, 3)", range(12))
    npy(f"{d}/y.npy", "(4, 2)", range(8))
    text = """
model: {type: mlp, layers: [%s]}
data: {train: {format: npy, input: x.npy, target: y.npy}}
loss: mse
optimizer: sgd
learning_rate: 0.1
effective_batch_size: 4
max_steps: 1
"""
    refused(train(write(f"{d}/a.yaml", text % "5, 2"), f"{d}/run"), 2, "begin it with 3")
    refused(train(write(f"{d}/b.yaml", text % "3, 5"), f"{d}/run"), 2, "end it with 2")
    assert not os.path.exists(f"{d}/run")
    ok(train(write(f"{d}/c.yaml", text % "3, 2"), f"{d}/run"))
    npy(f"{d}/x.npy", "(4, 3)", [0] * 11 + [float("nan")])
    refused(train(f"{d}/c.yaml", f"{d}/nan"), 3, "x.npy")
    npy(f"{d}/x.npy", "(5, 3)", range(15))
    refused(train(f"{d}/c.yaml", f"{d}/nan"), 3, "y.npy")
    os.remove(f"{d}/x.npy")
    refused(train(f"{d}/c.yaml", f"{d}/nan"), 3, "x.npy")
    assert not os.path.exists(f"{d}/nan")


def test_files_that_are_not_there(d):
    """The sentence says where the file is named: the recipe's line, the flag or the variable."""
    npy = write(f"{d}/npy.yaml", """
model: {type: mlp, layers: [3, 2]}
data:
  train:
    format: npy
    input: x.npy
    target: y.npy
loss: mse
optimizer: sgd
learning_rate: 0.1
effective_batch_size: 4
max_steps: 1
""")
    text = write(f"{d}/text.yaml", """
model: {type: gpt2, num_hidden_layers: 1, hidden_size: 8, num_attention_heads: 1}
data:
  train: {format: text, path: a.txt}
  learn_tokenizer: 300
optimizer: sgd
learning_rate: 0.1
effective_batch_size: 4
max_steps: 1
""")
    for command in ("train", "plan", "verify"):
        refused(accrue(command, npy), 3, f"{npy}:6:5: data.train.input: {d}/x.npy: there is no such file")
        refused(accrue(command, text), 3, f"{text}:4:25: data.train.path: {d}/a.txt: there is no such file")
    refused(accrue("plan", text, "--data.train.path", f"{d}/b.txt"), 3, f"accrue: --data.train.path: {d}/b.txt: ")
    refused(accrue("plan", text, ACCRUE_DATA_TRAIN_PATH=f"{d}/c.txt"), 3, f"accrue: ACCRUE_DATA_TRAIN_PATH: {d}/c.txt: ")
    base = write(f"{d}/base.yaml", open(text).read().replace("{type: gpt2, num_hidden_layers: 1, hidden_size: 8, "
                                                             "num_attention_heads: 1}", "{type: hf, path: base}"))
    write(base, open(base).read().replace("  learn_tokenizer: 300\n", ""))
    refused(accrue("plan", base), 3, f"{base}:2:19: model.path: {d}/base/config.json: ")
    refused(train(SEED, f"{d}/run", "--model.init_from", f"{d}/m"), 3, f"accrue: --model.init_from: {d}/m: ")
    write(f"{d}/x.npy", "no numbers")  # what is wrong with a file is said of the file
    refused(accrue("plan", npy), 3, f"accrue: {d}/x.npy: ")


def test_class_labels_saved_as_fractions(d):
    write_tensors(f"{d}/d.safetensors", {"x": ("F32", [4, 3], floats(range(12))),
                                         "y": ("F32", [4], floats([0, 1, 2, 0]))})
    recipe = write(f"{d}/r.yaml", """
model: {type: mlp, layers: [3, 3]}
data: {train: {format: safetensors, path: d.safetensors, input: x, target: y}}
loss: cross_entropy
optimizer: sgd
learning_rate: 0.1
effective_batch_size: 4
max_steps: 1
""")
    refused(train(recipe, f"{d}/run"), 3, "whole numbers", "0 to 2")
    assert not os.path.exists(f"{d}/run")


def test_recipes(d):
    assert set(ok(accrue("recipes", "ls", "--json")).json["recipes"]) == {
        "fashion-mnist.yaml", "gpt2-124m-kjv.yaml", "gpt2-small-kjv.yaml", "llama-small-kjv.yaml", "seed.yaml", "sft.yaml"}
    for line in ok(accrue("recipes", "ls", "-q")).out.splitlines():
        assert line.endswith(".") and len(line) <= 80, f"no whole sentence: {line}"
    a = ok(accrue("recipes", "cp", "seed", "--json", cwd=d))
    assert open(os.path.join(d, a.json["path"])).read() == open(SEED).read()
    refused(accrue("recipes", "cp", "seed", cwd=d), 2, "seed.yaml", "left as it is")
    refused(accrue("recipes", "cp"), 2, "NAME is missing")
    refused(accrue("recipes", "cp", "sed", cwd=d), 2, "sed")
    refused(accrue("recipes", "cp", "seed", ""), 2, "TO is empty")
    refused(accrue("recipes", "ls", "seed"), 2, "'seed' is one argument too many")
    refused(accrue("recipes", "rm"), 2, "'rm' is neither")
    refused(accrue("recipes", "cp", "seed", f"{d}/none/x.yaml"), 1, f"{d}/none/x.yaml")


def test_nothing_to_inspect(d):
    refused(accrue("inspect", d), 3, "there is no model", "checkpoints")
    refused(accrue("inspect", f"{d}/none"), 3, "none")


def test_existing_run(d):
    ok(train(SEED, f"{d}/run"))
    refused(train(SEED, f"{d}/run"), 2, "--resume_from_checkpoint auto", "--output_dir")
    write(f"{d}/file", "")
    refused(train(SEED, f"{d}/file"), 2, "not a folder")


def test_resume_of_something_else(d):
    ok(train(SEED, f"{d}/run", "--num_train_epochs", 5))
    again = ("--resume_from_checkpoint", "auto", "--num_train_epochs", 9)
    refused(train(SEED, f"{d}/run", *again, "--seed", 3), 2, "seed")
    refused(train(SEED, f"{d}/run", *again, "--learning_rate", 0.5), 2, "learning_rate")
    recipe = write(f"{d}/r.yaml", open(SEED).read().replace("[10, 5, 2]", "[10, 6, 2]"))
    refused(train(recipe, f"{d}/run", *again), 3, "model.layers")
    refused(train(SEED, f"{d}/run", "--resume_from_checkpoint", f"{d}/none.safetensors"), 3, "none.safetensors")
    write(f"{d}/bad.safetensors", "no checkpoint")
    refused(train(SEED, f"{d}/new", "--resume_from_checkpoint", f"{d}/bad.safetensors"), 3, "bad.safetensors")
    assert not os.path.exists(f"{d}/new")
    model = f"{d}/run/model.safetensors"
    refused(train(SEED, f"{d}/new", "--resume_from_checkpoint", model), 3, "model.safetensors")


def test_init_from(d):
    ok(train(SEED, f"{d}/run", "--num_train_epochs", 5))
    weights = ("--model.init_from", f"{d}/run/model.safetensors")
    a = ok(train(SEED, f"{d}/more", *weights, "--learning_rate", 0, "--num_train_epochs", 1)).json
    b = ok(accrue("inspect", f"{d}/run/model.safetensors", "--json")).json
    assert a["weights_hash"] == b["weights_hash"]
    ok(train(SEED, f"{d}/adam", "--optimizer", "adam", "--num_train_epochs", 5))
    model, checkpoint = (ok(accrue("inspect", f"{d}/adam/{f}", "--json")).json
                         for f in ("model.safetensors", "checkpoints/step-00000005.safetensors"))
    assert (model["weights_hash"], model["elements"]) == (checkpoint["weights_hash"], checkpoint["elements"])
    recipe = write(f"{d}/r.yaml", open(SEED).read().replace("[10, 5, 2]", "[10, 6, 2]"))
    refused(train(recipe, f"{d}/other", *weights), 3, "0.bias")
    assert not os.path.exists(f"{d}/other")


def test_instruction_set(d):
    refused(train(SEED, f"{d}/run", ACCRUE_ISA="z80"), 2, "z80", "scalar")
    assert not os.path.exists(f"{d}/run")


def test_divergence(d):
    recipe = write(f"{d}/r.yaml", open(SEED).read().replace("learning_rate: 0.01", "learning_rate: 1e30"))
    a = train(recipe, f"{d}/run", "--num_train_epochs", 50)
    refused(a, 5, "10 windows", "lower the learning rate")
    skipped = [l for l in read_metrics(f"{d}/run") if l["skipped"]]
    assert len(skipped) == 10 and skipped[-1]["loss"] is None, skipped[-1:]


def test_nothing_weighs_anything(d):
    data = "format: safetensors, path: d.safetensors, input: x, target: y, weight: w"
    recipe = write(f"{d}/r.yaml", MIDDLE.replace("format: normal, samples: 500", data).replace("[32, 96, 96, 4]", "[2, 1]")
                   .replace("  eval: {format: normal, samples: 70, seed: 9}\n", "").replace("size: 120", "size: 2"))
    write_tensors(f"{d}/d.safetensors", {"x": ("F32", [4, 2], floats(range(8))), "y": ("F32", [4], floats(range(4))),
                                         "w": ("F32", [4], floats([0] * 4))})
    a = refused(train(recipe, f"{d}/run"), 5, "10 windows", "every weight 0")
    assert "learning rate" not in a.err


def test_eval_of_nothing(d):
    refused(accrue("eval", f"{d}/none"), 2, "none")
    os.mkdir(f"{d}/empty")
    refused(accrue("eval", f"{d}/empty"), 3, "resolved.yaml")


def test_folder_that_cannot_be_written(d):
    if os.geteuid() == 0:
        return "root may write everywhere"
    os.mkdir(f"{d}/closed", 0o500)
    refused(train(SEED, f"{d}/closed/run"), 1, "closed")


def test_full_stdout(d):
    for words in (("train", SEED, "--json", "-q", "--output_dir", f"{d}/run"), ("train", "--help"), ("--help",),
                  ("--version",)):
        with open("/dev/full", "w") as full:
            p = subprocess.run([ACCRUE, *words], stdout=full, stderr=subprocess.PIPE, text=True, env=environment())
        assert p.returncode == 1 and "stdout" in p.stderr, (words, p.returncode, p.stderr)


if __name__ == "__main__":
    run_tests(globals())
