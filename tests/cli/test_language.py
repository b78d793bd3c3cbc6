#!/usr/bin/env python3
"""Language models from the command line: a text, a tokenizer, a model, a sample; the same bits, nothing lost."""
import glob, os, random, re, signal, subprocess, time
from helper import *

WORDS = "the quick brown fox jumps over a lazy dog while seven wizards judge my vow of black quartz".split()
RECIPE = """
name: tiny
model: {{type: {type}, num_hidden_layers: 3, hidden_size: 32, num_attention_heads: 4, dropout: {dropout}}}
data:
  train: {{format: text, path: {path}}}
  learn_tokenizer: 300
  sequence_length: 24
  validation_split: 0.1
optimizer: adamw
learning_rate: 3e-3
lr_scheduler_type: cosine
warmup_steps: 2
weight_decay: 0.1
max_grad_norm: 1.0
effective_batch_size: 12
max_steps: {steps}
"""


def text_of(count, seed=1):
    draw = random.Random(seed)
    return " ".join(draw.choice(WORDS) + draw.choice(["", "", ".", ",\n"]) for _ in range(count))


def recipe_in(d, type="gpt2", dropout=0, steps=6, words=3000):
    os.environ["XDG_CACHE_HOME"] = f"{d}/cache"
    write(f"{d}/a.txt", text_of(words))
    return write(f"{d}/r.yaml", RECIPE.format(type=type, dropout=dropout, steps=steps, path=f"{d}/a.txt"))


def tuning_in(d, steps, length=24, learning_rate=1e-3, batch=4):
    """A recipe that tunes the exported model in base on chats.jsonl."""
    return write(f"{d}/sft.yaml", f"""
model: {{type: hf, path: base}}
data: {{train: {{format: jsonl, path: chats.jsonl}}, sequence_length: {length}, template: plain}}
optimizer: adamw
learning_rate: {learning_rate}
effective_batch_size: {batch}
max_steps: {steps}
""")


def test_same_bits(d):
    """Micro-batch, threads, instruction set, recomputation and memory limit change nothing, dropout included."""
    isas = ok(accrue("doctor", "--json")).json["isa"]
    for type, dropout in (("gpt2", 0.1), ("llama", 0)):
        for dtype in ("float32", "bfloat16"):
            recipe = recipe_in(d, type, dropout, steps=3)
            ways = [("--micro_batch_size", m) for m in (1, 5, 12)] + [("--threads", 1), ("--threads", 3)]
            ways += [("--recompute", "full", "--micro_batch_size", 5), ("--recompute", "none"), ("--memory_limit", "24MiB")]
            records = [ok(train(recipe, f"{d}/{type}{dtype}{i}", "--dtype", dtype, *w)).json for i, w in enumerate(ways)]
            records += [ok(train(recipe, f"{d}/{type}{dtype}{i}", "--dtype", dtype, ACCRUE_ISA=i)).json for i in isas]
            assert len({r["weights_hash"] for r in records}) == 1, (type, dtype, [r["weights_hash"] for r in records])
            assert all(r["peak_rss_bytes"] <= r["planned_bytes"] for r in records)
            assert records[0]["tokens"] > 0 and records[0]["tokens_per_second"] > 0


