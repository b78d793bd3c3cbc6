/* checkpoint.c: all that a run is, in one safetensors file: "param.NAME",
 * "state.SLOT.NAME", the clock and the caller's keys.
 *
 * Invariant: "accrue.checksum" is XXH3-128 over every other metadata pair, by
 * key, and every tensor, by name: its name, shape and bytes. A file is opened
 * only if that holds, and a trainer is changed only from such a file, after all
 * that can be compared has been. The folder of checkpoints is checkpoints.c. */
#include "io/checkpoint.h"
#include "io/file.h"
#include "io/hash.h"
#include "io/st.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORMAT "1"
#define PRIVATE "accrue."
#define CHECKSUM PRIVATE "checksum"
#define OPTIMIZER PRIVATE "optimizer"

enum { ROOM = ACR_IO_BYTES / (int)sizeof(float), NUMBER = 24 };

/* The numbers in the metadata, by name. */
#define CLOCK_LIST(X) X(updates) X(windows) X(samples) X(tokens) X(skipped) X(skipped_in_row)

/* ---- what belongs into a checkpoint of this trainer --------------------------------- */

/* slot -1: the parameter itself. */
typedef struct item {
    char *name;
    int param, slot;
} item;

typedef struct contents {
    acr_trainer *t;
    const acr_graph *g;
    acr_context *ctx;
    item *items; /* by name, which is their order in the file */
    int count;
    float *buffer; /* [ROOM] */
} contents;

static int by_name(const void *a, const void *b)
{
    return strcmp(((const item *)a)->name, ((const item *)b)->name);
}

static acr_status contents_add(contents *c, int param, int slot)
{
    const char *name = acr_param_name(c->g, param), *state = slot < 0 ? "" : acr_state_name(c->t, slot);
    size_t bytes = strlen(name) + strlen(state) + 16;
    item *it = &c->items[c->count];
    it->name = acr__alloc(c->ctx, bytes);
    if (!it->name)
        return ACR_E_NO_MEMORY;
    snprintf(it->name, bytes, slot < 0 ? "param.%s%s" : "state.%s.%s", state, name);
    it->param = param;
    it->slot = slot;
    c->count++;
    return ACR_OK;
}

static acr_status contents_begin(contents *c, acr_trainer *t)
{
    *c = (contents){.t = t, .g = acr_trainer_graph(t)};
    c->ctx = acr_graph_context(c->g);
    int params = acr_param_count(c->g), slots = acr_state_slots(t);
    c->buffer = acr__alloc(c->ctx, ACR_IO_BYTES);
    c->items = acr__alloc(c->ctx, sizeof *c->items * ((size_t)params * (size_t)(slots + 1) + 1));
    if (!c->buffer || !c->items)
        return ACR_E_NO_MEMORY;
    for (int i = 0; i < params; i++)
        for (int slot = -1; slot < slots; slot++)
            if (slot < 0 || acr_param_trainable(t, i))
                TRY(contents_add(c, i, slot));
    qsort(c->items, (size_t)c->count, sizeof *c->items, by_name);
    return ACR_OK;
}

static void contents_end(contents *c)
{
    for (int i = 0; i < c->count; i++)
        acr__free(c->ctx, c->items[i].name);
    acr__free(c->ctx, c->items);
    acr__free(c->ctx, c->buffer);
}

static acr_status item_read(contents *c, const item *it, int64_t first, int64_t n)
{
    TRY(it->slot < 0 ? acr_param_read(c->t, it->param, first, n, c->buffer)
                     : acr_state_read(c->t, it->param, it->slot, first, n, c->buffer));
    acr__canonical_nan(c->buffer, n);
    return ACR_OK;
}

static acr_status item_write(contents *c, const item *it, int64_t first, int64_t n)
{
    return it->slot < 0 ? acr_param_write(c->t, it->param, first, n, c->buffer)
                        : acr_state_write(c->t, it->param, it->slot, first, n, c->buffer);
}

static int item_shape(const contents *c, const item *it, int64_t shape[8])
{
    int ndim = acr_param_ndim(c->g, it->param);
    for (int k = 0; k < ndim; k++)
        shape[k] = acr_param_dim(c->g, it->param, k);
    return ndim;
}

