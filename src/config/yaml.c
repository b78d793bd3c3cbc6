/* yaml.c: the part of YAML that a recipe needs, over libyaml's event stream:
 * mappings with plain keys, scalars, lists of scalars.
 *
 * Invariant: an event is judged as soon as it arrives, so nesting, anchors and
 * hostile sizes are refused before libyaml, which is quadratic in depth, has read
 * further. Anchors, aliases, tags, several documents, lists within lists and keys
 * that are no words are refused by design. It does not know any key. */
#include "config/yaml.h"

#include "config/options.h"

#include <stdio.h>
#include <string.h>
#include <yaml.h>

enum { DEPTH = 32, ITEMS = 1 << 16 };

typedef struct reader {
    acr_context *ctx;
    const char *name;
    const acr__yaml_sink *sink;
    yaml_parser_t parser;
    yaml_event_t event; /* the current one, owned */
    bool has_event;
    int depth;
    char path[256]; /* of the key being read */
} reader;

#define AT(r, mark) (r)->name, (int)(mark).line + 1, (int)(mark).column + 1
#define HERE(r) AT(r, (r)->event.start_mark)

static acr_status syntax_error(reader *r)
{
    const yaml_parser_t *p = &r->parser;
    FAIL_IF(p->error == YAML_MEMORY_ERROR, r->ctx, ACR_E_NO_MEMORY, "%s: no memory to read it", r->name);
    if (p->error == YAML_READER_ERROR)
        return acr__fail(r->ctx, ACR_E_CONFIG, "%s: is not a text: %s at byte %zu", r->name, p->problem,
                         p->problem_offset);
    return acr__fail(r->ctx, ACR_E_CONFIG, "%s:%d:%d: is not YAML: %s%s%s", AT(r, p->problem_mark), p->problem,
                     p->context ? ", " : "", p->context ? p->context : "");
}

/* The next event, with what no recipe may have refused. */
static acr_status next(reader *r)
{
    if (r->has_event)
        yaml_event_delete(&r->event);
    r->has_event = yaml_parser_parse(&r->parser, &r->event) != 0;
    if (!r->has_event)
        return syntax_error(r);
    const yaml_char_t *anchor = NULL, *tag = NULL;
    switch (r->event.type) {
    case YAML_ALIAS_EVENT:
        return acr__fail(r->ctx, ACR_E_CONFIG, "%s:%d:%d: *%s: aliases are not taken; write the value again", HERE(r),
                         acr__show((const char *)r->event.data.alias.anchor).text);
    case YAML_SCALAR_EVENT:
        anchor = r->event.data.scalar.anchor;
        tag = r->event.data.scalar.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = r->event.data.sequence_start.anchor;
        tag = r->event.data.sequence_start.tag;
        r->depth++;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = r->event.data.mapping_start.anchor;
        tag = r->event.data.mapping_start.tag;
        r->depth++;
        break;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT: r->depth--; break;
    default: break;
    }
    FAIL_IF(anchor, r->ctx, ACR_E_CONFIG, "%s:%d:%d: &%s: anchors are not taken; write the value where it is used",
            HERE(r), acr__show((const char *)anchor).text);
    FAIL_IF(tag, r->ctx, ACR_E_CONFIG, "%s:%d:%d: %s: tags are not taken; leave it out", HERE(r),
            acr__show((const char *)tag).text);
    FAIL_IF(r->depth > DEPTH, r->ctx, ACR_E_CONFIG, "%s:%d:%d: is nested more than %d deep", HERE(r), DEPTH);
    return ACR_OK;
}

/* The scalar at hand as a text without zero bytes, held in *blocks. */
static acr_status take_scalar(reader *r, void **blocks, const char **out)
{
    const char *text = (const char *)r->event.data.scalar.value;
    size_t n = r->event.data.scalar.length;
    FAIL_IF(memchr(text, '\0', n), r->ctx, ACR_E_CONFIG, "%s:%d:%d: holds a zero byte", HERE(r));
    *out = acr__hold_text(r->ctx, blocks, text, n);
    return *out ? ACR_OK : ACR_E_NO_MEMORY;
}

static acr_status read_list(reader *r, acr__yaml_value *v, void **blocks)
{
    const char **item = NULL;
    int room = 0;
    v->list = true;
    for (;;) {
        TRY(next(r));
        if (r->event.type == YAML_SEQUENCE_END_EVENT)
            break;
        FAIL_IF(r->event.type != YAML_SCALAR_EVENT, r->ctx, ACR_E_CONFIG,
                "%s:%d:%d: %s: takes a list of plain values, not lists or mappings within it", HERE(r), v->path);
        FAIL_IF(v->count == ITEMS, r->ctx, ACR_E_CONFIG, "%s:%d:%d: %s: has more than %d items", HERE(r), v->path,
                ITEMS);
        if (v->count == room) {
            room = room ? 2 * room : 8;
            const char **larger = acr__hold(r->ctx, blocks, (size_t)room * sizeof *larger);
            if (!larger)
                return ACR_E_NO_MEMORY;
            if (item)
                memcpy(larger, item, (size_t)v->count * sizeof *larger);
            item = larger;
        }
        TRY(take_scalar(r, blocks, &item[v->count]));
        v->count++;
        v->quoted |= r->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    }
    v->item = item;
    return r->sink->value(r->sink->user, v);
}

