#!/usr/bin/env python3
"""accrue tokenize: learning, ids on stdout and in a token file, back to text, and what is refused."""
import os, random, resource, struct, subprocess
from helper import *

GOLDEN = os.path.join(ROOT, "tests/golden/tokenizer_{}.json")
GPT2 = GOLDEN.format("gpt2")
TEXT = "In the beginning God created the heaven and the earth.\nAnd the earth was without form, and void;\n" * 40


def tokenize(*args, given=None, **env):
    p = subprocess.run([ACCRUE, "tokenize", *map(str, args)], input=given, capture_output=True, env=environment(**env),
                       timeout=300)
    a = Answer(p.returncode, p.stdout.decode("utf-8", "replace"), p.stderr.decode("utf-8", "replace"))
    a.bytes = p.stdout
    return a


def ids_of(answer):
    return [json.loads(line)["ids"] for line in ok(answer).out.splitlines()]


def jsonl(path, texts, key="text"):
    return write(path, "".join(json.dumps({key: t}) + "\n" for t in texts))


def token_file(path):
    """Documents of a token file, its head's vocabulary and end-of-text token."""
    data = open(path, "rb").read()
    magic, version, width, vocabulary, eos = struct.unpack("<8sIIQq", data[:32])
    tokens, documents = struct.unpack("<QQ", data[-56:-40])
    assert magic == b"ACRTOKEN" and version == 1
    ids = struct.unpack(f"<{tokens}{'HI'[width == 4]}", data[72:72 + tokens * width])
    ends = struct.unpack(f"<{documents}Q", data[-56 - 8 * documents:-56])
    return [list(ids[a:b]) for a, b in zip((0,) + ends, ends)], vocabulary, eos


def test_learn_and_use(d):
    text = write(f"{d}/text.txt", TEXT)
    a = ok(tokenize("--train", 300, "--out", f"{d}/tok.json", text, "--json"))
    assert a.json["vocabulary"] == 300 and len(a.json["tokenizer_hash"]) == 32, a.json
    assert json.load(open(f"{d}/tok.json"))["model"]["vocab"]["<|endoftext|>"] == 0
    b = ok(tokenize("--train", 300, "--out", f"{d}/again.json", text, "-q"))
    assert b.err == "" and open(f"{d}/tok.json").read() == open(f"{d}/again.json").read()
    c = ok(tokenize("--tokenizer", f"{d}/tok.json", text, "--out", f"{d}/train.tok", "--json"))
    documents, vocabulary, eos = token_file(f"{d}/train.tok")
    assert (vocabulary, eos, len(documents)) == (300, 0, 1) and documents[0][-1] == 0
    assert c.json["tokens"] == len(documents[0]) < len(TEXT) / 1.4 and c.json["documents"] == 1
    assert c.json["tokenizer_hash"] == a.json["tokenizer_hash"]
    printed = ok(tokenize("--tokenizer", f"{d}/tok.json", text)).out
    assert [int(x) for x in printed.split()] == documents[0][:-1]
    assert tokenize("--tokenizer", f"{d}/tok.json", "--decode", "-", given=printed.encode()).out == TEXT


def test_too_little_text(d):
    a = ok(tokenize("--train", 5000, "--out", f"{d}/tok.json", write(f"{d}/text.txt", TEXT), "--json"))
    assert "no other pair occurs twice" in a.err and a.json["vocabulary"] < 500


def test_splits(d):
    text = write(f"{d}/text.txt", "don't 12345 " * 50)
    for split, words in (("gpt2", 1), ("llama3", 1), ("qwen2", 0)):
        ok(tokenize("--train", 300, "--split", split, "--out", f"{d}/tok.json", text))
        vocab = json.load(open(f"{d}/tok.json"))["model"]["vocab"]
        assert ("\u012012345" in vocab) == (split == "gpt2") and ("123" in vocab) == (split == "llama3"), split
    refused(tokenize("--train", 300, "--split", "bert", "--out", f"{d}/tok.json", text), 2, "bert", "llama3")