def test_killed_and_resumed(d):
    recipe = recipe_in(d, dropout=0.1, steps=60)
    args = ["--save_steps", 1, "--eval_steps", 10]
    whole = ok(train(recipe, f"{d}/whole", *args)).json
    draw, kills = random.Random(3), 0
    for _ in range(60):
        p = subprocess.Popen([ACCRUE, "train", recipe, "--json", "--output_dir", f"{d}/run", "--resume_from_checkpoint", "auto",
                              *map(str, args), "--micro_batch_size", str(draw.choice((1, 4, 12)))],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
        try:
            out, err = p.communicate(timeout=draw.uniform(0.1, 0.8) if kills < 5 else 300)
            break
        except subprocess.TimeoutExpired:
            p.send_signal(signal.SIGKILL)
            p.communicate()
            kills += 1
    assert p.returncode == 0, err[-300:]
    assert json.loads(out.splitlines()[-1])["weights_hash"] == whole["weights_hash"]
    lines = [[(l["step"], l.get("loss"), l.get("eval_loss"), l.get("tokens")) for l in read_metrics(r)] for r in (f"{d}/whole", f"{d}/run")]
    assert lines[0] == lines[1]


def test_from_text_to_text(d):
    """What a newcomer does: train on a file, look at the loss, read what it writes."""
    recipe = recipe_in(d, steps=150)
    record = ok(train(recipe, f"{d}/run", "--sample_prompt", "the quick")).json
    assert record["eval_perplexity"] < 60, record["eval_perplexity"]  # 300 before any training
    samples = [l["sample"] for l in read_metrics(f"{d}/run") if "sample" in l]
    assert samples and all(s.startswith("the quick") for s in samples)
    assert samples[-1][:200].split("\n")[0] in open(f"{d}/run/report.html").read()
    e = ok(accrue("eval", f"{d}/run", "--json")).json
    assert abs(e["loss"] - record["eval_loss"]) < 1e-12 and abs(e["perplexity"] - record["eval_perplexity"]) < 1e-9
    write(f"{d}/b.txt", text_of(400, seed=2))
    held = ok(accrue("eval", f"{d}/run", "--data", f"{d}/b.txt", "--json")).json
    assert 1 < held["perplexity"] < 60
    refused(accrue("eval", f"{d}/run", "--data", write(f"{d}/b.xyz", "")), 2, "b.xyz", ".txt")
    a = ok(accrue("generate", f"{d}/run", "--prompt", "the lazy", "--max_new_tokens", 8, "--seed", 3))
    assert a.out.startswith("the lazy") and len(a.out) > 10
    for way in (dict(ACCRUE_ISA="scalar"), {}):
        b = ok(accrue("generate", f"{d}/run", "--prompt", "the lazy", "--max_new_tokens", 8, "--seed", 3, "--json", **way)).json
        assert a.out == "the lazy" + b["text"] + "\n" and b["tokens"] <= 8, (a.out, b)
    greedy = [ok(accrue("generate", f"{d}/run", "--prompt", "a", "--temperature", 0, "--seed", s, "--json")).json["ids"] for s in (1, 2)]
    assert greedy[0] == greedy[1] and greedy[0]
    long = ok(accrue("generate", f"{d}/run", "--prompt", "a", "--max_new_tokens", 999, "--json")).json
    assert long["stop"] in ("context", "end") and long["prompt_tokens"] + long["tokens"] <= 24


def test_sample_of_line_breaks(d):
    """Each takes six bytes of a line of metrics.jsonl; what does not fit is left out, and training goes on."""
    recipe = recipe_in(d, steps=4)
    ok(train(recipe, f"{d}/run", "--data.sequence_length", 2000, "--effective_batch_size", 1, "--data.validation_split", 0.4,
             "--sample_prompt", "\n" * 1500, "--sample_tokens", 2))
    samples = [l["sample"] for l in read_metrics(f"{d}/run") if "eval_loss" in l]
    assert samples and all(len(s) < 1500 for s in samples), samples


def test_generated_zero_bytes(d):
    """They are characters of the text like others, in JSON too."""
    recipe = recipe_in(d, steps=30)
    write(f"{d}/a.txt", " \0" * 3000)
    ok(train(recipe, f"{d}/run"))
    args = ("generate", f"{d}/run", "--prompt_file", write(f"{d}/prompt", " \0"), "--temperature", 0, "--max_new_tokens", 4)
    told = ok(accrue(*args, "--json"))
    assert "\\u0000" in told.out and told.json["text"] == " \0" * 4, told.out
    assert ok(accrue(*args)).out == " \0" * 5 + "\n"


def test_memory_of_a_sample(d):
    recipe = recipe_in(d, steps=1)
    text = write(f"{d}/long.txt", text_of(3000))
    args = ("--data.train.path", text, "--data.sequence_length", 4096, "--model.hidden_size", 512, "--micro_batch_size", 1,
            "--effective_batch_size", 1, "--model.num_hidden_layers", 1, "--model.intermediate_size", 16, "--threads", 1,
            "--recompute", "none", "--sample_prompt", text_of(20), "--sample_tokens", 1)
    for more in ((), ("--memory_limit", "2MiB")):
        a = train(recipe, f"{d}/run{len(more)}", *args, *more)
        if more:
            least = int(re.search(r"--memory_limit (\d+)MiB would do", refused(a, 4).err)[1])
            a = train(recipe, f"{d}/least", *args, "--memory_limit", f"{least}MiB")
        r = ok(a).json
        assert r["peak_rss_bytes"] <= r["planned_bytes"], r


def test_limit_that_a_refusal_names(d):
    """Starts differ by some pages: the limit named has room for them wherever a plan ends between two MiB."""
    recipe = recipe_in(d, steps=1)
    for more in range(0, 44, 2):  # 48 KiB each, a MiB in all
        args = ("plan", recipe, "--recompute", "none", "--model.hidden_size", 128, "--model.intermediate_size", 1024 + more,
                "--micro_batch_size", 8, "--threads", 1)
        least = int(re.search(r"--memory_limit (\d+)MiB", refused(accrue(*args, "--memory_limit", "2MiB"), 4).err)[1])
        planned = ok(accrue(*args, "--json", "--memory_limit", f"{least}MiB")).json["planned_bytes"]
        assert 40 << 10 <= (least << 20) - planned <= 1120 << 10, (more, least, planned)


def test_sample_of_a_diverged_model(d):
    """A sample is to be looked at: where the model has no finite logits there is none, and the run ends as it would."""
    recipe = recipe_in(d, steps=3)
    args = ["--learning_rate", "1e38", "--lr_scheduler_type", "constant"]
    plain = ok(train(recipe, f"{d}/plain", *args)).json
    watched = ok(train(recipe, f"{d}/watched", *args, "--sample_prompt", "the"))
    assert watched.json["weights_hash"] == plain["weights_hash"] and watched.json["eval_loss"] is None
    assert "no sample" in watched.err and "diverged" in watched.err, watched.err
    assert not any(l.get("sample") for l in read_metrics(f"{d}/watched"))


def test_generate_refuses(d):
    recipe = recipe_in(d, steps=1)
    ok(train(recipe, f"{d}/run"))
    refused(accrue("generate", f"{d}/none"), 2, "there is no such folder")
    refused(accrue("generate", f"{d}/run", "--prompt", "a", "--top_p", 0), 2, "--top_p", "'0'")
    refused(accrue("generate", f"{d}/run", "--prompt", "a", "--prompt_file", "-"), 2, "one of them")
    long = accrue("generate", f"{d}/run", "--prompt", "a " * 99)
    refused(long, 2, "24 places")
    assert long.out == ""
    piped = subprocess.run(["sh", "-c", f"printf 'the dog' | {ACCRUE} generate {d}/run --prompt_file - --max_new_tokens 2"],
                           capture_output=True, text=True)
    assert piped.returncode == 0 and piped.stdout.startswith("the dog"), piped.stderr
    refused(accrue("generate", f"{d}/run", "--prompt", "a", "--dtype", "int8"), 2, "int8")
    os.rename(f"{d}/run/accrue.json", f"{d}/kept.json")
    for command in (["generate", f"{d}/run"], ["convert", f"{d}/run", "--to", "hf", "--out", f"{d}/hf"], ["eval", f"{d}/run"]):
        refused(accrue(*command), 3, "the run is not finished", "run/resolved.yaml --output_dir")
    os.rename(f"{d}/kept.json", f"{d}/run/accrue.json")
    os.remove(f"{d}/run/tokenizer.json")
    refused(accrue("generate", f"{d}/run", "--prompt", "a"), 3, "tokenizer.json")
    ok(train(SEED, f"{d}/mlp"))
    refused(accrue("generate", f"{d}/mlp", "--prompt", "a"), 3, "accrue.json")


def test_model_of_an_unfinished_run(d):
    """What is said of a run without a model gives one when it is done."""
    recipe = recipe_in(d, steps=100000)
    p = subprocess.Popen([ACCRUE, "train", recipe, "--output_dir", f"{d}/run", "--save_steps", "1", "--eval_steps", "0"],
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment())
    while not glob.glob(f"{d}/run/checkpoints/step-*.safetensors"):
        time.sleep(0.01)
    p.kill()
    p.communicate()
    said = refused(accrue("generate", f"{d}/run", "--prompt", "the"), 3, "to end as it is").err
    updates = int(re.search(r"--max_steps (\d+) to end", said)[1])
    ended = ok(train(f"{d}/run/resolved.yaml", f"{d}/run", "--resume_from_checkpoint", "auto", "--max_steps", updates))
    assert ended.json["updates"] == updates, ended.json
    assert ok(accrue("generate", f"{d}/run", "--prompt", "the", "--max_new_tokens", 2)).out.startswith("the")


def test_fine_tuning(d):
    """A run is exported, and goes on learning from a few lines of JSON."""
    recipe = recipe_in(d, steps=3)
    ok(train(recipe, f"{d}/run"))
    ok(accrue("convert", f"{d}/run", "--to", "hf", "--out", f"{d}/base"))
    lines = [{"prompt": f"say {w}: ", "completion": w} for w in WORDS[:6]]
    lines += [{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "the fox"}]}, {"text": "a dog"}]
    write(f"{d}/chats.jsonl", "".join(json.dumps(l) + "\n" for l in lines))
    tuning_in(d, steps=10)
    a = ok(train(f"{d}/sft.yaml", f"{d}/tuned"))
    assert "loss on " in a.err, a.err
    losses = [l["loss"] for l in read_metrics(f"{d}/tuned") if "loss" in l]
    assert losses[-1] < losses[0]
    assert ok(accrue("generate", f"{d}/tuned", "--prompt", "say fox: ", "--max_new_tokens", 4)).out.startswith("say fox: ")
    assert {k: v[0] for k, v in read_tensors(f"{d}/tuned/model.safetensors").items()} == \
           {k: v[0] for k, v in read_tensors(f"{d}/base/model.safetensors").items()}
    refused(train(f"{d}/sft.yaml", f"{d}/none", "--data.learn_tokenizer", 300), 2, "learn_tokenizer", "leave this out")
    long = {"prompt": "the fox " * 20, "completion": "a dog"}
    write(f"{d}/chats.jsonl", "".join(json.dumps(l) + "\n" for l in [lines[0], {"text": "the lazy dog " * 20}, long, long]))
    b = ok(train(f"{d}/sft.yaml", f"{d}/long"))
    told = [l for l in b.err.splitlines() if "sequence_length" in l]
    assert len(told) == 2 and "1 document longer than data.sequence_length, 24: the end is cut off" in told[0], b.err
    assert "chats.jsonl:2, of " in told[0] and "2 documents longer" in told[1] and "chats.jsonl:3, of " in told[1], told
    write(f"{d}/chats.jsonl", "\n" + json.dumps(long) + "\n")
    refused(train(f"{d}/sft.yaml", f"{d}/none"), 3, "chats.jsonl:2: ", "sequence_length, 24")
    write(f"{d}/chats.jsonl", '{"prompt": "a", "completion": ""}\n')
    refused(train(f"{d}/sft.yaml", f"{d}/none"), 3, "chats.jsonl")
    assert not os.path.exists(f"{d}/none")