static acr_status read_scalar(reader *r, acr__yaml_value *v, void **blocks)
{
    const char *item;
    TRY(take_scalar(r, blocks, &item));
    v->quoted = r->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    bool null = !v->quoted && (*item == '\0' || strcmp(item, "null") == 0 || strcmp(item, "~") == 0);
    FAIL_IF(null, r->ctx, ACR_E_CONFIG, "%s:%d:%d: %s: has no value; give it one or leave the line out", r->name,
            v->line, v->column, v->path);
    v->count = 1;
    v->item = &item;
    return r->sink->value(r->sink->user, v);
}

static acr_status read_mapping(reader *r);

/* The key is in r->path; the event at hand begins its value. */
static acr_status read_value(reader *r, int line, int column)
{
    acr__yaml_value v = {r->path, line, column, false, false, 0, NULL};
    void *blocks = NULL;
    acr_status status;
    switch (r->event.type) {
    case YAML_SCALAR_EVENT: status = read_scalar(r, &v, &blocks); break;
    case YAML_SEQUENCE_START_EVENT: status = read_list(r, &v, &blocks); break;
    default:
        status = r->sink->enter(r->sink->user, r->path, line, column);
        if (status == ACR_OK)
            status = read_mapping(r);
    }
    acr__hold_free(r->ctx, &blocks);
    return status;
}

/* After the start of a mapping; recursion ends at DEPTH. */
static acr_status read_mapping(reader *r)
{
    size_t parent = strlen(r->path);
    for (;;) {
        TRY(next(r));
        if (r->event.type == YAML_MAPPING_END_EVENT)
            return ACR_OK;
        FAIL_IF(r->event.type != YAML_SCALAR_EVENT, r->ctx, ACR_E_CONFIG, "%s:%d:%d: a key has to be a word", HERE(r));
        const char *key = (const char *)r->event.data.scalar.value;
        size_t n = r->event.data.scalar.length;
        int line = (int)r->event.start_mark.line + 1, column = (int)r->event.start_mark.column + 1;
        FAIL_IF(n == 0 || memchr(key, '\0', n), r->ctx, ACR_E_CONFIG, "%s:%d:%d: a key has to be a word", HERE(r));
        FAIL_IF(n > 100 || parent + n + 2 > sizeof r->path, r->ctx, ACR_E_CONFIG, "%s:%d:%d: unknown key %s", HERE(r),
                acr__show(key).text);
        snprintf(r->path + parent, sizeof r->path - parent, "%s%s", parent ? "." : "", key);
        TRY(r->sink->key(r->sink->user, r->path, line, column));
        TRY(next(r));
        TRY(read_value(r, line, column));
        r->path[parent] = '\0';
    }
}

static acr_status read_stream(reader *r)
{
    TRY(next(r)); /* the stream's start */
    TRY(next(r));
    FAIL_IF(r->event.type == YAML_STREAM_END_EVENT, r->ctx, ACR_E_CONFIG,
            "%s: is empty; a recipe has at least model, data, loss, optimizer, learning_rate and effective_batch_size",
            r->name);
    TRY(next(r));
    FAIL_IF(r->event.type != YAML_MAPPING_START_EVENT, r->ctx, ACR_E_CONFIG,
            "%s:%d:%d: is not a recipe, which has lines of `key: value`", HERE(r));
    TRY(read_mapping(r));
    TRY(next(r)); /* the document's end */
    TRY(next(r));
    FAIL_IF(r->event.type != YAML_STREAM_END_EVENT, r->ctx, ACR_E_CONFIG,
            "%s:%d:%d: a second document; a recipe is one", HERE(r));
    return ACR_OK;
}

acr_status acr__yaml_read(acr_context *ctx, const char *name, const char *text, size_t length,
                          const acr__yaml_sink *sink)
{
    reader r = {.ctx = ctx, .name = name, .sink = sink};
    FAIL_IF(length > ACR__YAML_BYTES, ctx, ACR_E_CONFIG, "%s: has %zu bytes; a recipe has at most %d", name, length,
            ACR__YAML_BYTES);
    FAIL_IF(!yaml_parser_initialize(&r.parser), ctx, ACR_E_NO_MEMORY, "%s: no memory to read it", name);
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, length);
    acr_status status = read_stream(&r);
    if (r.has_event)
        yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
    return status;
}