def test_jsonl(d):
    texts = ["Hello world", "", "a\u0000b \U0001f600", "<|endoftext|>x"]
    path = jsonl(f"{d}/in.jsonl", texts)
    plain = ids_of(tokenize("--tokenizer", GOLDEN.format("llama3"), "--jsonl", path, "--no-special"))
    special = ids_of(tokenize("--tokenizer", GOLDEN.format("llama3"), "--jsonl", path))
    assert special == [[0] + p for p in plain] and plain[1] == [] and plain[3][0] == 0
    ids = jsonl(f"{d}/ids.jsonl", plain, "ids")
    back = tokenize("--tokenizer", GOLDEN.format("llama3"), "--jsonl", "--decode", ids)
    assert [json.loads(l)["text"] for l in ok(back).out.splitlines()] == texts
    # white space between the lines, more keys, no newline at the end, another file, stdin
    write(f"{d}/more.jsonl", '\n{"text": "Hello world", "n": [1, {}]}\r\n  \n{"text": ""}')
    more = ids_of(tokenize("--tokenizer", GPT2, "--jsonl", f"{d}/more.jsonl", "-", path, given=b'{"text": "a"}\n'))
    assert more[0] == more[3] and more[1] == [] and more[2] == [65] and len(more) == 7
    a = ok(tokenize("--tokenizer", GPT2, "--jsonl", path, "--out", f"{d}/a.tok"))
    assert "in 4 documents" in a.err, a.err
    documents, _, _ = token_file(f"{d}/a.tok")
    assert documents[1] == [0] and documents[0] == more[0] + [0]
    ok(tokenize("--train", 300, "--out", f"{d}/tok.json", "--jsonl", path))


def test_end_of_text(d):
    one, two = write(f"{d}/1.txt", "one"), write(f"{d}/2.txt", "two<|endoftext|>")
    ok(tokenize("--tokenizer", GPT2, one, two, "--out", f"{d}/a.tok"))
    documents, _, eos = token_file(f"{d}/a.tok")
    assert eos == 0 and [x[-1] for x in documents] == [0, 0] and documents[1].count(0) == 1
    ok(tokenize("--tokenizer", GPT2, one, "--out", f"{d}/a.tok", "--eos", "!"))
    assert token_file(f"{d}/a.tok")[0][0][-1] == 1
    a = ok(tokenize("--tokenizer", GPT2, one, "--out", f"{d}/a.tok", "--eos", "none"))
    assert token_file(f"{d}/a.tok")[2] == -1 and 0 not in token_file(f"{d}/a.tok")[0][0] and "none ends" in a.err


def test_long_document_in_little_memory(d):
    random.seed(1)
    words = [w + end for w in TEXT.split()[:20] for end in (" ", " ", ", ", ".\n", "\n\n", "  ", " 12345 ")]
    parts = [random.choice(words) for _ in range(2_000_000)]
    text = write(f"{d}/long.txt", "".join(parts))
    limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (64 << 20, 64 << 20))
    p = subprocess.run([ACCRUE, "tokenize", "--tokenizer", GOLDEN.format("qwen2"), text, "--out", f"{d}/a.tok"],
                       capture_output=True, text=True, env=environment(), preexec_fn=limit)
    assert p.returncode == 0, p.stderr
    first = "".join(parts)[:400000]
    first = first[:first.rindex("heaven")]  # between two words
    a = ok(tokenize("--tokenizer", GOLDEN.format("qwen2"), "-", given=first.rstrip().encode()))
    ids = [int(x) for x in a.out.split()]
    assert token_file(f"{d}/a.tok")[0][0][:len(ids) - 1] == ids[:-1]


def test_back_from_a_token_file(d):
    words = "".join(TEXT[i % len(TEXT)] for i in range(20000))
    text = write(f"{d}/a.txt", words)
    ok(tokenize("--tokenizer", GPT2, text, "--out", f"{d}/a.tok"))
    assert ok(tokenize("--tokenizer", GPT2, "--decode", "--no-special", f"{d}/a.tok")).out == words
    told = json.loads(ok(accrue("inspect", f"{d}/a.tok", "--json")).out)
    assert told["documents"] == 1 and told["tokens"] == len(token_file(f"{d}/a.tok")[0][0]) and told["vocabulary"] == 1500
    assert told["checksum"] in ok(accrue("inspect", f"{d}/a.tok")).out
    refused(tokenize("--tokenizer", GOLDEN.format("qwen2"), "--decode", f"{d}/a.tok"), 3, "a.tok", "another tokenizer's")
    with open(f"{d}/a.tok", "r+b") as f:
        f.seek(500), f.write(b"\xff")
    refused(accrue("inspect", f"{d}/a.tok"), 3, "a.tok", "damaged")