def test_perplexity_before_and_after_tuning(d):
    """eval takes a base model's folder and JSONL: as training sees it, and with the template that is asked for."""
    recipe = recipe_in(d, steps=60)
    ok(train(recipe, f"{d}/run"))
    ok(accrue("convert", f"{d}/run", "--to", "hf", "--out", f"{d}/base"))
    write(f"{d}/held.txt", text_of(300, seed=5))
    ways = [ok(accrue("eval", f"{d}/{f}", "--data", f"{d}/held.txt", "--json", *more)).json
            for f, more in (("run", ()), ("base", ()), ("base", ("--micro_batch_size", 3, "--threads", 1)))]
    assert ways[0]["loss"] == ways[1]["loss"] == ways[2]["loss"] and ways[2]["micro_batch_size"] == 3, ways
    chats = [{"messages": [{"role": "user", "content": "say " + w}, {"role": "assistant", "content": w}]} for w in WORDS[:8]]
    write(f"{d}/chats.jsonl", "".join(json.dumps(l) + "\n" for l in chats))
    plain = ["--data", f"{d}/chats.jsonl", "--data.template", "plain", "--data.sequence_length", 24, "--json"]
    for folder in ("base", "run"):  # a run that was trained on text has the ids, but not chatml's tokens
        refused(accrue("eval", f"{d}/{folder}", "--data", f"{d}/chats.jsonl"), 3, "chats.jsonl:1", "<|im_start|>", "plain")
    before = [ok(accrue("eval", f"{d}/{folder}", *plain)).json for folder in ("base", "run")]
    assert before[0]["loss"] == before[1]["loss"] and before[0]["perplexity"] > 1, before
    everything = ok(accrue("eval", f"{d}/base", *plain, "--data.loss_on", "all")).json
    assert everything["weight"] > before[0]["weight"]
    tuning_in(d, steps=20)
    ok(train(f"{d}/sft.yaml", f"{d}/tuned", "--micro_batch_size", 1))
    after = ok(accrue("eval", f"{d}/tuned", "--data", f"{d}/chats.jsonl", "--json")).json
    assert after["weight"] == before[0]["weight"] and after["perplexity"] < before[0]["perplexity"], (before, after)


