#!/usr/bin/env python3
"""seed.c from Python: the same library through ctypes, the same numbers to the bit.

    ACCRUE_LIBRARY=build/libaccrue.so python3 examples/seed.py
"""
import ctypes as C, os

PATH = os.environ.get("ACCRUE_LIBRARY", "libaccrue.so")
lib = C.CDLL(PATH, mode=C.RTLD_GLOBAL)
io = C.CDLL(os.path.join(os.path.dirname(PATH), "libaccrue_io.so"))
F32, SGD, NONE = 1, 1, -1
SAMPLES, INPUTS, HIDDEN, OUTPUTS, MICRO_BATCH, EPOCHS = 100, 10, 5, 2, 5, 100


class GraphOpts(C.Structure):
    _fields_ = [("size", C.c_size_t), ("seed", C.c_uint64), ("reference", C.c_int)]


class PlanOpts(C.Structure):
    _fields_ = [("size", C.c_size_t), ("micro_batch", C.c_int64), ("stage_rows", C.c_int64), ("pack", C.c_int),
                ("optimizer", C.c_int), ("momentum", C.c_int), ("max_window_rows", C.c_int64)]


class TrainerOpts(C.Structure):
    _fields_ = [("size", C.c_size_t), ("learning_rate", C.c_double), ("weight_decay", C.c_double),
                ("momentum", C.c_double), ("dampening", C.c_double), ("nesterov", C.c_int),
                ("adam_beta1", C.c_double), ("adam_beta2", C.c_double), ("adam_epsilon", C.c_double),
                ("max_grad_norm", C.c_double), ("schedule", C.c_int), ("warmup_steps", C.c_int64),
                ("total_steps", C.c_int64), ("decay_steps", C.c_int64), ("min_lr_ratio", C.c_double),
                ("reduction", C.c_int), ("weight_decay_exclude_count", C.c_int),
                ("weight_decay_exclude", C.c_void_p), ("max_skipped", C.c_int)]


class Batch(C.Structure):
    _fields_ = [("size", C.c_size_t), ("samples", C.c_int64), ("data", C.POINTER(C.c_void_p)), ("offsets", C.c_void_p)]


class Report(C.Structure):
    _fields_ = [("size", C.c_size_t), ("update", C.c_int64), ("window", C.c_int64), ("loss", C.c_double),
                ("weight", C.c_double), ("samples", C.c_int64), ("rows", C.c_int64), ("micro_batches", C.c_int64),
                ("grad_norm", C.c_double), ("clip", C.c_double), ("learning_rate", C.c_double), ("skipped", C.c_int)]


def new(kind, **fields):
    """A structure with its size filled in."""
    return kind(size=C.sizeof(kind), **fields)


ctx, plan, trainer = C.c_void_p(), C.c_void_p(), C.c_void_p()
lib.acr_error.restype = C.c_char_p
lib.acr_graph_create.restype = C.c_void_p
lib.acr_plan_bytes.restype = C.c_size_t
lib.acr_normal.restype = C.c_float
lib.acr_normal.argtypes = [C.c_uint64, C.c_uint32, C.c_uint64]


def check(status):
    if status:
        raise SystemExit("seed: " + lib.acr_error(ctx).decode())


x = (C.c_float * (SAMPLES * INPUTS))(*(lib.acr_normal(42, 1, i) for i in range(SAMPLES * INPUTS)))
y = (C.c_float * (SAMPLES * OUTPUTS))(*(lib.acr_normal(42, 2, i) for i in range(SAMPLES * OUTPUTS)))

check(lib.acr_context_create(C.byref(ctx), None))
g = C.c_void_p(lib.acr_graph_create(ctx, C.byref(new(GraphOpts, seed=42))))
row = lambda n: C.byref(C.c_int64(n))
inputs = lib.acr_input(g, b"x", F32, 1, row(INPUTS))
target = lib.acr_input(g, b"y", F32, 1, row(OUTPUTS))
hidden = lib.acr_relu(g, lib.acr_linear(g, inputs, C.c_int64(HIDDEN), b"fc1"))
out = lib.acr_linear(g, hidden, C.c_int64(OUTPUTS), b"fc2")
lib.acr_output(g, b"prediction", out)
lib.acr_loss(g, lib.acr_mse(g, out, target, NONE))
check(lib.acr_graph_finish(g))
check(lib.acr_plan_create(C.byref(plan), g, C.byref(new(PlanOpts, micro_batch=MICRO_BATCH, pack=-1, optimizer=SGD))))
print(f"memory planned: {lib.acr_plan_bytes(plan)} bytes")
check(lib.acr_trainer_create(C.byref(trainer), plan, C.byref(new(TrainerOpts, learning_rate=0.01, max_skipped=10))))

report = new(Report)
for epoch in range(1, EPOCHS + 1):
    check(lib.acr_window_open(trainer))
    for first in range(0, SAMPLES, MICRO_BATCH):
        data = (C.c_void_p * 2)(C.addressof(x) + 4 * INPUTS * first, C.addressof(y) + 4 * OUTPUTS * first)
        check(lib.acr_window_add(trainer, C.byref(new(Batch, samples=MICRO_BATCH, data=data))))
    check(lib.acr_window_close(trainer, C.byref(report)))
    if epoch == 1 or epoch % 20 == 0:
        print(f"epoch {epoch:3}  loss {report.loss:.17g}")
text = C.create_string_buffer(33)
check(io.acr_weights_hash(trainer, text))
print("weights " + text.value.decode())

lib.acr_trainer_destroy(trainer)
lib.acr_plan_destroy(plan)
lib.acr_graph_destroy(g)
lib.acr_context_destroy(ctx)