def test_documents_back_from_a_token_file(d):
    """Each document's text as it was: the token that ended it stands between two, or JSON does."""
    texts = ["one\n", "", "a\0b \u00e9 " + "\U0001f600" * 2000, "<|endoftext|>x", "last\n"]
    path = jsonl(f"{d}/in.jsonl", texts)
    ok(tokenize("--tokenizer", GPT2, "--jsonl", path, "--out", f"{d}/a.tok"))
    decode = ("--tokenizer", GPT2, "--decode", f"{d}/a.tok")
    assert ok(tokenize(*decode)).out == "<|endoftext|>".join(texts)
    assert [json.loads(l) for l in ok(tokenize(*decode, "--json")).out.splitlines()] == [{"text": t} for t in texts]
    ok(tokenize("--tokenizer", GPT2, "--jsonl", path, "--out", f"{d}/a.tok", "--eos", "none"))
    assert ok(tokenize(*decode)).out == "".join(texts)
    text = write(f"{d}/t.txt", TEXT)
    ok(tokenize("--tokenizer", GPT2, text, "--out", f"{d}/a.tok"))
    assert ok(tokenize(*decode)).out == TEXT


def test_decode(d):
    assert ok(tokenize("--tokenizer", GPT2, "--decode", "-", given=b"40 69\n  273 79\r\n0")).out == "Hello<|endoftext|>"
    assert ok(tokenize("--tokenizer", GPT2, "--decode", "--no-special", "-", given=b"40 0 69")).out == "He"
    half = tokenize("--tokenizer", GPT2, "--decode", "-", given=b"163")  # a byte of a character, as it is
    assert half.code == 0 and len(half.bytes) == 1 and half.bytes[0] > 127
    refused(tokenize("--tokenizer", GPT2, "--decode", "-", given=b"40 69\n1 2 x"), 3, "stdin:2:5", "[0, 1500)")
    for bad in (b"1500", b"-1", b"1.5", b"99999999999999999999", b"1,2"):
        refused(tokenize("--tokenizer", GPT2, "--decode", "-", given=bad), 3, "stdin:1:1")
    lines = ok(tokenize("--tokenizer", GPT2, "--decode", "--json", "-", given=b"40 69\n\n273 79")).out.splitlines()
    assert [json.loads(l) for l in lines] == [{"text": "He"}, {"text": ""}, {"text": "llo"}], lines
    refused(tokenize("--tokenizer", GPT2, "--decode", "--json", "-", given=b"163"), 3, "stdin:1", "not UTF-8")
    half = tokenize("--tokenizer", GPT2, "--decode", "--jsonl", "-", given=b'{"ids": [163]}')
    refused(half, 3, "stdin:1", "not UTF-8")
    for bad in (b'{"ids": 1}', b'{"ids": [1500]}', b'{"ids": ["a"]}', b'{"ids": [1.0]}', b'{"ids": [-1]}'):
        refused(tokenize("--tokenizer", GPT2, "--decode", "--jsonl", "-", given=bad), 3, "stdin:1", "ids")


def test_usage(d):
    text = write(f"{d}/t.txt", "text")
    refused(tokenize(), 2, "is missing")
    refused(tokenize(text), 2, "--tokenizer FILE is missing")
    refused(tokenize("--train", 300, text), 2, "--out FILE is missing")
    for n in ("0", "256", "1e3", "2000000", "x"):
        refused(tokenize("--train", n, "--out", f"{d}/o", text), 2, f"--train {n}", "257")
    refused(tokenize("--train", 300, "--out", f"{d}/o", "--decode", text), 2, "--decode")
    refused(tokenize("--tokenizer", GPT2, "--split", "gpt2", text), 2, "--split")
    refused(tokenize("--tokenizer", GPT2, "--eos", "!", text), 2, "--out")
    refused(tokenize("--tokenizer", GPT2, "--eos", "no such", "--out", f"{d}/o", text), 2, "no such")
    refused(tokenize("--tokenizer", GPT2, "--decode", "--out", f"{d}/o", text), 2, "--out")
    refused(tokenize("--tokenizer", GPT2, "--out", f"{d}/none/o", text), 1, f"{d}/none/o")
    assert os.listdir(d) == ["t.txt"]
    for line in ok(tokenize("--help")).out.splitlines():
        assert len(line) <= 80, line


