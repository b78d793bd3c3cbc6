#!/usr/bin/env python3
"""The benchmarks' work in JAX and optax, the way their users write gradient accumulation.

    peer_jax.py mlp MICRO_BATCH                  784-512-512-10, AdamW, effective batch 4096
    peer_jax.py gpt2 MICRO_BATCH [DTYPE]         GPT-2 124M, 256 places, AdamW, clipping, effective batch 4

One window is one jitted call: a scan over its micro-batches that adds up gradients of the loss's sum
over the window's weight, then the update. Compiling is left out. Prints an object: rate (samples/s or
tokens/s) and peak_rss_bytes. Needs `pip install "jax[cpu]" optax`; bench.py --peer runs it."""
import json, sys, time

import jax, jax.numpy as jnp, numpy as np, optax

RANDOM = np.random.default_rng(0)


def normal(*shape, scale):
    return jnp.asarray(RANDOM.standard_normal(shape, dtype=np.float32) * np.float32(scale))


def cross_entropy(logits, labels):
    return optax.softmax_cross_entropy_with_integer_labels(logits.astype(jnp.float32), labels).sum()


def window_of(loss, optimizer, weight, micro_batch):
    """update(parameters, state, inputs, labels) of one window."""
    gradient = jax.grad(lambda p, x, y: loss(p, x, y) / weight)

    def update(parameters, state, x, y):
        def micro(total, batch):
            return jax.tree.map(jnp.add, total, gradient(parameters, *batch)), None
        split = lambda a: a.reshape(-1, micro_batch, *a.shape[1:])
        total, _ = jax.lax.scan(micro, jax.tree.map(jnp.zeros_like, parameters), (split(x), split(y)))
        change, state = optimizer.update(total, state, parameters)
        return optax.apply_updates(parameters, change), state
    return jax.jit(update, donate_argnums=(0, 1))


def measure(update, optimizer, parameters, windows, count):
    """What `count` of a window's things take a second, over all windows but the first."""
    state = optimizer.init(parameters)
    start = 0
    for i, (x, y) in enumerate(windows):
        parameters, state = update(parameters, state, x, y)
        if i == 0:
            jax.block_until_ready(parameters)
            start = time.perf_counter()
    jax.block_until_ready(parameters)
    return (len(windows) - 1) * count / (time.perf_counter() - start)


def mlp(micro_batch):
    effective, sizes = 4096, [784, 512, 512, 10]
    layers = [(normal(i, o, scale=i ** -0.5), jnp.zeros(o)) for i, o in zip(sizes, sizes[1:])]

    def loss(layers, x, y):
        for w, b in layers[:-1]:
            x = jax.nn.relu(x @ w + b)
        w, b = layers[-1]
        return cross_entropy(x @ w + b, y)
    optimizer = optax.adamw(1e-3)
    windows = [(jnp.asarray(RANDOM.integers(0, 256, (effective, 784)).astype(np.float32) / 255),
                jnp.asarray(RANDOM.integers(0, 10, effective))) for _ in range(8 if micro_batch > 8 else 3)]
    return measure(window_of(loss, optimizer, effective, micro_batch), optimizer, layers, windows, effective)


def gpt2(micro_batch, dtype="float32"):
    layers, width, heads, vocabulary, places, effective = 12, 768, 12, 50257, 256, 4
    kind = jnp.dtype(dtype)
    block = {"norm1": jnp.ones((layers, width)), "norm2": jnp.ones((layers, width))}
    for name, i, o in (("qkv", width, 3 * width), ("out", width, width), ("up", width, 4 * width), ("down", 4 * width, width)):
        block[name], block[name + "_bias"] = normal(layers, i, o, scale=0.02), jnp.zeros((layers, o))
    parameters = {"blocks": block, "tokens": normal(vocabulary, width, scale=0.02),
                  "places": normal(places, width, scale=0.02), "norm": jnp.ones(width)}
    mask = jnp.tril(jnp.ones((places, places), bool))

    def normed(x, scale):
        x = x.astype(jnp.float32)
        x = x - x.mean(-1, keepdims=True)
        return (x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-5) * scale).astype(kind)

    def linear(x, b, name):
        return x @ b[name].astype(kind) + b[name + "_bias"].astype(kind)

    def layer(x, b):
        q, k, v = jnp.split(linear(normed(x, b["norm1"]), b, "qkv").reshape(*x.shape[:2], 3 * heads, -1), 3, axis=2)
        score = jnp.einsum("bqhd,bkhd->bhqk", q, k).astype(jnp.float32) * (width // heads) ** -0.5
        share = jax.nn.softmax(jnp.where(mask, score, -jnp.inf)).astype(kind)
        x = x + linear(jnp.einsum("bhqk,bkhd->bqhd", share, v).reshape(x.shape), b, "out")
        return x + linear(jax.nn.gelu(linear(normed(x, b["norm2"]), b, "up")), b, "down"), None

    def loss(p, ids, labels):
        x = (p["tokens"][ids] + p["places"]).astype(kind)
        x, _ = jax.lax.scan(layer, x, p["blocks"])
        return cross_entropy(normed(x, p["norm"]) @ p["tokens"].astype(kind).T, labels)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-4))
    draw = lambda: jnp.asarray(RANDOM.integers(0, vocabulary, (effective, places)))
    windows = [(draw(), draw()) for _ in range(3)]
    update = window_of(loss, optimizer, effective * places, micro_batch)
    return measure(update, optimizer, parameters, windows, effective * places)


def main():
    rate = {"mlp": mlp, "gpt2": gpt2}[sys.argv[1]](int(sys.argv[2]), *sys.argv[3:])
    with open("/proc/self/status") as f:
        peak = next(int(line.split()[1]) for line in f if line.startswith("VmHWM"))
    print(json.dumps({"rate": rate, "peak_rss_bytes": peak * 1024}))


if __name__ == "__main__":
    main()