/* ---- the checksum --------------------------------------------------------------------- */

static void hash_pair(acr__hash *h, const char *key, const char *value)
{
    if (!strcmp(key, CHECKSUM))
        return;
    acr__hash_add(h, key, strlen(key) + 1);
    acr__hash_add(h, value, strlen(value) + 1);
}

static void hash_head(acr__hash *h, const char *name, int ndim, const int64_t *shape)
{
    int64_t n = ndim;
    acr__hash_add(h, name, strlen(name) + 1);
    acr__hash_add(h, &n, sizeof n);
    acr__hash_add(h, shape, sizeof *shape * (size_t)ndim);
}

/* ---- saving --------------------------------------------------------------------------- */

typedef struct meta {
    const char *key, *value;
} meta;

static int by_key(const void *a, const void *b)
{
    return strcmp(((const meta *)a)->key, ((const meta *)b)->key);
}

enum { OWN = 10, CLOCKS = 6 }; /* metadata of our own, without the checksum; numbers in it */

/* Fills pairs (room for OWN + opts->count), sorted; numbers is where the clock's
 * text lives. */
static acr_status gather(const contents *c, const acr_checkpoint_opts *opts, meta *pairs,
                         char numbers[CLOCKS + 1][NUMBER], int *count)
{
    acr_clock clock;
    int n = 0, k = 0;
    TRY(acr_clock_get(c->t, &clock));
    pairs[n++] = (meta){PRIVATE "checkpoint", FORMAT};
    snprintf(numbers[k], NUMBER, "%d", acr_numerics());
    pairs[n++] = (meta){PRIVATE "numerics", numbers[k++]};
    pairs[n++] = (meta){OPTIMIZER, acr_trainer_optimizer(c->t)};
    pairs[n++] = (meta){PRIVATE "recipe_hash", opts->recipe_hash ? opts->recipe_hash : ""};
#define PUT(field)                                                \
    snprintf(numbers[k], NUMBER, "%lld", (long long)clock.field); \
    pairs[n++] = (meta){PRIVATE #field, numbers[k++]};
    CLOCK_LIST(PUT)
#undef PUT
    for (int i = 0; i < opts->count; i++) {
        FAIL_IF(!strncmp(opts->keys[i], PRIVATE, strlen(PRIVATE)), c->ctx, ACR_E_ARGUMENT,
                "the checkpoint key %s begins with " PRIVATE ", which is reserved", opts->keys[i]);
        pairs[n++] = (meta){opts->keys[i], opts->values[i]};
    }
    qsort(pairs, (size_t)n, sizeof *pairs, by_key);
    *count = n;
    return ACR_OK;
}

static acr_status checksum_of_trainer(contents *c, const meta *pairs, int count, char out[ACR_HASH_TEXT])
{
    acr__hash h;
    acr__hash_begin(&h);
    for (int i = 0; i < count; i++)
        hash_pair(&h, pairs[i].key, pairs[i].value);
    for (int i = 0; i < c->count; i++) {
        const item *it = &c->items[i];
        int64_t shape[8], elements = acr_param_elements(c->g, it->param);
        hash_head(&h, it->name, item_shape(c, it, shape), shape);
        for (int64_t at = 0; at < elements; at += ROOM) {
            int64_t n = acr__min(ROOM, elements - at);
            TRY(item_read(c, it, at, n));
            acr__hash_add(&h, c->buffer, (size_t)n * sizeof(float));
        }
    }
    acr__hash_text(&h, out);
    return ACR_OK;
}

static acr_status write_items(contents *c, acr_st_writer *w)
{
    for (int i = 0; i < c->count; i++) {
        int64_t shape[8];
        int ndim = item_shape(c, &c->items[i], shape);
        TRY(acr_st_writer_tensor(w, c->items[i].name, ACR_ST_F32, ndim, shape));
    }
    TRY(acr_st_writer_begin(w));
    for (int place = 0, i; (i = acr_st_writer_at(w, place)) >= 0; place++) {
        int64_t elements = acr_param_elements(c->g, c->items[i].param);
        for (int64_t at = 0; at < elements; at += ROOM) {
            int64_t n = acr__min(ROOM, elements - at);
            TRY(item_read(c, &c->items[i], at, n));
            TRY(acr_st_writer_write(w, c->buffer, (size_t)n * sizeof(float)));
        }
    }
    return acr_st_writer_commit(w);
}

static acr_status save(contents *c, acr_st_writer *w, const acr_checkpoint_opts *opts, meta *pairs)
{
    char numbers[CLOCKS + 1][NUMBER], checksum[ACR_HASH_TEXT];
    int count = 0;
    TRY(gather(c, opts, pairs, numbers, &count));
    TRY(checksum_of_trainer(c, pairs, count, checksum));
    for (int i = 0; i < count; i++)
        TRY(acr_st_writer_metadata(w, pairs[i].key, pairs[i].value));
    TRY(acr_st_writer_metadata(w, CHECKSUM, checksum));
    return write_items(c, w);
}

acr_status acr_checkpoint_save(acr_trainer *t, const char *path, const acr_checkpoint_opts *opts)
{
    acr_checkpoint_opts o = ACR_CHECKPOINT_OPTS_INIT;
    acr__opts_take(&o, opts);
    contents c;
    acr_st_writer *w = NULL;
    meta *pairs = NULL;
    acr_status status = contents_begin(&c, t);
    if (status == ACR_OK) {
        pairs = acr__alloc(c.ctx, sizeof *pairs * (OWN + (size_t)o.count));
        status = pairs ? acr_st_writer_create(&w, c.ctx, path) : ACR_E_NO_MEMORY;
    }
    if (status == ACR_OK)
        status = save(&c, w, &o, pairs);
    if (status == ACR_E_IO)
        acr__fail_more(c.ctx, status, "; no checkpoint was saved, the older ones are as they were");
    acr_st_writer_destroy(w);
    acr__free(c.ctx, pairs);
    contents_end(&c);
    return status;
}

/* ---- opening --------------------------------------------------------------------------- */

struct acr_checkpoint {
    acr_context *ctx;
    acr_st *st;
    acr_clock clock;
    int numerics;
    char *note;
};

static acr_status hash_tensors(acr_st *st, acr__hash *h, void *buffer)
{
    for (int i = 0; i < acr_st_count(st); i++) {
        acr_st_tensor t;
        TRY(acr_st_get(st, i, &t));
        FAIL_IF(t.dtype != ACR_ST_F32, acr__st_context(st), ACR_E_DATA,
                "%s: tensor %s has dtype %s; a checkpoint holds F32 only", acr_st_path(st), t.name,
                acr_st_dtype_name(t.dtype));
        hash_head(h, t.name, t.ndim, t.shape);
        for (int64_t at = 0; at < t.elements; at += ROOM) {
            int64_t n = acr__min(ROOM, t.elements - at);
            TRY(acr_st_read_raw(st, i, at, n, buffer));
            acr__hash_add(h, buffer, (size_t)n * sizeof(float));
        }
    }
    return ACR_OK;
}

static acr_status verify(acr_context *ctx, acr_st *st)
{
    const char *format = acr_st_metadata(st, PRIVATE "checkpoint"), *stored = acr_st_metadata(st, CHECKSUM);
    FAIL_IF(!format, ctx, ACR_E_DATA, "%s: is a safetensors file, but no checkpoint of accrue", acr_st_path(st));
    FAIL_IF(strcmp(format, FORMAT), ctx, ACR_E_DATA, "%s: is a checkpoint of format %.20s; this version reads %s",
            acr_st_path(st), format, FORMAT);
    acr__hash h;
    acr__hash_begin(&h);
    for (int i = 0; i < acr_st_metadata_count(st); i++) {
        const char *key = acr_st_metadata_key(st, i);
        hash_pair(&h, key, acr_st_metadata(st, key));
    }
    void *buffer = acr__alloc(ctx, ACR_IO_BYTES);
    acr_status status = buffer ? hash_tensors(st, &h, buffer) : ACR_E_NO_MEMORY;
    acr__free(ctx, buffer);
    if (status != ACR_OK)
        return status;
    char text[ACR_HASH_TEXT];
    acr__hash_text(&h, text);
    FAIL_IF(!stored || strcmp(stored, text), ctx, ACR_E_DATA,
            "%s: is damaged: its checksum is %.40s, that of its contents %s", acr_st_path(st),
            stored ? stored : "missing", text);
    return ACR_OK;
}

static acr_status number(const acr_checkpoint *c, const char *key, int64_t high, int64_t *out)
{
    const char *text = acr_st_metadata(c->st, key);
    char *end = NULL;
    errno = 0;
    long long n = text && *text >= '0' && *text <= '9' ? strtoll(text, &end, 10) : -1;
    FAIL_IF(n < 0 || errno || *end || n > high, c->ctx, ACR_E_DATA, "%s: %s is '%.40s', not a number from 0 to %lld",
            acr_st_path(c->st), key, text ? text : "missing", (long long)high);
    *out = n;
    return ACR_OK;
}

static acr_status read_numbers(acr_checkpoint *c)
{
    int64_t n;
    TRY(number(c, PRIVATE "numerics", INT32_MAX, &n));
    c->numerics = (int)n;
#define GET(field)                                                                              \
    TRY(number(c, PRIVATE #field, sizeof c->clock.field == 4 ? INT32_MAX : INT64_MAX, &n)); \
    c->clock.field = (__typeof__(c->clock.field))n;
    CLOCK_LIST(GET)
#undef GET
    FAIL_IF(c->clock.windows < c->clock.updates || c->clock.windows > UINT32_MAX, c->ctx, ACR_E_DATA,
            "%s: its clock says %lld updates in %lld windows, which cannot be", acr_st_path(c->st),
            (long long)c->clock.updates, (long long)c->clock.windows);
    return ACR_OK;
}

acr_status acr_checkpoint_open(acr_checkpoint **out, acr_context *ctx, const char *path)
{
    acr_checkpoint *c = acr__alloc(ctx, sizeof *c);
    if (!c)
        return ACR_E_NO_MEMORY;
    c->ctx = ctx;
    acr_status status = acr_st_open(&c->st, ctx, path);
    if (status == ACR_OK)
        status = verify(ctx, c->st);
    if (status == ACR_OK)
        status = read_numbers(c);
    if (status != ACR_OK) {
        acr_checkpoint_close(c);
        return status;
    }
    *out = c;
    return ACR_OK;
}

void acr_checkpoint_close(acr_checkpoint *c)
{
    if (!c)
        return;
    acr_st_close(c->st);
    acr__free(c->ctx, c->note);
    acr__free(c->ctx, c);
}

const char *acr_checkpoint_path(const acr_checkpoint *c)
{
    return acr_st_path(c->st);
}

int acr_checkpoint_numerics(const acr_checkpoint *c)
{
    return c->numerics;
}

void acr_checkpoint_clock(const acr_checkpoint *c, acr_clock *out)
{
    *out = c->clock;
}

const char *acr_checkpoint_recipe_hash(const acr_checkpoint *c)
{
    const char *hash = acr_st_metadata(c->st, PRIVATE "recipe_hash");
    return hash ? hash : "";
}

const char *acr_checkpoint_value(const acr_checkpoint *c, const char *key)
{
    return strncmp(key, PRIVATE, strlen(PRIVATE)) ? acr_st_metadata(c->st, key) : NULL;
}

acr_st *acr_checkpoint_tensors(acr_checkpoint *c)
{
    return c->st;
}

const char *acr_checkpoint_note(const acr_checkpoint *c)
{
    return c->note ? c->note : "";
}

void acr__checkpoint_note_take(acr_checkpoint *c, char *note)
{
    c->note = note;
}

/* ---- restoring -------------------------------------------------------------------------- */

static acr_status compare_one(const acr_checkpoint *cp, const contents *c, const item *it)
{
    const char *path = acr_st_path(cp->st);
    int64_t shape[8];
    acr_st_tensor t;
    int tensor = acr_st_find(cp->st, it->name);
    FAIL_IF(tensor < 0 && it->slot < 0, c->ctx, ACR_E_DATA,
            "%s: is a checkpoint of another model: it has no parameter %s", path, acr_param_name(c->g, it->param));
    FAIL_IF(tensor < 0, c->ctx, ACR_E_DATA,
            "%s: is a checkpoint of another optimizer, or of other trainable parameters: it has no %s", path, it->name);
    TRY(acr_st_get(cp->st, tensor, &t));
    int ndim = item_shape(c, it, shape);
    bool same = ndim == t.ndim;
    for (int k = 0; same && k < ndim; k++) {
        FAIL_IF(shape[k] != t.shape[k], c->ctx, ACR_E_DATA,
                "%s: is a checkpoint of another model: dimension %d of %s is %lld there, %lld here", path, k, it->name,
                (long long)t.shape[k], (long long)shape[k]);
    }
    FAIL_IF(!same, c->ctx, ACR_E_DATA, "%s: is a checkpoint of another model: %s has %d dimensions there, %d here",
            path, it->name, t.ndim, ndim);
    return ACR_OK;
}

static acr_status compare(const acr_checkpoint *cp, const contents *c)
{
    FAIL_IF(cp->numerics != acr_numerics(), c->ctx, ACR_E_DATA,
            "%s: was written with numerics %d; this version computes numerics %d, whose bits differ",
            acr_st_path(cp->st), cp->numerics, acr_numerics());
    const char *there = acr_st_metadata(cp->st, OPTIMIZER), *here = acr_trainer_optimizer(c->t);
    /* files of before this key tell by the state they hold, which adam and adamw share */
    FAIL_IF(there && strcmp(there, here), c->ctx, ACR_E_DATA,
            "%s: is a checkpoint of another optimizer: %.20s there, %s here", acr_st_path(cp->st), there, here);
    for (int i = 0; i < c->count; i++)
        TRY(compare_one(cp, c, &c->items[i]));
    for (int i = 0; i < acr_st_count(cp->st); i++) {
        acr_st_tensor t;
        TRY(acr_st_get(cp->st, i, &t));
        item key = {(char *)t.name, 0, 0};
        FAIL_IF(!c->count || !bsearch(&key, c->items, (size_t)c->count, sizeof *c->items, by_name), c->ctx, ACR_E_DATA,
                "%s: is a checkpoint of another model or optimizer: it has %s, which is not known here",
                acr_st_path(cp->st), t.name);
    }
    return ACR_OK;
}

static acr_status copy(acr_checkpoint *cp, contents *c, bool *changed)
{
    TRY(acr_clock_set(c->t, &cp->clock)); /* first: it refuses inside a window, before anything has changed */
    *changed = true;
    for (int i = 0; i < c->count; i++) {
        const item *it = &c->items[i];
        int tensor = acr_st_find(cp->st, it->name);
        int64_t elements = acr_param_elements(c->g, it->param);
        for (int64_t at = 0; at < elements; at += ROOM) {
            int64_t n = acr__min(ROOM, elements - at);
            TRY(acr_st_read_f32(cp->st, tensor, at, n, c->buffer));
            TRY(item_write(c, it, at, n));
        }
    }
    return ACR_OK;
}

acr_status acr_checkpoint_restore(acr_checkpoint *cp, acr_trainer *t)
{
    contents c;
    bool changed = false;
    acr_status status = contents_begin(&c, t);
    if (status == ACR_OK)
        status = compare(cp, &c);
    if (status == ACR_OK)
        status = copy(cp, &c, &changed);
    if (status != ACR_OK && changed)
        acr__fail_more(c.ctx, status, "; the trainer holds a part of it, of no use until another one is restored");
    contents_end(&c);
    return status;
}

acr_status acr_checkpoint_load(acr_trainer *t, const char *path, const acr_checkpoint_opts *opts)
{
    acr_context *ctx = acr_graph_context(acr_trainer_graph(t));
    acr_checkpoint *c;
    TRY(acr_checkpoint_open(&c, ctx, path));
    acr_status status = ACR_OK;
    const char *there = acr_checkpoint_recipe_hash(c);
    if (opts && opts->recipe_hash && strcmp(opts->recipe_hash, there))
        status = acr__fail(ctx, ACR_E_DATA,
                           "%s: is a checkpoint of another recipe: its recipe_hash is %.64s, here it is %s", path,
                           *there ? there : "missing", opts->recipe_hash);
    if (status == ACR_OK)
        status = acr_checkpoint_restore(c, t);
    acr_checkpoint_close(c);
    return status;
}
