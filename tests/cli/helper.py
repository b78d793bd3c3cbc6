"""What the command line's tests share. Not a test: it is not executable."""
import json, os, shutil, struct, subprocess, sys, tempfile, traceback

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ACCRUE = os.environ.get("ACCRUE", os.path.join(ROOT, "build/accrue"))
SEED = os.path.join(ROOT, "recipes/seed.yaml")

# Large enough that a run can be interrupted, small enough for a second or two.
MIDDLE = """
name: middle
model: {type: mlp, layers: [32, 96, 96, 4], activation: relu, dropout: 0.1}
data:
  train: {format: normal, samples: 500}
  eval: {format: normal, samples: 70, seed: 9}
loss: mse
optimizer: adamw
learning_rate: 1e-3
lr_scheduler_type: cosine
warmup_steps: 3
max_grad_norm: 1.0
effective_batch_size: 120
num_train_epochs: 6
"""


class Answer:
    """Exit code, the last JSON object on stdout, and both streams."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err
        lines = [l for l in out.splitlines() if l.startswith("{")]
        self.json = json.loads(lines[-1]) if lines else None


def environment(**more):
    kept = {k: v for k, v in os.environ.items() if not k.startswith("ACCRUE_")}
    return dict(kept, **more)


def accrue(*args, cwd=None, **env):
    words = [a if isinstance(a, bytes) else str(a) for a in args]
    p = subprocess.run([ACCRUE, *words], capture_output=True, text=True, errors="replace", cwd=cwd,
                       env=environment(**env), timeout=300)
    return Answer(p.returncode, p.stdout, p.stderr)


def train(recipe, folder, *args, **env):
    return accrue("train", recipe, "--json", "--output_dir", folder, *args, **env)


def ok(answer):
    assert answer.code == 0, f"exit {answer.code}: {answer.err[-400:]}"
    return answer


def refused(answer, code, *words):
    assert answer.code == code, f"exit {answer.code}, not {code}: {answer.err[-400:]}"
    for w in words:
        assert w in answer.err, f"'{w}' is not in: {answer.err[-400:]}"
    return answer


def write(path, text):
    with open(path, "w") as f:
        f.write(text)
    return path


def read_metrics(folder):
    with open(os.path.join(folder, "metrics.jsonl")) as f:
        return [json.loads(line) for line in f]


def read_tensors(path):
    """{name: (shape, bytes)} of a safetensors file."""
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = f.read()
    header.pop("__metadata__", None)
    return {k: (v["shape"], data[slice(*v["data_offsets"])]) for k, v in header.items()}


def write_tensors(path, tensors):
    """{name: (dtype, shape, bytes)} as safetensors."""
    header, body = {}, b""
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + body)


def floats(values):
    values = list(values)
    return struct.pack(f"<{len(values)}f", *values)


def run_tests(names):
    """Runs every function whose name begins with test_, each in a folder of its own."""
    bad = 0
    for name, function in sorted(names.items()):
        if not name.startswith("test_"):
            continue
        folder = tempfile.mkdtemp(prefix="accrue-cli-")
        try:
            why = function(folder)
            print(f"skip {name[5:]}: {why}" if why else f"ok {name[5:]}", flush=True)
        except Exception as e:
            traceback.print_exc(file=sys.stdout)
            print(f"not ok {name[5:]}: {str(e) or type(e).__name__}".replace("\n", " "), flush=True)
            bad += 1
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    sys.exit(1 if bad else 0)
