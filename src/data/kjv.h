/* kjv.h: the King James Bible of the Debian package bible-kjv, chapter by chapter.
 *
 * Its text is what `bible -f gen1:1-rev22:21` prints. That one program is run,
 * directly and without a shell, and its output read through a pipe. A chapter is
 * its verses, a line each, without the references that the program puts before
 * them. */
#ifndef ACR_DATA_KJV_H
#define ACR_DATA_KJV_H

#include "base/base.h"

enum { ACR_KJV_VERSES = 31102 };

/* The program's path, to be freed with acr__free. ACR_E_DATA: it is not there; the
 * sentence names the package. */
acr_status acr__kjv_program(acr_context *ctx, char **path);

typedef struct acr__kjv acr__kjv;
/* Starts the program. */
acr_status acr__kjv_open(acr__kjv **out, acr_context *ctx);
/* The next chapter, borrowed until the next call; *text NULL: there is none.
 * ACR_E_DATA: the program failed, or what it printed is not the whole Bible. */
acr_status acr__kjv_next(acr__kjv *k, const char **text, size_t *bytes);
void acr__kjv_close(acr__kjv *k); /* takes NULL; ends the program if it still runs */

#endif
