/* ahead.h: what a product packs next, fetched line by line by the tiles at work.
 * Packing takes lines from as many pages, which no processor guesses, and would wait
 * for each of them. */
#ifndef ACR_AHEAD_H
#define ACR_AHEAD_H

#include "base/base.h"
#include "kernel/cpu/gemm_vec.h"

/* Lines of memory to be fetched: `run` of them, then as many from `jump` bytes behind on,
 * until `left` is 0. What a tile leaves may go to the next. Addresses are integers, since
 * they may lie past an operand's end. */
struct ahead {
    uintptr_t at, jump;
    int64_t run, in_run, left;
};

enum { LINE = 64 };

/* The first `bytes` bytes of `rows` rows, `row` bytes apart, row by row. */
static inline struct ahead ahead_of(const void *p, int64_t rows, int64_t row, int64_t bytes)
{
    const int64_t off = (int64_t)((uintptr_t)p % LINE), most = row % LINE == 0 ? off : LINE - 1;
    const int64_t lines = (most + bytes + LINE - 1) / LINE;
    return (struct ahead){
        .at = (uintptr_t)p - (uintptr_t)off,
        .jump = (uintptr_t)(row - lines * LINE),
        .run = lines,
        .in_run = lines,
        .left = rows * lines,
    };
}

/* In what order a row tile takes the panels of a block that is multiplied several times
 * over one C: each time so many on, round and round, if PANEL_STEP says so. In ascending
 * order processors guess how C goes on and fetch the lines past the block, a dozen of
 * them. Those are another thread's, who then waits to write them: 15 to 20% of such a
 * product where the two do not share an L3. */
static inline int64_t panel_step(int64_t panels)
{
    for (int64_t step = PANEL_STEP; step > 1; step--) {
        int64_t a = panels, b = step;
        while (b > 0) {
            const int64_t rest = a % b;
            a = b;
            b = rest;
        }
        if (a == 1 && step < panels - 1)
            return step;
    }
    return 1;
}

static inline int64_t panels_of(int64_t n) { return (n + NR - 1) / NR; }

/* The panel of `panels` that is taken after panel j. */
INLINE int64_t next_panel(int64_t j, int64_t step, int64_t panels)
{
    return j + step < panels ? j + step : j + step - panels;
}

INLINE void fetch_lines(struct ahead *x, int lines)
{
    for (int i = 0; i < lines; i++) {
        if (x->left <= 0)
            return;
        fetch_bytes_ahead((const void *)x->at, 0);
        x->at += LINE;
        x->left--;
        if (--x->in_run == 0) {
            x->at += x->jump;
            x->in_run = x->run;
        }
    }
}

#endif
