#!/usr/bin/env python3
"""accrue convert: a run's language model as a folder of transformers: names, bytes, configuration; refusals."""
import os
from helper import *

GOLDEN = os.path.join(ROOT, "tests/golden")


def make_run(folder, name, **config):
    """A run folder as training leaves it, of the golden model's first weights."""
    os.makedirs(folder)
    described = dict(json.load(open(f"{GOLDEN}/{name}_tiny.json"))["config"], **config)
    tensors = {}
    for k, (shape, data) in read_tensors(f"{GOLDEN}/{name}_tiny.safetensors").items():
        if k.startswith("init."):
            tensors[k[5:]] = ("F32", shape, floats(struct.unpack(f"<{len(data) // 8}d", data)))
    write_tensors(f"{folder}/model.safetensors", tensors)
    write(f"{folder}/accrue.json", json.dumps({"numerics": 1, "model": described}))
    return described, tensors


def convert(run, out, *args):
    return accrue("convert", run, "--to", "hf", "--out", out, "--json", *args)


def narrowed(data):
    """BF16 of f32 bytes, to nearest even."""
    words = struct.unpack(f"<{len(data) // 4}I", data)
    return struct.pack(f"<{len(words)}H", *((w + 0x7fff + (w >> 16 & 1)) >> 16 for w in words))


def test_every_family(d):
    keys = {"gpt2": ("n_embd", "n_layer", "n_head", "n_positions", "n_inner", "activation_function", "attn_pdrop"),
            "llama": ("hidden_size", "intermediate_size", "num_key_value_heads", "head_dim", "attention_bias", "mlp_bias"),
            "qwen2": ("hidden_size", "rms_norm_eps", "hidden_act", "use_sliding_window", "sliding_window")}
    for name, own in keys.items():
        described, tensors = make_run(f"{d}/{name}", name)
        record = ok(convert(f"{d}/{name}", f"{d}/{name}-hf")).json
        assert record["model_type"] == name and record["dtype"] == "F32" and not record["tokenizer"], record
        assert record["parameters"] == sum(len(t[2]) // 4 for t in tensors.values())
        config = json.load(open(f"{d}/{name}-hf/config.json"))
        for k in ("model_type", "vocab_size", "tie_word_embeddings", "bos_token_id", "eos_token_id", *own):
            assert config[k] == described[k], (name, k, config[k], described[k])
        if name != "gpt2":
            assert config["rope_theta"] == described["rope_parameters"]["rope_theta"]
        assert config["torch_dtype"] == "float32"
        got = read_tensors(f"{d}/{name}-hf/model.safetensors")
        assert {k: (s, b) for k, (_, s, b) in tensors.items()} == got
        assert sorted(os.listdir(f"{d}/{name}-hf")) == ["config.json", "model.safetensors"]


def test_bfloat16_and_tokenizer(d):
    _, tensors = make_run(f"{d}/run", "llama")
    write(f"{d}/text.txt", "to be or not to be " * 40)
    ok(accrue("tokenize", "--train", 258, "--out", f"{d}/run/tokenizer.json", f"{d}/text.txt"))
    write(f"{d}/run/chat_template.jinja", "x" * 100000)
    record = ok(convert(f"{d}/run", f"{d}/a/b", "--dtype", "bfloat16")).json
    assert record["tokenizer"] and record["dtype"] == "BF16"
    got = read_tensors(f"{d}/a/b/model.safetensors")
    assert got == {k: (s, narrowed(b)) for k, (_, s, b) in tensors.items()}
    assert json.load(open(f"{d}/a/b/config.json"))["torch_dtype"] == "bfloat16"
    for f in ("tokenizer.json", "chat_template.jinja"):
        assert open(f"{d}/run/{f}").read() == open(f"{d}/a/b/{f}").read()
    told = json.load(open(f"{d}/a/b/tokenizer_config.json"))  # else transformers guesses by the model's family
    assert told == {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"}, told
    write(f"{d}/run/tokenizer_config.json", "{}")
    assert "BF16, with its tokenizer" in ok(accrue("convert", f"{d}/run", "--to=hf", f"--out={d}/c", "--dtype=bfloat16")).out
    assert open(f"{d}/c/tokenizer_config.json").read() == "{}"


def test_what_stands_there_stays(d):
    make_run(f"{d}/run", "gpt2")
    ok(convert(f"{d}/run", f"{d}/hf"))
    before = os.stat(f"{d}/hf/config.json").st_mtime_ns
    refused(convert(f"{d}/run", f"{d}/hf"), 2, "hf/config.json is there already")
    refused(convert(f"{d}/run", f"{d}/run"), 2, "model.safetensors is there already")
    assert os.stat(f"{d}/hf/config.json").st_mtime_ns == before
    ok(accrue("tokenize", "--train", 258, "--out", f"{d}/run/tokenizer.json", write(f"{d}/t.txt", "to be or not " * 9)))
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        os.mkdir(f"{d}/{name}")
        write(f"{d}/{name}/{name}", "theirs")
        refused(convert(f"{d}/run", f"{d}/{name}"), 2, f"{name}/{name} is there already")
        assert os.listdir(f"{d}/{name}") == [name] and open(f"{d}/{name}/{name}").read() == "theirs"


def test_refusals(d):
    run, out = f"{d}/run", f"{d}/hf"
    refused(accrue("convert"), 2, "--to hf --out FOLDER")
    refused(convert(run, out), 2, "there is no such folder")
    _, tensors = make_run(run, "gpt2")
    refused(accrue("convert", run, "--out", out), 2, "--to is missing")
    refused(accrue("convert", run, "--to", "gguf", "--out", out), 2, "gguf")
    refused(accrue("convert", run, "--to", "hf"), 2, "--out is missing")
    refused(convert(run, out, "--dtype", "int8"), 2, "int8", "bfloat16")
    write(f"{run}/accrue.json", '{"model": {"type": "mlp", "layers": [1, 2]}}')
    refused(convert(run, out), 2, "of type mlp")
    for text, word in (("{}", "model_type"), ('{"model": 3}', "model_type"), ("{", "not valid JSON"),
                       ('{"model": {"model_type": "gpt2", "n_embd": 48, "n_head": 5}}', "accrue.json: model: a width of 48")):
        write(f"{run}/accrue.json", text)
        refused(convert(run, out), 3, word)
    os.remove(f"{run}/accrue.json")
    refused(convert(run, out), 3, "accrue.json")
    assert not os.path.exists(out)


def test_weights_of_another_model(d):
    _, tensors = make_run(f"{d}/run", "qwen2", num_hidden_layers=1, layer_types=["full_attention"])
    refused(convert(f"{d}/run", f"{d}/hf"), 3, "tensors, the model")
    name = "model.norm.weight"
    tensors[name] = ("F32", [24], tensors[name][2][:96])
    write_tensors(f"{d}/run/model.safetensors", tensors)
    refused(convert(f"{d}/run", f"{d}/hf"), 3, name, "[24]", "[48]")
    _, tensors = make_run(f"{d}/huge", "qwen2")
    tensors[name] = ("F32", [48], floats([1e6] * 48))
    write_tensors(f"{d}/huge/model.safetensors", tensors)
    refused(convert(f"{d}/huge", f"{d}/hf", "--dtype", "float16"), 3, name, "1000000", "F16")
    assert not os.path.exists(f"{d}/hf/config.json") and os.listdir(f"{d}/hf") == []
    ok(convert(f"{d}/huge", f"{d}/hf", "--dtype", "bfloat16"))


if __name__ == "__main__":
    run_tests(globals())