def test_eval_of_a_folder_refuses(d):
    recipe = recipe_in(d, steps=1)
    ok(train(recipe, f"{d}/run"))
    ok(accrue("convert", f"{d}/run", "--to", "hf", "--out", f"{d}/base"))
    refused(accrue("eval", f"{d}/base"), 2, f"{d}/base: ", "no evaluation set", "--data FILE")
    refused(accrue("eval", f"{d}/base", "--data", f"{d}/none.jsonl"), 3, f"--data {d}/none.jsonl: there is no such")
    refused(accrue("eval", f"{d}/base", "--data", f"{d}/a.txt", "--data.sequence_length", 99), 2, "99", "24 learned")
    refused(accrue("eval", f"{d}/base", "--data", f"{d}/a.txt", "--data.template", "llama"), 2, "--data.template", "chatml")
    os.rename(f"{d}/base/model.safetensors", f"{d}/kept")
    refused(accrue("eval", f"{d}/base", "--data", f"{d}/a.txt"), 3, f"{d}/base")
    os.rename(f"{d}/kept", f"{d}/base/model.safetensors")
    os.remove(f"{d}/base/tokenizer.json")
    refused(accrue("eval", f"{d}/base", "--data", f"{d}/a.txt"), 3, "base/tokenizer.json", "text can't be read")
    assert sorted(os.listdir(f"{d}/base")) == ["config.json", "model.safetensors", "tokenizer_config.json"]