def test_out_replaces_nothing_else(d):
    """The texts, the tokenizer that is read and files of another kind stay, by whatever path --out names them."""
    text = write(f"{d}/t.txt", TEXT)
    ok(tokenize("--train", 300, "--out", f"{d}/tok.json", text))
    os.symlink("t.txt", f"{d}/link")
    os.link(f"{d}/tok.json", f"{d}/again.json")
    write(f"{d}/notes", "mine")
    os.mkfifo(f"{d}/pipe")
    learn, use = ("--train", 300, text), ("--tokenizer", f"{d}/tok.json", text)
    before = {f: open(f"{d}/{f}").read() for f in ("t.txt", "tok.json", "notes")}
    for how, out, words in ((learn, "t.txt", "is read as"), (learn, "link", "t.txt"), (use, "t.txt", "is read as"),
                            (use, "link", "t.txt"), (use, "../" + os.path.basename(d) + "/tok.json", "is read as"),
                            (use, "again.json", "tok.json"), (use, "notes", "no token file"),
                            (learn, "notes", "no tokenizer.json"), (use, "pipe", "no token file"),
                            ((*use[:2], "-"), "notes", "read as -")):
        with open(f"{d}/notes") as stdin:
            p = subprocess.run([ACCRUE, "tokenize", *map(str, how), "--out", f"{d}/{out}"], stdin=stdin,
                               capture_output=True, text=True, env=environment())
        refused(Answer(p.returncode, p.stdout, p.stderr), 2, out, words, "another --out")
    assert before == {f: open(f"{d}/{f}").read() for f in before} and os.path.islink(f"{d}/link")
    assert sorted(os.listdir(d)) == ["again.json", "link", "notes", "pipe", "t.txt", "tok.json"]
    ok(tokenize(*learn, "--out", f"{d}/tok.json"))  # an older result is replaced, and so is an empty file
    write(f"{d}/a.tok", "")
    for _ in range(2):
        ok(tokenize(*use, "--out", f"{d}/a.tok"))


def test_bad_files(d):
    text = write(f"{d}/t.txt", "text")
    refused(tokenize("--tokenizer", f"{d}/none.json", text), 3, "none.json")
    refused(tokenize("--tokenizer", text, text), 3, "t.txt", "not valid JSON")
    refused(tokenize("--tokenizer", GPT2, f"{d}/none.txt"), 3, "none.txt")
    refused(tokenize("--tokenizer", GPT2, d), 3, "folder")
    with open(f"{d}/latin.txt", "wb") as f:
        f.write(b"fine\ncaf\xe9 au lait\n")
    for out in ((), ("--out", f"{d}/o.tok")):
        refused(tokenize("--tokenizer", GPT2, f"{d}/latin.txt", *out), 3, "latin.txt:2:4", "0xe9", "UTF-8")
    refused(tokenize("--train", 300, "--out", f"{d}/o.json", text, f"{d}/latin.txt"), 3, "latin.txt:2:4")
    empty = write(f"{d}/e.txt", "")
    refused(tokenize("--tokenizer", GPT2, empty, "--out", f"{d}/o.tok", "--eos", "none"), 3, "e.txt", "no text")
    refused(tokenize("--train", 300, "--out", f"{d}/o.json", f"{d}/e.txt"), 3, "e.txt", "no text")
    for line, words in (("{", "valid JSON"), ("[1]", "no object"), ('{"txt": "a"}', '"text"'),
                        ('{"text": 1}', "not a string"), ('{"text": "a", "text": "b"}', "duplicate"),
                        ('{"text": "\\ud800"}', "valid JSON"),
                        ("[" * 5000, "nested")):
        write(f"{d}/bad.jsonl", '{"text": "a"}\n' + line + "\n")
        refused(tokenize("--tokenizer", GPT2, "--jsonl", f"{d}/bad.jsonl"), 3, "bad.jsonl:2", words)
    assert not [f for f in os.listdir(d) if f.startswith("o.")]


if __name__ == "__main__":
    run_tests(globals())
