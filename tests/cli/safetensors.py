#!/usr/bin/env python3
"""safetensors across languages: the library's writer against Python's struct and json, and the other way round.

Calls libaccrue_io through ctypes, as a user without a C compiler would. Standard library only.
"""
import ctypes, json, os, struct, sys, tempfile

BUILD = os.environ.get("ACCRUE_BUILD", "build")
F32, I64 = 9, 11  # acr_st_dtype


def main():
    core = ctypes.CDLL(os.path.join(BUILD, "libaccrue.so"), mode=ctypes.RTLD_GLOBAL)
    io = ctypes.CDLL(os.path.join(BUILD, "libaccrue_io.so"))
    core.acr_error.restype = io.acr_st_dtype_name.restype = ctypes.c_char_p
    ctx, w, st = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()

    def ok(status):
        if status != 0:
            raise AssertionError(f"status {status}: {core.acr_error(ctx).decode()}")

    ok(core.acr_context_create(ctypes.byref(ctx), None))
    assert io.acr_st_dtype_name(F32) == b"F32" and io.acr_st_dtype_name(I64) == b"I64"
    with tempfile.TemporaryDirectory() as d:
        path = f"{d}/w.safetensors"
        ok(io.acr_st_writer_create(ctypes.byref(w), ctx, path.encode()))
        ok(io.acr_st_writer_metadata(w, b"note", 'a "b"\n\u00e4'.encode()))
        ok(io.acr_st_writer_tensor(w, b"z", F32, 2, (ctypes.c_int64 * 2)(2, 3)))
        ok(io.acr_st_writer_tensor(w, b"a", F32, 0, None))
        ok(io.acr_st_writer_tensor(w, b"labels", I64, 1, (ctypes.c_int64 * 1)(2)))
        ok(io.acr_st_writer_begin(w))
        body = struct.pack("<2q", -1, 7) + struct.pack("<f", 0.5) + struct.pack("<6f", *range(6))
        ok(io.acr_st_writer_write(w, body, ctypes.c_size_t(len(body))))
        ok(io.acr_st_writer_commit(w))
        io.acr_st_writer_destroy(w)

        b = open(path, "rb").read()
        n, = struct.unpack("<Q", b[:8])
        h = json.loads(b[8:8 + n])
        assert n % 8 == 0 and b[8 + n:] == body
        assert h["__metadata__"] == {"note": 'a "b"\n\u00e4'}
        assert h["labels"] == {"dtype": "I64", "shape": [2], "data_offsets": [0, 16]}
        assert h["a"] == {"dtype": "F32", "shape": [], "data_offsets": [16, 20]}
        assert h["z"] == {"dtype": "F32", "shape": [2, 3], "data_offsets": [20, 44]}
        print("ok written by the library, read by Python")

        j = json.dumps({"x": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}, "__metadata__": {"k": "v"}}).encode()
        with open(path, "wb") as f:
            f.write(struct.pack("<Q", len(j)) + j + struct.pack("<3f", 1, -2, 0.25))
        ok(io.acr_st_open(ctypes.byref(st), ctx, path.encode()))
        out = (ctypes.c_double * 3)()
        ok(io.acr_st_read_f64(st, io.acr_st_find(st, b"x"), ctypes.c_int64(0), ctypes.c_int64(3), out))
        assert list(out) == [1, -2, 0.25]
        io.acr_st_close(st)
        print("ok written by Python, read by the library")

        with open(path, "r+b") as f:
            f.truncate(8 + len(j) + 11)
        status = io.acr_st_open(ctypes.byref(st), ctx, path.encode())
        assert status == 70 and path in core.acr_error(ctx).decode(), core.acr_error(ctx)
        print("ok a cut file is refused by name")
    core.acr_context_destroy(ctx)


try:
    main()
except Exception as e:  # one line of the runner's protocol
    print(f"not ok safetensors: {type(e).__name__}: {e}")
    sys.exit(1)