def test_chat(d):
    """A message is wrapped as it was in training, and the answer ends where the assistant's turn does."""
    recipe = recipe_in(d, steps=3)
    ok(train(recipe, f"{d}/run", "--model.vocab_size", 302, "--data.sequence_length", 64))
    ok(accrue("convert", f"{d}/run", "--to", "hf", "--out", f"{d}/base"))
    asked = {"hi": "the fox", "who": "a dog.\nlazy"}
    write(f"{d}/chats.jsonl", "".join(json.dumps({"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]})
                                      + "\n" for q, a in asked.items()))
    sft = tuning_in(d, steps=120, length=64, learning_rate=1e-2, batch=2)

    def answers(folder, *more):
        for question, answer in asked.items():
            say = ("generate", folder, "--chat", question, "--temperature", 0, *more)
            said = ok(accrue(*say)).out
            assert said == answer + "\n", (question, said)
            a = ok(accrue(*say, "--json")).json
            assert a["text"] == answer and a["stop"] == "end" and a["prompt_tokens"] > len(question), a

    ok(train(sft, f"{d}/plain"))
    answers(f"{d}/plain")
    refused(accrue("generate", f"{d}/plain", "--chat", "hi", "--chat_template", "chatml"), 3, "--chat: ", "<|im_start|>", "plain")
    tokenizer = json.load(open(f"{d}/base/tokenizer.json"))
    for i, token in enumerate(("<|im_start|>", "<|im_end|>")):
        tokenizer["added_tokens"].append(dict(tokenizer["added_tokens"][0], id=300 + i, content=token, special=True))
    write(f"{d}/base/tokenizer.json", json.dumps(tokenizer))
    ok(train(sft, f"{d}/chatml", "--data.template", "chatml"))
    answers(f"{d}/chatml")
    ok(accrue("convert", f"{d}/chatml", "--to", "hf", "--out", f"{d}/hf"))
    answers(f"{d}/hf")
    assert "<|im_start|>" in open(f"{d}/hf/chat_template.jinja").read()
    assert not os.path.exists(f"{d}/base/chat_template.jinja"), "a model that was not tuned on messages"
    ok(accrue("convert", f"{d}/plain", "--to", "hf", "--out", f"{d}/plain-hf"))
    assert "'Assistant:'" in open(f"{d}/plain-hf/chat_template.jinja").read()
    write(f"{d}/chatml/chat_template.jinja", "one that the model came with")
    ok(accrue("convert", f"{d}/chatml", "--to", "hf", "--out", f"{d}/own-hf"))
    assert open(f"{d}/own-hf/chat_template.jinja").read() == "one that the model came with"
    long = ok(accrue("generate", f"{d}/hf", "--chat", "hi", "--system_prompt", "a", "--max_new_tokens", 2, "--json")).json
    assert long["tokens"] <= 2
    refused(accrue("generate", f"{d}/hf", "--chat", "hi", "--prompt", "a"), 2, "give one of them")
    refused(accrue("generate", f"{d}/hf", "--chat", ""), 2, "--chat", "empty")
    refused(accrue("generate", f"{d}/hf", "--prompt", "a", "--system_prompt", "b"), 2, "--system_prompt", "without --chat")
    refused(accrue("generate", f"{d}/hf", "--chat", "hi", "--chat_template", "llama"), 2, "'llama'", "chatml and plain")
    refused(accrue("generate", f"{d}/hf", "--chat", "hi " * 199), 2, "64 places")


def test_other_data(d):
    """A checkpoint goes on with the tokens it began with: not with another text, nor another tokenizer's ids."""
    recipe = recipe_in(d, steps=8)
    write(recipe, open(recipe).read().replace("learn_tokenizer: 300", f"tokenizer: {d}/tok.json"))
    ok(accrue("tokenize", "--train", 300, "--out", f"{d}/tok.json", f"{d}/a.txt"))
    args = ["--save_steps", 2]
    whole = ok(train(recipe, f"{d}/whole", *args)).json
    receipt = json.load(open(f"{d}/whole/receipt.json"))["data"]
    assert [(p["set"], p["column"], len(p["xxh3_128"])) for p in receipt] == [("train", "tokens", 32), ("eval", "tokens", 32)]
    first = train(recipe, f"{d}/run", *args, "--max_steps", 4, "--lr_scheduler_type", "constant")
    ok(first)
    more = [*args, "--lr_scheduler_type", "constant", "--resume_from_checkpoint", "auto"]
    text = open(f"{d}/a.txt").read()
    write(f"{d}/a.txt", text + " one more line")
    refused(train(recipe, f"{d}/run", *more), 3, "checkpoints/", "a file, or the tokenizer, has changed")
    write(f"{d}/a.txt", text)
    tokenizer = open(f"{d}/tok.json").read()
    write(f"{d}/b.txt", text_of(900, seed=9)[::-1])
    ok(accrue("tokenize", "--train", 300, "--out", f"{d}/tok.json", f"{d}/b.txt"))
    refused(train(recipe, f"{d}/run", *more), 3, "a file, or the tokenizer, has changed")
    assert open(f"{d}/run/tokenizer.json").read() == tokenizer
    write(f"{d}/tok.json", tokenizer)
    assert ok(train(recipe, f"{d}/run", *more)).json["updates"] == 8
    assert whole["updates"] == 8
    done = ok(accrue("train", recipe, "--output_dir", f"{d}/run", *more))
    assert done.out == "" and "is finished" in done.err


def test_refusals(d):
    recipe = recipe_in(d, steps=2)
    refused(train(recipe, f"{d}/run", "--memory_limit", "2MiB"), 4, "MiB would do")
    refused(train(recipe, f"{d}/run", "--model.vocab_size", 299), 2, "299", "300")
    refused(train(recipe, f"{d}/run", "--model.num_attention_heads", 5), 2, "5")
    refused(train(recipe, f"{d}/run", "--model.max_position_embeddings", 8), 2, "data.sequence_length: 24", "8 learned")
    llama = ok(train(recipe, f"{d}/llama", "--model.type", "llama", "--model.max_position_embeddings", 8))
    assert "warning" in llama.err and "max_position_embeddings, 8" in llama.err, llama.err
    refused(train(recipe, f"{d}/run", "--data.train.path", f"{d}/no.txt"), 3, "no.txt")
    refused(train(recipe, f"{d}/run", "--data.tokenizer", f"{d}/no.json"), 2, "leave one")
    refused(train(recipe, f"{d}/run", "--sample_prompt", "dog " * 50), 2, "sample_prompt", "24 places", "sequence_length")
    assert not os.path.exists(f"{d}/run")
    os.mkdir(f"{d}/mine")
    write(f"{d}/mine/report.html", "mine")
    refused(train(recipe, f"{d}/mine"), 2, "report.html", "no run wrote")
    assert open(f"{d}/mine/report.html").read() == "mine"


def test_plan_and_verify(d):
    recipe = recipe_in(d, steps=3)
    p = ok(accrue("plan", recipe, "--json")).json
    assert p["updates"] == 3 and p["update_seconds"] > 0 and p["planned_bytes"] > p["arena_bytes"] > 0
    assert "MiB" in ok(accrue("plan", recipe, "--fit", "64MiB")).out
    last = ("--trainable", "transformer.h.1.*", "--weight_decay_exclude", "transformer.h.1.*bias")
    assert ok(accrue("plan", recipe, "--json", *last)).json["update_seconds"] > 0  # timed with one layer, h.0
    v = ok(accrue("verify", recipe, "--json")).json
    assert v["same_bits"] and v["runs"] > 5 and v["accumulation_error"] < 1e-4


if __name__ == "__main__":
    run_tests(globals())
