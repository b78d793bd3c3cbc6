/* pool.h: a team of threads that runs one function at a time, all members at once.
 *
 *     acr__pool_create -> acr__pool_run, acr__pool_run, ... -> acr__pool_destroy
 *
 * The calling thread is member 0, so a team of one has no thread of its own and
 * costs a function call. Members share work by (index, count); nothing here
 * knows what the work is, and no result may depend on count.
 *
 * One thread calls run at a time, and fn must not call run. A team does not
 * survive into the child of a fork. */
#ifndef ACR_POOL_H
#define ACR_POOL_H

#include "base/base.h"

typedef struct acr__pool acr__pool;

/* Starts threads-1 workers with small stacks and every signal blocked, so that
 * handlers run on the program's own threads. ACR_E_THREAD, ACR_E_NO_MEMORY;
 * nothing is left running after a failure. */
acr_status acr__pool_create(acr_context *ctx, int threads, acr__pool **out);
/* Takes NULL. */
void acr__pool_destroy(acr__pool *pool);
int acr__pool_threads(const acr__pool *pool);

/* Calls fn(arg, i, count) for i = 0 .. count-1, each in its own thread with the
 * floating-point environment of fpenv.h, and returns when all have returned.
 * What was written before the call is seen by every member, what members write
 * is seen after it. */
void acr__pool_run(acr__pool *pool, void (*fn)(void *arg, int index, int count), void *arg);

/* Within fn: no member goes on before every member has come here. Writes before
 * it are seen by all after it. */
void acr__pool_barrier(acr__pool *pool);

#endif
